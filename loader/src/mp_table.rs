//! The MP table: processors and interrupts for a kernel that reads no ACPI.
//!
//! Source: Intel, MultiProcessor Specification, version 1.4 (242016-006), chapter 4.
//!
//! | entry | section | says |
//! |---|---|---|
//! | floating pointer | 4.1 | where the table is |
//! | header | 4.2 | where the local APICs are |
//! | 0 | 4.3.1 | a processor |
//! | 1 | 4.3.2 | the one bus: ISA |
//! | 2 | 4.3.3 | the I/O APIC |
//! | 3 | 4.3.4 | a pin of it: the ISA interrupt of its number, those beyond the 16 of a PC too |
//! | 4 | 4.3.5 | NMI at the second pin of every local APIC |
//!
//! **Not here**: a pair of 8259 (no ExtINT, no IMCR), PCI buses: without ACPI, functions on PCI have MSI-X alone.

use acpi_tables::AmlSink;

use crate::acpi::IoApic;

#[cfg(test)]
mod tests;

const FLOATING_POINTER: usize = 16;
const SPECIFICATION: u8 = 4;
const ISA: u8 = 0;
/// An integrated local APIC, an I/O APIC: their version registers.
const LOCAL_APIC_VERSION: u8 = 0x14;
const IO_APIC_VERSION: u8 = 0x11;
/// Bit 0 enables a processor or an I/O APIC, bit 1 marks the processor that starts.
const ENABLED: u8 = 1;
const BOOT: u8 = 2;
/// Processor features, as CPUID has them: FPU, APIC.
const FEATURES: u32 = 1 | 1 << 9;
/// Interrupt type NMI; the others are vectored.
const VECTORED: u8 = 0;
const NMI: u8 = 1;
/// Polarity in bits 1:0, trigger mode in bits 3:2.
const EDGE_HIGH: u16 = 0b01_01;
const LEVEL_HIGH: u16 = 0b11_01;

/// What the table is to say.
#[derive(Debug, Clone, Copy)]
pub struct Description {
    /// vCPUs. The identifier of each one's local APIC is its index.
    pub cpus: u8,
    /// Guest-physical address of the local APICs.
    pub local_apic: u32,
    /// The I/O APIC.
    pub io_apic: IoApic,
    /// Its pins.
    pub pins: u8,
    /// Those of its pins that are level-triggered: bit n is pin n. The others are edge-triggered; all are active high.
    pub level: u32,
}

/// Builds floating pointer and table, to be copied to `address`: a multiple of 16, between 0xf0000 and 0xfffff or in
/// the first KiB of the extended BIOS data area, where kernels look for them (4).
#[must_use]
pub fn build(description: &Description, address: u32) -> Vec<u8> {
    let table = table(description);
    let mut bytes = Vec::with_capacity(FLOATING_POINTER + table.len());
    bytes.vec(b"_MP_");
    bytes.dword(address + 16);
    bytes.vec(&[1, SPECIFICATION, 0]); // paragraphs, specification, checksum
    bytes.vec(&[0; 5]); // the table is not a default one; virtual wire mode
    set_checksum(&mut bytes, 10);
    bytes.vec(&table);
    bytes
}

fn table(description: &Description) -> Vec<u8> {
    let (entries, count) = entries(description);
    const HEADER: u16 = 44;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "at most 255 processors and 255 pins"
    )]
    let length = HEADER + entries.len() as u16;
    let mut table = Vec::new();
    table.vec(b"PCMP");
    table.word(length);
    table.vec(&[SPECIFICATION, 0]); // checksum
    table.vec(b"TRIVISORTRIVISOR    "); // OEM, product
    table.dword(0); // OEM table
    table.word(0); // its bytes
    table.word(count);
    table.dword(description.local_apic);
    table.dword(0); // extended entries, their checksum
    table.vec(&entries);
    set_checksum(&mut table, 7);
    table
}

/// The entries in the order of their types, and how many they are.
fn entries(description: &Description) -> (Vec<u8>, u16) {
    let Description { cpus, io_apic, .. } = *description;
    let mut entries = Vec::new();
    for cpu in 0..cpus {
        let flags = if cpu == 0 { ENABLED | BOOT } else { ENABLED };
        entries.vec(&[0, cpu, LOCAL_APIC_VERSION, flags]);
        entries.dword(0); // signature: CPUID's
        entries.dword(FEATURES);
        entries.qword(0);
    }
    entries.vec(&[1, ISA]);
    entries.vec(b"ISA   ");
    entries.vec(&[2, io_apic.id, IO_APIC_VERSION, ENABLED]);
    entries.dword(io_apic.address);
    for pin in 0..description.pins {
        let is_level = description.level.checked_shr(pin.into()).unwrap_or(0) & 1 == 1;
        entries.vec(&[3, VECTORED]);
        entries.word(if is_level { LEVEL_HIGH } else { EDGE_HIGH });
        entries.vec(&[ISA, pin, io_apic.id, pin]);
    }
    entries.vec(&[4, NMI]);
    entries.word(0); // as the bus has it
    entries.vec(&[ISA, 0, 0xff, 1]); // to LINT1 of all
    (entries, u16::from(cpus) + u16::from(description.pins) + 3)
}

/// Makes the bytes add up to 0 by the one at `at`, which is 0.
fn set_checksum(bytes: &mut [u8], at: usize) {
    let sum = bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(byte) = bytes.get_mut(at) {
        *byte = sum.wrapping_neg();
    }
}
