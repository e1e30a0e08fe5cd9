//! Where a VM runs: in a process of its own, which can be jailed, or, with `--sandbox off`, on a thread of the
//! control process, which starts sooner and takes less memory. Both speak the same protocol.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec};
use trivisor_sandbox::process::{self, Child, ExitStatus};

use crate::failure::{Failure, HOST};
use crate::plan::Plan;
use crate::protocol::Channel;
use crate::vm_process::{self, ConsolePipes, explain};

/// Exit status of a VM process that touched a page of an image that is not there any more.
const BUS_ERROR: u8 = 77;

/// A VM's process or thread.
#[derive(Debug)]
pub(crate) enum Runner {
    Process(Child),
    Thread,
}

/// A VM's life, for a thread of this process.
pub(crate) type Life = Box<dyn FnOnce() + Send>;

impl Runner {
    /// Starts the VM's process, or gives its life to a thread.
    pub(crate) fn start(
        plan: &Arc<Plan>,
        channel: Channel,
        pipes: Option<ConsolePipes>,
    ) -> io::Result<(Self, Option<Life>)> {
        if plan.jailed {
            let child = || vm_process::enter_process(plan, &channel, pipes, BUS_ERROR);
            return Ok((Self::Process(process::fork(child)?), None));
        }
        process::exit_on_bus_error(HOST, explain::image_gone)?;
        process::one_heap();
        let plan = plan.clone();
        let life = move || vm_process::enter_thread(&plan, &channel, pipes);
        Ok((Self::Thread, Some(Box::new(life))))
    }

    /// The process that the VM runs in.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Process(child) => u32::try_from(child.pid()).unwrap_or_default(),
            Self::Thread => std::process::id(),
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

    /// Waits until it has gone, and its locks with it.
    pub(crate) fn wait(&mut self) {
        match self {
            // Their status says nothing more: they have told their end.
            Self::Process(child) => drop(child.wait()),
            // It has told its end; its locks go with this process, or before it restarts the machine.
            Self::Thread => {}
        }
    }

    /// Why it has gone without a word.
    pub(crate) fn autopsy(&mut self, plan: &Plan) -> Failure {
        let child = match self {
            Self::Process(child) => child,
            Self::Thread => {
                return Failure::host(
                    "the VM's thread ended without a word",
                    "please report this with the messages above",
                );
            }
        };
        // One that closed its channel is about to go; one that talks nonsense is not.
        let mut fds = [PollFd::from_borrowed_fd(child.as_fd(), PollFlags::IN)];
        let second = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        if rustix::event::poll(&mut fds, Some(&second)) == Ok(0) {
            let _gone = child.kill();
        }
        match child.wait() {
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
