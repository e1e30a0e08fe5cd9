//! The control process: terminal, signals, control socket and exit status. It trusts nothing that the VM
//! process says.

mod keyboard;
mod output;
pub(crate) mod registry;
mod requests;
mod runner;
mod signals;
mod vm;

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use serde::{Deserialize, Serialize};
use trivisor_backends::terminal::RawTerminal;

use crate::control::keyboard::{Keyboard, Wish};
use crate::control::output::Output;
use crate::control::registry::{Call, Registration};
use crate::control::requests::{Asker, Requests};
use crate::control::signals::Signals;
use crate::control::vm::{Over, Vm, Wires};
use crate::failure::{CRASHED, Failure, HOST, TIMEOUT};
use crate::plan::{Plan, Sink};
use crate::protocol::{Counters, End, Report, cpu_time};

/// How long a VM process may take to end when it was told to.
const GRACE: Duration = Duration::from_secs(10);

/// How long a reader of the output may take nothing when the run was to end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the control process ends a run, and with which status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ending {
    status: u8,
    /// When the VM process is killed.
    deadline: Instant,
}

/// Runs a VM until its end; the exit status.
pub(crate) fn run(plan: Plan) -> Result<u8, Failure> {
    let started = Instant::now();
    let plan = Arc::new(plan);
    let (vm, wires, life) = Vm::start(&plan)?;
    let control = move || {
        let control = Control::new(plan, started, vm, wires)?;
        control.run()
    };
    let Some(life) = life else {
        return control();
    };
    // The calling thread is the VM's: its start is what is waited for.
    let control = spawn("control", control).map_err(Failure::refused("a thread"))?;
    life();
    control.join().unwrap_or_else(|_| {
        Err(Failure::host(
            "the control thread ended by a panic",
            "please report this with the messages above",
        ))
    })
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.into()).spawn(run)
}

struct Control {
    plan: Arc<Plan>,
    started: Instant,
    signals: Signals,
    registration: Registration,
    requests: Requests,
    output: Output,
    keyboard: Option<Keyboard>,
    ending: Option<Ending>,
    /// The VM does not end but with this process.
    abandoned: bool,
    vm: Vm,
    _terminal: Option<RawTerminal>,
}

/// What `--metrics` writes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Metrics {
    /// CPU time of both processes, in nanoseconds.
    pub(crate) cpu_ns: u64,
    pub(crate) counters: Counters,
}

/// What poll said of each source.
struct Ready {
    channel: bool,
    output: bool,
    signals: bool,
    listener: bool,
    stdin: bool,
}

impl Control {
    /// What a VM that is being made needs around it.
    fn new(plan: Arc<Plan>, started: Instant, vm: Vm, wires: Wires) -> Result<Self, Failure> {
        // Before the terminal changes: a signal in between would leave it so.
        let signals = Signals::catch().map_err(Failure::refused("handlers of signals"))?;
        let terminal = match plan.sink {
            Sink::Stdio => RawTerminal::enter(rustix::stdio::stdin())
                .map_err(Failure::refused("the terminal"))?,
            _ => None,
        };
        let keyboard = match plan.sink {
            Sink::Stdio => wires
                .input
                .map(|input| Keyboard::new(input, terminal.is_some())),
            _ => None,
        };
        Ok(Self {
            started,
            signals,
            registration: Registration::new(&plan.name)?,
            requests: Requests::default(),
            output: Output::new(wires.relay),
            keyboard,
            ending: None,
            abandoned: false,
            vm,
            plan,
            _terminal: terminal,
        })
    }

    fn run(mut self) -> Result<u8, Failure> {
        loop {
            let ready = self.poll().map_err(Failure::refused("poll"))?;
            if ready.output {
                self.output.pump();
            }
            if ready.signals
                && let Some(signal) = self.signals.take()
            {
                self.end(128 + signal);
            }
            self.check_time();
            if self.abandoned {
                let status = self.ending.map_or(HOST, |ending| ending.status);
                // The terminal is as it was before the process goes, and the VM's thread with it.
                drop(self);
                std::process::exit(status.into());
            }
            if ready.stdin {
                self.type_in();
            }
            if let Some(keyboard) = &mut self.keyboard {
                keyboard.flush();
            }
            if ready.listener {
                self.requests.accept(self.registration.listener(), &self.vm);
            }
            if ready.channel
                && let Some(over) = self.listen()
                && let Some(status) = self.conclude(over)?
            {
                return Ok(status);
            }
        }
    }

