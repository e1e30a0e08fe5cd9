//! Memory and MMIO: single accesses, ranges, loops.

use super::Command;
use crate::clock;
use crate::cpu;
use crate::memory;
use crate::processors;
use crate::say;
use crate::script::{Failure, Words};
use crate::work::Work;

pub const COMMANDS: &[Command] = &[
    Command {
        name: "peek",
        usage: "ADDRESS WIDTH",
        run: peek,
    },
    Command {
        name: "poke",
        usage: "ADDRESS WIDTH VALUE",
        run: poke,
    },
    Command {
        name: "fill",
        usage: "ADDRESS LENGTH BYTE",
        run: fill,
    },
    Command {
        name: "sum",
        usage: "ADDRESS LENGTH",
        run: sum,
    },
    Command {
        name: "pmem",
        usage: "ADDRESS LENGTH",
        run: pmem,
    },
    Command {
        name: "pio",
        usage: "PORT COUNT [ring0]",
        run: |words| measure("pio", words),
    },
    Command {
        name: "mmio",
        usage: "ADDRESS COUNT [write]",
        run: |words| measure("mmio", words),
    },
    Command {
        name: "parallel",
        usage: "CPUS pio|mmio|sum ARGUMENTS",
        run: parallel,
    },
];

const PAGE: u64 = 4096;
const LINE: usize = 64;

fn width(words: &mut Words<'_>) -> Result<u8, Failure> {
    match words.number()? {
        width @ (1 | 2 | 4 | 8) => Ok(width),
        _ => Err(Failure::Usage),
    }
}

fn peek(mut words: Words<'_>) -> Result<(), Failure> {
    let address = words.number()?;
    let width = width(&mut words)?;
    memory::map(address, u64::from(width))?;
    say!(
        "ok peek address={address:#x} value={:#x}",
        memory::read(address, width)
    );
    Ok(())
}

fn poke(mut words: Words<'_>) -> Result<(), Failure> {
    let address = words.number()?;
    let width = width(&mut words)?;
    memory::map(address, u64::from(width))?;
    memory::write(address, width, words.number()?);
    say!("ok poke address={address:#x}");
    Ok(())
}

fn fill(mut words: Words<'_>) -> Result<(), Failure> {
    let (address, length): (_, u64) = (words.number()?, words.number()?);
    let value = words.number()?;
    memory::map(address, length)?;
    let start = cpu::tsc();
    memory::fill(address, value, length);
    say!(
        "ok fill address={address:#x} length={length:#x} cycles={}",
        cpu::tsc().wrapping_sub(start)
    );
    Ok(())
}

fn sum(mut words: Words<'_>) -> Result<(), Failure> {
    let (address, length): (_, u64) = (words.number()?, words.number()?);
    memory::map(address, length)?;
    let start = cpu::tsc();
    let sum = memory::sum(address, length);
    let cycles = cpu::tsc().wrapping_sub(start);
    say!("ok sum address={address:#x} length={length:#x} value={sum:#x} cycles={cycles}");
    Ok(())
}

/// Writes each page's own address into its lines, flushes them, reads all back.
fn pmem(mut words: Words<'_>) -> Result<(), Failure> {
    let (address, length): (u64, u64) = (words.number()?, words.number()?);
    memory::map(address, length)?;
    let lines = (address..address.saturating_add(length / PAGE * PAGE)).step_by(LINE);
    for line in lines.clone() {
        memory::write(line, 8, line ^ u64::MAX);
        memory::flush(line);
    }
    for line in lines {
        let found = memory::read(line, 8);
        if found != line ^ u64::MAX {
            return Err(Failure::Mismatch {
                what: "pmem",
                expected: line ^ u64::MAX,
                found,
            });
        }
    }
    say!(
        "ok pmem address={address:#x} length={length:#x} value={:#x}",
        memory::sum(address, length)
    );
    Ok(())
}

fn work(name: &str, words: &mut Words<'_>) -> Result<(Work, u64), Failure> {
    let first: u64 = words.number()?;
    let second = words.number()?;
    let work = match (name, words.word()) {
        ("pio", None) => Work::Ports(u16::try_from(first).map_err(|_| Failure::Usage)?, second),
        ("pio", Some("ring0")) => {
            Work::PortsOfRing0(u16::try_from(first).map_err(|_| Failure::Usage)?, second)
        }
        ("mmio", None) => Work::MmioReads(first, second),
        ("mmio", Some("write")) => Work::MmioWrites(first, second),
        ("sum", None) => Work::Sum(first, second),
        _ => return Err(Failure::Usage),
    };
    match work {
        Work::MmioReads(address, _) | Work::MmioWrites(address, _) => memory::map(address, 4)?,
        Work::Sum(address, length) => memory::map(address, length)?,
        Work::Ports(..) | Work::PortsOfRing0(..) => {}
    }
    Ok((work, second))
}

fn report(name: &str, processors: u32, count: u64, cycles: u64) {
    let each = match clock::tsc_hz() {
        Some(hz) if hz != 0 && count != 0 => {
            u128::from(cycles) * 1_000_000_000 / u128::from(hz) / u128::from(count)
        }
        _ => 0,
    };
    say!("ok {name} cpus={processors} count={count} cycles={cycles} ns_each={each}");
}

fn measure(name: &str, mut words: Words<'_>) -> Result<(), Failure> {
    let (work, count) = work(name, &mut words)?;
    let start = cpu::tsc();
    work.run();
    report(name, 1, count, cpu::tsc().wrapping_sub(start));
    Ok(())
}

fn parallel(mut words: Words<'_>) -> Result<(), Failure> {
    let wanted = words.number()?;
    let name = words.word().ok_or(Failure::Usage)?;
    let (work, count) = work(name, &mut words)?;
    let online = processors::start(wanted);
    if online < wanted {
        return Err(Failure::Mismatch {
            what: "cpus",
            expected: u64::from(wanted),
            found: u64::from(online),
        });
    }
    let start = cpu::tsc();
    processors::parallel(wanted, work);
    report("parallel", wanted, count, cpu::tsc().wrapping_sub(start));
    Ok(())
}
