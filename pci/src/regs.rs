//! Registers of a configuration header of type 0 (PCI 3.0, chapter 6 and appendix D).

use bitfield_struct::bitfield;

/// Offsets in configuration space.
pub mod offset {
    /// Vendor ID, 16 bits.
    pub const VENDOR_ID: u8 = 0x00;
    /// Device ID, 16 bits.
    pub const DEVICE_ID: u8 = 0x02;
    /// Command, 16 bits.
    pub const COMMAND: u8 = 0x04;
    /// Status, 16 bits.
    pub const STATUS: u8 = 0x06;
    /// Revision ID.
    pub const REVISION_ID: u8 = 0x08;
    /// Class code: interface, sub-class, base class.
    pub const CLASS_CODE: u8 = 0x09;
    /// Cache line size.
    pub const CACHE_LINE_SIZE: u8 = 0x0c;
    /// Latency timer.
    pub const LATENCY_TIMER: u8 = 0x0d;
    /// Header type; bit 7: the device has several functions.
    pub const HEADER_TYPE: u8 = 0x0e;
    /// Base address register 0 of 6, 32 bits each.
    pub const BAR0: u8 = 0x10;
    /// Subsystem vendor ID, 16 bits.
    pub const SUBSYSTEM_VENDOR_ID: u8 = 0x2c;
    /// Subsystem ID, 16 bits.
    pub const SUBSYSTEM_ID: u8 = 0x2e;
    /// Offset of the first capability.
    pub const CAPABILITIES: u8 = 0x34;
    /// Interrupt line: firmware's note to the driver.
    pub const INTERRUPT_LINE: u8 = 0x3c;
    /// Interrupt pin.
    pub const INTERRUPT_PIN: u8 = 0x3d;
    /// First byte behind the header.
    pub const DEVICE_SPECIFIC: u8 = 0x40;
}

/// Capability identifiers (PCI 3.0, appendix H).
pub mod capability {
    /// Message-signalled interrupts (6.8.1).
    pub const MSI: u8 = 0x05;
    /// Vendor specific.
    pub const VENDOR: u8 = 0x09;
    /// Message-signalled interrupts with a table (6.8.2).
    pub const MSIX: u8 = 0x11;
}

/// Header type: the device has several functions.
pub const MULTI_FUNCTION: u8 = 1 << 7;

/// Class code (appendix D).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// Base class.
    pub base: u8,
    /// Sub-class.
    pub sub: u8,
    /// Programming interface.
    pub interface: u8,
}

/// Command: offset 0x04, reset 0 (6.2.2).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Command {
    /// Answers in I/O space.
    pub io: bool,
    /// Answers in memory space.
    pub memory: bool,
    /// May be bus master; without it, no message leaves.
    pub bus_master: bool,
    #[bits(3)]
    __: u8,
    /// Reports parity errors: kept, no effect.
    pub parity_error_response: bool,
    __: bool,
    /// Drives SERR#: kept, no effect.
    pub serr: bool,
    __: bool,
    /// Does not drive its interrupt pin.
    pub interrupt_disable: bool,
    #[bits(5)]
    __: u8,
}

/// The bits of [`Command`] that a guest can write.
pub(crate) const COMMAND_WRITABLE: Command = Command::new()
    .with_io(true)
    .with_memory(true)
    .with_bus_master(true)
    .with_parity_error_response(true)
    .with_serr(true)
    .with_interrupt_disable(true);

/// Status: offset 0x06 (6.2.3). DEVSEL timing reads 0, fast.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Status {
    #[bits(3)]
    __: u8,
    /// Read only: the function wants an interrupt, whether or not its pin is disabled.
    pub interrupt: bool,
    /// Read only: there are capabilities.
    pub capabilities: bool,
    #[bits(3)]
    __: u8,
    /// Parity error as bus master; cleared by writing 1, as all that follow.
    pub master_data_parity_error: bool,
    #[bits(2)]
    __: u8,
    /// Ended an access with target abort.
    pub signaled_target_abort: bool,
    /// Its access ended with target abort.
    pub received_target_abort: bool,
    /// Its access was claimed by nobody.
    pub received_master_abort: bool,
    /// Asserted SERR#.
    pub signaled_system_error: bool,
    /// Parity error.
    pub detected_parity_error: bool,
}

/// The bits of [`Status`] that are cleared by writing 1.
pub(crate) const STATUS_CLEARABLE: Status = Status::new()
    .with_master_data_parity_error(true)
    .with_signaled_target_abort(true)
    .with_received_target_abort(true)
    .with_received_master_abort(true)
    .with_signaled_system_error(true)
    .with_detected_parity_error(true);
