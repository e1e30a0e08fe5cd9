//! Saved state of an input device.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;

use super::{Input, InputEvent, MOST_PENDING};

/// Name of the device in saved state.
pub(super) const KIND: &str = "virtio-input";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputStateV1 {
    /// `select`.
    pub select: u8,
    /// `subsel`.
    pub subsel: u8,
    /// A bit a light, by its code.
    pub leds: u16,
    /// Events that wait for buffers, oldest first, as they stand in guest RAM.
    pub pending: Vec<[u8; 8]>,
}

impl From<&Input> for InputStateV1 {
    fn from(device: &Input) -> Self {
        Self {
            select: device.select,
            subsel: device.subsel,
            leds: device.leds,
            pending: device
                .pending
                .iter()
                .map(|event| event.to_bytes())
                .collect(),
        }
    }
}

impl InputStateV1 {
    pub(super) fn put_back(self, device: &mut Input) -> Result<(), RestoreError> {
        let Self {
            select,
            subsel,
            leds,
            pending,
        } = self;
        let count = pending.len();
        RestoreError::check(KIND, "pending", count as u64, count <= MOST_PENDING)?;
        device.select = select;
        device.subsel = subsel;
        device.leds = leds;
        device.pending.clear();
        let events = pending.into_iter().map(InputEvent::from_bytes);
        device.pending.extend(events);
        Ok(())
    }
}
