//! Memory that goes back to the host, seen from the host.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::{Duration, Instant};

use trivisor_tests::{Session, trivisor};

const MIB: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(600);
/// A kernel's parameter: blocks of this order and above are reported when they are free; of 11 there are none.
const ORDER: &str = "/sys/module/page_reporting/parameters/page_reporting_order";

/// Resident bytes of the largest of a process's descendants: the VM process's, by far, for it has guest RAM.
struct Resident(u32);

impl Resident {
    fn of(vm: &Session) -> Self {
        let below = descendants(vm.id());
        let largest = below.into_iter().max_by_key(|process| resident(*process));
        Self(largest.unwrap())
    }

    fn bytes(&self) -> u64 {
        resident(self.0)
    }

    /// Waits until `enough` holds of its bytes, and returns them.
    #[expect(
        clippy::disallowed_methods,
        reason = "nobody tells when the host has a page back"
    )]
    fn wait(&self, what: &str, enough: impl Fn(u64) -> bool) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let bytes = self.bytes();
            if enough(bytes) {
                return bytes;
            }
            assert!(
                Instant::now() < deadline,
                "{what}: {} MiB are resident",
                bytes / MIB
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The number behind this name in a process's status.
fn status(process: u32, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

fn resident(process: u32) -> u64 {
    status(process, "VmRSS:").map_or(0, |kib| kib << 10)
}

fn descendants(of: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name();
        let process = name.to_str()?.parse().ok()?;
        Some((process, u32::try_from(status(process, "PPid:")?).unwrap()))
    });
    let processes: Vec<(u32, u32)> = processes.collect();
    let mut found = vec![of];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let children = processes.iter().filter(|process| process.1 == parent);
        found.extend(children.map(|process| process.0));
        at += 1;
    }
    found.split_off(1)
}

/// Runs a verb of `trivisor`.
fn verb(words: &[&str]) {
    let done = Command::new(trivisor()).args(words).status();
    assert!(done.unwrap().success(), "{words:?}");
}

/// Makes all of the machine's RAM resident, and returns how much then is: to each page is written what it holds. The guest
/// would take as long to use its memory as it takes to boot, where its kernel is emulated.
fn populate(name: &str, resident: &Resident, ram: u64) -> u64 {
    let process = resident.0;
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let ranges = maps.lines().map(|line| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        [start, end].map(|address| u64::from_str_radix(address, 16).unwrap())
    });
    let [start, end] = ranges.max_by_key(|[start, end]| end - start).unwrap();
    assert_eq!(end - start, ram, "guest RAM is the largest mapping");
    let mut options = fs::File::options();
    let options = options.read(true).write(true);
    let memory = options.open(format!("/proc/{process}/mem")).unwrap();
    verb(&["pause", name]);
    for page in (start..end).step_by(4096) {
        let mut byte = [0];
        memory.read_exact_at(&mut byte, page).unwrap();
        memory.write_all_at(&byte, page).unwrap();
    }
    let bytes = resident.bytes();
    verb(&["resume", name]);
    assert!(bytes >= ram, "{} MiB are resident", bytes / MIB);
    bytes
}

/// The number behind this name in the guest's /proc/meminfo, in MiB.
fn meminfo(vm: &mut Session, name: &str) -> u64 {
    let line = vm.shell(&format!("grep {name}: /proc/meminfo"));
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() >> 10
}

/// The guest, called `name` and of `ram` MiB, gives memory when it is asked for it, gets it back, and gives what is free
/// unasked.
pub(crate) fn give_back(vm: &mut Session, name: &str, ram: u64) {
    let resident = Resident::of(vm);
    // What is free would go back by itself.
    assert_eq!(vm.shell(&format!("echo 11 > {ORDER}; cat {ORDER}")), "11");
    let full = populate(name, &resident, ram * MIB);

    let free = meminfo(vm, "MemFree");
    let inflated = free * 2 / 3;
    verb(&["balloon", name, &format!("{inflated}M")]);
    let (least, most) = (inflated * MIB / 10 * 9, inflated * MIB / 10 * 11);
    resident.wait("the balloon is filled", |now| now + least <= full);
    // It goes on, with what is left.
    vm.shell("sleep 2");
    let low = resident.bytes();
    let left = meminfo(vm, "MemFree");
    assert!(full - low <= most, "{} MiB went", (full - low) / MIB);
    assert!(
        left + inflated * 9 / 10 <= free,
        "{left} MiB of {free} are free"
    );

    verb(&["balloon", name, "0"]);
    let deadline = Instant::now() + PATIENCE;
    while meminfo(vm, "MemFree") < left + inflated * 9 / 10 {
        assert!(Instant::now() < deadline, "the balloon is not emptied");
    }

    // Pages are reported from the next one on that is freed: what is free in blocks of 2^6 and was not reported before.
    // Linux reports only where 32 blocks are free beyond its reserve, which by its own order is all of this guest's RAM.
    let full_again = populate(name, &resident, ram * MIB);
    // With the balloon filled there was not as much.
    let touched = left + inflated / 4;
    let answer = vm.shell(&format!("echo 6 > {ORDER}; probe touch {touched}"));
    assert_eq!(answer, format!("touched {} bytes", touched * MIB));
    let enough = inflated / 2 * MIB;
    let reported = resident.wait("free pages are reported", |now| now + enough <= full_again);
    eprintln!(
        "MiB resident, of {ram} MiB RAM: {}; {} with {inflated} of {free} free ones in the balloon; {} again; \
         {} after reports",
        full / MIB,
        low / MIB,
        full_again / MIB,
        reported / MIB
    );
}
