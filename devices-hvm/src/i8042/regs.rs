//! Registers of the keyboard controller.

use bitfield_struct::bitfield;

/// What a controller has that only resets the machine, too.
pub use trivisor_mode_basic::i8042::regs::{Status, offset};

/// Command byte: RAM 0, reset 0x00.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct CommandByte {
    /// Interrupt 1 for what the keyboard sends.
    pub keyboard_interrupt: bool,
    /// Interrupt 12 for what the auxiliary device sends.
    pub auxiliary_interrupt: bool,
    /// System flag.
    pub system: bool,
    /// Without effect.
    pub override_lock: bool,
    /// The keyboard is not listened to.
    pub keyboard_disabled: bool,
    /// The auxiliary device is not listened to.
    pub auxiliary_disabled: bool,
    /// Scan codes of set 2 are translated to set 1.
    pub translate: bool,
    /// Without effect.
    pub reserved: bool,
}

/// Output port, reset 0x03.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct OutputPort {
    /// The CPU is not reset.
    pub run: bool,
    /// Address line 20 is not held low.
    pub a20: bool,
    #[bits(2)]
    __: u8,
    /// Level of interrupt 1.
    pub keyboard_interrupt: bool,
    /// Level of interrupt 12.
    pub auxiliary_interrupt: bool,
    #[bits(2)]
    __: u8,
}

/// Commands.
pub mod command {
    /// Read RAM: the first of 32.
    pub const READ_RAM: u8 = 0x20;
    /// Write RAM: the first of 32; the value follows.
    pub const WRITE_RAM: u8 = 0x60;
    /// The auxiliary device is not listened to.
    pub const DISABLE_AUXILIARY: u8 = 0xa7;
    /// The auxiliary device is listened to.
    pub const ENABLE_AUXILIARY: u8 = 0xa8;
    /// Test the auxiliary port: 0x00, nothing is wrong.
    pub const TEST_AUXILIARY: u8 = 0xa9;
    /// Self-test: 0x55.
    pub const SELF_TEST: u8 = 0xaa;
    /// Test the keyboard's port: 0x00.
    pub const TEST_KEYBOARD: u8 = 0xab;
    /// The keyboard is not listened to.
    pub const DISABLE_KEYBOARD: u8 = 0xad;
    /// The keyboard is listened to.
    pub const ENABLE_KEYBOARD: u8 = 0xae;
    /// Read the input port: 0x80, the keyboard is not locked.
    pub const READ_INPUT: u8 = 0xc0;
    /// Read the output port.
    pub const READ_OUTPUT: u8 = 0xd0;
    /// Write the output port; the value follows.
    pub const WRITE_OUTPUT: u8 = 0xd1;
    /// The byte that follows is read as if the keyboard had sent it.
    pub const WRITE_KEYBOARD_BUFFER: u8 = 0xd2;
    /// The byte that follows is read as if the auxiliary device had sent it.
    pub const WRITE_AUXILIARY_BUFFER: u8 = 0xd3;
    /// The byte that follows goes to the auxiliary device.
    pub const WRITE_AUXILIARY: u8 = 0xd4;
    pub use trivisor_mode_basic::i8042::regs::PULSE_OUTPUT;
}
