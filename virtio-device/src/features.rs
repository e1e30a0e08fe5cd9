//! Feature bits that belong to no device type: virtio 1.3, chapter 6.

/// A bit of the 64 that device and driver agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Feature {
    /// A transitional device accepts any layout of descriptors (`VIRTIO_F_ANY_LAYOUT`).
    AnyLayout = 27,
    /// Tables of descriptors outside of the queue (`VIRTIO_F_INDIRECT_DESC`).
    IndirectDescriptors = 28,
    /// Notifications by index (`VIRTIO_F_EVENT_IDX`).
    EventIndex = 29,
    /// Not a legacy device (`VIRTIO_F_VERSION_1`).
    Version1 = 32,
    /// Memory behind a translation (`VIRTIO_F_ACCESS_PLATFORM`).
    AccessPlatform = 33,
    /// Packed virtqueues (`VIRTIO_F_RING_PACKED`).
    PackedRing = 34,
    /// Buffers are used in the order in which they were made available (`VIRTIO_F_IN_ORDER`).
    InOrder = 35,
    /// Memory is ordered by the platform (`VIRTIO_F_ORDER_PLATFORM`).
    OrderPlatform = 36,
    /// Single-root I/O virtualisation (`VIRTIO_F_SR_IOV`).
    SrIov = 37,
    /// The driver tells more than the queue's number when it rings (`VIRTIO_F_NOTIFICATION_DATA`).
    NotificationData = 38,
    /// A queue can be reset alone (`VIRTIO_F_RING_RESET`).
    RingReset = 40,
}

impl Feature {
    /// The bit in the 64.
    #[must_use]
    pub const fn bit(self) -> u64 {
        1 << self as u8
    }

    /// Whether `features` has it.
    #[must_use]
    pub const fn is_in(self, features: u64) -> bool {
        features & self.bit() != 0
    }
}
