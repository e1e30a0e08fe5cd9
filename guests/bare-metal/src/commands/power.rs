//! Every way in which the machine ends or stands still.

use core::sync::atomic::Ordering;

use super::Command;
use crate::acpi;
use crate::apic;
use crate::cpu;
use crate::ioapic::IoApic;
use crate::memory;
use crate::port;
use crate::ring0;
use crate::say;
use crate::script::{Failure, Words};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "poweroff",
        usage: "[S5_TYPE]",
        run: poweroff,
    },
    Command {
        name: "powerbutton",
        usage: "PIN [EVENT_ADDRESS] [level]",
        run: powerbutton,
    },
    Command {
        name: "reset",
        usage: "",
        run: reset,
    },
    Command {
        name: "kbdreset",
        usage: "",
        run: keyboard_reset,
    },
    Command {
        name: "triple",
        usage: "",
        run: triple,
    },
    Command {
        name: "exit",
        usage: "",
        run: exit,
    },
    Command {
        name: "spin",
        usage: "",
        run: |_| spin(),
    },
    Command {
        name: "portloop",
        usage: "[PORT]",
        run: port_loop,
    },
    Command {
        name: "halt",
        usage: "",
        run: |_| halt(),
    },
    Command {
        name: "stop",
        usage: "",
        run: |_| stop(),
    },
];

/// Sleep control register (4.8.3.7): SLP_TYP in bits 4:2, SLP_EN.
const SLEEP_TYPE_SHIFT: u8 = 2;
const SLEEP_ENABLE: u8 = 1 << 5;
/// PM1 control (4.8.3.2.1): SLP_TYP in bits 12:10, SLP_EN.
const PM1_SLEEP_TYPE_SHIFT: u16 = 10;
const PM1_SLEEP_ENABLE: u16 = 1 << 13;
/// What the machine may take to end after it was told to, in TSC cycles.
const GRACE: u64 = 1 << 30;
const KEYBOARD_COMMAND: u16 = 0x64;
const PULSE_RESET: u8 = 0xfe;
/// A port that no device has, where a PC shows POST codes.
const POST: u16 = 0x80;
const VECTOR_BUTTON: u8 = 0x39;

fn poweroff(mut words: Words<'_>) -> Result<(), Failure> {
    let fadt = acpi::fadt().ok_or(Failure::Absent("FADT"))?;
    let kind: u8 = words.number_or(fadt.s5_type().unwrap_or(u8::MAX))?;
    if kind > 7 {
        return Err(Failure::Absent("S5"));
    }
    if let Some(register) = fadt.sleep_control() {
        say!("ok poweroff");
        register.write(kind << SLEEP_TYPE_SHIFT | SLEEP_ENABLE)?;
    } else {
        let port = fadt
            .pm1a_control()
            .ok_or(Failure::Absent("sleep control"))?;
        say!("ok poweroff");
        port::write_u16(
            port,
            u16::from(kind) << PM1_SLEEP_TYPE_SHIFT | PM1_SLEEP_ENABLE,
        );
    }
    cpu::delay(GRACE);
    Err(Failure::Absent("power"))
}

/// Waits for the generic event device, shows its event register if told where that is (below 64 KiB: in port
/// space), and powers off.
fn powerbutton(mut words: Words<'_>) -> Result<(), Failure> {
    let pin = words.number()?;
    let event: u64 = words.number_or(0)?;
    let level = words.word() == Some("level");
    let ioapic = IoApic::find().ok_or(Failure::Absent("io_apic"))?;
    apic::enable();
    let count = ring0::interrupts(VECTOR_BUTTON);
    let seen = count.load(Ordering::SeqCst);
    ring0::set_manual_eoi(VECTOR_BUTTON, level);
    ioapic.route(pin, VECTOR_BUTTON, level);
    say!("powerbutton waiting pin={pin}");
    while count.load(Ordering::SeqCst) == seen {
        ring0::wait(count, seen);
    }
    let events = match u16::try_from(event) {
        Ok(0) => 0,
        Ok(event) => u64::from(port::read_u32(event)),
        Err(_) => {
            memory::map(event, 4)?;
            memory::read(event, 4)
        }
    };
    ioapic.mask(pin);
    if level {
        apic::end_of_interrupt();
        ring0::set_manual_eoi(VECTOR_BUTTON, false);
    }
    say!("ok powerbutton events={events:#x}");
    poweroff(Words::default())
}

fn reset(_: Words<'_>) -> Result<(), Failure> {
    let fadt = acpi::fadt().ok_or(Failure::Absent("FADT"))?;
    let (register, value) = fadt.reset().ok_or(Failure::Absent("reset register"))?;
    say!("ok reset");
    register.write(value)?;
    cpu::delay(GRACE);
    Err(Failure::Absent("reset"))
}

fn keyboard_reset(_: Words<'_>) -> Result<(), Failure> {
    say!("ok kbdreset");
    port::write_u8(KEYBOARD_COMMAND, PULSE_RESET);
    cpu::delay(GRACE);
    Err(Failure::Absent("keyboard controller"))
}

fn triple(_: Words<'_>) -> Result<(), Failure> {
    say!("ok triple");
    ring0::triple_fault();
    Ok(())
}

fn exit(_: Words<'_>) -> Result<(), Failure> {
    // What fails here is what the fallback is for.
    let _ = poweroff(Words::default());
    keyboard_reset(Words::default())
}

fn spin() -> ! {
    say!("ok spin");
    loop {
        core::hint::spin_loop();
    }
}

fn port_loop(mut words: Words<'_>) -> Result<(), Failure> {
    let port = words.number_or(POST)?;
    say!("ok portloop port={port:#x}");
    loop {
        port::write_u8(port, 0);
    }
}

/// With interrupts on and the timer off.
fn halt() -> ! {
    apic::enable();
    apic::stop_timer();
    say!("ok halt");
    let woken = ring0::interrupts(VECTOR_BUTTON);
    loop {
        ring0::wait(woken, woken.load(Ordering::SeqCst));
    }
}

/// With interrupts off.
fn stop() -> ! {
    say!("ok stop");
    ring0::stop()
}
