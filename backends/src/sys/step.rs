//! One system call on a disk's file, or the request to a ring that stands for it.

#![expect(
    unsafe_code,
    reason = "no safe wrapper of preadv and pwritev takes guest RAM"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::fs::{FallocateFlags, fallocate, fdatasync};

use super::buffers::Buffers;

/// What is asked of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// `preadv` into the buffers.
    Read {
        /// First byte.
        offset: u64,
    },
    /// `pwritev` from the buffers.
    Write {
        /// First byte.
        offset: u64,
    },
    /// `fdatasync`.
    Sync,
    /// `fallocate`.
    Allocate {
        /// What becomes of the range.
        mode: Mode,
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
}

/// Ways to make a range zeros; the size of the file stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Its storage is given back.
    Punch,
    /// Its storage is kept.
    Zero,
}

impl Mode {
    pub(super) const fn flags(self) -> FallocateFlags {
        match self {
            Self::Punch => FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE),
            Self::Zero => FallocateFlags::ZERO_RANGE.union(FallocateFlags::KEEP_SIZE),
        }
    }
}

/// `pwritev2` from the buffers, as much as can be taken without waiting; the bytes that it moved.
///
/// # Errors
/// What the host said: `OPNOTSUPP` where the file has no such writes.
pub(crate) fn write_without_waiting(
    file: impl AsFd,
    offset: u64,
    buffers: &mut Buffers,
) -> io::Result<usize> {
    buffers.prepare(Step::Write { offset })?;
    let runs = buffers.window();
    let count = libc::c_int::try_from(runs.len()).map_err(io::Error::other)?;
    let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
    let file = file.as_fd().as_raw_fd();
    // SAFETY: each run lies in memory that `buffers` keeps; it is only read.
    let moved = unsafe { libc::pwritev2(file, runs.as_ptr(), count, offset, libc::RWF_NOWAIT) };
    usize::try_from(moved).map_err(|_negative| io::Error::last_os_error())
}

/// Makes the call and waits for it; the bytes that it moved.
///
/// # Errors
/// What the host said; `InvalidInput` where the buffers must not be written.
pub(crate) fn run(file: impl AsFd, step: Step, buffers: &mut Buffers) -> io::Result<usize> {
    let file = file.as_fd();
    buffers.prepare(step)?;
    let runs = buffers.window();
    // 1024 at most.
    let count = libc::c_int::try_from(runs.len()).map_err(io::Error::other)?;
    let moved = match step {
        Step::Read { offset } => {
            let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
            // SAFETY: each run lies in RAM or a copy that `buffers` keeps, that no reference of this process
            // points into, and that may be written, as `prepare` has checked.
            unsafe { libc::preadv(file.as_raw_fd(), runs.as_ptr(), count, offset) }
        }
        Step::Write { offset } => {
            let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
            // SAFETY: each run lies in memory that `buffers` keeps; it is only read.
            unsafe { libc::pwritev(file.as_raw_fd(), runs.as_ptr(), count, offset) }
        }
        Step::Sync => {
            fdatasync(file)?;
            return Ok(0);
        }
        Step::Allocate { mode, offset, len } => {
            fallocate(file, mode.flags(), offset, len)?;
            return Ok(0);
        }
    };
    usize::try_from(moved).map_err(|_negative| io::Error::last_os_error())
}
