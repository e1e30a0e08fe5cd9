//! Saved state of the generation ID: there is none, for a machine that comes back must not have its old one.

/// Name of the device in saved state.
pub(super) const KIND: &str = "vmgenid";
/// The newest version of its state: no field.
pub(super) const VERSION: u16 = 1;
