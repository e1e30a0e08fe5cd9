//! Processors: identification, registers, start-up of the others.

use super::Command;
use crate::cpu;
use crate::processors;
use crate::ring0;
use crate::say;
use crate::script::{Failure, Words};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "cpuid",
        usage: "LEAF SUBLEAF",
        run: cpuid,
    },
    Command {
        name: "rdmsr",
        usage: "REGISTER",
        run: read_msr,
    },
    Command {
        name: "wrmsr",
        usage: "REGISTER VALUE",
        run: write_msr,
    },
    Command {
        name: "cr",
        usage: "REGISTER",
        run: control,
    },
    Command {
        name: "cpus",
        usage: "TOTAL",
        run: cpus,
    },
    Command {
        name: "exceptions",
        usage: "",
        run: exceptions,
    },
];

fn cpuid(mut words: Words<'_>) -> Result<(), Failure> {
    let (leaf, subleaf) = (words.number()?, words.number_or(0)?);
    let r = cpu::cpuid(leaf, subleaf);
    say!(
        "ok cpuid eax={:#x} ebx={:#x} ecx={:#x} edx={:#x}",
        r.eax,
        r.ebx,
        r.ecx,
        r.edx
    );
    Ok(())
}

fn read_msr(mut words: Words<'_>) -> Result<(), Failure> {
    let register = words.number()?;
    say!(
        "ok rdmsr register={register:#x} value={:#x}",
        ring0::read_msr(register)
    );
    Ok(())
}

fn write_msr(mut words: Words<'_>) -> Result<(), Failure> {
    let register = words.number()?;
    ring0::write_msr(register, words.number()?);
    say!("ok wrmsr register={register:#x}");
    Ok(())
}

fn control(mut words: Words<'_>) -> Result<(), Failure> {
    let register = words.number()?;
    let value = ring0::read_control(register).ok_or(Failure::Usage)?;
    say!("ok cr register={register} value={value:#x}");
    Ok(())
}

fn cpus(mut words: Words<'_>) -> Result<(), Failure> {
    let wanted = words.number()?;
    let online = processors::start(wanted);
    for index in 0..online as usize {
        say!("cpus index={index} id={}", processors::id(index));
    }
    if online < wanted {
        return Err(Failure::Mismatch {
            what: "cpus",
            expected: u64::from(wanted),
            found: u64::from(online),
        });
    }
    say!("ok cpus online={online}");
    Ok(())
}

fn exceptions(_: Words<'_>) -> Result<(), Failure> {
    let total: u64 = (0..processors::online() as usize)
        .map(ring0::exceptions)
        .sum();
    say!("ok exceptions count={total}");
    Ok(())
}
