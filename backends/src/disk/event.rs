//! The descriptor that tells of completions.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

/// An eventfd, not raised.
///
/// # Errors
/// When the process has no more descriptors.
pub(crate) fn new() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?)
}

/// Raises it: who waits for it, edge-triggered, is woken even if nobody has read it since it was raised last.
pub(crate) fn raise(event: impl AsFd) {
    // It can only fail by being raised 2^64 times already.
    let _raised = rustix::io::write(event, &1_u64.to_ne_bytes());
}
