//! Structures and constants of the block device: virtio 1.3, 5.2, by their names there.

use bitfield_struct::bitfield;

/// Bytes of a sector: the unit of the protocol, whatever the disk's blocks are.
pub const SECTOR: u64 = 512;

/// Feature bits (5.2.3): those that this device can offer.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Features {
    #[bits(2)]
    __: u8,
    /// VIRTIO_BLK_F_SEG_MAX: the configuration has the most segments of a request.
    pub seg_max: bool,
    #[bits(2)]
    __: u8,
    /// VIRTIO_BLK_F_RO: no writes.
    pub ro: bool,
    /// VIRTIO_BLK_F_BLK_SIZE: the configuration has the block size.
    pub blk_size: bool,
    #[bits(2)]
    __: u8,
    /// VIRTIO_BLK_F_FLUSH: there is a flush, and without it writes are not stable.
    pub flush: bool,
    /// VIRTIO_BLK_F_TOPOLOGY: the configuration tells which transfers are best.
    pub topology: bool,
    __: bool,
    /// VIRTIO_BLK_F_MQ: several queues.
    pub mq: bool,
    /// VIRTIO_BLK_F_DISCARD.
    pub discard: bool,
    /// VIRTIO_BLK_F_WRITE_ZEROES.
    pub write_zeroes: bool,
    #[bits(49)]
    __: u64,
}

/// Where the fields of `virtio_blk_config` stand (5.2.4). All others are 0.
pub mod config {
    /// `capacity`: sectors, 8 bytes.
    pub const CAPACITY: usize = 0;
    /// `seg_max`, 4 bytes.
    pub const SEG_MAX: usize = 12;
    /// `blk_size`: bytes, 4 bytes.
    pub const BLK_SIZE: usize = 20;
    /// `physical_block_exp`: log2 of blocks, 1 byte.
    pub const PHYSICAL_BLOCK_EXP: usize = 24;
    /// `min_io_size`: blocks, 2 bytes.
    pub const MIN_IO_SIZE: usize = 26;
    /// `num_queues`, 2 bytes.
    pub const NUM_QUEUES: usize = 34;
    /// `max_discard_sectors`, 4 bytes.
    pub const MAX_DISCARD_SECTORS: usize = 36;
    /// `max_discard_seg`, 4 bytes.
    pub const MAX_DISCARD_SEG: usize = 40;
    /// `discard_sector_alignment`: sectors, 4 bytes.
    pub const DISCARD_SECTOR_ALIGNMENT: usize = 44;
    /// `max_write_zeroes_sectors`, 4 bytes.
    pub const MAX_WRITE_ZEROES_SECTORS: usize = 48;
    /// `max_write_zeroes_seg`, 4 bytes.
    pub const MAX_WRITE_ZEROES_SEG: usize = 52;
    /// `write_zeroes_may_unmap`, 1 byte.
    pub const WRITE_ZEROES_MAY_UNMAP: usize = 56;
    /// Bytes up to the last field that this device has.
    pub const LEN: usize = 60;
}

/// `type` of a request (5.2.6): what the driver wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestType(pub u32);

impl RequestType {
    /// VIRTIO_BLK_T_IN: read.
    pub const IN: Self = Self(0);
    /// VIRTIO_BLK_T_OUT: write.
    pub const OUT: Self = Self(1);
    /// VIRTIO_BLK_T_FLUSH.
    pub const FLUSH: Self = Self(4);
    /// VIRTIO_BLK_T_GET_ID.
    pub const GET_ID: Self = Self(8);
    /// VIRTIO_BLK_T_DISCARD.
    pub const DISCARD: Self = Self(11);
    /// VIRTIO_BLK_T_WRITE_ZEROES.
    pub const WRITE_ZEROES: Self = Self(13);
}

/// `status` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// VIRTIO_BLK_S_OK.
    Ok = 0,
    /// VIRTIO_BLK_S_IOERR: an error of the device or the driver.
    IoErr = 1,
    /// VIRTIO_BLK_S_UNSUPP: the device does not have such a request.
    Unsupp = 2,
}

/// The front of `virtio_blk_req`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What is asked for.
    pub kind: RequestType,
    /// The first sector, for a read or write.
    pub sector: u64,
}

impl Header {
    /// Its bytes.
    pub const LEN: usize = 16;

    /// From the driver's bytes; those between `type` and `sector` are reserved.
    #[must_use]
    pub const fn parse(bytes: [u8; Self::LEN]) -> Self {
        let [a, b, c, d, _, _, _, _, sector @ ..] = bytes;
        Self {
            kind: RequestType(u32::from_le_bytes([a, b, c, d])),
            sector: u64::from_le_bytes(sector),
        }
    }
}

/// `virtio_blk_discard_write_zeroes`: a range of a discard or write-zeroes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first sector.
    pub sector: u64,
    /// Sectors.
    pub num_sectors: u32,
    /// What else is asked for.
    pub flags: RangeFlags,
}

/// `flags` of a range.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RangeFlags {
    /// A range that is to read zeros may be given back.
    pub unmap: bool,
    #[bits(31)]
    pub reserved: u32,
}

impl Range {
    /// Its bytes.
    pub const LEN: usize = 16;

    /// From the driver's bytes.
    #[must_use]
    pub const fn parse(bytes: [u8; Self::LEN]) -> Self {
        let [s0, s1, s2, s3, s4, s5, s6, s7, n0, n1, n2, n3, flags @ ..] = bytes;
        Self {
            sector: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
            num_sectors: u32::from_le_bytes([n0, n1, n2, n3]),
            flags: RangeFlags::from_bits(u32::from_le_bytes(flags)),
        }
    }
}

/// Bytes of the answer to GET_ID: ASCII, padded with NULs.
pub const ID_LEN: usize = 20;

/// The most sectors of a range: 2 GiB. A host that has to write the zeros is not kept at one request for longer.
pub const MAX_RANGE_SECTORS: u32 = 1 << 22;
