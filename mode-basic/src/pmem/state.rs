//! Saved state of the flush hints: there is none, for a flush has ended before the guest goes on.

/// Name of the device in saved state.
pub(super) const KIND: &str = "pmem-flush";
/// The newest version of its state: no field.
pub(super) const VERSION: u16 = 1;