    fn poll(&self) -> io::Result<Ready> {
        let stdin = io::stdin();
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.vm.channel().as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::new(self.registration.listener(), PollFlags::IN),
        ];
        let mut add = |fd, flags| {
            fds.push(PollFd::from_borrowed_fd(fd, flags));
            fds.len() - 1
        };
        let output = self.output.wanted().map(|(fd, flags)| add(fd, flags));
        let hungry = self.keyboard.as_ref().is_some_and(Keyboard::is_hungry);
        let stdin = hungry.then(|| add(stdin.as_fd(), PollFlags::IN));
        let blocked = self.keyboard.as_ref().and_then(Keyboard::blocked_on);
        blocked.map(|fd| add(fd, PollFlags::OUT));
        let timeout = self.next_deadline().map(|deadline| {
            let rest = deadline.saturating_duration_since(Instant::now());
            Timespec::try_from(rest).unwrap_or(Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            })
        });
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Ready {
            channel: ready(0),
            signals: ready(1),
            listener: ready(2),
            output: output.is_some_and(ready),
            stdin: stdin.is_some_and(ready),
        })
    }

    fn next_deadline(&self) -> Option<Instant> {
        match self.ending {
            Some(ending) => Some(ending.deadline),
            None => self
                .plan
                .timeout
                .and_then(|timeout| self.started.checked_add(timeout)),
        }
    }

    fn check_time(&mut self) {
        if self
            .next_deadline()
            .is_none_or(|deadline| deadline > Instant::now())
        {
            return;
        }
        match self.ending {
            // It was told, and did not: its disks may lack the latest writes, which the guest never flushed.
            Some(_) => self.kill(),
            None => self.end(TIMEOUT),
        }
    }

    /// Ends the run with this status; said twice, at once.
    fn end(&mut self, status: u8) {
        if self.ending.is_some() {
            self.kill();
            return;
        }
        self.ending = Some(Ending {
            status,
            deadline: Instant::now() + GRACE,
        });
        self.requests.ask(Asker::Nobody, Call::Stop, &self.vm);
    }

    fn kill(&mut self) {
        self.abandoned = !self.vm.kill();
    }

    fn type_in(&mut self) {
        let Some(keyboard) = &mut self.keyboard else {
            return;
        };
        for wish in keyboard.read(&mut |text| Output::show(text)) {
            match wish {
                Wish::End => self.end(0),
                Wish::Call(call) => self.requests.ask(Asker::Monitor, call, &self.vm),
            }
        }
    }

    /// Takes what the VM process says; `Some` when its run is over.
    fn listen(&mut self) -> Option<Over> {
        match self.vm.channel().receive::<Report>() {
            Ok(Some(Report::Running)) => {
                self.vm.runs();
                None
            }
            Ok(Some(Report::Answer(answer))) => {
                let facts = || self.vm.info(&self.plan, self.started);
                if let Some(paused) = self.requests.answered(answer, facts) {
                    self.vm.set_paused(paused);
                }
                None
            }
            Ok(Some(Report::Failed(failure))) => Some(Over::Failed(failure)),
            Ok(Some(Report::Ended { end, counters })) => Some(Over::Ended(end, counters)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // A closed channel or nonsense: the exit status of the process tells more.
            Ok(None) | Err(_) => Some(Over::Lost),
        }
    }

    /// The run is over: the status, or `None` when the guest was started again.
    fn conclude(&mut self, over: Over) -> Result<Option<u8>, Failure> {
        self.output.finish(match self.ending {
            Some(_) => LAST_WORDS,
            None => GRACE,
        });
        self.requests.refuse_all("the VM has ended");
        let (end, counters) = match over {
            Over::Failed(failure) => {
                self.vm.wait();
                return Err(failure);
            }
            Over::Lost if self.ending.is_some() => (End::Stopped, Counters::default()),
            Over::Lost => return Err(self.vm.autopsy(&self.plan)),
            Over::Ended(end, counters) => (end, counters),
        };
        self.vm.wait();
        self.write_metrics(counters);
        if end == End::Reset && self.plan.reboot && self.ending.is_none() {
            let (vm, wires, life) = Vm::start(&self.plan)?;
            if let Some(life) = life {
                spawn("vm", life).map_err(Failure::refused("a thread"))?;
            }
            self.vm = vm;
            self.output = Output::new(wires.relay);
            if let (Some(keyboard), Some(input)) = (&mut self.keyboard, wires.input) {
                keyboard.connect(input);
            }
            return Ok(None);
        }
        let status = match end {
            // A host's refusal is told even when the run was to end anyway: something may be lost.
            End::HostFailed(failure) => return Err(failure),
            End::Crashed { .. } | End::DebugExit(_) | End::PowerOff | End::Reset | End::Stopped
                if self.ending.is_some() =>
            {
                self.ending.map_or(0, |ending| ending.status)
            }
            End::PowerOff | End::Reset | End::Stopped => 0,
            // The low byte of what isa-debug-exit of QEMU gives.
            End::DebugExit(value) => u8::try_from((value << 1 | 1) & 0xff).unwrap_or(u8::MAX),
            End::Crashed { report, last_lines } => {
                let mut what = format!("the guest crashed\n{report}");
                // On a terminal the user has just seen them.
                let seen = matches!(self.plan.sink, Sink::Stdio) && io::stdout().is_terminal();
                if !last_lines.is_empty() && !seen {
                    what += &format!("\nits last lines:\n{last_lines}");
                }
                let advice = "look at the guest's last lines and at rip";
                return Err(Failure {
                    status: CRASHED,
                    what,
                    advice: advice.into(),
                });
            }
        };
        Ok(Some(status))
    }

    fn write_metrics(&self, counters: Counters) {
        let Some(mut file) = self.plan.metrics.as_ref() else {
            return;
        };
        // On a thread, the VM's time is a part of this process's.
        let vm = if self.plan.jailed { counters.cpu_ns } else { 0 };
        let metrics = Metrics {
            cpu_ns: vm + cpu_time(),
            counters,
        };
        let written = serde_json::to_vec(&metrics).map_err(io::Error::from);
        let written = written.and_then(|mut line| {
            line.push(b'\n');
            file.write_all(&line)
        });
        if let Err(error) = written {
            eprintln!("trivisor: the metrics cannot be written: {error}");
        }
    }
}
