//! Registers of the keyboard controller.

use bitfield_struct::bitfield;

/// Ports, counted from 0x60.
pub mod offset {
    /// Data.
    pub const DATA: u16 = 0;
    /// Status (read) and command (write).
    pub const STATUS_COMMAND: u16 = 4;
}

/// Status: port 0x64, read only. Reset 0x14 here, where there is no keyboard; 0x10 with one.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Status {
    /// Output buffer full: never without a keyboard.
    pub output_full: bool,
    /// Input buffer full: never, bytes are taken at once.
    pub input_full: bool,
    /// System flag: the power-on test has passed; with a keyboard, as the command byte has it.
    pub system: bool,
    /// The last write was a command.
    pub command: bool,
    /// The keyboard is not locked: always.
    pub unlocked: bool,
    /// What is in the output buffer came from the auxiliary device: never without one.
    pub auxiliary_full: bool,
    /// Time-out: never.
    pub timeout: bool,
    /// Parity error: never.
    pub parity: bool,
}

/// Command: pulse output bits 3:0 low that are 0 in the command. Bit 0 is the CPU's reset.
pub const PULSE_OUTPUT: u8 = 0xf0;
