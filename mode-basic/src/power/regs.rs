//! Registers of the power block.

use bitfield_struct::bitfield;

/// Ports, counted from its base.
pub mod offset {
    /// Sleep control, a byte.
    pub const SLEEP_CONTROL: u16 = 0;
    /// Sleep status, a byte.
    pub const SLEEP_STATUS: u16 = 1;
    /// Reset, a byte.
    pub const RESET: u16 = 2;
    /// Events, a doubleword.
    pub const EVENTS: u16 = 4;
}

/// Sleep control: offset 0, read, write, reset 0x00 (ACPI 6.5, 4.8.3.7).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct SleepControl {
    #[bits(2)]
    __: u8,
    /// SLP_TYP: the state to enter.
    #[bits(3)]
    pub slp_typ: u8,
    /// SLP_EN: enter it now; reads 0.
    pub slp_en: bool,
    #[bits(2)]
    __: u8,
}

/// SLP_TYP of S5, soft off: what `\_S5` says.
pub const S5: u8 = 5;

/// What resets the machine when it is written to the reset register.
pub const RESET_VALUE: u8 = 1;

/// Events: offset 4, read only, reset 0; a read clears it.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Events {
    /// The power button was pressed.
    pub power_button: bool,
    #[bits(31)]
    __: u32,
}
