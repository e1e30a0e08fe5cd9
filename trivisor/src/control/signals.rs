//! Signals that end the control process, as events of its loop.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// SIGINT, SIGTERM and SIGHUP, caught.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Readable when one came.
    wake: UnixStream,
    /// The latest.
    latest: Arc<AtomicUsize>,
}

impl Signals {
    /// Catches them from now on.
    pub(crate) fn catch() -> io::Result<Self> {
        let latest = Arc::new(AtomicUsize::new(0));
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let value = usize::try_from(signal).unwrap_or_default();
            signal_hook::flag::register_usize(signal, latest.clone(), value)?;
            signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(Self { wake, latest })
    }

    /// The signal that came since the last call.
    pub(crate) fn take(&self) -> Option<u8> {
        let mut bytes = [0; 16];
        while matches!((&self.wake).read(&mut bytes), Ok(1..)) {}
        let signal = self.latest.swap(0, Ordering::SeqCst);
        u8::try_from(signal).ok().filter(|signal| *signal != 0)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
