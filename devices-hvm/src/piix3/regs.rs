//! Registers of the 82371SB's ISA bridge (datasheet, 2.2 and 2.5).

use bitfield_struct::bitfield;

/// Offsets in configuration space.
pub mod offset {
    /// ISA I/O recovery timer.
    pub const IORT: u8 = 0x4c;
    /// X-bus chip select, 16 bits.
    pub const XBCS: u8 = 0x4e;
    /// PIRQ route control, four registers, A to D.
    pub const PIRQRC: u8 = 0x60;
    /// Top of memory.
    pub const TOM: u8 = 0x69;
    /// Miscellaneous status, 16 bits.
    pub const MSTAT: u8 = 0x6a;
    /// Motherboard device interrupt route control.
    pub const MBIRQ0: u8 = 0x70;
    /// Motherboard device DMA control, two registers.
    pub const MBDMA: u8 = 0x76;
    /// Programmable chip select, 16 bits.
    pub const PCSC: u8 = 0x78;
    /// APIC base relocation.
    pub const APICBASE: u8 = 0x80;
    /// Deterministic latency control.
    pub const DLC: u8 = 0x82;
    /// SMI control.
    pub const SMICNTL: u8 = 0xa0;
    /// SMI enable, 16 bits.
    pub const SMIEN: u8 = 0xa2;
    /// System event enable, 32 bits.
    pub const SEE: u8 = 0xa4;
    /// Fast-off timer.
    pub const FTMR: u8 = 0xa8;
    /// SMI request, 16 bits.
    pub const SMIREQ: u8 = 0xaa;
    /// Clock throttle STPCLK# low timer.
    pub const CTLTMR: u8 = 0xac;
    /// Clock throttle STPCLK# high timer.
    pub const CTHTMR: u8 = 0xae;
}

/// PIRQ route control: offset 0x60 to 0x63, reset 0x80.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct PirqRoute {
    /// The ISA interrupt.
    #[bits(4)]
    pub irq: u8,
    #[bits(3)]
    __: u8,
    /// Leads nowhere.
    pub disable: bool,
}

/// The bits of [`PirqRoute`] that exist.
pub const PIRQ_WRITABLE: u8 = 0x8f;

/// ISA interrupts that a PIRQ can be led to; the others belong to the board.
pub const ROUTABLE: u16 = 0b1101_1110_1111_1000;

/// RC, reset control: port 0xcf9, reset 0x00.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct ResetControl {
    __: bool,
    /// SRST: RCPU resets the whole system, not the CPU alone.
    pub srst: bool,
    /// RCPU: from 0 to 1 resets.
    pub rcpu: bool,
    #[bits(5)]
    __: u8,
}
