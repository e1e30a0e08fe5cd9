//! Saved state.

use serde::{Deserialize, Serialize};

pub(super) const KIND: &str = "vhost-user";
pub(super) const VERSION: u16 = 1;

/// Version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VhostUserStateV1 {
    /// The queues were served since the last reset: they go on at the used index, and do not begin.
    pub started: bool,
}
