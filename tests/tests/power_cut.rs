//! Power cuts: a VM is killed while its guest writes a journal. What a flush has acknowledged is in the image.
//!
//! The host goes on, and so its page cache does: what may be lost is what the VMM itself holds back, data that it has
//! not written yet and tables of qcow2.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use trivisor_tests::{Session, kvm_wanted, slow_wanted, trivisor};

/// For each format.
const ROUNDS: usize = 20;
const SLOW_ROUNDS: usize = 200;
const SECTOR: usize = 512;
/// Bytes of a disk: 1024 clusters of our qcow2 image.
const DISK: usize = 64 << 20;
/// Sectors from one of the journal's to its next: neighbours; another block of the page cache each; a cluster each;
/// a cluster each, from the middle of one to that of the next.
const STRIDES: [usize; 4] = [1, 9, 128, 130];
/// More than any round gets to.
const ENDLESS: u64 = 1 << 40;
/// Acknowledged flushes that are waited for at most.
const FLUSHES: u64 = 100;
/// Microseconds from the last of them to the cut, at most.
const DELAY: u64 = 5000;
/// For a lock that dies with the VM, and for the VM itself.
const PATIENCE: Duration = Duration::from_secs(60);
/// The seed of a run that is to be repeated.
const SEED: &str = "TRIVISOR_SEED";
/// FNV-1a, 64 bits.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = std::env::var(SEED).map_or_else(
            |_| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                u64::from(now.subsec_nanos()) ^ now.as_secs()
            },
            |seed| seed.parse().unwrap(),
        );
        eprintln!("repeat the same choices with {SEED}={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// What the images are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Raw,
    /// As they are made by us: one table for 512 MiB.
    Qcow2,
    /// With the smallest clusters: a table for 32 KiB, so the journal needs new ones all the time.
    ManyTables,
}

impl Kind {
    const fn format(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 | Self::ManyTables => "qcow2",
        }
    }

    /// Rounds on one image: the journal goes on behind what was acknowledged, on what the cut has left.
    const fn rounds_an_image(self) -> usize {
        match self {
            Self::Raw | Self::Qcow2 => 2,
            Self::ManyTables => 5,
        }
    }
}

/// An image with a journal.
struct Journal {
    path: PathBuf,
    format: &'static str,
    stride: usize,
    /// The last sector that a flush has acknowledged, in any round.
    acknowledged: u64,
}

impl Journal {
    /// Makes the image; `None` without the tool that makes it.
    fn new(path: PathBuf, kind: Kind, stride: usize) -> Option<Self> {
        let (size, name) = (DISK.to_string(), path.to_str().unwrap());
        let format = kind.format();
        if kind == Kind::ManyTables {
            let made = qemu_img(&[
                "create",
                "-f",
                format,
                "-o",
                "cluster_size=512",
                name,
                &size,
            ])?;
            assert!(made.status.success(), "{made:?}");
        } else {
            trivisor_does(&["disk", "create", name, &size, "--format", format]);
        }
        Some(Self {
            path,
            format,
            stride,
            acknowledged: 0,
        })
    }

    /// Starts a guest that goes on with the journal, and kills its VM.
    fn cut(&mut self, random: &mut Random) {
        let disk = format!("{},format={}", self.path.display(), self.format);
        let first = self.acknowledged + 1;
        let script = format!("block 0 journal {ENDLESS} {} {first}", self.stride);
        let mut vm = Session::guest(&script, &["--mode", "pv", "--no-rng", "--disk", &disk]);
        for _ in 0..=random.below(FLUSHES) {
            vm.expect("ok flushed ");
        }
        // One whole line at least.
        vm.expect("\n");
        #[expect(
            clippy::disallowed_methods,
            reason = "the cut comes at any moment, not after anything that could be waited for"
        )]
        std::thread::sleep(Duration::from_micros(random.below(DELAY)));
        kill(&vm);
        let ended = vm.wait();
        assert_eq!(
            ended.status.signal(),
            Some(Signal::KILL.as_raw()),
            "{}",
            ended.output
        );
        // The last line may be the half of one.
        let (lines, _) = ended.output.rsplit_once('\n').unwrap();
        let mut numbers = lines
            .lines()
            .filter_map(|line| line.trim().strip_prefix("ok flushed "));
        let last = numbers.next_back().unwrap().parse().unwrap();
        assert!(last >= first, "{}", ended.output);
        self.acknowledged = last;
        // What was under way has come to its end when the lock is gone.
        wait_for_lock(&self.path);
    }

    /// Looks for every sector of the journal that was acknowledged. One may have been overwritten since by its
    /// successor in the same place, with or without an acknowledgement; it then has to be whole as well.
    fn check(&self) {
        let bytes = self.read();
        assert_eq!(bytes.len(), DISK);
        let room = u64::try_from(DISK / SECTOR / self.stride).unwrap();
        for (place, bytes) in bytes
            .chunks(SECTOR)
            .step_by(self.stride)
            .enumerate()
            .take(room.try_into().unwrap())
        {
            let first = u64::try_from(place).unwrap() + 1;
            let Some(rounds) = self.acknowledged.checked_sub(first) else {
                break;
            };
            let least = first + rounds / room * room;
            let found = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            assert!(
                found >= least && (found - first).is_multiple_of(room) && bytes == sector(found),
                "{} stride {}: {least} is lost, {} were acknowledged; there is {found}: {bytes:x?}",
                self.format,
                self.stride,
                self.acknowledged,
            );
        }
    }

    fn read(&self) -> Vec<u8> {
        if self.format == "raw" {
            return fs::read(&self.path).unwrap();
        }
        let raw = self.path.with_extension("read");
        let [from, to] = [&self.path, &raw].map(|path| path.to_str().unwrap());
        trivisor_does(&[
            "disk",
            "convert",
            from,
            to,
            "--from-format",
            self.format,
            "--format",
            "raw",
        ]);
        let bytes = fs::read(&raw).unwrap();
        fs::remove_file(&raw).unwrap();
        bytes
    }
}

