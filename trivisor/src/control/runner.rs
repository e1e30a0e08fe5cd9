//! Where a VM runs: in a process of its own, which can be jailed, or, with `--sandbox off`, on a thread of the
//! control process, which starts sooner and takes less memory. Both speak the same protocol.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use trivisor_sandbox::process::{self, Child, ExitStatus};

use crate::failure::{Failure, HOST};
use crate::plan::Plan;
use crate::protocol::Channel;
use crate::vm_process::{self, IoThread, Pipes, explain};

/// Exit status of a VM process that touched a page of an image that is not there any more.
const BUS_ERROR: u8 = 77;

/// A VM's process or thread.
#[derive(Debug)]
pub(crate) enum Runner {
    Process(Child),
    Thread,
}

/// A VM's life, for a thread of this process, and one more that serves.
pub(crate) type Life = Box<dyn FnOnce(&IoThread) + Send>;

impl Runner {
    /// Starts the VM's process, or gives its life to a thread.
    pub(crate) fn start(
        plan: &Arc<Plan>,
        channel: Channel,
        pipes: Pipes,
    ) -> io::Result<(Self, Option<Life>)> {
        // Before any thread, in the child as well: one that has ended leaves its heap to the next, which is jailed.
        process::one_heap();
        if plan.jailed {
            let child = || vm_process::enter_process(plan, channel, pipes, BUS_ERROR);
            return Ok((Self::Process(process::fork(child)?), None));
        }
        process::exit_on_bus_error(HOST, explain::image_gone)?;
        let plan = plan.clone();
        let life = move |io: &IoThread| vm_process::enter_thread(&plan, channel, pipes, io);
        Ok((Self::Thread, Some(Box::new(life))))
    }

    /// The process that the VM runs in.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Process(child) => u32::try_from(child.pid()).unwrap_or_default(),
            Self::Thread => std::process::id(),
        }
    }

    /// Readable when its own process has gone.
    pub(crate) fn process(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Process(child) => Some(child.as_fd()),
            Self::Thread => None,
        }
    }

    /// Ends it at once; false when that cannot be done without ending this process.
    pub(crate) fn kill(&self) -> bool {
        match self {
            Self::Process(child) => {
                // It may have gone by itself.
                let _gone = child.kill();
                true
            }
            Self::Thread => false,
        }
    }

    /// Waits until it has gone, and its locks with it; kills it after so long, or when `hurry` is readable.
    pub(crate) fn wait(&mut self, patience: Duration, hurry: BorrowedFd<'_>) {
        match self {
            Self::Process(child) => {
                if !has_gone(child.as_fd(), patience, Some(hurry)) {
                    let _gone = child.kill();
                }
                // Their status says nothing more: they have told their end.
                drop(child.wait());
            }
            // It has told its end; its locks go with this process, or before it restarts the machine.
            Self::Thread => {}
        }
    }

    /// Why it has gone without a word, or with `nonsense` as its last.
    pub(crate) fn autopsy(&mut self, plan: &Plan, nonsense: bool) -> Failure {
        let child = match self {
            Self::Process(child) => child,
            Self::Thread => {
                return Failure::host(
                    "the VM's thread ended without a word",
                    "please report this with the messages above",
                );
            }
        };
        // One that closed its channel is about to go.
        if nonsense || !has_gone(child.as_fd(), Duration::from_secs(1), None) {
            let _gone = child.kill();
        }
        let status = child.wait();
        if nonsense {
            return Failure::host(
                "the VM process said what none should say, and was killed",
                "the guest may have taken it over; if it is a Linux of yours, please report this",
            );
        }
        match status {
            Ok(ExitStatus::Exited(BUS_ERROR)) => explain::truncated(plan, None),
            Ok(ExitStatus::Signaled(signal)) if signal == signal_hook::consts::SIGSYS => {
                Failure::host(
                    "the VM process made a system call that its jail forbids, and was killed",
                    "the guest may have attacked it; if it is a Linux of yours, please report this. --sandbox off runs without a jail",
                )
            }
            Ok(ExitStatus::Signaled(signal)) => Failure::host(
                format!("the VM process was killed by signal {signal}"),
                "see the host's kernel log (dmesg); out of memory?",
            ),
            Ok(ExitStatus::Exited(status)) => Failure::host(
                format!("the VM process ended with status {status} and without a word"),
                "please report this with the messages above",
            ),
            Err(error) => Failure::host(format!("the VM process is lost: {error}"), ""),
        }
    }
}

/// Waits for the end of a child, so long; less when `hurry` becomes readable.
fn has_gone(child: BorrowedFd<'_>, patience: Duration, hurry: Option<BorrowedFd<'_>>) -> bool {
    let mut fds = vec![PollFd::from_borrowed_fd(child, PollFlags::IN)];
    fds.extend(hurry.map(|hurry| PollFd::from_borrowed_fd(hurry, PollFlags::IN)));
    let patience = Timespec::try_from(patience).unwrap_or_default();
    let found = rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&patience)));
    found.is_ok() && fds.first().is_some_and(|fd| !fd.revents().is_empty())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn one_that_stays_is_waited_for_so_long_or_until_a_signal_comes() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let (hurry, signal) = UnixStream::pair().unwrap();
        let hurry = Some(hurry.as_fd());
        assert!(!has_gone(process.as_fd(), Duration::from_millis(20), hurry));
        drop(signal);
        assert!(!has_gone(process.as_fd(), Duration::from_secs(600), hurry));
        child.kill().unwrap();
        assert!(has_gone(process.as_fd(), Duration::from_secs(600), None));
        child.wait().unwrap();
    }
}
