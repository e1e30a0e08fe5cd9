//! The VM process as the control process sees it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::pipe::PipeFlags;
use trivisor_sandbox::process::{self, Child, ExitStatus};

use crate::control::registry::Info;
use crate::failure::Failure;
use crate::plan::{Plan, Sink};
use crate::protocol::{Channel, Counters, End};
use crate::vm_process::{self, BUS_ERROR, ConsolePipes};

/// How a run came to its end.
#[derive(Debug)]
pub(crate) enum Over {
    /// It never began.
    Failed(Failure),
    /// As the VM process says.
    Ended(End, Counters),
    /// The VM process has gone without a word.
    Lost,
}

/// The control process's ends of the console's pipes.
#[derive(Debug)]
pub(crate) struct Wires {
    pub(crate) input: Option<OwnedFd>,
    pub(crate) output: Option<OwnedFd>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Running,
    Paused,
}

/// A VM process.
#[derive(Debug)]
pub(crate) struct Vm {
    child: Child,
    channel: Channel,
    state: State,
}

impl Vm {
    /// Forks it.
    pub(crate) fn start(plan: &Plan) -> Result<(Self, Wires), Failure> {
        let refused = |error: std::io::Error| {
            Failure::host(
                format!("the host refused a VM process: {error}"),
                "see `trivisor check`",
            )
        };
        let (channel, theirs) = Channel::pair().map_err(refused)?;
        let mut pipes = None;
        let mut wires = Wires {
            input: None,
            output: None,
        };
        if !matches!(plan.sink, Sink::None) {
            let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
            let pipe = || rustix::pipe::pipe_with(flags).map_err(|error| refused(error.into()));
            let (guest_input, input) = pipe()?;
            let (output, guest_output) = pipe()?;
            pipes = Some(ConsolePipes {
                input: guest_input,
                output: guest_output,
            });
            wires = Wires {
                input: Some(input),
                output: Some(output),
            };
        }
        let child =
            process::fork(move || vm_process::enter(plan, &theirs, pipes)).map_err(refused)?;
        Ok((
            Self {
                child,
                channel,
                state: State::Starting,
            },
            wires,
        ))
    }

    pub(crate) const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The guest executes.
    pub(crate) fn runs(&mut self) {
        self.state = State::Running;
    }

    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.state = if paused {
            State::Paused
        } else {
            State::Running
        };
    }

    /// Everything that is known of it but its counters.
    pub(crate) fn info(&self, plan: &Plan, started: Instant) -> Info {
        Info {
            name: plan.name.clone(),
            pid: std::process::id(),
            vm_pid: u32::try_from(self.child.pid()).unwrap_or_default(),
            mode: "basic".into(),
            state: match self.state {
                State::Starting => "starting",
                State::Running => "running",
                State::Paused => "paused",
            }
            .into(),
            cpus: plan.cpus,
            memory_bytes: plan.memory_bytes,
            kernel: plan.kernel_path.display().to_string(),
            seconds: started.elapsed().as_secs(),
            counters: Counters::default(),
        }
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        // It may have gone by itself.
        let _gone = self.child.kill();
    }

    /// Waits until it has gone, and its locks with it.
    pub(crate) fn wait(&mut self) {
        // Its status says nothing more: it has told its end.
        let _status = self.child.wait();
    }

    /// Why it has gone without a word.
    pub(crate) fn autopsy(&mut self, plan: &Plan) -> Failure {
        // Whatever it still does, it does not speak our protocol any more.
        self.kill_if_alive();
        match self.child.wait() {
            Ok(ExitStatus::Exited(BUS_ERROR)) => vm_process::truncated(plan, None),
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

    /// A process that closed its channel is about to go; one that talks nonsense is not.
    fn kill_if_alive(&self) {
        let mut fds = [rustix::event::PollFd::from_borrowed_fd(
            self.child.as_fd(),
            rustix::event::PollFlags::IN,
        )];
        let second = rustix::event::Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        if rustix::event::poll(&mut fds, Some(&second)) == Ok(0) {
            self.kill();
        }
    }
}
