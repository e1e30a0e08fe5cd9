//! Saved state of the persistent memory device: there is none beside that of its queue.

/// Name of the device in saved state.
pub(super) const KIND: &str = "virtio-pmem";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;
