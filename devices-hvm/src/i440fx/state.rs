//! Saved state of the host bridge.

use trivisor_pci::EndpointStateV1;

/// Name of the chip in saved state.
pub(super) const KIND: &str = "i440fx";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1: configuration space alone.
pub type I440fxStateV1 = EndpointStateV1;
