//! What a block device is made with, and its configuration space.

use thiserror::Error;
use trivisor_buses::Geometry;

use super::core::Disk;
use super::regs::{Features, ID_LEN, MAX_RANGE_SECTORS, SECTOR, config};

/// Queues at most.
pub const MAX_QUEUES: u16 = 64;
/// Descriptors of a queue at least: header, data and status, rounded up to a power of two.
pub const LEAST_QUEUE_SIZE: u16 = 4;
/// Segments of a request at most, as the driver is told: header and status fill them up to the 1024 that hosts take in
/// one call.
const MOST_SEGMENTS: u16 = 1022;

/// The options of a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockOptions {
    /// Queues, 1 to 64: best one a vCPU.
    pub queues: u16,
    /// The largest size of a queue: a power of two, 4 to 32768.
    pub queue_size: u16,
    /// What GET_ID says: up to 20 characters of printable ASCII.
    pub serial: String,
}

impl Default for BlockOptions {
    /// One queue of 256, no serial number.
    fn default() -> Self {
        Self {
            queues: 1,
            queue_size: 256,
            serial: String::new(),
        }
    }
}

/// Options or a storage that no block device can have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BlockError {
    /// None, or too many.
    #[error("a disk has 1 to {MAX_QUEUES} queues, not {queues}")]
    Queues {
        /// What was asked for.
        queues: u16,
    },
    /// No size of a queue.
    #[error("a queue size of {size} is no power of two from {LEAST_QUEUE_SIZE} to 32768")]
    QueueSize {
        /// The size.
        size: u16,
    },
    /// Too long, or not printable.
    #[error("the serial number {serial:?} is not up to {ID_LEN} characters of printable ASCII")]
    Serial {
        /// The serial number.
        serial: String,
    },
    /// No physical block.
    #[error("a physical block of {bytes} bytes is no power of two of at least {SECTOR}")]
    PhysicalBlock {
        /// Its bytes.
        bytes: u32,
    },
}

impl BlockOptions {
    pub(super) fn check(&self, geometry: &Geometry) -> Result<(), BlockError> {
        let Self {
            queues,
            queue_size,
            serial,
        } = self;
        if !(1..=MAX_QUEUES).contains(queues) {
            return Err(BlockError::Queues { queues: *queues });
        }
        if !queue_size.is_power_of_two() || *queue_size < LEAST_QUEUE_SIZE {
            return Err(BlockError::QueueSize { size: *queue_size });
        }
        let printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
        if serial.len() > ID_LEN || !serial.bytes().all(printable) {
            return Err(BlockError::Serial {
                serial: serial.clone(),
            });
        }
        let bytes = geometry.physical_block;
        if !bytes.is_power_of_two() || u64::from(bytes) < SECTOR {
            return Err(BlockError::PhysicalBlock { bytes });
        }
        Ok(())
    }

    /// What the device offers on such a storage.
    pub(super) const fn features(&self, geometry: &Geometry) -> Features {
        let unmaps = geometry.can_discard && !geometry.read_only;
        Features::new()
            .with_seg_max(true)
            .with_ro(geometry.read_only)
            .with_blk_size(true)
            .with_flush(true)
            .with_topology(true)
            .with_mq(self.queues > 1)
            .with_discard(unmaps)
            .with_write_zeroes(unmaps)
    }

    /// The answer to GET_ID.
    pub(super) fn id(&self) -> [u8; ID_LEN] {
        let mut serial = self.serial.bytes();
        std::array::from_fn(|_| serial.next().unwrap_or(0))
    }

    /// The configuration space.
    pub(super) fn space(&self, disk: &Disk, geometry: &Geometry) -> [u8; config::LEN] {
        let mut space = [0; config::LEN];
        let mut put = |at: usize, field: &[u8]| {
            let bytes = space.iter_mut().skip(at).zip(field);
            bytes.for_each(|(byte, value)| *byte = *value);
        };
        put(config::CAPACITY, &disk.capacity.to_le_bytes());
        let segments = u32::from(MOST_SEGMENTS.min(self.queue_size.saturating_sub(2)));
        put(config::SEG_MAX, &segments.to_le_bytes());
        let [s0, s1, s2, s3, ..] = SECTOR.to_le_bytes();
        put(config::BLK_SIZE, &[s0, s1, s2, s3]);
        // A block is a sector.
        let physical = geometry.physical_block >> SECTOR.trailing_zeros();
        let exponent = physical.trailing_zeros().to_le_bytes();
        put(config::PHYSICAL_BLOCK_EXP, exponent.split_at(1).0);
        let least = u16::try_from(physical).unwrap_or(0);
        put(config::MIN_IO_SIZE, &least.to_le_bytes());
        put(config::NUM_QUEUES, &self.queues.to_le_bytes());
        if self.features(geometry).discard() {
            let (most, one) = (MAX_RANGE_SECTORS.to_le_bytes(), 1_u32.to_le_bytes());
            put(config::MAX_DISCARD_SECTORS, &most);
            put(config::MAX_DISCARD_SEG, &one);
            put(config::DISCARD_SECTOR_ALIGNMENT, &physical.to_le_bytes());
            put(config::MAX_WRITE_ZEROES_SECTORS, &most);
            put(config::MAX_WRITE_ZEROES_SEG, &one);
            put(config::WRITE_ZEROES_MAY_UNMAP, &[1]);
        }
        space
    }
}
