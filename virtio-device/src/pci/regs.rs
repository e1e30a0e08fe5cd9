//! Registers of virtio over PCI: virtio 1.3, 4.1.

use bitfield_struct::bitfield;

use crate::device::DeviceType;

/// PCI vendor of every virtio device.
pub const VENDOR: u16 = 0x1af4;
/// The device ID of type 0; another type is as far behind it (4.1.2).
pub const DEVICE: u16 = 0x1040;
/// Revision of a device that is not transitional: 1 or more (4.1.2.1).
pub const REVISION: u8 = 1;

/// The device ID of a transitional device of this type; `None`: there was none before version 1 (4.1.2.1).
#[must_use]
pub const fn transitional(device: DeviceType) -> Option<u16> {
    match device {
        DeviceType::Network => Some(0x1000),
        DeviceType::Block => Some(0x1001),
        DeviceType::Balloon => Some(0x1002),
        DeviceType::Console => Some(0x1003),
        DeviceType::Entropy => Some(0x1005),
        DeviceType::Input | DeviceType::Socket | DeviceType::FileSystem | DeviceType::Pmem => None,
    }
}
/// Revision of a transitional device (4.1.2.1).
pub const TRANSITIONAL_REVISION: u8 = 0;

/// The base address register with the legacy interface: ports.
pub const LEGACY_BAR: u8 = 0;
/// Its ports: the registers, and more than 100 of configuration.
pub const LEGACY_BAR_SIZE: u32 = 0x80;

/// The base address register with all of the below: 64-bit memory.
pub const BAR: u8 = 4;
/// Its bytes.
pub const BAR_SIZE: u64 = 0x1_0000;
/// Bytes that each part has, a page or more: a host can treat each on its own.
pub const PART: u64 = 0x1000;
/// Offset of the common configuration.
pub const COMMON: u64 = 0x0000;
/// Offset of the ISR status.
pub const ISR: u64 = 0x1000;
/// Offset of the device's configuration.
pub const CONFIG: u64 = 0x2000;
/// Offset of the notifications.
pub const NOTIFY: u64 = 0x3000;
/// Bytes from one queue's notification to the next.
pub const NOTIFY_MULTIPLIER: u32 = 4;
/// Offset of the MSI-X table.
pub const MSIX_TABLE: u32 = 0x8000;
/// Offset of the MSI-X pending bits.
pub const MSIX_PENDING: u32 = 0xc000;

/// No MSI-X vector.
pub const NO_VECTOR: u16 = 0xffff;

/// What a capability points to: `cfg_type` (4.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum CapabilityType {
    /// Common configuration.
    Common = 1,
    /// Notifications.
    Notify = 2,
    /// ISR status.
    Isr = 3,
    /// The device's configuration.
    Device = 4,
    /// Access to all of them by configuration space.
    Pci = 5,
}

/// ISR status (4.1.4.5): reading clears it.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct IsrStatus {
    /// The device used a buffer.
    pub queue: bool,
    /// The configuration or the device status changed.
    pub configuration: bool,
    #[bits(6)]
    __: u8,
}

/// Offsets in the common configuration (4.1.4.3).
pub mod common {
    #![expect(missing_docs, reason = "the specification's names")]

    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    pub const DEVICE_FEATURE: u64 = 0x04;
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    pub const DRIVER_FEATURE: u64 = 0x0c;
    pub const CONFIG_MSIX_VECTOR: u64 = 0x10;
    pub const NUM_QUEUES: u64 = 0x12;
    pub const DEVICE_STATUS: u64 = 0x14;
    pub const CONFIG_GENERATION: u64 = 0x15;
    pub const QUEUE_SELECT: u64 = 0x16;
    pub const QUEUE_SIZE: u64 = 0x18;
    pub const QUEUE_MSIX_VECTOR: u64 = 0x1a;
    pub const QUEUE_ENABLE: u64 = 0x1c;
    pub const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    pub const QUEUE_DESC: u64 = 0x20;
    pub const QUEUE_DRIVER: u64 = 0x28;
    pub const QUEUE_DEVICE: u64 = 0x30;
    pub const QUEUE_NOTIF_CONFIG_DATA: u64 = 0x38;
    pub const QUEUE_RESET: u64 = 0x3a;
}

/// Offsets in the legacy interface (4.1.4.10).
pub mod legacy {
    #![expect(missing_docs, reason = "the specification's names")]

    pub const DEVICE_FEATURES: u64 = 0x00;
    pub const DRIVER_FEATURES: u64 = 0x04;
    pub const QUEUE_ADDRESS: u64 = 0x08;
    pub const QUEUE_SIZE: u64 = 0x0c;
    pub const QUEUE_SELECT: u64 = 0x0e;
    pub const QUEUE_NOTIFY: u64 = 0x10;
    pub const DEVICE_STATUS: u64 = 0x12;
    pub const ISR_STATUS: u64 = 0x13;
    /// The device's configuration without MSI-X.
    pub const CONFIG: u64 = 0x14;
    pub const CONFIG_MSIX_VECTOR: u64 = 0x14;
    pub const QUEUE_MSIX_VECTOR: u64 = 0x16;
    /// The device's configuration with MSI-X.
    pub const CONFIG_WITH_MSIX: u64 = 0x18;
}
