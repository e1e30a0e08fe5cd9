//! From the pipe to the device, and both directions in one value for an event loop.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use trivisor_buses::CharInput;

use super::output::OutputWatch;

/// Bytes that wait for room in the device at most: a page, as much as one read takes. The rest waits
/// in the pipe, and then in whoever writes to it.
pub const MAX_KEPT: usize = 4096;

/// A device that had no room is asked again after this long ...
const RETRY_FIRST: Duration = Duration::from_millis(1);

/// ... and, as long as it takes nothing, half as often each time down to this: a guest that never
/// reads must not keep the host busy.
const RETRY_LAST: Duration = Duration::from_millis(64);

/// Both directions of a console. An event loop polls [`poll_fds`](Self::poll_fds) for at most
/// [`timeout`](Self::timeout), and calls [`turn`](Self::turn) when one of them is ready or it [is
/// due](Self::is_due). A turn that is not due does no harm.
pub struct ConsolePump {
    /// `None`: it has ended.
    input: Option<OwnedFd>,
    output: OutputWatch,
    device: Arc<dyn CharInput>,
    /// Read, and not yet taken by the device.
    kept: Vec<u8>,
    retry: Duration,
    /// When the device is asked again, if it took less than there was.
    retry_at: Option<Instant>,
}

impl fmt::Debug for ConsolePump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsolePump")
            .field("input", &self.input)
            .field("kept", &self.kept.len())
            .finish_non_exhaustive()
    }
}

impl ConsolePump {
    /// Connects `device` to `input`, the read end of a pipe or a stream socket, which becomes
    /// non-blocking, and to its own output.
    ///
    /// # Errors
    /// When the host refuses to make `input` non-blocking.
    pub fn new(
        input: OwnedFd,
        output: OutputWatch,
        device: Arc<dyn CharInput>,
    ) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&input, true)?;
        Ok(Self {
            input: Some(input),
            output,
            device,
            kept: Vec::new(),
            retry: RETRY_FIRST,
            retry_at: None,
        })
    }

    /// What to wait for: one or two descriptors. They change with every turn.
    pub fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let input = self.input.as_ref().filter(|_| self.kept.is_empty());
        input
            .map(|input| PollFd::new(input, PollFlags::IN))
            .into_iter()
            .chain([self.output.poll_fd()])
    }

    /// How long to wait at most; `None`: for ever. A device has no event for room in it, so it is
    /// asked again.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        let at = self.retry_at?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    /// The device is to be asked again, whether a descriptor is ready or not.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.retry_at.is_some_and(|at| Instant::now() >= at)
    }

    /// The device keeps bytes that the pipe had no room for.
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.output.is_full()
    }

    /// All input has been read and taken.
    #[must_use]
    pub const fn input_ended(&self) -> bool {
        self.input.is_none() && self.kept.is_empty()
    }

    /// Moves what can be moved now, and returns at once. The end of the input is no error.
    ///
    /// # Errors
    /// When a descriptor fails; one of input is not used any more.
    pub fn turn(&mut self) -> io::Result<()> {
        self.output.turn(&*self.device)?;
        self.offer();
        if self.kept.is_empty() {
            self.read()?;
            self.offer();
        }
        Ok(())
    }

    fn offer(&mut self) {
        if self.kept.is_empty() {
            self.retry_at = None;
            return;
        }
        let taken = self.device.push(&self.kept).min(self.kept.len());
        self.kept.drain(..taken);
        self.retry = if taken > 0 {
            RETRY_FIRST
        } else {
            (self.retry * 2).min(RETRY_LAST)
        };
        self.retry_at = (!self.kept.is_empty()).then(|| Instant::now() + self.retry);
    }

    fn read(&mut self) -> io::Result<()> {
        let Some(input) = &self.input else {
            return Ok(());
        };
        let mut buffer = [0; MAX_KEPT];
        match rustix::io::read(input, &mut buffer) {
            Ok(0) => self.input = None,
            Ok(count) => {
                self.kept.extend(buffer.iter().take(count));
                self.retry = RETRY_FIRST;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => {
                self.input = None;
                return Err(error.into());
            }
        }
        Ok(())
    }
}
