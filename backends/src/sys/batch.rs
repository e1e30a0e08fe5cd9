//! Many writes to one descriptor by one system call: each costs less than one by itself.
//!
//! By an io_uring that has been told, as that of a disk, that it may do nothing else. The file is none of the ring's: such
//! files are closed some time after the ring, and a tap would be in use for so long.

#![expect(
    unsafe_code,
    reason = "the kernel is handed guest RAM, which is no slice"
)]

use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::register::Restriction;
use io_uring::types::Fd;
use io_uring::{IoUring, opcode};
use rustix::io::Errno;
use trivisor_buses::Segment;
use trivisor_memory::GuestRam;

use super::runs::runs as guest_runs;

/// Writes at once.
const DEPTH: usize = 64;

/// With fewer, the ring costs more than it spares.
const WORTHWHILE: usize = 4;

/// Runs of a write at most: `UIO_MAXIOV`.
const MAX_RUNS: usize = 1024;

/// Writes that are handed over at once.
pub(crate) struct Batch {
    /// `None`: the host does not do it, or no more.
    uring: Option<IoUring>,
    runs: Vec<libc::iovec>,
    /// Those of each write that there is.
    spans: Vec<Range<usize>>,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("uring", &self.uring.is_some())
            .finish_non_exhaustive()
    }
}

// SAFETY: what the runs point to is used within `write` alone.
unsafe impl Send for Batch {}

impl Batch {
    /// Where the host has no such ring, each write is a system call.
    pub(crate) fn new() -> Self {
        Self {
            uring: ring().ok(),
            runs: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// Writes each of `frames` that is one to `file`, which does not block, and adds to `results` what became of each of them.
    pub(crate) fn write(
        &mut self,
        file: BorrowedFd<'_>,
        ram: &GuestRam,
        frames: &mut dyn Iterator<Item = io::Result<&[Segment]>>,
        results: &mut Vec<io::Result<()>>,
    ) {
        loop {
            self.runs.clear();
            self.spans.clear();
            let first = results.len();
            for frame in (&mut *frames).take(DEPTH) {
                let start = self.runs.len();
                let resolved = frame.and_then(|frame| self.resolve(ram, frame));
                if resolved.is_err() {
                    self.runs.truncate(start);
                }
                results.push(resolved);
                self.spans.push(start..self.runs.len());
            }
            let results = results.get_mut(first..).unwrap_or_default();
            if results.is_empty() {
                return;
            }
            self.write_runs(file, results);
        }
    }

    /// Adds the runs behind `frame`.
    fn resolve(&mut self, ram: &GuestRam, frame: &[Segment]) -> io::Result<()> {
        let most = self.runs.len() + MAX_RUNS;
        for segment in frame {
            for run in guest_runs(ram, *segment)? {
                if self.runs.len() == most {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                self.runs.push(run?);
            }
        }
        Ok(())
    }

    /// Writes what belongs to each result that is no error yet.
    fn write_runs(&mut self, file: BorrowedFd<'_>, results: &mut [io::Result<()>]) {
        if results.len() >= WORTHWHILE
            && let Some(uring) = self.uring.take()
        {
            self.uring = self.write_by(uring, file, results);
            // Those that a ring has refused that cannot do it.
            let refused = |result: &io::Result<()>| {
                let error = result.as_ref().err();
                error.and_then(Errno::from_io_error) == Some(Errno::OPNOTSUPP)
            };
            if !results.iter().any(refused) {
                return;
            }
            self.uring = None;
            let again = results.iter_mut().filter(|result| refused(result));
            again.for_each(|result| *result = Ok(()));
        }
        for (span, result) in self.spans.iter().zip(results) {
            let runs = self.runs.get(span.clone()).unwrap_or_default();
            if result.is_ok() {
                *result = write_one(file, runs);
            }
        }
    }

    /// The ring, if it can be used again.
    fn write_by(
        &mut self,
        mut uring: IoUring,
        file: BorrowedFd<'_>,
        results: &mut [io::Result<()>],
    ) -> Option<IoUring> {
        let mut left = 0;
        for (index, (span, result)) in (0..).zip(self.spans.iter().zip(&mut *results)) {
            let runs = self.runs.get(span.clone()).unwrap_or_default();
            if result.is_err() {
                continue;
            }
            let entry = opcode::Writev::new(Fd(file.as_raw_fd()), runs.as_ptr(), count(runs))
                .rw_flags(libc::RWF_NOWAIT)
                .build()
                .user_data(index);
            // SAFETY: `self.runs` stays as it is until the kernel has ended all, or is never freed. It lies in RAM
            // that is mapped as long as the VM is, and is only read.
            match unsafe { uring.submission().push(&entry) } {
                Ok(()) => left += 1,
                // Cannot be: there are as many places as results.
                Err(_full) => *result = Err(io::ErrorKind::WouldBlock.into()),
            }
        }
        // What the kernel does not tell of is not known to be written.
        let mut ended = [false; DEPTH];
        while left > 0 {
            match uring.submit_and_wait(left) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    // The kernel may still use them.
                    std::mem::forget(std::mem::take(&mut self.runs));
                    for (result, ended) in results.iter_mut().zip(ended) {
                        if result.is_ok() && !ended {
                            *result = Err(io::Error::from(Errno::IO));
                        }
                    }
                    return None;
                }
                _ => {}
            }
            for entry in uring.completion() {
                left -= 1;
                let index = usize::try_from(entry.user_data()).unwrap_or(DEPTH);
                if let Some(ended) = ended.get_mut(index) {
                    *ended = true;
                }
                if let Some(result) = results.get_mut(index)
                    && entry.result() < 0
                {
                    *result = Err(io::Error::from_raw_os_error(-entry.result()));
                }
            }
        }
        Some(uring)
    }
}

fn ring() -> io::Result<IoUring> {
    #[expect(clippy::cast_possible_truncation, reason = "a small constant")]
    let uring = IoUring::builder().setup_r_disabled().build(DEPTH as u32)?;
    let submitter = uring.submitter();
    submitter.register_restrictions(&mut [Restriction::sqe_op(opcode::Writev::CODE)])?;
    submitter.register_enable_rings()?;
    Ok(uring)
}

fn write_one(file: BorrowedFd<'_>, runs: &[libc::iovec]) -> io::Result<()> {
    loop {
        // SAFETY: the runs lie in RAM that is mapped as long as the VM is, and the call only reads them.
        let written =
            unsafe { libc::writev(file.as_raw_fd(), runs.as_ptr(), count(runs).cast_signed()) };
        if written >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "MAX_RUNS at most")]
const fn count(runs: &[libc::iovec]) -> u32 {
    runs.len() as u32
}
