//! Reads and writes between a descriptor and guest RAM, without a copy in between.

#![expect(
    unsafe_code,
    reason = "guest RAM is no slice, so no safe wrapper takes it"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;
use smallvec::SmallVec;
use trivisor_buses::Segment;
use trivisor_memory::GuestRam;

use super::runs::runs as guest_runs;
use crate::segments::written;

/// A frame of a Linux guest has 19 runs at most; more cost an allocation.
type Runs = SmallVec<[libc::iovec; 20]>;

/// Runs of one call at most: `UIO_MAXIOV`.
const MAX_RUNS: usize = 1024;

/// Writes `head` and then `segments` to `fd` by one system call; the bytes that it took.
///
/// # Errors
/// `InvalidInput`, with nothing written: a segment is not RAM, or there are too many. Others: the host's.
pub(crate) fn write(
    fd: impl AsFd,
    head: &[u8],
    ram: &GuestRam,
    segments: &[Segment],
) -> io::Result<usize> {
    let mut runs = Runs::new();
    if !head.is_empty() {
        runs.push(libc::iovec {
            iov_base: head.as_ptr().cast_mut().cast(),
            iov_len: head.len(),
        });
    }
    if !resolve(ram, segments, &mut runs)? {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let count = count(&runs);
    retry(|| {
        // SAFETY: each run lies in `head` or in RAM that `ram` keeps mapped; both are borrowed until the call
        // returns, and it only reads them. What a guest writes at the same time is no access of this process.
        unsafe { libc::writev(fd.as_fd().as_raw_fd(), runs.as_ptr(), count) }
    })
}

/// Reads from `fd` into `segments` and then `rest` by one system call, and marks the pages dirty; the bytes that came.
/// What does not fit into 1024 runs waits, or is cut off where `fd` is no stream.
///
/// # Errors
/// `InvalidInput`, with nothing read: a segment is not RAM. Others: the host's.
pub(crate) fn read(
    fd: impl AsFd,
    ram: &GuestRam,
    segments: &[Segment],
    rest: &mut [u8],
) -> io::Result<usize> {
    let mut runs = Runs::new();
    if resolve(ram, segments, &mut runs)? && runs.len() < MAX_RUNS && !rest.is_empty() {
        runs.push(own(rest));
    }
    let count = count(&runs);
    let read = retry(|| {
        // SAFETY: each run lies in `rest`, which nobody else has as long as it is borrowed, or in RAM that `ram` keeps
        // mapped, and that no reference of this process points into; so the kernel may write to it.
        unsafe { libc::readv(fd.as_fd().as_raw_fd(), runs.as_ptr(), count) }
    })?;
    written(ram, segments, read);
    Ok(read)
}

/// Memory of this process.
pub(super) const fn own(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

/// Adds the runs of host memory behind `segments`; false when they are too many, and the rest is left out.
fn resolve(ram: &GuestRam, segments: &[Segment], runs: &mut Runs) -> io::Result<bool> {
    for segment in segments {
        for run in guest_runs(ram, *segment)? {
            let run = run?;
            if runs.len() == MAX_RUNS {
                return Ok(false);
            }
            runs.push(run);
        }
    }
    Ok(true)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "MAX_RUNS at most"
)]
fn count(runs: &Runs) -> libc::c_int {
    runs.len() as libc::c_int
}

/// Makes the call, and again when a signal came first.
fn retry(call: impl Fn() -> isize) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(count) => return Ok(count),
            Err(_negative) => {
                let error = io::Error::last_os_error();
                if Errno::from_io_error(&error) != Some(Errno::INTR) {
                    return Err(error);
                }
            }
        }
    }
}
