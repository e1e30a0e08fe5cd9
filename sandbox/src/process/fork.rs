//! Fork, and the parent's hand on the child.

#![expect(unsafe_code, reason = "fork is no Rust")]

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::AssertUnwindSafe;

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, getppid, kill_process,
    pidfd_open, pidfd_send_signal, set_parent_process_death_signal, waitid, waitpid,
};

/// Status of a child that panicked, or whose parent was gone before it began: Rust's own for a panic.
const PANICKED: u8 = 101;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal. SIGSYS: it tried a system call that its jail denies.
    Signaled(i32),
}

/// A child process. It is killed when this is dropped before its end was waited for.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    pidfd: OwnedFd,
    ended: Option<ExitStatus>,
}

/// Forks. The child runs `child` and exits with the status that it returns, 101 when it panics (or by
/// SIGABRT, where panics abort); neither destructors of the parent's values nor functions that the
/// parent registered for its exit run there. It is killed when the thread that calls this ends, so call it on the main thread.
///
/// # Errors
/// When the process has more than one thread (the others' locks would never be released in the
/// child), or when the host has no room for another process.
pub fn fork(child: impl FnOnce() -> u8) -> io::Result<Child> {
    refuse_threads()?;
    let parent = getpid();
    // What is buffered would leave twice.
    let _lost = io::stdout().flush();
    // SAFETY: there is no other thread, so the child may do whatever its parent may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let status = run(parent, child);
            // SAFETY: _exit touches no memory of ours.
            unsafe { libc::_exit(status.into()) }
        }
        pid => {
            let named = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidData)?;
            // The number cannot mean another process yet, for nobody has waited for this one.
            match pidfd_open(named, PidfdFlags::empty()) {
                Ok(pidfd) => Ok(Child {
                    pid,
                    pidfd,
                    ended: None,
                }),
                Err(error) => {
                    let _ended = kill_process(named, Signal::KILL);
                    let _reaped = waitpid(Some(named), WaitOptions::empty());
                    Err(error.into())
                }
            }
        }
    }
}

fn refuse_threads() -> io::Result<()> {
    match std::fs::read_dir("/proc/self/task")?.count() {
        1 => Ok(()),
        threads => Err(io::Error::other(format!(
            "a process with {threads} threads cannot be forked"
        ))),
    }
}

/// The child's life.
fn run(parent: Pid, child: impl FnOnce() -> u8) -> u8 {
    if set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        return PANICKED;
    }
    // The parent may have ended before the signal was asked for.
    if getppid() != Some(parent) {
        return PANICKED;
    }
    // A panic must not unwind into the parent's half of this function's caller.
    let status = std::panic::catch_unwind(AssertUnwindSafe(child)).unwrap_or(PANICKED);
    // Nobody is left to hear of an error.
    let _lost = io::stdout().flush();
    status
}

impl Child {
    /// Its number.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for its end; when that is known, says it again.
    ///
    /// # Errors
    /// When somebody else has waited for it.
    pub fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        let found =
            retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED))?;
        let found = found.ok_or(io::ErrorKind::InvalidData)?;
        let status = if let Some(signal) = found.terminating_signal() {
            ExitStatus::Signaled(signal)
        } else {
            // The kernel keeps eight bits of it.
            let status = found
                .exit_status()
                .and_then(|status| u8::try_from(status).ok());
            ExitStatus::Exited(status.ok_or(io::ErrorKind::InvalidData)?)
        };
        self.ended = Some(status);
        Ok(status)
    }

    /// Kills it; one that has ended already is no error.
    ///
    /// # Errors
    /// When it does not belong to this user any more.
    pub fn kill(&self) -> io::Result<()> {
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Becomes readable when the child has ended.
impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Without an owner it would stay as a zombie at least.
        if self.ended.is_none() && self.kill().is_ok() {
            let _reaped = self.wait();
        }
    }
}
