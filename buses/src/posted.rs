//! Where a write may wait on its way to a device, as a bridge posts it.

use std::io;

/// Addresses at which the guest's writes are posted: they reach their device late, but in the order in which they were
/// made, and before any other access of the guest to any device, and before anybody looks at the device from outside.
///
/// For registers that do nothing by themselves that the guest, an interrupt or the host could notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Posted {
    /// Ports.
    Ports {
        /// The first one.
        first: u16,
        /// How many; an access that goes beyond them is not posted.
        count: u16,
    },
    /// Memory.
    Memory {
        /// The first address.
        address: u64,
        /// Bytes.
        size: u32,
    },
}

/// Posts writes where the guest moves registers to.
pub trait PostedPlaces: Send + Sync {
    /// Has writes at `place` posted from now on.
    ///
    /// # Errors
    /// When the host refuses: then each write reaches its device at once, as it does without.
    fn post(&self, place: Posted) -> io::Result<()>;

    /// Writes at `place` are not posted any more.
    fn unpost(&self, place: Posted);
}
