//! A request of a disk as a sequence of steps. It knows no thread and no ring: who carries the steps out tells
//! it what came of them.

use std::io;

use rustix::io::Errno;
use trivisor_buses::{BufferRequest, Geometry, MAX_BUFFER, Segment, StorageOp, StorageRequest};

use crate::sys::buffers::Buffers;
use crate::sys::step::{Mode, Step};

/// A step that did nothing is taken again as often, then it is an error: the host is out of memory, or the
/// thread that began it has ended.
const MAX_STALLS: u8 = 100;

/// What is left of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    pub id: u64,
    pub work: Work,
    /// First byte of the rest.
    pub offset: u64,
    /// Bytes, for what has no buffers.
    pub len: u64,
    stalls: u8,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Read,
    /// Of the guest's data or of zeros.
    Write,
    Flush,
    Discard,
    WriteZeroes {
        unmap: bool,
    },
}

impl Task {
    pub(crate) const fn new(id: u64, op: StorageOp, offset: u64, len: u64) -> Self {
        Self {
            id,
            work: match op {
                StorageOp::Read => Work::Read,
                StorageOp::Write => Work::Write,
                StorageOp::Flush => Work::Flush,
                StorageOp::Discard => Work::Discard,
                StorageOp::WriteZeroes { unmap } => Work::WriteZeroes { unmap },
            },
            offset,
            len,
            stalls: 0,
        }
    }

    /// What is to be done next.
    pub(crate) const fn step(&self) -> Step {
        let Self { offset, len, .. } = *self;
        match self.work {
            Work::Read => Step::Read { offset },
            Work::Write => Step::Write { offset },
            Work::Flush => Step::Sync,
            Work::Discard | Work::WriteZeroes { unmap: true } => Step::Allocate {
                mode: Mode::Punch,
                offset,
                len,
            },
            Work::WriteZeroes { unmap: false } => Step::Allocate {
                mode: Mode::Zero,
                offset,
                len,
            },
        }
    }

    /// What came of the step: the end of the request, or none while there are more steps.
    pub(crate) fn advance(
        &mut self,
        buffers: &mut Buffers,
        result: io::Result<usize>,
    ) -> Option<io::Result<()>> {
        match (self.work, result) {
            (_, Err(error)) => self.fail(buffers, error),
            // The image has become shorter than the disk.
            (Work::Read, Ok(0)) => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            (Work::Write, Ok(0)) => Some(Err(io::ErrorKind::WriteZero.into())),
            (Work::Read | Work::Write, Ok(moved)) => {
                if self.work == Work::Read {
                    buffers.finish_read(moved);
                }
                buffers.advance(moved);
                self.offset = self.offset.saturating_add(moved as u64);
                self.stalls = 0;
                (buffers.left() == 0).then_some(Ok(()))
            }
            (Work::Flush | Work::Discard | Work::WriteZeroes { .. }, Ok(_)) => Some(Ok(())),
        }
    }

    fn fail(&mut self, buffers: &mut Buffers, error: io::Error) -> Option<io::Result<()>> {
        match (self.work, Errno::from_io_error(&error)) {
            (_, Some(Errno::INTR | Errno::AGAIN | Errno::CANCELED)) if self.stalls < MAX_STALLS => {
                self.stalls += 1;
                None
            }
            // A discard is advice.
            (Work::Discard, Some(Errno::OPNOTSUPP | Errno::INVAL)) => Some(Ok(())),
            (Work::WriteZeroes { .. }, Some(Errno::OPNOTSUPP | Errno::INVAL)) => {
                self.work = Work::Write;
                buffers.set_zeros(self.len);
                None
            }
            _ => Some(Err(error)),
        }
    }
}

/// Whether the disk has what a request asks for.
///
/// # Errors
/// `InvalidInput`: it reaches over the end, begins or ends inside a sector, or its segments are of another
/// length. `ReadOnlyFilesystem`: it would write.
pub(crate) fn check(geometry: &Geometry, request: &StorageRequest<'_>) -> io::Result<()> {
    let moves = matches!(request.op, StorageOp::Read | StorageOp::Write);
    if moves && Segment::total(request.segments) != request.len {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    check_range(geometry, request.op, request.offset, request.len)
}

/// Whether the disk has what a request with a buffer asks for.
///
/// # Errors
/// As [`check`]; `InvalidInput` as well when it moves no data, or too much.
pub(crate) fn check_buffer(geometry: &Geometry, request: &BufferRequest) -> io::Result<()> {
    let moves = matches!(request.op, StorageOp::Read | StorageOp::Write);
    if !moves || request.buffer.len() > MAX_BUFFER {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let len = request.buffer.len() as u64;
    check_range(geometry, request.op, request.offset, len)
}

fn check_range(geometry: &Geometry, op: StorageOp, offset: u64, len: u64) -> io::Result<()> {
    let writes = !matches!(op, StorageOp::Read | StorageOp::Flush);
    let fits = op == StorageOp::Flush
        || offset.is_multiple_of(512)
            && len.is_multiple_of(512)
            && offset
                .checked_add(len)
                .is_some_and(|end| end <= geometry.capacity);
    if !fits {
        Err(io::ErrorKind::InvalidInput.into())
    } else if writes && geometry.read_only {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    } else {
        Ok(())
    }
}
