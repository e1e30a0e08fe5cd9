//! Registers and keys of the firmware configuration device (specification, "Hardware interface").

use bitfield_struct::bitfield;

/// Ports, counted from its base.
pub mod offset {
    /// Selector, 16 bits.
    pub const SELECTOR: u16 = 0;
    /// Data, a byte: the next one of the item selected.
    pub const DATA: u16 = 1;
    /// Address of a DMA request, high 32 bits, big-endian.
    pub const DMA_HIGH: u16 = 4;
    /// Low 32 bits, big-endian; the write that starts the request.
    pub const DMA_LOW: u16 = 8;
}

/// Keys of items.
pub mod key {
    /// "QEMU".
    pub const SIGNATURE: u16 = 0x0000;
    /// What the interface can do: see [`VERSION`](super::VERSION).
    pub const ID: u16 = 0x0001;
    /// UUID, 16 bytes.
    pub const UUID: u16 = 0x0002;
    /// Bytes of RAM, 64 bits.
    pub const RAM_SIZE: u16 = 0x0003;
    /// No graphical display, 16 bits.
    pub const NO_GRAPHIC: u16 = 0x0004;
    /// Processors at start, 16 bits.
    pub const NB_CPUS: u16 = 0x0005;
    /// Show the boot menu, 16 bits.
    pub const BOOT_MENU: u16 = 0x000e;
    /// The highest APIC identifier there will be, plus 1, 16 bits.
    pub const MAX_CPUS: u16 = 0x000f;
    /// The directory of files.
    pub const FILE_DIR: u16 = 0x0019;
    /// The first file.
    pub const FILE_FIRST: u16 = 0x0020;
    /// Architecture: interrupt 0 is pin 2 of the I/O APIC, 8 bits.
    pub const IRQ0_OVERRIDE: u16 = 0x8002;
    /// No item.
    pub const INVALID: u16 = 0xffff;
}

/// Item ID: bit 0 the traditional interface, bit 1 DMA.
pub const VERSION: u32 = 0b11;

/// What the halves of the DMA address read as.
pub const DMA_SIGNATURE: [[u8; 4]; 2] = [*b"QEMU", *b" CFG"];

/// Control of a DMA request.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DmaControl {
    /// The request failed: written by the device.
    pub error: bool,
    /// Item to memory.
    pub read: bool,
    /// Step over bytes of the item.
    pub skip: bool,
    /// Select the item of `key` first.
    pub select: bool,
    /// Memory to item.
    pub write: bool,
    #[bits(11)]
    __: u16,
    /// Key.
    pub key: u16,
}

/// Bytes of a request: control, length, address, big-endian.
pub const DMA_REQUEST: usize = 16;

/// Bytes of a file's name in the directory, with its end.
pub const NAME: usize = 56;
