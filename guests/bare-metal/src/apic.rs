//! The local APIC in xAPIC mode (Intel SDM volume 3, chapter 12), by MMIO from ring 3.

use core::sync::atomic::Ordering;

use crate::cpu;
use crate::memory;
use crate::port;
use crate::ring0;

/// Where the registers are after reset.
pub const BASE: u64 = 0xfee0_0000;
/// Wakes a sleeping processor.
pub const VECTOR_WAKE: u8 = 0x41;
const VECTOR_TIMER: u8 = 0xf0;
const VECTOR_SPURIOUS: u64 = 0xff;

const EOI: u64 = 0xb0;
const SPURIOUS: u64 = 0xf0;
const IN_SERVICE: u64 = 0x100;
const ICR_LOW: u64 = 0x300;
const ICR_HIGH: u64 = 0x310;
const LVT_TIMER: u64 = 0x320;
const LVT_LINT0: u64 = 0x350;
const TIMER_INITIAL: u64 = 0x380;
const TIMER_DIVIDE: u64 = 0x3e0;

const ICR_PENDING: u64 = 1 << 12;
const ICR_INIT: u64 = 0x4500;
const ICR_STARTUP: u64 = 0x4600;
const ICR_FIXED: u64 = 0x4000;
const LVT_MASKED: u64 = 1 << 16;
const LVT_PERIODIC: u64 = 1 << 17;
const DIVIDE_BY_1: u64 = 0xb;
const SOFTWARE_ENABLE: u64 = 1 << 8;

/// The timer's rate where CPUID leaf 0x40000010 does not tell: KVM's and QEMU's.
const DEFAULT_KHZ: u32 = 1_000_000;

fn write(register: u64, value: u64) {
    memory::write(BASE + register, 4, value);
}

/// Switches this processor's APIC on, its legacy input off, and the 8259s (if any) to silence.
pub fn enable() {
    if memory::map(BASE, 0x1000).is_ok() {
        port::write_u8(0x21, 0xff);
        port::write_u8(0xa1, 0xff);
        write(LVT_LINT0, LVT_MASKED);
        write(SPURIOUS, SOFTWARE_ENABLE | VECTOR_SPURIOUS);
    }
}

/// The same for a processor that was woken: the page is mapped, the 8259s are silent.
pub fn enable_woken() {
    write(SPURIOUS, SOFTWARE_ENABLE | VECTOR_SPURIOUS);
}

/// Ends the interrupt in service.
pub fn end_of_interrupt() {
    write(EOI, 0);
}

/// Whether an interrupt has been delivered and not ended.
pub fn is_in_service(vector: u8) -> bool {
    let word = BASE + IN_SERVICE + u64::from(vector / 32) * 16;
    memory::read(word, 4) & 1 << (vector % 32) != 0
}

fn send(destination: u8, command: u64) {
    write(ICR_HIGH, u64::from(destination) << 24);
    write(ICR_LOW, command);
    while memory::read(BASE + ICR_LOW, 4) & ICR_PENDING != 0 {
        core::hint::spin_loop();
    }
}

/// Makes a processor wait for [`send_startup`].
pub fn send_init(destination: u8) {
    send(destination, ICR_INIT);
}

/// Starts a processor at a page below 1 MiB.
pub fn send_startup(destination: u8, page: u64) {
    send(destination, ICR_STARTUP | page >> 12);
}

/// Sends a fixed interrupt.
pub fn send_interrupt(destination: u8, vector: u8) {
    send(destination, ICR_FIXED | u64::from(vector));
}

/// Timer counts a millisecond.
fn khz() -> u32 {
    match cpu::cpuid(0x4000_0000, 0) {
        top if top.eax >= 0x4000_0010 && top.eax < 0x4000_1000 => {
            match cpu::cpuid(0x4000_0010, 0).ebx {
                0 => DEFAULT_KHZ,
                khz => khz,
            }
        }
        _ => DEFAULT_KHZ,
    }
}

fn arm(mode: u64, count: u64) {
    write(TIMER_DIVIDE, DIVIDE_BY_1);
    write(LVT_TIMER, mode | u64::from(VECTOR_TIMER));
    write(TIMER_INITIAL, count.clamp(1, u64::from(u32::MAX)));
}

/// Stops the timer.
pub fn stop_timer() {
    write(LVT_TIMER, LVT_MASKED);
    write(TIMER_INITIAL, 0);
}

/// Starts the periodic timer and returns the counter of its interrupts.
pub fn start_periodic(hz: u64) -> &'static core::sync::atomic::AtomicU32 {
    arm(LVT_PERIODIC, u64::from(khz()) * 1000 / hz.max(1));
    ring0::interrupts(VECTOR_TIMER)
}

/// Halts until a vector's counter differs from `seen`; false when a second (by the timer) went by.
pub fn wait_for(vector: u8, seen: u32) -> bool {
    let word = ring0::interrupts(vector);
    let ticks = ring0::interrupts(VECTOR_TIMER);
    let start = ticks.load(Ordering::SeqCst);
    arm(0, u64::from(khz()) * 1000);
    loop {
        if word.load(Ordering::SeqCst) != seen {
            stop_timer();
            return true;
        }
        if ticks.load(Ordering::SeqCst) != start {
            return false;
        }
        ring0::wait(word, seen);
    }
}

/// Halts for a time, a second at most at once; returns how often something woke the processor.
pub fn idle(milliseconds: u64) -> u64 {
    let ticks = ring0::interrupts(VECTOR_TIMER);
    let mut left = milliseconds;
    let mut wakes = 0;
    while left > 0 {
        let part = left.min(1000);
        let seen = ticks.load(Ordering::SeqCst);
        arm(0, u64::from(khz()) * part);
        while ticks.load(Ordering::SeqCst) == seen {
            ring0::wait(ticks, seen);
            wakes += 1;
        }
        left -= part;
    }
    stop_timer();
    wakes
}
