//! What the loader and the tables tell: start info, memory map, ACPI.

use super::Command;
use crate::acpi::{self, Table};
use crate::pvh;
use crate::say;
use crate::script::{Failure, Words};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "mem",
        usage: "",
        run: mem,
    },
    Command {
        name: "acpi",
        usage: "",
        run: walk,
    },
];

fn mem(_: Words<'_>) -> Result<(), Failure> {
    let magic = pvh::magic()?;
    if magic != u64::from(pvh::MAGIC) {
        return Err(Failure::Mismatch {
            what: "magic",
            expected: u64::from(pvh::MAGIC),
            found: magic,
        });
    }
    let entries = pvh::memory_map_entries()?;
    let mut ram = 0;
    for index in 0..entries {
        let (address, size, kind) = pvh::memory_map_entry(index)?;
        say!("mem address={address:#x} size={size:#x} type={kind}");
        ram += if kind == 1 { size } else { 0 };
    }
    say!(
        "ok mem entries={entries} ram={ram:#x} version={} modules={}",
        pvh::version()?,
        pvh::modules()?
    );
    Ok(())
}

fn check(table: &Table) -> Result<(), Failure> {
    let Table { address, bytes } = table;
    let right = acpi::checksum_is_right(bytes);
    let verdict = if right { "right" } else { "wrong" };
    let (name, revision, length) = (table.signature(), table.revision(), bytes.len());
    say!(
        "acpi {name} address={address:#x} length={length:#x} revision={revision} checksum={verdict}"
    );
    if right {
        Ok(())
    } else {
        Err(Failure::Mismatch {
            what: "checksum",
            expected: 0,
            found: *address,
        })
    }
}

fn walk(_: Words<'_>) -> Result<(), Failure> {
    let rsdp = acpi::rsdp().ok_or(Failure::Absent("rsdp"))?;
    let pointer = crate::memory::bytes(rsdp, 36)?;
    let revision = pointer.get(15).copied().unwrap_or(0);
    let checked = if revision >= 2 {
        pointer
    } else {
        pointer.get(..20).unwrap_or_default()
    };
    if !acpi::checksum_is_right(checked) {
        return Err(Failure::Mismatch {
            what: "rsdp checksum",
            expected: 0,
            found: rsdp,
        });
    }
    say!("acpi RSDP address={rsdp:#x} revision={revision} checksum=right");
    check(&acpi::root().ok_or(Failure::Absent("root table"))?)?;
    let mut tables = 0;
    for table in acpi::tables() {
        check(&table)?;
        tables += 1;
    }
    fixed()?;
    interrupts();
    say!("ok acpi tables={tables}");
    Ok(())
}

fn fixed() -> Result<(), Failure> {
    let fadt = acpi::fadt().ok_or(Failure::Absent("FADT"))?;
    say!(
        "acpi fadt flags={:#x} hardware_reduced={}",
        fadt.flags(),
        fadt.hardware_reduced()
    );
    if let Some(dsdt) = fadt.dsdt() {
        check(&dsdt)?;
    }
    if let Some((register, value)) = fadt.reset() {
        say!(
            "acpi fadt reset space={} address={:#x} value={value:#x}",
            register.space,
            register.address
        );
    }
    if let Some(register) = fadt.sleep_control() {
        say!(
            "acpi fadt sleep_control space={} address={:#x}",
            register.space,
            register.address
        );
    }
    if let Some(port) = fadt.pm1a_control() {
        say!("acpi fadt pm1a_control={port:#x}");
    }
    if let Some(kind) = fadt.s5_type() {
        say!("acpi s5 type={kind}");
    }
    Ok(())
}

fn interrupts() {
    let Some(madt) = acpi::madt() else { return };
    say!(
        "acpi madt local_apic={:#x} flags={:#x}",
        madt.0.number(36, 4),
        madt.0.number(40, 4)
    );
    for (kind, structure) in madt.structures() {
        match (kind, structure) {
            (0, [_, _, uid, id, flags, ..]) => {
                say!("acpi madt processor uid={uid} id={id} flags={flags}")
            }
            (1, [_, _, id, _, address @ ..]) => {
                let word = |at: usize| {
                    address
                        .get(at..at + 4)
                        .and_then(|bytes| bytes.try_into().ok())
                };
                let [base, first] =
                    [word(0), word(4)].map(|bytes| bytes.map_or(0, u32::from_le_bytes));
                say!("acpi madt io_apic id={id} address={base:#x} first={first}");
            }
            (2, [_, _, _, irq, pin, _, _, _, flags, _]) => {
                say!("acpi madt override irq={irq} pin={pin} flags={flags}");
            }
            _ => say!("acpi madt structure type={kind} length={}", structure.len()),
        }
    }
}
