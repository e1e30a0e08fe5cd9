//! The I/O APIC (82093AA datasheet, chapter 3).

use crate::acpi;
use crate::cpu;
use crate::memory;

/// Where it is when no MADT tells.
const DEFAULT_BASE: u64 = 0xfec0_0000;
const SELECT: u64 = 0;
const WINDOW: u64 = 0x10;
const ID: u8 = 0;
const VERSION: u8 = 1;
const REDIRECTION: u8 = 0x10;
const MASKED: u32 = 1 << 16;
const LEVEL: u32 = 1 << 15;

/// The I/O APIC that serves the first pins.
#[derive(Clone, Copy, Debug)]
pub struct IoApic {
    /// Physical address of its registers.
    pub base: u64,
}

/// The pin of an ISA interrupt, by the MADT's overrides.
pub fn pin_of(irq: u8) -> u8 {
    acpi::madt()
        .and_then(|madt| madt.override_of(irq))
        .unwrap_or(irq)
}

impl IoApic {
    /// The one of the MADT, or the one at its customary place if something answers there.
    pub fn find() -> Option<Self> {
        let base = acpi::madt()
            .and_then(|madt| madt.io_apic())
            .unwrap_or(DEFAULT_BASE);
        memory::map(base, 0x20).ok()?;
        let found = Self { base };
        (found.version() != u32::MAX && found.version() != 0).then_some(found)
    }

    /// Reads a register.
    pub fn read(self, register: u8) -> u32 {
        memory::write(self.base + SELECT, 4, u64::from(register));
        u32::try_from(memory::read(self.base + WINDOW, 4)).unwrap_or(u32::MAX)
    }

    /// Writes a register.
    pub fn write(self, register: u8, value: u32) {
        memory::write(self.base + SELECT, 4, u64::from(register));
        memory::write(self.base + WINDOW, 4, u64::from(value));
    }

    /// The ID register.
    pub fn id(self) -> u32 {
        self.read(ID)
    }

    /// The version register.
    pub fn version(self) -> u32 {
        self.read(VERSION)
    }

    /// The last pin.
    pub fn last_pin(self) -> u8 {
        self.version().to_le_bytes()[2]
    }

    /// Reads a redirection entry.
    pub fn entry(self, pin: u8) -> u64 {
        let register = REDIRECTION + 2 * pin;
        u64::from(self.read(register)) | u64::from(self.read(register + 1)) << 32
    }

    /// Sends a pin to this processor.
    pub fn route(self, pin: u8, vector: u8, level: bool) {
        let register = REDIRECTION + 2 * pin;
        self.write(register + 1, u32::from(cpu::apic_id()) << 24);
        self.write(register, u32::from(vector) | if level { LEVEL } else { 0 });
    }

    /// Masks a pin.
    pub fn mask(self, pin: u8) {
        let register = REDIRECTION + 2 * pin;
        self.write(register, self.read(register) | MASKED);
    }
}
