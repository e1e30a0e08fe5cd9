//! Registers of the PIIX3's IDE function (290550, 2.4 and 2.6.3) and of the devices on its channels (ATA/ATAPI-6,
//! chapter 7).

use bitfield_struct::bitfield;

/// Offsets in configuration space.
pub mod config {
    /// IDETIM of the primary channel, 16 bits; the secondary's follows.
    pub const IDETIM: u8 = 0x40;
    /// SIDETIM, 8 bits.
    pub const SIDETIM: u8 = 0x44;
}

/// The base address register that is BMIBA.
pub const BMIBA: u8 = 4;

/// Ports of the bus master registers, eight a channel.
pub const BUS_MASTER_PORTS: u32 = 16;

/// Offsets in a channel's bus master registers.
pub mod bus_master {
    /// BMIC: command.
    pub const BMIC: u8 = 0;
    /// BMIS: status.
    pub const BMIS: u8 = 2;
    /// BMIDTP: address of the descriptor table, 32 bits.
    pub const BMIDTP: u8 = 4;
}

/// Offsets in the command block.
pub mod command_block {
    /// Data: 16 or 32 bits.
    pub const DATA: u16 = 0;
    /// Error (read), Features (write).
    pub const ERROR: u16 = 1;
    /// Sector Count; of a packet device: Interrupt Reason.
    pub const SECTOR_COUNT: u16 = 2;
    /// LBA Low, or the sector.
    pub const LBA_LOW: u16 = 3;
    /// LBA Mid, or the cylinder's low byte; of a packet device: Byte Count Low.
    pub const LBA_MID: u16 = 4;
    /// LBA High, or the cylinder's high byte; of a packet device: Byte Count High.
    pub const LBA_HIGH: u16 = 5;
    /// Device.
    pub const DEVICE: u16 = 6;
    /// Status (read), Command (write).
    pub const STATUS: u16 = 7;
}

/// Offset of Alternate Status (read) and Device Control (write) in the control block.
pub const CONTROL: u16 = 0;

/// IDETIM: offsets 0x40 and 0x42, 16 bits, read and write, reset 0. All but IDE has no effect.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Idetim {
    #[bits(15)]
    __: u16,
    /// IDE: the channel's ports are decoded.
    pub ide: bool,
}

/// BMIC: offset 0, read and write, reset 0.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Bmic {
    /// SSBM: starts the bus master; 0 stops it.
    pub ssbm: bool,
    #[bits(2)]
    __: u8,
    /// RWCON: data goes from device to memory.
    pub rwcon: bool,
    #[bits(4)]
    __: u8,
}

/// BMIS: offset 2, reset 0.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Bmis {
    /// BMIDEA: the bus master is active. Read only.
    pub bmidea: bool,
    /// A transfer met an address that is no memory; cleared by writing 1.
    pub error: bool,
    /// IDEINTS: the channel's interrupt rose; cleared by writing 1.
    pub ideints: bool,
    #[bits(2)]
    __: u8,
    /// DMA0CAP: drive 0 is set up for DMA. Read and write, no effect.
    pub dma0cap: bool,
    /// DMA1CAP: drive 1 is.
    pub dma1cap: bool,
    __: bool,
}

/// Status: offset 7 (7.15).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Status {
    /// ERR, or CHK of a packet device: the command failed.
    pub err: bool,
    #[bits(2)]
    __: u8,
    /// DRQ: data is to be moved.
    pub drq: bool,
    /// DSC of ATA-3, which drivers still look at: seek complete.
    pub dsc: bool,
    /// DF: device fault.
    pub df: bool,
    /// DRDY: takes commands.
    pub drdy: bool,
    /// BSY: works; no other register counts.
    pub bsy: bool,
}

/// Error: offset 1 (7.9). A packet device has the sense key in the upper half.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Error {
    __: bool,
    /// NM: no medium.
    pub nm: bool,
    /// ABRT: not a command, or not done.
    pub abrt: bool,
    __: bool,
    /// IDNF: no such address.
    pub idnf: bool,
    __: bool,
    /// UNC: the data cannot be read; WP of a write.
    pub unc: bool,
    __: bool,
}

/// Device: offset 6 (7.7).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Device {
    /// Bits 27 to 24 of a 28-bit LBA, or the head.
    #[bits(4)]
    pub head: u8,
    /// DEV: device 1 is selected.
    pub dev: bool,
    __: bool,
    /// LBA: the address is no cylinder, head and sector.
    pub lba: bool,
    __: bool,
}

/// Bits of Device that read set, as ATA-3 asks.
pub const DEVICE_ALWAYS_SET: u8 = 0xa0;

/// Device Control: offset 0 of the control block (7.8). Write only.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Control {
    __: bool,
    /// nIEN: no interrupts.
    pub nien: bool,
    /// SRST: software reset, while it is set.
    pub srst: bool,
    #[bits(4)]
    __: u8,
    /// HOB: reads give the previous contents of the 48-bit registers.
    pub hob: bool,
}

/// Interrupt Reason: Sector Count of a packet device (ATA/ATAPI-5, 7.11).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Reason {
    /// C/D: a command, not data.
    pub cd: bool,
    /// I/O: to the host.
    pub io: bool,
    #[bits(6)]
    pub tag: u8,
}

/// The codes of EXECUTE DEVICE DIAGNOSTIC: device 0 passed, and device 1 did or is not there.
pub const DIAGNOSTIC_PASSED: u8 = 0x01;
