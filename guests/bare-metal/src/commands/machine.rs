//! Ports, clock and the small devices of the board.

use super::Command;
use crate::clock;
use crate::cpu;
use crate::memory;
use crate::port;
use crate::rtc;
use crate::say;
use crate::script::{Failure, Words};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "inb",
        usage: "PORT",
        run: |words| input("inb", 1, words),
    },
    Command {
        name: "inw",
        usage: "PORT",
        run: |words| input("inw", 2, words),
    },
    Command {
        name: "inl",
        usage: "PORT",
        run: |words| input("inl", 4, words),
    },
    Command {
        name: "outb",
        usage: "PORT VALUE",
        run: |words| output("outb", 1, words),
    },
    Command {
        name: "outw",
        usage: "PORT VALUE",
        run: |words| output("outw", 2, words),
    },
    Command {
        name: "outl",
        usage: "PORT VALUE",
        run: |words| output("outl", 4, words),
    },
    Command {
        name: "time",
        usage: "",
        run: time,
    },
    Command {
        name: "tsc",
        usage: "",
        run: tsc,
    },
    Command {
        name: "clock",
        usage: "",
        run: kvm_clock,
    },
    Command {
        name: "pvpanic",
        usage: "[PORT [EVENTS]]",
        run: pvpanic,
    },
    Command {
        name: "debugexit",
        usage: "VALUE [PORT]",
        run: debug_exit,
    },
    Command {
        name: "vmgenid",
        usage: "ADDRESS",
        run: vmgenid,
    },
];

const PVPANIC_PORT: u16 = 0x505;
const PVPANIC_PANICKED: u8 = 1;
const DEBUG_EXIT_PORT: u16 = 0xf4;

fn input(name: &str, width: u8, mut words: Words<'_>) -> Result<(), Failure> {
    let port = words.number()?;
    let value = match width {
        1 => u32::from(port::read_u8(port)),
        2 => u32::from(port::read_u16(port)),
        _ => port::read_u32(port),
    };
    say!("ok {name} port={port:#x} value={value:#x}");
    Ok(())
}

fn output(name: &str, width: u8, mut words: Words<'_>) -> Result<(), Failure> {
    let port = words.number()?;
    match width {
        1 => port::write_u8(port, words.number()?),
        2 => port::write_u16(port, words.number()?),
        _ => port::write_u32(port, words.number()?),
    }
    say!("ok {name} port={port:#x}");
    Ok(())
}

fn time(_: Words<'_>) -> Result<(), Failure> {
    let time = rtc::read().ok_or(Failure::Absent("rtc"))?;
    say!("ok time {time}");
    Ok(())
}

fn tsc(_: Words<'_>) -> Result<(), Failure> {
    let (first, second) = (cpu::tsc(), cpu::tsc());
    if second < first {
        return Err(Failure::Mismatch {
            what: "tsc",
            expected: first,
            found: second,
        });
    }
    say!("ok tsc value={second} hz={}", clock::tsc_hz().unwrap_or(0));
    Ok(())
}

fn kvm_clock(_: Words<'_>) -> Result<(), Failure> {
    let first = clock::kvm_clock().ok_or(Failure::Absent("kvm clock"))?;
    let second = clock::kvm_clock().ok_or(Failure::Absent("kvm clock"))?;
    if second.nanoseconds < first.nanoseconds {
        return Err(Failure::Mismatch {
            what: "clock",
            expected: first.nanoseconds,
            found: second.nanoseconds,
        });
    }
    say!(
        "ok clock ns={} flags={:#x} hz={}",
        second.nanoseconds,
        second.flags,
        second.tsc_hz
    );
    Ok(())
}

fn pvpanic(mut words: Words<'_>) -> Result<(), Failure> {
    let port = words.number_or(PVPANIC_PORT)?;
    let events = words.number_or(PVPANIC_PANICKED)?;
    let offered = port::read_u8(port);
    if offered & events != events {
        return Err(Failure::Mismatch {
            what: "events",
            expected: u64::from(events),
            found: u64::from(offered),
        });
    }
    say!("ok pvpanic port={port:#x} offered={offered:#x}");
    port::write_u8(port, events);
    Ok(())
}

fn debug_exit(mut words: Words<'_>) -> Result<(), Failure> {
    let value = words.number()?;
    let port = words.number_or(DEBUG_EXIT_PORT)?;
    say!("ok debugexit value={value:#x}");
    port::write_u32(port, value);
    Ok(())
}

fn vmgenid(mut words: Words<'_>) -> Result<(), Failure> {
    let address = words.number()?;
    memory::map(address, 16)?;
    let [low, high] = [0, 8].map(|offset| memory::read(address + offset, 8));
    // As the device's users print it: the bytes in their order.
    say!(
        "ok vmgenid {:016x}{:016x}",
        low.swap_bytes(),
        high.swap_bytes()
    );
    Ok(())
}
