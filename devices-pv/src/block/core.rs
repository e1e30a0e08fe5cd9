//! What a request asks for, as a function of its bytes and lengths: virtio 1.3, 5.2.6.

use trivisor_buses::StorageOp;

use super::regs::{
    Features, Header, ID_LEN, MAX_RANGE_SECTORS, Range, RequestType, SECTOR, Status,
};

/// What the driver sees of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Disk {
    /// Sectors.
    pub(super) capacity: u64,
    pub(super) read_only: bool,
}

/// A request without its framing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) header: Header,
    /// Readable bytes behind the header.
    pub(super) out_len: u64,
    /// Writable bytes in front of the status.
    pub(super) in_len: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// By the storage: on `len` bytes from `offset` on.
    Storage {
        op: StorageOp,
        offset: u64,
        len: u64,
    },
    /// Say who it is.
    Identify,
    /// Nothing: a transfer of no bytes.
    Nothing,
}

impl Request {
    /// Bytes that are written from the front on, when `filled` of those in front of the status are.
    pub(super) fn written(&self, filled: u64) -> u32 {
        let status = u64::from(filled == self.in_len);
        u32::try_from(filled + status).unwrap_or(u32::MAX)
    }
}

impl Job {
    /// Bytes in front of the status that it fills.
    pub(super) const fn fills(self) -> u64 {
        match self {
            Self::Storage {
                op: StorageOp::Read,
                len,
                ..
            } => len,
            Self::Identify => ID_LEN as u64,
            Self::Storage { .. } | Self::Nothing => 0,
        }
    }

    /// Whether the driver may take it for stable when it ends.
    pub(super) const fn is_write(self) -> bool {
        matches!(
            self,
            Self::Storage {
                op: StorageOp::Write | StorageOp::WriteZeroes { .. },
                ..
            }
        )
    }
}

impl Disk {
    /// What `request` of a driver with these `features` is; `range` reads what stands behind the header of those that
    /// have ranges.
    ///
    /// # Errors
    /// The status with which it is refused.
    pub(super) fn job(
        self,
        request: Request,
        features: Features,
        range: impl FnOnce() -> Option<Range>,
    ) -> Result<Job, Status> {
        let Request {
            header,
            out_len,
            in_len,
        } = request;
        match header.kind {
            RequestType::IN => self.transfer(StorageOp::Read, header.sector, in_len),
            RequestType::OUT if self.read_only => Err(Status::IoErr),
            RequestType::OUT => self.transfer(StorageOp::Write, header.sector, out_len),
            // Also without VIRTIO_BLK_F_FLUSH: to obey costs nothing, to refuse could lose data.
            RequestType::FLUSH => Ok(Job::Storage {
                op: StorageOp::Flush,
                offset: 0,
                len: 0,
            }),
            RequestType::GET_ID if in_len < ID_LEN as u64 => Err(Status::IoErr),
            RequestType::GET_ID => Ok(Job::Identify),
            RequestType::DISCARD if features.discard() => self.range(out_len, range, |range| {
                (!range.flags.unmap()).then_some(StorageOp::Discard)
            }),
            RequestType::WRITE_ZEROES if features.write_zeroes() => {
                self.range(out_len, range, |range| {
                    let unmap = range.flags.unmap();
                    Some(StorageOp::WriteZeroes { unmap })
                })
            }
            _ => Err(Status::Unsupp),
        }
    }

    /// `max_discard_seg` and `max_write_zeroes_seg` are 1, so `out_len` is that of one range.
    fn range(
        self,
        out_len: u64,
        range: impl FnOnce() -> Option<Range>,
        op: impl FnOnce(&Range) -> Option<StorageOp>,
    ) -> Result<Job, Status> {
        if out_len != Range::LEN as u64 {
            return Err(Status::IoErr);
        }
        let range = range().ok_or(Status::IoErr)?;
        if range.flags.reserved() != 0 {
            return Err(Status::Unsupp);
        }
        let op = op(&range).ok_or(Status::Unsupp)?;
        if range.num_sectors > MAX_RANGE_SECTORS {
            return Err(Status::IoErr);
        }
        self.transfer(op, range.sector, u64::from(range.num_sectors) * SECTOR)
    }

    fn transfer(self, op: StorageOp, sector: u64, len: u64) -> Result<Job, Status> {
        if !len.is_multiple_of(SECTOR) {
            return Err(Status::IoErr);
        }
        let end = sector.checked_add(len / SECTOR).ok_or(Status::IoErr)?;
        let offset = sector.checked_mul(SECTOR).ok_or(Status::IoErr)?;
        if end > self.capacity {
            return Err(Status::IoErr);
        }
        if len == 0 {
            return Ok(Job::Nothing);
        }
        Ok(Job::Storage { op, offset, len })
    }
}