/// A sector of the guest's journal (guests/bare-metal/src/commands/journal.rs).
fn sector(number: u64) -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    let (words, checksum) = sector.split_at_mut(SECTOR - 8);
    for word in words.chunks_mut(8) {
        word.copy_from_slice(&number.to_le_bytes());
    }
    let hash = words.iter().fold(BASIS, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    });
    checksum.copy_from_slice(&hash.to_le_bytes());
    sector
}

fn trivisor_does(arguments: &[&str]) {
    let ran = Command::new(trivisor()).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{arguments:?}: {ran:?}");
}

/// Kills the VM process, and the control process, which is stopped before, lest it sees that and ends by itself. Waits
/// for the first's end.
fn kill(vm: &Session) {
    let control = vm.id();
    let children = fs::read_to_string(format!("/proc/{control}/task/{control}/children")).unwrap();
    let [child] = children.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("the control process has other children than the VM process: {children:?}");
    };
    let [machine, control] = [child.parse().unwrap(), control.cast_signed()]
        .map(|id| pidfd_open(Pid::from_raw(id).unwrap(), PidfdFlags::empty()).unwrap());
    pidfd_send_signal(&control, Signal::STOP).unwrap();
    pidfd_send_signal(&machine, Signal::KILL).unwrap();
    pidfd_send_signal(&control, Signal::KILL).unwrap();
    let patience = Timespec::try_from(PATIENCE).unwrap();
    let mut ended = [PollFd::new(&machine, PollFlags::IN)];
    assert_eq!(poll(&mut ended, Some(&patience)).unwrap(), 1);
}

/// The kernel closes a file that io_uring was used with a while after its process has gone.
fn wait_for_lock(path: &Path) {
    let file = File::open(path).unwrap();
    let start = Instant::now();
    while flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
        assert!(start.elapsed() < PATIENCE, "still locked");
        std::thread::yield_now();
    }
}

/// What qemu-img makes of it; `None` where it is not installed.
fn qemu_img(arguments: &[&str]) -> Option<Output> {
    match Command::new("qemu-img").args(arguments).output() {
        Ok(ran) => Some(ran),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => panic!("qemu-img: {error}"),
    }
}

/// Clusters that nothing refers to are allowed, wrong references are not. False without the tool.
fn is_checked_by_qemu(path: &Path) -> bool {
    let Some(ran) = qemu_img(&["check", "-f", "qcow2", path.to_str().unwrap()]) else {
        return false;
    };
    // 3: leaks alone.
    assert!(
        matches!(ran.status.code(), Some(0 | 3)),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    true
}

fn cut_again_and_again(kind: Kind, test: &str) {
    if !kvm_wanted(test) {
        return;
    }
    let rounds = if slow_wanted(&format!("{SLOW_ROUNDS} {test}, not {ROUNDS}")) {
        SLOW_ROUNDS
    } else {
        ROUNDS
    };
    let mut random = Random::new();
    let folder = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let (mut sectors, mut unchecked) = (0, 0);
    for image in 0..rounds / kind.rounds_an_image() {
        let path = folder.path().join(image.to_string());
        let stride = STRIDES[image % STRIDES.len()];
        let Some(mut journal) = Journal::new(path, kind, stride) else {
            eprintln!("skipped without qemu-img: {test}");
            return;
        };
        for _ in 0..kind.rounds_an_image() {
            let before = journal.acknowledged;
            journal.cut(&mut random);
            sectors += journal.acknowledged - before;
            if kind != Kind::Raw && !is_checked_by_qemu(&journal.path) {
                unchecked += 1;
            }
            journal.check();
        }
        fs::remove_file(&journal.path).unwrap();
    }
    if unchecked > 0 {
        eprintln!("skipped without qemu-img: whether it finds the images clean after {test}");
    }
    eprintln!(
        "{rounds} {test}, {sectors} sectors acknowledged, {:.1} s",
        start.elapsed().as_secs_f64()
    );
}

#[test]
fn a_raw_image_has_all_that_was_flushed() {
    cut_again_and_again(Kind::Raw, "power cuts of raw images");
}

#[test]
fn a_qcow2_image_has_all_that_was_flushed_and_is_clean() {
    cut_again_and_again(Kind::Qcow2, "power cuts of qcow2 images");
}

#[test]
fn a_qcow2_image_that_grows_tables_has_all_that_was_flushed_and_is_clean() {
    cut_again_and_again(
        Kind::ManyTables,
        "power cuts of qcow2 images of many tables",
    );
}
