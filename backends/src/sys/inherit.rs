//! A descriptor for a child process, under its own number.

#![expect(
    unsafe_code,
    reason = "code between fork and exec is unsafe by its nature"
)]

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};

/// Lets the child of `command` inherit `fd`, and nobody else: close-on-exec is cleared in the child alone.
/// Returns the number. The descriptor is closed here with `command`.
pub(crate) fn inherit(command: &mut Command, fd: OwnedFd) -> i32 {
    let number = fd.as_raw_fd();
    // SAFETY: the closure makes one system call on a descriptor that it owns. It allocates nothing and takes no
    // lock, so it may run between fork and exec.
    unsafe { command.pre_exec(move || Ok(fcntl_setfd(&fd, FdFlags::empty())?)) };
    number
}
