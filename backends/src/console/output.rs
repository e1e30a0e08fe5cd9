//! From the device to a pipe, a terminal or a file: here they are all called a pipe.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use trivisor_buses::{CharInput, CharOutput};

/// What both ends know of a pipe.
#[derive(Debug)]
struct Pipe {
    pipe: OwnedFd,
    /// An eventfd, raised whenever `full` becomes true.
    refused: OwnedFd,
    /// The pipe took less than it was given. Until the event loop has found room, writers do not
    /// even ask the kernel: a guest that goes on writing costs no system calls.
    full: AtomicBool,
}

/// The device's end: takes what the pipe has room for, and never blocks.
///
/// Bytes for a pipe that nobody reads any more are dropped, so the guest goes on.
#[derive(Debug)]
pub struct PipeOutput(Arc<Pipe>);

/// The event loop's end: waits for room in a pipe that was full.
#[derive(Debug)]
pub struct OutputWatch(Arc<Pipe>);

/// Makes both ends for `pipe`, the write end of a pipe, a stream socket, a terminal or a file; it becomes
/// non-blocking for everybody who shares its open file description.
/// SIGPIPE has to be ignored, as Rust's runtime does at its start.
///
/// # Errors
/// When the host refuses another descriptor.
pub fn output(pipe: OwnedFd) -> io::Result<(PipeOutput, OutputWatch)> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    let pipe = Arc::new(Pipe {
        pipe,
        refused: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        full: AtomicBool::new(false),
    });
    Ok((PipeOutput(Arc::clone(&pipe)), OutputWatch(pipe)))
}

impl CharOutput for PipeOutput {
    fn write(&mut self, bytes: &[u8]) -> usize {
        if bytes.is_empty() || self.0.full.load(Ordering::SeqCst) {
            return 0;
        }
        let taken = match rustix::io::write(&self.0.pipe, bytes) {
            Ok(taken) => taken,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            // EPIPE and whatever else will not get better.
            Err(_) => return bytes.len(),
        };
        if taken < bytes.len() {
            self.0.full.store(true, Ordering::SeqCst);
            // It can only fail by being raised 2^64 times already.
            let _raised = rustix::io::write(&self.0.refused, &1_u64.to_ne_bytes());
        }
        taken
    }
}

impl OutputWatch {
    /// The pipe took less than it was given, and the device keeps the rest.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.0.full.load(Ordering::SeqCst)
    }

    /// What to wait for: news of a full pipe, or then room in it.
    #[must_use]
    pub fn poll_fd(&self) -> PollFd<'_> {
        if self.0.full.load(Ordering::SeqCst) {
            PollFd::new(&self.0.pipe, PollFlags::OUT)
        } else {
            PollFd::new(&self.0.refused, PollFlags::IN)
        }
    }

    /// Looks after the pipe; when it was full and has room again, tells `device`. Returns at once.
    ///
    /// # Errors
    /// When the host cannot say whether there is room.
    pub fn turn(&self, device: &dyn CharInput) -> io::Result<()> {
        let mut count = [0; 8];
        match rustix::io::read(&self.0.refused, &mut count) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !self.0.full.load(Ordering::SeqCst) {
            return Ok(());
        }
        let mut room = [PollFd::new(&self.0.pipe, PollFlags::OUT)];
        match poll(&mut room, Some(&Timespec::default())) {
            Ok(0) | Err(Errno::INTR) => {}
            // Room, or no reader any more: the device's next write finds out which.
            Ok(_) => {
                self.0.full.store(false, Ordering::SeqCst);
                device.output_ready();
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
