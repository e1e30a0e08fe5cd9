//! The ACPI tables (ACPI 6.5, chapter 5), found and checked.

use core::str;

use crate::memory::{self, Unmapped};
use crate::port;
use crate::pvh;

const BIOS_AREA: u64 = 0xe0000;
const BIOS_AREA_SIZE: u64 = 0x20000;
const HEADER: u64 = 36;
/// A length that no table here has: a header that claims more is no table.
const MAX_TABLE: u64 = 1 << 20;

/// A table as it lies in memory, header included.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Physical address.
    pub address: u64,
    /// Its bytes.
    pub bytes: &'static [u8],
}

/// Little-endian number at an offset, 0 beyond the end.
fn number(bytes: &[u8], offset: usize, width: usize) -> u64 {
    let mut value = [0; 8];
    if let (Some(to), Some(from)) = (value.get_mut(..width), bytes.get(offset..offset + width)) {
        to.copy_from_slice(from);
    }
    u64::from_le_bytes(value)
}

/// Whether bytes add up to 0.
pub fn checksum_is_right(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

impl Table {
    fn at(address: u64) -> Result<Self, Unmapped> {
        let header = memory::bytes(address, HEADER)?;
        let length = number(header, 4, 4).clamp(HEADER, MAX_TABLE);
        Ok(Self {
            address,
            bytes: memory::bytes(address, length)?,
        })
    }

    /// Four letters.
    pub fn signature(&self) -> &'static str {
        self.bytes
            .get(..4)
            .and_then(|name| str::from_utf8(name).ok())
            .unwrap_or("????")
    }

    /// Revision of the table.
    pub fn revision(&self) -> u64 {
        self.number(8, 1)
    }

    /// Little-endian number at an offset, 0 beyond the end.
    pub fn number(&self, offset: usize, width: usize) -> u64 {
        number(self.bytes, offset, width)
    }
}

/// Address of the root pointer: PVH tells it, or it lies in the BIOS area.
pub fn rsdp() -> Option<u64> {
    match pvh::rsdp() {
        Ok(0) | Err(_) => {}
        Ok(address) => return Some(address),
    }
    let area = memory::bytes(BIOS_AREA, BIOS_AREA_SIZE).ok()?;
    let found = area
        .chunks(16)
        .position(|chunk| chunk.starts_with(b"RSD PTR "))?;
    Some(BIOS_AREA + 16 * u64::try_from(found).ok()?)
}

/// The root table: XSDT where there is one, else RSDT.
pub fn root() -> Option<Table> {
    let rsdp = memory::bytes(rsdp()?, 36).ok()?;
    let xsdt = if number(rsdp, 15, 1) >= 2 {
        number(rsdp, 24, 8)
    } else {
        0
    };
    Table::at(if xsdt != 0 { xsdt } else { number(rsdp, 16, 4) }).ok()
}

/// The tables that the root names.
pub fn tables() -> impl Iterator<Item = Table> {
    let (bytes, width) = match root() {
        Some(root) => (
            root.bytes.get(36..).unwrap_or_default(),
            if root.signature() == "XSDT" { 8 } else { 4 },
        ),
        None => (&[][..], 8),
    };
    bytes
        .chunks_exact(width)
        .filter_map(move |entry| Table::at(number(entry, 0, width)).ok())
}

/// The first table of a signature.
pub fn find(signature: &str) -> Option<Table> {
    tables().find(|table| table.signature() == signature)
}

/// A generic address (5.2.3.2) of one byte or word.
#[derive(Clone, Copy, Debug)]
pub struct Register {
    /// 0: memory, 1: ports.
    pub space: u64,
    /// Address in the space.
    pub address: u64,
}

impl Register {
    fn of(table: &Table, offset: usize) -> Option<Self> {
        let register = Self {
            space: table.number(offset, 1),
            address: table.number(offset + 4, 8),
        };
        (register.address != 0).then_some(register)
    }

