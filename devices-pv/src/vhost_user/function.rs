//! What such a device is, and its configuration space.

use thiserror::Error;
use trivisor_virtio_device::DeviceType;

/// Bytes of a file system's tag (virtio 1.3, 5.11.4).
pub const TAG_LEN: usize = 36;
/// Queues of a disk at most.
pub(super) const MAX_DISK_QUEUES: u16 = 64;

/// Descriptors of a file system's or a network card's queue.
const QUEUE_SIZE: u16 = 256;

/// Features of a file system (5.11.3): none, for its notifications need shared memory.
const FILE_SYSTEM: u64 = 0;
/// Features of a disk (5.2.3) that need nothing of the device: sizes, topology, read-only, flush, discard and zeroes.
const DISK: u64 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 9 | 1 << 10 | 1 << 13 | 1 << 14;
/// VIRTIO_BLK_F_MQ.
const DISK_QUEUES: u64 = 1 << 12;
/// Features of a network card (5.1.3): checksums, segments in either direction, merged buffers.
const NETWORK: u64 = 1 << 0
    | 1 << 1
    | 1 << 7
    | 1 << 8
    | 1 << 9
    | 1 << 10
    | 1 << 11
    | 1 << 12
    | 1 << 13
    | 1 << 14
    | 1 << 15
    | 1 << 54
    | 1 << 55
    | 1 << 56;
/// VIRTIO_NET_F_MAC and VIRTIO_NET_F_STATUS, which are the device's own.
const NETWORK_OWN: u64 = 1 << 5 | 1 << 16;

/// Where `num_queues` stands in a disk's configuration.
const DISK_NUM_QUEUES: usize = 34;
/// Bytes of a disk's configuration: `virtio_blk_config` up to what writes zeroes.
pub const DISK_CONFIG: usize = 60;

/// What the queues are of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Function {
    /// A folder of the host, under a tag that the guest mounts it by (5.11).
    FileSystem {
        /// 1 to 36 bytes.
        tag: String,
    },
    /// A disk (5.2).
    Disk {
        /// 1 to 64: best one a vCPU.
        queues: u16,
        /// A power of two, 4 to 32768.
        queue_size: u16,
    },
    /// A network card (5.1).
    Network {
        /// Its address.
        mac: [u8; 6],
    },
}

/// A function that no device can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FunctionError {
    /// Empty, or too long.
    #[error("the tag {tag:?} has not 1 to {TAG_LEN} bytes")]
    Tag {
        /// The tag.
        tag: String,
    },
    /// None, or too many.
    #[error("a disk has 1 to {MAX_DISK_QUEUES} queues, not {queues}")]
    Queues {
        /// What was asked for.
        queues: u16,
    },
    /// No size of a queue.
    #[error("a queue size of {size} is no power of two from 4 to 32768")]
    QueueSize {
        /// The size.
        size: u16,
    },
}

impl Function {
    pub(super) fn check(&self) -> Result<(), FunctionError> {
        match self {
            Self::FileSystem { tag } if !(1..=TAG_LEN).contains(&tag.len()) => {
                Err(FunctionError::Tag { tag: tag.clone() })
            }
            Self::Disk { queues, .. } if !(1..=MAX_DISK_QUEUES).contains(queues) => {
                Err(FunctionError::Queues { queues: *queues })
            }
            Self::Disk { queue_size, .. } if !queue_size.is_power_of_two() || *queue_size < 4 => {
                Err(FunctionError::QueueSize { size: *queue_size })
            }
            _ => Ok(()),
        }
    }

    pub(super) const fn device_type(&self) -> DeviceType {
        match self {
            Self::FileSystem { .. } => DeviceType::FileSystem,
            Self::Disk { .. } => DeviceType::Block,
            Self::Network { .. } => DeviceType::Network,
        }
    }

    /// Its queues, and the descriptors of each.
    #[must_use]
    pub const fn queues(&self) -> (u16, u16) {
        match self {
            // One for what must not wait, one for requests.
            Self::FileSystem { .. } => (2, QUEUE_SIZE),
            Self::Disk { queues, queue_size } => (*queues, *queue_size),
            // One each way.
            Self::Network { .. } => (2, QUEUE_SIZE),
        }
    }

    /// What it offers where the server has `features`.
    pub(super) const fn features(&self, features: u64) -> u64 {
        match self {
            Self::FileSystem { .. } => features & FILE_SYSTEM,
            Self::Disk { queues: 1, .. } => features & DISK,
            Self::Disk { .. } => features & DISK | DISK_QUEUES,
            Self::Network { .. } => features & NETWORK | NETWORK_OWN,
        }
    }

    /// The configuration's bytes; `served` are the server's.
    pub(super) fn config(&self, served: &[u8], is_there: bool) -> Vec<u8> {
        match self {
            Self::FileSystem { tag } => {
                let mut bytes = tag.clone().into_bytes();
                bytes.resize(TAG_LEN, 0);
                // Queues of requests.
                bytes.extend(1_u32.to_le_bytes());
                bytes
            }
            Self::Disk { queues, .. } => {
                let mut bytes = served.to_vec();
                let field = bytes.iter_mut().skip(DISK_NUM_QUEUES);
                let count = queues.to_le_bytes();
                field.zip(count).for_each(|(byte, value)| *byte = value);
                bytes
            }
            Self::Network { mac } => {
                // VIRTIO_NET_S_LINK_UP.
                let status = u16::from(is_there).to_le_bytes();
                mac.iter().chain(&status).copied().collect()
            }
        }
    }

    /// Whether the guest is told when the server comes and goes: as of a cable.
    pub(super) const fn shows_server(&self) -> bool {
        matches!(self, Self::Network { .. })
    }
}
