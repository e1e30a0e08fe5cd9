//! Saved state of the block device.

use serde::{Deserialize, Serialize};

/// Name of the device in saved state.
pub(super) const KIND: &str = "virtio-block";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1. Each value is possible: a capacity that is not the storage's is what the driver was told before, and it is
/// told of the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockStateV1 {
    /// Sectors that the driver knows of.
    pub capacity: u64,
}
