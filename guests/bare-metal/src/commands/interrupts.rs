//! The local APIC's timer and the I/O APIC.

use core::sync::atomic::Ordering;

use super::Command;
use super::uart::raise_transmitter;
use crate::apic;
use crate::cpu;
use crate::ioapic::{self, IoApic};
use crate::ring0;
use crate::say;
use crate::script::{Failure, Words};
use crate::uart::IRQ;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "idle",
        usage: "MILLISECONDS",
        run: idle,
    },
    Command {
        name: "timer",
        usage: "HZ COUNT",
        run: timer,
    },
    Command {
        name: "ioapic",
        usage: "",
        run: io_apic,
    },
];

const VECTOR: u8 = 0x34;

fn idle(mut words: Words<'_>) -> Result<(), Failure> {
    let milliseconds = words.number()?;
    apic::enable();
    let start = cpu::tsc();
    let wakes = apic::idle(milliseconds);
    say!(
        "ok idle ms={milliseconds} wakes={wakes} cycles={}",
        cpu::tsc().wrapping_sub(start)
    );
    Ok(())
}

/// Computes in ring 3 until enough ticks of the periodic timer have interrupted it.
fn timer(mut words: Words<'_>) -> Result<(), Failure> {
    let (hz, count): (u64, u32) = (words.number()?, words.number()?);
    apic::enable();
    let start = cpu::tsc();
    let ticks = apic::start_periodic(hz);
    let first = ticks.load(Ordering::SeqCst);
    ring0::set_interrupts(true);
    while ticks.load(Ordering::SeqCst).wrapping_sub(first) < count {
        core::hint::spin_loop();
    }
    ring0::set_interrupts(false);
    apic::stop_timer();
    say!(
        "ok timer hz={hz} count={count} cycles={}",
        cpu::tsc().wrapping_sub(start)
    );
    Ok(())
}

fn io_apic(_: Words<'_>) -> Result<(), Failure> {
    let ioapic = IoApic::find().ok_or(Failure::Absent("io_apic"))?;
    apic::enable();
    let (base, id, version, last) = (
        ioapic.base,
        ioapic.id(),
        ioapic.version(),
        ioapic.last_pin(),
    );
    say!("ioapic base={base:#x} id={id:#x} version={version:#x} last_pin={last}");
    ioapic.mask(last);
    let entry = ioapic.entry(last);
    if entry & 1 << 16 == 0 {
        return Err(Failure::Mismatch {
            what: "mask",
            expected: 1 << 16,
            found: entry,
        });
    }
    let pin = ioapic::pin_of(IRQ);
    ioapic.route(pin, VECTOR, false);
    let entry = ioapic.entry(pin);
    let expected = u64::from(VECTOR) | u64::from(cpu::apic_id()) << 56;
    // Delivery status and remote IRR are the chip's own.
    if entry & !(1 << 12 | 1 << 14) != expected {
        return Err(Failure::Mismatch {
            what: "entry",
            expected,
            found: entry,
        });
    }
    let count = ring0::interrupts(VECTOR);
    let before = count.load(Ordering::SeqCst);
    let taken = raise_transmitter(VECTOR);
    ioapic.mask(pin);
    let after = count.load(Ordering::SeqCst);
    if !taken || after != before.wrapping_add(1) {
        return Err(Failure::Mismatch {
            what: "interrupts",
            expected: 1,
            found: u64::from(after.wrapping_sub(before)),
        });
    }
    if raise_transmitter(VECTOR) {
        return Err(Failure::Mismatch {
            what: "masked interrupts",
            expected: 0,
            found: 1,
        });
    }
    say!("ok ioapic pin={pin} interrupts=1");
    Ok(())
}
