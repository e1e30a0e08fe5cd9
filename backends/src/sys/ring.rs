//! An io_uring with one file, for the steps of a disk and for nothing else.
//!
//! Its requests are no system calls, so no seccomp filter sees them. The ring itself is therefore told what it
//! may do before it is switched on: four operations, on its one file. That cannot be taken back.

#![expect(
    unsafe_code,
    reason = "the kernel uses the memory of a request after the call has returned"
)]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::register::Restriction;
use io_uring::types::{Fixed, FsyncFlags};
use io_uring::{IoUring, opcode, squeue};

use super::buffers::Buffers;
use super::step::Step;

/// The ring's file: its index among the registered ones.
const FILE: Fixed = Fixed(0);

/// `IOSQE_FIXED_FILE`: the request's file is a registered one.
const FIXED_FILE: u8 = 1;

/// `IORING_ENTER_GETEVENTS`.
const GET_EVENTS: u32 = 1;

/// A request that the kernel has or will get, with what its owner wants back at its end.
struct Flight<T> {
    buffers: Box<Buffers>,
    tag: T,
}

/// The ring and the memory that its requests use.
pub(crate) struct Ring<T> {
    uring: IoUring,
    /// The kernel may use the memory of each that is there.
    flights: Vec<Option<Flight<T>>>,
    free: Vec<u32>,
    /// Those that the kernel has not taken yet, oldest first.
    held: VecDeque<u32>,
    /// How many it has taken that were not fetched.
    taken: usize,
    /// No more can be handed to the kernel.
    closed: bool,
}

impl<T> Ring<T> {
    /// A ring for `depth` requests on `file`, which raises `event` at each end of one.
    ///
    /// # Errors
    /// What the host said; `EPERM` or `ENOSYS` where such rings are forbidden.
    pub(crate) fn new(file: BorrowedFd<'_>, event: BorrowedFd<'_>, depth: u32) -> io::Result<Self> {
        let uring = IoUring::builder().setup_r_disabled().build(depth)?;
        let submitter = uring.submitter();
        submitter.register_files(&[file.as_raw_fd()])?;
        submitter.register_eventfd(event.as_raw_fd())?;
        submitter.register_restrictions(&mut [
            Restriction::sqe_op(opcode::Readv::CODE),
            Restriction::sqe_op(opcode::Writev::CODE),
            Restriction::sqe_op(opcode::Fsync::CODE),
            Restriction::sqe_op(opcode::Fallocate::CODE),
            Restriction::sqe_flags_required(FIXED_FILE),
        ])?;
        submitter.register_enable_rings()?;
        Ok(Self {
            uring,
            flights: (0..depth).map(|_| None).collect(),
            free: (0..depth).rev().collect(),
            held: VecDeque::with_capacity(depth as usize),
            taken: 0,
            closed: false,
        })
    }

    /// Takes a step; [`submit`](Self::submit) hands it to the kernel. Gives all back when the ring is full or
    /// closed, or the buffers do not fit the step.
    pub(crate) fn push(
        &mut self,
        step: Step,
        mut buffers: Box<Buffers>,
        tag: T,
    ) -> Result<(), (Box<Buffers>, T)> {
        if self.closed || buffers.prepare(step).is_err() {
            return Err((buffers, tag));
        }
        let Some(index) = self.free.pop() else {
            return Err((buffers, tag));
        };
        let entry = entry(step, &buffers).user_data(index.into());
        // SAFETY: the runs and what they lead to stay as they are while `buffers` lives and is not changed. It is
        // kept in `flights` from here on, and leaves it when the kernel has ended the request or will never see it;
        // `drop` waits for all. A step that reads writes only what may be written, as `prepare` has checked.
        let pushed = unsafe { self.uring.submission().push(&entry) };
        if pushed.is_err() {
            self.free.push(index);
            return Err((buffers, tag));
        }
        if let Some(flight) = self.flights.get_mut(index as usize) {
            *flight = Some(Flight { buffers, tag });
        }
        self.held.push_back(index);
        Ok(())
    }

    /// Whether there are steps that the kernel has not taken.
    pub(crate) fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Hands all steps to the kernel, by one system call if there are any.
    ///
    /// # Errors
    /// What the host said. What it did not take is still held.
    pub(crate) fn submit(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let taken = self.uring.submit()?.min(self.held.len());
        self.held.drain(..taken);
        self.taken += taken;
        if self.held.is_empty() {
            Ok(())
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    /// Takes back a step that the kernel did not take, and closes the ring, for the kernel would still take it.
    pub(crate) fn take_held(&mut self) -> Option<(Box<Buffers>, T)> {
        self.closed = true;
        let index = self.held.pop_front()?;
        self.take(index)
    }

    /// The next step that has ended: the bytes that it moved.
    pub(crate) fn next(&mut self) -> Option<(Box<Buffers>, T, io::Result<usize>)> {
        loop {
            let entry = self.uring.completion().next()?;
            let index = u32::try_from(entry.user_data()).unwrap_or(u32::MAX);
            let result = usize::try_from(entry.result())
                .map_err(|_negative| io::Error::from_raw_os_error(-entry.result()));
            if let Some((buffers, tag)) = self.take(index) {
                self.free.push(index);
                self.taken -= 1;
                return Some((buffers, tag, result));
            }
        }
    }

    /// Waits until a step has ended that was not fetched, if the kernel has any.
    ///
    /// # Errors
    /// What the host said; a signal is no error.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        if self.taken == 0 {
            return Ok(());
        }
        // SAFETY: no argument is handed over.
        let waited = unsafe {
            self.uring
                .submitter()
                .enter::<libc::sigset_t>(0, 1, GET_EVENTS, None)
        };
        match waited {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Steps that the kernel has and has not ended.
    pub(crate) fn waiting(&mut self) -> usize {
        let ended = self.uring.completion().len();
        self.taken.saturating_sub(ended)
    }

    /// Whether the ends of steps raise the event.
    pub(crate) fn set_events(&mut self, on: bool) {
        let completions = self.uring.completion();
        if on {
            completions.enable_eventfd();
        } else {
            completions.disable_eventfd();
        }
    }

    fn take(&mut self, index: u32) -> Option<(Box<Buffers>, T)> {
        let flight = self.flights.get_mut(index as usize)?.take()?;
        Some((flight.buffers, flight.tag))
    }
}

fn entry(step: Step, buffers: &Buffers) -> squeue::Entry {
    let runs = buffers.window();
    // 1024 at most.
    let count = u32::try_from(runs.len()).unwrap_or(0);
    match step {
        Step::Read { offset } => opcode::Readv::new(FILE, runs.as_ptr(), count)
            .offset(offset)
            .build(),
        Step::Write { offset } => opcode::Writev::new(FILE, runs.as_ptr(), count)
            .offset(offset)
            .build(),
        Step::Sync => opcode::Fsync::new(FILE).flags(FsyncFlags::DATASYNC).build(),
        Step::Allocate { mode, offset, len } => opcode::Fallocate::new(FILE, len)
            .offset(offset)
            .mode(mode.flags().bits().cast_signed())
            .build(),
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        while self.taken > 0 {
            if self.wait().is_err() {
                // Nobody knows what the kernel still does with the memory, so nobody may use it again.
                std::mem::forget(std::mem::take(&mut self.flights));
                return;
            }
            while self.next().is_some() {}
        }
    }
}

impl<T> std::fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("depth", &self.flights.len())
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}
