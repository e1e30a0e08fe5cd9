//! ACPI tables of a hardware-reduced machine, built from a description of it; those of a PC stand in [`pc`].
//!
//! Source: UEFI Forum, Advanced Configuration and Power Interface Specification, release 6.5, chapter 5.
//!
//! | table | section | revision | says |
//! |---|---|---|---|
//! | RSDP | 5.2.5.3 | 2 | where the XSDT is |
//! | XSDT | 5.2.8 | 1 | where the others are |
//! | FADT | 5.2.9 | 6.5 | sleep and reset registers, what of a PC is missing, where the DSDT is |
//! | MADT | 5.2.12 | 6 | local APICs, I/O APIC |
//! | MCFG | PCI Firmware Specification 3.0, 4.1.2 | 1 | PCI's configuration space in memory; only where there is any |
//! | NFIT | 5.2.25 | 1 | persistent memory; only where there is any |
//! | DSDT | 5.2.11.1 | 2 | the caller's AML |
//!
//! No device is known here: the board hands in its namespace as AML, and addresses.
//!
//! **Not here**: FACS (optional on such a machine), interrupt overrides (ISA interrupts are the pins of
//! their numbers, edge-triggered and active high, which is the default), processor objects.

mod fixed;
mod interrupts;
mod nvdimm;
pub mod pc;

#[cfg(test)]
mod tests;

use acpi_tables::Aml;
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use thiserror::Error;

pub use fixed::boot_arch;
pub use nvdimm::Nvdimm;

/// OEM identification of every table.
pub const OEM_ID: [u8; 6] = *b"TRIVIS";
/// OEM table identification of every table.
pub const OEM_TABLE_ID: [u8; 8] = *b"TRIVISOR";
/// OEM revision of every table.
pub const OEM_REVISION: u32 = 1;

/// Tables and the RSDP start at multiples of this.
const ALIGNMENT: usize = 16;

/// An I/O APIC whose first pin is global system interrupt 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoApic {
    /// Its identification.
    pub id: u8,
    /// Guest-physical address.
    pub address: u32,
}

/// PCI's configuration space in memory, from bus 0 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ecam {
    /// Guest-physical address.
    pub address: u64,
    /// The last bus that has a megabyte of it.
    pub last_bus: u8,
}

/// What the tables are to say.
#[derive(Debug, Clone, Copy)]
pub struct Platform<'a> {
    /// vCPUs. The identifier of each one's local APIC is its index.
    pub cpus: u8,
    /// Guest-physical address of the local APICs.
    pub local_apic: u32,
    /// The I/O APIC.
    pub io_apic: IoApic,
    /// Port of the sleep control register (4.8.3.7), a byte.
    pub sleep_control: u16,
    /// Port of the sleep status register (4.8.3.8), a byte.
    pub sleep_status: u16,
    /// Port of the reset register (4.8.3.6), a byte.
    pub reset: u16,
    /// What resets the machine when it is written there.
    pub reset_value: u8,
    /// IA-PC boot architecture flags: see [`boot_arch`].
    pub boot_arch: u16,
    /// The namespace: the AML of the DSDT, without a header.
    pub aml: &'a [u8],
    /// Persistent memory.
    pub nvdimms: &'a [Nvdimm],
    /// PCI's configuration space.
    pub ecam: Option<Ecam>,
}

/// Tables, ready to be copied to where they were built for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    /// Guest-physical address of the first byte, which is the RSDP's.
    pub address: u64,
    /// The RSDP, and the tables behind it.
    pub bytes: Vec<u8>,
}

/// Tables that cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AcpiError {
    /// They are too long for their place.
    #[error("{size:#x} bytes of ACPI tables, and room for {room:#x} at {address:#x}")]
    Room {
        /// Bytes of the tables.
        size: usize,
        /// Bytes of the place.
        room: usize,
        /// Guest-physical address.
        address: u64,
    },
    /// More pieces of persistent memory than a 16-bit index can name.
    #[error("{count} NVDIMMs are more than the NFIT can name, 65535")]
    Nvdimms {
        /// How many there are.
        count: usize,
    },
}

/// Builds the tables for `room` bytes at `address`, a multiple of 16. For a kernel that is not told where
/// they are, that is between 0xe0000 and 0xfffff (5.2.5.1).
///
/// # Errors
/// When they are too long.
pub fn build(platform: &Platform<'_>, address: u64, room: usize) -> Result<Tables, AcpiError> {
    let mut tables = Tables {
        address,
        bytes: vec![0; Rsdp::len()],
    };
    let dsdt = tables.push(&table(*b"DSDT", 2, platform.aml));
    let mut others = vec![
        tables.push(&fixed::fadt(platform, dsdt)),
        tables.push(&interrupts::madt(platform)),
    ];
    if !platform.nvdimms.is_empty() {
        others.push(tables.push(&nvdimm::nfit(platform.nvdimms)?));
    }
    if let Some(ecam) = platform.ecam {
        let mut mcfg = MCFG::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
        mcfg.add_ecam(ecam.address, 0, 0, ecam.last_bus);
        others.push(tables.push(&bytes(&mcfg)));
    }
    let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    others.iter().for_each(|table| xsdt.add_entry(*table));
    let xsdt = tables.push(&bytes(&xsdt));
    let rsdp = bytes(&Rsdp::new(OEM_ID, xsdt));
    tables
        .bytes
        .iter_mut()
        .zip(rsdp)
        .for_each(|(byte, value)| *byte = value);

    let size = tables.bytes.len();
    if size > room {
        return Err(AcpiError::Room {
            size,
            room,
            address,
        });
    }
    Ok(tables)
}

impl Tables {
    /// Appends a table and returns its address.
    fn push(&mut self, table: &[u8]) -> u64 {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
        let address = self.address + self.bytes.len() as u64;
        self.bytes.extend_from_slice(table);
        address
    }
}

/// A table with its header (5.2.6).
fn table(signature: [u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    const HEADER: u32 = 36;
    let mut table = Sdt::new(
        signature,
        HEADER,
        revision,
        OEM_ID,
        OEM_TABLE_ID,
        OEM_REVISION,
    );
    table.append_slice(body);
    table.as_slice().to_vec()
}

fn bytes(table: &impl Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}
