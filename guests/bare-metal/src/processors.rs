//! Further processors: woken by INIT and SIPI, they sleep in ring 0 until there is work.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use crate::acpi;
use crate::apic;
use crate::cpu;
use crate::pvh;
use crate::ring0::{self, PROCESSORS};
use crate::work::Work;

/// How long a processor may take to answer, in TSC cycles: some seconds, for hosts that interpret ring 0.
const PATIENCE: u64 = 1 << 36;
/// Pages that the start code may be copied to; the first that the boot structures leave free is taken.
const TRAMPOLINE_PAGES: [u64; 4] = [0x8000, 0x1_0000, 0x5_0000, 0x8_0000];

/// How many have answered, the first processor included.
static ONLINE: AtomicU32 = AtomicU32::new(1);
static IDS: [AtomicU8; PROCESSORS] = [const { AtomicU8::new(0) }; PROCESSORS];
/// Changes when a processor shall look for work.
static CALLS: [AtomicU32; PROCESSORS] = [const { AtomicU32::new(0) }; PROCESSORS];
static DONE: AtomicU32 = AtomicU32::new(0);
static JOB: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// How many processors run, the first included.
pub fn online() -> u32 {
    ONLINE.load(Ordering::SeqCst)
}

/// The APIC ID that a processor reported.
pub fn id(index: usize) -> u8 {
    IDS.get(index).map_or(0, |id| id.load(Ordering::SeqCst))
}

fn trampoline_page() -> u64 {
    let taken = [pvh::address(), pvh::memory_map().unwrap_or(0)];
    let free = |page: &u64| taken.iter().all(|address| address & !0xfff != *page);
    TRAMPOLINE_PAGES
        .into_iter()
        .find(free)
        .unwrap_or(TRAMPOLINE_PAGES[0])
}

/// Starts processors until `total` run; returns how many do.
pub fn start(total: u32) -> u32 {
    apic::enable();
    let own = cpu::apic_id();
    IDS[0].store(own, Ordering::SeqCst);
    let page = trampoline_page();
    ring0::place_trampoline(page, online());
    let listed = acpi::madt().map(|madt| madt.processors());
    match listed {
        Some(ids) => start_each(ids, own, total, page),
        None => start_each(0..=u8::MAX - 1, own, total, page),
    }
    online()
}

fn start_each(ids: impl Iterator<Item = u8>, own: u8, total: u32, page: u64) {
    // Those that run already are the first of the list.
    for id in ids.filter(|id| *id != own).skip(online() as usize - 1) {
        let before = online();
        if before >= total || !start_one(id, page, before) {
            return;
        }
    }
}

fn start_one(id: u8, page: u64, before: u32) -> bool {
    apic::send_init(id);
    apic::send_startup(id, page);
    let start = cpu::tsc();
    while cpu::tsc().wrapping_sub(start) < PATIENCE {
        if online() != before {
            return true;
        }
        core::hint::spin_loop();
    }
    false
}

/// Where ring 0 leaves a processor that was woken.
pub fn run(index: usize) -> ! {
    apic::enable_woken();
    if let (Some(id), Some(call)) = (IDS.get(index), CALLS.get(index)) {
        id.store(cpu::apic_id(), Ordering::SeqCst);
        let mut seen = call.load(Ordering::SeqCst);
        ONLINE.fetch_add(1, Ordering::SeqCst);
        loop {
            ring0::wait(call, seen);
            let now = call.load(Ordering::SeqCst);
            if now != seen {
                seen = now;
                // An exception is counted and shows in the block of this processor.
                let _ = ring0::catch(index, work, 0);
                DONE.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    ring0::stop()
}

extern "C" fn work(_: usize) {
    let [kind, first, second] = [0, 1, 2].map(|index| JOB[index].load(Ordering::SeqCst));
    if let Some(work) = Work::from_words([kind, first, second]) {
        work.run();
    }
}

/// Runs the work on the first `total` processors at once and waits for all. The memory it touches must be mapped.
pub fn parallel(total: u32, work: Work) {
    let others = total.min(online()).saturating_sub(1);
    for (slot, word) in JOB.iter().zip(work.to_words()) {
        slot.store(word, Ordering::SeqCst);
    }
    DONE.store(0, Ordering::SeqCst);
    for (call, id) in CALLS.iter().zip(&IDS).skip(1).take(others as usize) {
        call.fetch_add(1, Ordering::SeqCst);
        apic::send_interrupt(id.load(Ordering::SeqCst), apic::VECTOR_WAKE);
    }
    work.run();
    while DONE.load(Ordering::SeqCst) < others {
        core::hint::spin_loop();
    }
}
