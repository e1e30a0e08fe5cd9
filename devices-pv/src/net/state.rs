//! Saved state of the network card.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;

use super::regs::{Features, HEADER_LEN, LEGACY_HEADER_LEN, LONGEST_FRAME};

/// Name of the device in saved state.
pub(super) const KIND: &str = "virtio-net";
/// The version of its state where no frame waits for buffers, ...
pub(super) const VERSION: u16 = 1;
/// ... and the newest one, which is for where some do.
pub(super) const VERSION_WITH_FRAMES: u16 = 2;

/// Version 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetStateV2 {
    /// What version 1 has.
    pub first: NetStateV1,
    /// Frames that have come, for which the driver has to add buffers; by their queues.
    pub waiting: Vec<WaitingV2>,
}

/// A frame that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingV2 {
    /// The receive queue.
    pub queue: u16,
    /// Its bytes behind a virtio-net header.
    pub frame: Vec<u8>,
}

impl NetStateV2 {
    /// As [`NetStateV1::check`].
    pub(super) fn check(&self, pairs: usize, switchable: Features) -> Result<(), RestoreError> {
        let Self { first, waiting } = self;
        first.check(pairs, switchable)?;
        let check = |field, value, right| RestoreError::check(KIND, field, value, right);
        let mut next = 0;
        for WaitingV2 { queue, frame } in waiting {
            let number = usize::from(*queue);
            let right = number >= next && number.is_multiple_of(2) && number < 2 * pairs;
            check("queue", u64::from(*queue), right)?;
            next = number + 1;
            let len = frame.len() as u64;
            let longest = u64::from(HEADER_LEN) + LONGEST_FRAME;
            let right = len > LEGACY_HEADER_LEN.into() && len <= longest;
            check("frame", len, right)?;
        }
        Ok(())
    }
}

impl From<NetStateV1> for NetStateV2 {
    fn from(first: NetStateV1) -> Self {
        Self {
            first,
            waiting: Vec::new(),
        }
    }
}

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
