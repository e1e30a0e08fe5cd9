//! The descriptors that a child keeps.

#![expect(unsafe_code, reason = "descriptors are closed by number")]

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Closes every descriptor except for `kept`; standard input, output and error, when they are not
/// among them, become /dev/null, so that their numbers never come to mean something else.
///
/// To be called in a child that [`fork`](super::fork()) made, before it opens anything: what it
/// inherited beside `kept` are copies of its parent's, which nothing in the child uses again.
///
/// # Errors
/// When /dev/null cannot be opened, or the host lacks close_range (Linux 5.9).
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut numbers: Vec<u32> = kept
        .iter()
        .map(|fd| fd.as_raw_fd().cast_unsigned())
        .collect();
    if [0, 1, 2].iter().any(|number| !numbers.contains(number)) {
        let null = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        for (number, replace) in [
            (0, dup2_stdin as fn(_) -> _),
            (1, dup2_stdout),
            (2, dup2_stderr),
        ] {
            if !numbers.contains(&number) {
                replace(&null)?;
                numbers.push(number);
            }
        }
    }
    numbers.sort_unstable();
    let mut first = 0;
    for number in numbers {
        if number > first {
            close_range(first, number - 1)?;
        }
        first = number.saturating_add(1);
    }
    close_range(first, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: no memory is touched. The descriptors were inherited, and by this function's contract
    // nothing in this process uses them any more.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
