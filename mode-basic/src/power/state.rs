//! Saved state of the power block.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;

use super::core::PowerBlock;
use super::regs::{Events, SleepControl};

/// Name of the block in saved state.
pub(super) const KIND: &str = "acpi-power";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerStateV1 {
    /// Sleep control: SLP_TYP alone.
    pub sleep_control: u8,
    /// Events that the guest has not read yet.
    pub events: u32,
}

impl From<&PowerBlock> for PowerStateV1 {
    fn from(block: &PowerBlock) -> Self {
        let PowerBlock {
            sleep_control,
            events,
        } = *block;
        Self {
            sleep_control: sleep_control.into_bits(),
            events: events.into_bits(),
        }
    }
}

impl TryFrom<PowerStateV1> for PowerBlock {
    type Error = RestoreError;

    fn try_from(state: PowerStateV1) -> Result<Self, RestoreError> {
        let PowerStateV1 {
            sleep_control,
            events,
        } = state;
        let check = |field, value, right| RestoreError::check(KIND, field, value, right);
        check(
            "sleep_control",
            sleep_control.into(),
            sleep_control & 0xe3 == 0,
        )?;
        check("events", events.into(), events & !1 == 0)?;
        Ok(Self {
            sleep_control: SleepControl::from_bits(sleep_control),
            events: Events::from_bits(events),
        })
    }
}
