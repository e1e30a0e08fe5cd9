//! The control process: terminal, signals, control socket and exit status. It trusts nothing that the VM
//! process says.

pub(crate) mod calls;
mod clients;
mod conclude;
mod ending;
mod keyboard;
mod monitor;
mod output;
pub(crate) mod registry;
mod requests;
mod runner;
mod screen;
pub(crate) mod signals;
mod sources;
mod vm;

use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use trivisor_backends::terminal::RawTerminal;
use trivisor_backends::vsock::ConnectServer;

use crate::control::calls::Call;
use crate::control::clients::Clients;
pub(crate) use crate::control::conclude::Metrics;
use crate::control::ending::Ending;
use crate::control::keyboard::{Keyboard, Wish};
use crate::control::output::Output;
use crate::control::registry::Registration;
use crate::control::requests::{Asker, News, Requests, Unasked};
use crate::control::screen::{Assembly, NoScreen, Picture, Shown};
use crate::control::signals::{Caught, Signals};
use crate::control::vm::{Over, Vm, Wires};
use crate::failure::{Failure, HOST, TIMEOUT};
use crate::plan::{Plan, Sink};
use crate::protocol::Report;
use crate::vm_process::IoThread;

/// Runs a VM until its end; the exit status.
pub(crate) fn run(plan: Plan) -> Result<u8, Failure> {
    let started = Instant::now();
    if plan.nothing_boots {
        eprintln!(
            "trivisor: nothing to boot: no disk has a boot sector, and there is neither a CD nor a floppy; the firmware says so on its screen"
        );
    }
    let plan = Arc::new(plan);
    let result = run_plan(&plan, started);
    plan.virtio.unlock_disks();
    plan.pc.unlock_disks();
    result
}

fn run_plan(plan: &Arc<Plan>, started: Instant) -> Result<u8, Failure> {
    // A name of the user's choice may be taken by another start at this moment, and then no guest runs. One of our
    // own nobody else takes: that need not be waited for.
    let registration = if plan.named {
        Some(Registration::new(&plan.name)?)
    } else {
        None
    };
    let (vm, wires, life) = Vm::start(plan)?;
    let plan = plan.clone();
    let control = move || {
        let control = Control::new(plan, started, vm, wires, registration)?;
        control.run()
    };
    let Some(life) = life else {
        return control();
    };
    // The calling thread is the VM's, whose start is what is waited for. The next one helps it; ours has time.
    let (tell, told) = mpsc::channel();
    let (io, serve) = IoThread::waiting(Some(Box::new(move || {
        let theirs = tell.clone();
        // Who has stopped listening has panicked.
        let control = move || drop(theirs.send(control()));
        if let Err(error) = spawn("control", control) {
            drop(tell.send(Err(Failure::no_thread("the control thread")(error))));
        }
    })));
    spawn("io", serve).map_err(Failure::no_thread("the thread for console and requests"))?;
    life(&io);
    // It has nothing more to wait for.
    drop(io);
    told.recv().unwrap_or_else(|_| {
        Err(Failure::host(
            "the control thread ended by a panic",
            "please report this with the messages above",
        ))
    })
}

fn spawn<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name.into()).spawn(run)
}

struct Control {
    plan: Arc<Plan>,
    started: Instant,
    signals: Signals,
    /// Dropped before the requests: who waits for the end finds the name free.
    registration: Registration,
    clients: Clients,
    requests: Requests,
    output: Output,
    keyboard: Option<Keyboard>,
    ending: Option<Ending>,
    /// The VM does not end but with this process.
    abandoned: bool,
    /// The VM process may ask for streams to programs of the host.
    streams_served: bool,
    vm: Vm,
    /// What the screen shows at the end, as far as it is here.
    last_screen: Assembly,
    last_picture: Option<Picture>,
    terminal: Option<RawTerminal>,
}

impl Control {
    /// What a VM that is being made needs around it.
    fn new(
        plan: Arc<Plan>,
        started: Instant,
        vm: Vm,
        wires: Wires,
        registration: Option<Registration>,
    ) -> Result<Self, Failure> {
        // Before the terminal changes: a signal in between would leave it so.
        let signals = Signals::catch().map_err(Failure::refused("handlers of signals"))?;
        let terminal = if plan.has_stdio() {
            RawTerminal::enter(rustix::stdio::stdin()).map_err(Failure::refused("the terminal"))?
        } else {
            None
        };
        let keyboard = wires
            .input
            .map(|input| Keyboard::new(input, terminal.is_some()));
        Ok(Self {
            started,
            signals,
            registration: match registration {
                Some(registration) => registration,
                None => Registration::new(&plan.name)?,
            },
            clients: Clients::default(),
            requests: Requests::default(),
            output: Output::new(wires.relay),
            keyboard,
            ending: None,
            abandoned: false,
            streams_served: true,
            vm,
            last_screen: Assembly::default(),
            last_picture: None,
            plan,
            terminal,
        })
    }

