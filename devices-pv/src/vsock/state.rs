//! Saved state of the socket device.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;

use super::ports::PORTS;

/// Name of the device in saved state.
pub(super) const KIND: &str = "virtio-vsock";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1. There are no connections in it: their other ends are programs of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VsockStateV1 {
    /// The port that the next program gets, from 2^30 below 2^31.
    pub next_port: u32,
}

impl VsockStateV1 {
    pub(super) fn check(&self) -> Result<(), RestoreError> {
        let Self { next_port } = *self;
        let right = PORTS.contains(&next_port);
        RestoreError::check(KIND, "next_port", next_port.into(), right)
    }
}
