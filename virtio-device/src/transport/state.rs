//! Saved state of a transport.

use serde::{Deserialize, Serialize};

use super::{RestoreError, Status, Transport, VirtioDevice};
use crate::queue::QueueStateV1;

/// What every transport saves: its device in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportStateV1 {
    /// The device status.
    pub status: u8,
    /// The features that the driver accepts.
    pub driver_features: u64,
    /// The configuration's generation.
    pub generation: u8,
    /// The queues.
    pub queues: Vec<QueueStateV1>,
    /// Version of the device's own state.
    pub device_version: u16,
    /// The device's own state.
    pub device: Vec<u8>,
}
