//! Memory of a card's own that the guest reaches without the card: pages that move with a base address register.

use std::sync::Arc;

use trivisor_memory::FileMapping;

/// Shows pages to the guest.
pub trait PageMapper: Send + Sync {
    /// The guest finds `pages` from `address` on from now on, and nowhere else; `None`: nowhere at all. Where that
    /// cannot be, as at an address of RAM, its accesses come to the device that stands there.
    ///
    /// A device may call it with its own lock held.
    fn show(&self, pages: &Arc<FileMapping>, address: Option<u64>);
}