    /// Writes a byte.
    ///
    /// # Errors
    /// [`Unmapped`].
    pub fn write(self, value: u8) -> Result<(), Unmapped> {
        if self.space == 1 {
            port::write_u8(
                u16::try_from(self.address).map_err(|_| Unmapped(self.address))?,
                value,
            );
        } else {
            memory::map(self.address, 1)?;
            memory::write(self.address, 1, u64::from(value));
        }
        Ok(())
    }
}

/// The fixed description table.
#[derive(Clone, Copy, Debug)]
pub struct Fadt(pub Table);

impl Fadt {
    /// Feature flags.
    pub fn flags(&self) -> u64 {
        self.0.number(112, 4)
    }

    /// There is no PM1 and the like.
    pub fn hardware_reduced(&self) -> bool {
        self.flags() & 1 << 20 != 0
    }

    /// Reset register and the value for it.
    pub fn reset(&self) -> Option<(Register, u8)> {
        let value = self.0.number(128, 1).to_le_bytes()[0];
        (self.flags() & 1 << 10 != 0)
            .then(|| Register::of(&self.0, 116))
            .flatten()
            .map(|register| (register, value))
    }

    /// Sleep control register.
    pub fn sleep_control(&self) -> Option<Register> {
        Register::of(&self.0, 244)
    }

    /// Port of PM1a's control word.
    pub fn pm1a_control(&self) -> Option<u16> {
        u16::try_from(self.0.number(64, 4))
            .ok()
            .filter(|port| *port != 0)
    }

    /// The differentiated description table.
    pub fn dsdt(&self) -> Option<Table> {
        let wide = self.0.number(140, 8);
        Table::at(if wide != 0 {
            wide
        } else {
            self.0.number(40, 4)
        })
        .ok()
    }

    /// SLP_TYP of S5: the first number of the package `\_S5`, found by its name without an interpreter.
    pub fn s5_type(&self) -> Option<u8> {
        let aml = self.dsdt()?.bytes;
        let name = aml.windows(4).position(|window| window == b"_S5_")?;
        // PackageOp, one byte of length (the package is small), element count, then a constant.
        let package = aml.get(name + 4..)?;
        match package {
            [0x12, _, _, 0x0a, value, ..] => Some(*value),
            [0x12, _, _, value @ (0 | 1), ..] => Some(*value),
            _ => None,
        }
    }
}

/// The fixed description table.
pub fn fadt() -> Option<Fadt> {
    find("FACP").map(Fadt)
}

/// The interrupt description table.
#[derive(Clone, Copy, Debug)]
pub struct Madt(pub Table);

impl Madt {
    /// Its structures: type, and the bytes with type and length.
    pub fn structures(&self) -> impl Iterator<Item = (u8, &'static [u8])> + use<> {
        let mut rest = self.0.bytes.get(44..).unwrap_or_default();
        core::iter::from_fn(move || {
            let [kind, length, ..] = rest else {
                return None;
            };
            let (structure, next) = rest.split_at_checked(usize::from((*length).max(2)))?;
            rest = next;
            Some((*kind, structure))
        })
    }

    /// APIC IDs of the processors that are enabled.
    pub fn processors(&self) -> impl Iterator<Item = u8> + use<> {
        self.structures()
            .filter_map(|(kind, structure)| match structure {
                [0, _, _, id, flags, ..] if kind == 0 && flags & 1 != 0 => Some(*id),
                _ => None,
            })
    }

    /// Address of the I/O APIC whose first pin is interrupt 0.
    pub fn io_apic(&self) -> Option<u64> {
        self.structures()
            .find(|(kind, structure)| *kind == 1 && number(structure, 8, 4) == 0)
            .map(|(_, structure)| number(structure, 4, 4))
    }

    /// The pin that an ISA interrupt is moved to.
    pub fn override_of(&self, irq: u8) -> Option<u8> {
        self.structures()
            .find(|(kind, structure)| *kind == 2 && structure.get(3) == Some(&irq))
            .map(|(_, structure)| number(structure, 4, 1).to_le_bytes()[0])
    }
}

/// The interrupt description table.
pub fn madt() -> Option<Madt> {
    find("APIC").map(Madt)
}
