//! Saved state of the debug console: none.

/// Name of the device in saved state.
pub(super) const KIND: &str = "debugcon";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;