    fn run(mut self) -> Result<u8, Failure> {
        loop {
            if self.abandoned {
                let status = self.ending.map_or(HOST, |ending| ending.status);
                // The terminal is as it was before the process goes, and the VM's thread with it.
                drop(self);
                std::process::exit(status.into());
            }
            let ready = self.poll().map_err(Failure::refused("poll"))?;
            if ready.output {
                self.output.pump();
            }
            if ready.signals {
                match self.signals.take() {
                    Some(Caught::End(status)) => self.end(status),
                    Some(Caught::Quit) => {
                        // The terminal is as it was, and the VM process gone.
                        drop(self);
                        signals::die_of_quit();
                    }
                    Some(Caught::Resized) => self.tell_terminal_size(),
                    None => {}
                }
            }
            self.check_time();
            if ready.stdin {
                self.type_in();
            }
            if let Some(keyboard) = &mut self.keyboard {
                keyboard.flush();
            }
            if ready.streams {
                self.connect_streams();
            }
            for served in self.plan.virtio.served() {
                served.back_end.turn();
            }
            self.serve_clients(ready.listener);
            let over = match self.listen(ready.channel) {
                // Whatever it had to say has been said.
                None if ready.gone && !ready.channel => Some(Over::Lost),
                over => over,
            };
            if let Some(over) = over
                && let Some(status) = self.conclude(over)?
            {
                return Ok(status);
            }
        }
    }

    /// Where the guest's streams are connected, unless the VM process has abused it.
    fn streams(&self) -> Option<&ConnectServer> {
        let sockets = self.plan.virtio.sockets.as_ref();
        sockets
            .filter(|_| self.streams_served)
            .map(|sockets| &sockets.server)
    }

    /// Connects one stream of the guest's.
    fn connect_streams(&mut self) {
        // A guest that wants many takes turns with everything else.
        if self.streams().is_some_and(|server| server.turn().is_err()) {
            self.streams_served = false;
        }
    }

    fn check_time(&mut self) {
        if self
            .end_deadline()
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
        self.ending = Some(Ending::told(status, Instant::now()));
        self.ask(Asker::Nobody, Call::Stop);
    }

    fn ask(&mut self, asker: Asker, call: Call) {
        let (channel, output) = (self.vm.channel(), &mut self.output);
        self.requests.ask(asker, call, channel, output);
    }

    fn kill(&mut self) {
        self.abandoned = !self.vm.kill();
        if let Some(ending) = &mut self.ending {
            ending.set_killed();
        }
    }

    fn type_in(&mut self) {
        let Some(keyboard) = &mut self.keyboard else {
            return;
        };
        for wish in keyboard.read(&mut |text| self.output.show(text)) {
            match wish {
                Wish::End => self.end(0),
                Wish::Call(call) => self.ask(Asker::Monitor, call),
            }
        }
    }

    /// Where the guest has a console that asks for it.
    fn tell_terminal_size(&mut self) {
        if self.terminal.is_none() || !matches!(self.plan.console, Sink::Stdio) {
            return;
        }
        if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
            let (columns, rows) = (size.ws_col, size.ws_row);
            self.ask(Asker::Nobody, Call::TerminalSize { columns, rows });
        }
    }

    fn serve_clients(&mut self, listener_ready: bool) {
        let now = Instant::now();
        if listener_ready {
            let listener = self.registration.listener();
            self.clients.admit(now, || clients::accept(listener));
        }
        for (client, call) in self.clients.turn(now) {
            match call {
                // Not left to the goodwill of the VM process, and answered when it has gone.
                Call::Stop => {
                    self.requests.wait_for_end(client);
                    self.end(0);
                }
                _ => self.ask(Asker::Client(client), call),
            }
        }
    }

    /// Takes what the VM process says; `Some` when its run is over.
    fn listen(&mut self, ready: bool) -> Option<Over> {
        if !ready {
            return None;
        }
        match self.vm.channel().receive::<Report>() {
            Ok(Some(Report::Running)) => {
                let first = self.vm.runs();
                self.tell_terminal_size();
                (!first).then_some(Over::Nonsense)
            }
            Ok(Some(Report::Answer(answer))) => {
                let facts = || self.vm.info(&self.plan, self.started);
                match self.requests.answered(answer, facts, &mut self.output) {
                    Ok(None) => {}
                    Ok(Some(News::Paused(paused))) => self.vm.set_paused(paused),
                    Ok(Some(News::Disc(disc))) => self.plan.pc.change_disc(disc),
                    Err(Unasked) => return Some(Over::Nonsense),
                }
                None
            }
            Ok(Some(Report::LastScreen(piece))) => {
                let wanted = self.plan.last_picture.is_some() && self.last_picture.is_none();
                match self.last_screen.take(piece) {
                    Ok(Some(Shown::Picture(picture))) if wanted => {
                        self.last_picture = Some(picture)
                    }
                    Ok(None) if wanted => {}
                    Ok(_) | Err(NoScreen) => return Some(Over::Nonsense),
                }
                None
            }
            Ok(Some(Report::Failed(failure))) => Some(Over::Failed(failure)),
            Ok(Some(Report::Ended { end, counters })) => Some(Over::Ended(end, counters)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Some(Over::Nonsense),
            // A closed channel: the exit status of the process tells more.
            Ok(None) | Err(_) => Some(Over::Lost),
        }
    }
}
