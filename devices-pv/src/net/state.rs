//! Saved state of the network card.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;

use super::regs::Features;

/// Name of the device in saved state.
pub(super) const KIND: &str = "virtio-net";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetStateV1 {
    /// The address.
    pub mac: [u8; 6],
    /// The host has the link up.
    pub link_up: bool,
    /// The driver is asked to announce itself.
    pub announce: bool,
    /// Pairs of queues in use, at least 1.
    pub pairs: u16,
    /// The driver's offloads that are switched on, by their feature bits.
    pub guest_offloads: u64,
}

impl NetStateV1 {
    /// Before a driver did anything.
    pub(super) const fn new(mac: [u8; 6]) -> Self {
        Self {
            mac,
            link_up: true,
            announce: false,
            pairs: 1,
            guest_offloads: 0,
        }
    }

    /// Checks it for a device of `pairs` pairs at most, with the driver's offloads `switchable`.
    pub(super) fn check(&self, pairs: usize, switchable: Features) -> Result<(), RestoreError> {
        let check = |field, value, right| RestoreError::check(KIND, field, value, right);
        let Self {
            mac: _,
            link_up: _,
            announce: _,
            pairs: used,
            guest_offloads,
        } = *self;
        check(
            "pairs",
            used.into(),
            (1..=pairs).contains(&usize::from(used)),
        )?;
        check(
            "guest_offloads",
            guest_offloads,
            guest_offloads & !switchable.into_bits() == 0,
        )
    }
}
