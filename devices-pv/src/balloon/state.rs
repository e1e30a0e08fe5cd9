//! Saved state of the memory balloon.

use serde::{Deserialize, Serialize};

/// Name of the device in saved state.
pub(super) const KIND: &str = "virtio-balloon";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1. Each value is possible: numbers of pages are wishes and claims, and a buffer that its queue does not have
/// breaks that queue when it is given back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalloonStateV1 {
    /// Pages that the host wants.
    pub num_pages: u32,
    /// Pages that the driver says it gave.
    pub actual: u32,
    /// What the driver's free pages hold.
    pub poison_val: u32,
    /// The buffer that the next request for statistics gives back.
    pub statistics_buffer: Option<u16>,
}
