//! The VM process as the control process sees it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::pipe::PipeFlags;

use crate::control::calls::Info;
use crate::control::output::Ends;
use crate::control::runner::{Life, Runner};
use crate::failure::Failure;
use crate::plan::{Plan, Sink};
use crate::protocol::{Channel, Counters, End};
use crate::vm_process::{ConsolePipes, Pipes};

/// How a run came to its end.
#[derive(Debug)]
pub(crate) enum Over {
    /// It never began.
    Failed(Failure),
    /// As the VM process says.
    Ended(End, Counters),
    /// The VM process has gone without a word.
    Lost,
    /// It said what no VM process says, so that nothing of it is believed any more.
    Nonsense,
}

/// The pipes of a console; what is of standard input and output goes to `wires`.
fn connect(sink: &Sink, wires: &mut Wires) -> io::Result<Option<ConsolePipes>> {
    let Some(ends) = Ends::new(sink)? else {
        return Ok(None);
    };
    let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
    let (input, ours) = rustix::pipe::pipe_with(flags)?;
    // Nothing comes in by others: they read the end of it.
    if matches!(sink, Sink::Stdio) {
        wires.input = Some(ours);
        wires.relay = ends.relay;
    }
    Ok(Some(ConsolePipes {
        input,
        output: ends.guest,
    }))
}

/// The control process's ends of the pipes of the console that has standard input and output.
#[derive(Debug)]
pub(crate) struct Wires {
    /// Bytes for the guest.
    pub(crate) input: Option<OwnedFd>,
    /// Bytes from the guest, where they are relayed.
    pub(crate) relay: Option<OwnedFd>,
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
    runner: Runner,
    channel: Channel,
    state: State,
}

impl Vm {
    /// Starts it.
    pub(crate) fn start(plan: &Arc<Plan>) -> Result<(Self, Wires, Option<Life>), Failure> {
        let refused = || Failure::refused("a VM process");
        let (channel, theirs) = Channel::pair().map_err(refused())?;
        let mut wires = Wires {
            input: None,
            relay: None,
        };
        let mut connect = |sink| connect(sink, &mut wires).map_err(refused());
        let pipes = Pipes {
            serial: connect(&plan.serial)?,
            console: connect(&plan.console)?,
        };
        let (runner, life) = Runner::start(plan, theirs, pipes).map_err(refused())?;
        let vm = Self {
            runner,
            channel,
            state: State::Starting,
        };
        Ok((vm, wires, life))
    }

    pub(crate) const fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The process that the VM runs in, if it has its own: readable when it has gone.
    pub(crate) fn process(&self) -> Option<BorrowedFd<'_>> {
        self.runner.process()
    }

    /// The guest executes; false when it did before, for a VM process says it once.
    pub(crate) fn runs(&mut self) -> bool {
        let first = self.state == State::Starting;
        self.state = State::Running;
        first
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
            vm_pid: self.runner.pid(),
            mode: plan.mode.name().into(),
            state: match self.state {
                State::Starting => "starting",
                State::Running => "running",
                State::Paused => "paused",
            }
            .into(),
            cpus: plan.cpus,
            memory_bytes: plan.memory_bytes,
            kernel: plan.boots().display().to_string(),
            seconds: started.elapsed().as_secs(),
            counters: Counters::default(),
        }
    }

    /// Ends it at once; false when only the end of this process does that.
    pub(crate) fn kill(&self) -> bool {
        self.runner.kill()
    }

    /// Waits until it has gone, and its locks with it; kills it after so long, or when `hurry` is readable.
    pub(crate) fn wait(&mut self, patience: Duration, hurry: BorrowedFd<'_>) {
        self.runner.wait(patience, hurry);
    }

    /// Why it has gone without a word, or with `nonsense` as its last.
    pub(crate) fn autopsy(&mut self, plan: &Plan, nonsense: bool) -> Failure {
        self.runner.autopsy(plan, nonsense)
    }
}
