//! Saved state of the keyboard controller.

use serde::{Deserialize, Serialize};

use super::core::I8042;

/// Name of the chip in saved state.
pub(super) const KIND: &str = "i8042-reset";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct I8042StateV1 {
    /// The last write was a command.
    pub command: bool,
}

impl From<&I8042> for I8042StateV1 {
    fn from(chip: &I8042) -> Self {
        let I8042 { command } = *chip;
        Self { command }
    }
}

impl From<I8042StateV1> for I8042 {
    fn from(state: I8042StateV1) -> Self {
        let I8042StateV1 { command } = state;
        Self { command }
    }
}
