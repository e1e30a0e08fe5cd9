//! Signals as events of the control process's loop: those that end it, and the one of a terminal's new size.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caught {
    /// SIGINT, SIGTERM, SIGHUP: an end in order, with this status.
    End(u8),
    /// SIGQUIT: death by it, at once.
    Quit,
    /// SIGWINCH: the terminal has another size.
    Resized,
}

/// SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGWINCH, caught.
#[derive(Debug)]
pub(crate) struct Signals(SignalDelivery<UnixStream, SignalOnly>);

impl Signals {
    /// Catches them from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        let signals = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH];
        SignalDelivery::with_pipe(wake, waker, SignalOnly, signals).map(Self)
    }

    /// What came since the last call, which does not wait; of several signals at once the gravest counts.
    pub(crate) fn take(&mut self) -> Option<Caught> {
        let gravity = |signal: &i32| match *signal {
            SIGWINCH => 0,
            SIGQUIT => 2,
            _ => 1,
        };
        let signal = self.0.pending().max_by_key(gravity)?;
        Some(match signal {
            SIGQUIT => Caught::Quit,
            SIGWINCH => Caught::Resized,
            signal => Caught::End(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        })
    }
}

/// Readable when a signal came.
impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_read().as_fd()
    }
}

/// Ends this process by SIGQUIT, as if it had not been caught.
pub(crate) fn die_of_quit() -> ! {
    // It does not return; should it ever, this ends the process with a core as well.
    let _impossible = signal_hook::low_level::emulate_default_handler(SIGQUIT);
    std::process::abort()
}
