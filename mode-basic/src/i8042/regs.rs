//! Registers of the keyboard controller.

use bitfield_struct::bitfield;

/// Ports, counted from 0x60.
pub mod offset {
    /// Data.
    pub const DATA: u16 = 0;
    /// Status (read) and command (write).
    pub const STATUS_COMMAND: u16 = 4;
}

/// Status: port 0x64, read only, reset 0x14 here.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Status {
    /// Output buffer full: never, no keyboard is here.
    pub output_full: bool,
    /// Input buffer full: never, commands are taken at once.
    pub input_full: bool,
    /// System flag: the power-on test has passed.
    pub system: bool,
    /// The last write was a command.
    pub command: bool,
    /// The keyboard is not locked.
    pub unlocked: bool,
    #[bits(3)]
    __: u8,
}

/// Command: pulse output bits 3:0 low that are 0 in the command. Bit 0 is the CPU's reset.
pub const PULSE_OUTPUT: u8 = 0xf0;
