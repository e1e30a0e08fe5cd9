//! Saved state of pvpanic: there is none.

/// Name of the device in saved state.
pub(super) const KIND: &str = "pvpanic";
/// The newest version of its state: no field.
pub(super) const VERSION: u16 = 1;
