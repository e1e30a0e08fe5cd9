//! The chip as a value.

use trivisor_buses::AccessError;

use super::regs::{PULSE_OUTPUT, Status, offset};

/// An 8042 with nothing behind it but the reset line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct I8042 {
    /// The last write was a command.
    pub(super) command: bool,
}

impl I8042 {
    /// Reads a port.
    ///
    /// # Errors
    /// When no register is there.
    pub const fn read(self, at: u16) -> Result<u8, AccessError> {
        match at {
            // What a bus without a keyboard leaves in the buffer.
            offset::DATA => Ok(0),
            offset::STATUS_COMMAND => Ok(Status::new()
                .with_system(true)
                .with_unlocked(true)
                .with_command(self.command)
                .into_bits()),
            _ => Err(AccessError::NoRegister),
        }
    }

    /// Writes a port; true: the reset line is pulsed.
    ///
    /// # Errors
    /// When no register is there.
    pub const fn write(&mut self, at: u16, value: u8) -> Result<bool, AccessError> {
        match at {
            offset::DATA => {
                self.command = false;
                Ok(false)
            }
            offset::STATUS_COMMAND => {
                self.command = true;
                Ok(value & PULSE_OUTPUT == PULSE_OUTPUT && value & 1 == 0)
            }
            _ => Err(AccessError::NoRegister),
        }
    }
}
