//! What a hypervisor maps into the guest.

/// What a guest may do with a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotKind {
    /// Reads and writes go to memory.
    Ram,
    /// Reads go to memory; writes vanish.
    Rom,
    /// Reads go to memory; writes are handed to the device at that address (flash).
    ReadOnlyTrap,
}

impl SlotKind {
    /// The host must not let guest writes through.
    #[must_use]
    pub const fn is_read_only(self) -> bool {
        !matches!(self, Self::Ram)
    }
}

/// A run of host memory at a guest-physical address. It borrows nothing: who registers it with a
/// hypervisor keeps its owner ([`GuestRam`](crate::GuestRam), [`FileMapping`](crate::FileMapping)) alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// First guest-physical address, a multiple of the page.
    pub guest_address: u64,
    /// Bytes, a multiple of the page.
    pub size: u64,
    /// Address in this process.
    pub host_address: u64,
    /// What the guest may do.
    pub kind: SlotKind,
}
