//! Saved state of the firmware configuration device.

use serde::{Deserialize, Serialize};

/// Name of the device in saved state.
pub(super) const KIND: &str = "fw-cfg";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1. Items are the machine's configuration, not its state. Every value is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FwCfgStateV1 {
    /// Key selected.
    pub key: u16,
    /// Bytes of the item that are behind.
    pub position: u32,
    /// High half of the address of the next DMA request.
    pub dma_high: u32,
}
