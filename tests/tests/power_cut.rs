//! Power cuts: a VM is killed while its guest writes a journal. What a flush has acknowledged is in the image.
//!
//! The host goes on, and so its page cache does: what may be lost is what the VMM itself holds back, data that it has
//! not written yet and tables of qcow2.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use trivisor_tests::{Session, kvm_wanted, slow_wanted, trivisor};

/// For each format.
const ROUNDS: u32 = 20;
const SLOW_ROUNDS: u32 = 200;
/// Rounds on one image: the journal goes on behind what was acknowledged, on what the cut has left.
const ROUNDS_AN_IMAGE: u32 = 4;
const SECTOR: usize = 512;
/// Bytes of a disk: 256 clusters of a qcow2 image.
const DISK: usize = 16 << 20;
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

/// An image with a journal.
struct Journal {
    path: PathBuf,
    format: &'static str,
    stride: usize,
    /// The last sector that a flush has acknowledged, in any round.
    acknowledged: u64,
}

impl Journal {
    fn new(path: PathBuf, format: &'static str, stride: usize) -> Self {
        let size = DISK.to_string();
        let image = path.to_str().unwrap();
        trivisor_does(&["disk", "create", image, &size, "--format", format]);
        Self {
            path,
            format,
            stride,
            acknowledged: 0,
        }
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
        trivisor_does(&["disk", "convert", from, to, "--format", "raw"]);
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

/// Kills the VM process, then the control process before it can do anything about that, and waits for the first's end.
fn kill(vm: &Session) {
    let control = vm.id();
    let children = fs::read_to_string(format!("/proc/{control}/task/{control}/children")).unwrap();
    let [child] = children.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("the control process has other children than the VM process: {children:?}");
    };
    let [machine, control] = [child.parse().unwrap(), control.cast_signed()]
        .map(|id| pidfd_open(Pid::from_raw(id).unwrap(), PidfdFlags::empty()).unwrap());
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

/// Clusters that nothing refers to are allowed, wrong references are not. False without the tool.
fn is_checked_by_qemu(path: &Path) -> bool {
    let ran = Command::new("qemu-img")
        .args(["check", "-f", "qcow2"])
        .arg(path)
        .output();
    match ran {
        Ok(ran) => {
            // 3: leaks alone.
            assert!(matches!(ran.status.code(), Some(0 | 3)), "{ran:?}");
            true
        }
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => panic!("qemu-img: {error}"),
    }
}

fn cut_again_and_again(format: &'static str) {
    let test = format!("power cuts of {format} images");
    if !kvm_wanted(&test) {
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
    let (mut sectors, mut checked) = (0, 0);
    let mut journal = None;
    for round in 0..rounds {
        if round % ROUNDS_AN_IMAGE == 0 {
            let path = folder.path().join(format!("{round}.{format}"));
            let image = round / ROUNDS_AN_IMAGE;
            let stride = STRIDES[usize::try_from(image).unwrap() % STRIDES.len()];
            journal = Some(Journal::new(path, format, stride));
        }
        let journal = journal.as_mut().unwrap();
        let before = journal.acknowledged;
        journal.cut(&mut random);
        sectors += journal.acknowledged - before;
        if format == "qcow2" {
            checked += u32::from(is_checked_by_qemu(&journal.path));
        }
        journal.check();
    }
    if format == "qcow2" && checked == 0 {
        eprintln!("skipped without qemu-img: whether it finds {test} clean");
    }
    eprintln!(
        "{format}: {rounds} cuts, {sectors} sectors acknowledged, {:.1} s",
        start.elapsed().as_secs_f64()
    );
}

#[test]
fn a_raw_image_has_all_that_was_flushed() {
    cut_again_and_again("raw");
}

#[test]
fn a_qcow2_image_has_all_that_was_flushed_and_is_clean() {
    cut_again_and_again("qcow2");
}
