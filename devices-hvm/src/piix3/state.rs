//! Saved state of the ISA bridge.

use serde::{Deserialize, Serialize};
use trivisor_pci::EndpointStateV1;

/// Name of the chip in saved state.
pub(super) const KIND: &str = "piix3";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piix3StateV1 {
    /// Configuration space.
    pub endpoint: EndpointStateV1,
    /// Reset control: SRST alone.
    pub reset_control: u8,
}
