//! The VM process: gets descriptors, never paths; makes the machine, jails itself, runs the guest, and tells
//! the control process how it went. Its main thread runs vCPU 0, and one more serves console and requests.

pub(crate) mod explain;
mod jail;
mod tail;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use trivisor_backends::console::{self, ConsolePump};
use trivisor_kvm::Kvm;
use trivisor_memory::{Backing, FileMapping};
use trivisor_sandbox::process;
use trivisor_vmm_core::{BootConfig, FirstVcpu, Machine, MachineConfig, Mode, Outcome};

use self::explain::{explain_host, explain_machine, jail_failure};
use self::jail::Jail;
use self::tail::{Tail, Tee};
use crate::failure::{Failure, chain};
use crate::plan::Plan;
use crate::protocol::{Answer, Channel, Counters, End, Report, Request, cpu_time};

/// The VM process's ends of the console's pipes.
pub(crate) struct ConsolePipes {
    /// Bytes for the guest.
    pub(crate) input: OwnedFd,
    /// Bytes from the guest: the terminal, pipe or file itself, or a pipe that is relayed.
    pub(crate) output: OwnedFd,
}

/// The whole life of a VM process; its exit status says only whether it could tell its end. A bus error ends
/// it with `bus_error`.
pub(crate) fn enter_process(
    plan: &Plan,
    channel: &Channel,
    pipes: Option<ConsolePipes>,
    bus_error: u8,
) -> u8 {
    let prepare = || {
        isolate(plan, channel, pipes.as_ref()).map_err(Failure::refused("a process group"))?;
        process::exit_on_bus_error(bus_error, || ())
            .map_err(Failure::refused("a handler of bus errors"))
    };
    let told = match prepare() {
        Ok(()) => live(plan, channel, pipes, |process, end| {
            let told = channel.send(&end);
            // The kernel takes all of it back at exit, sooner than we could.
            std::mem::forget(process);
            told
        }),
        Err(failure) => channel.send(&Report::Failed(failure)),
    };
    u8::from(told.is_err())
}

/// The same on a thread of the control process.
pub(crate) fn enter_thread(plan: &Plan, channel: &Channel, pipes: Option<ConsolePipes>) {
    // Nobody is left to hear of an error.
    let _told = live(plan, channel, pipes, |process, end| {
        if plan.reboot {
            // The next machine may need its memory.
            drop(process);
            channel.send(&end)
        } else {
            // Told first: the control process clears up meanwhile.
            let told = channel.send(&end);
            drop(process);
            told
        }
    });
}

/// From the machine's making to its end. The calling thread becomes that of vCPU 0, and another serves console
/// and requests: the guest's first instruction waits for no thread to come to life. `finish` tells the end and
/// takes the machine down.
fn live<'a>(
    plan: &'a Plan,
    channel: &'a Channel,
    pipes: Option<ConsolePipes>,
    finish: impl FnOnce(Option<VmProcess<'a>>, Report) -> io::Result<()> + Send,
) -> io::Result<()> {
    let mut process = match VmProcess::new(plan, channel, pipes) {
        Ok(process) => process,
        Err(failure) => return finish(None, Report::Failed(failure)),
    };
    let (first, jail) = match process.prepare_run() {
        Ok(ready) => ready,
        Err(failure) => return finish(Some(process), Report::Failed(failure)),
    };
    std::thread::scope(|scope| {
        let serve = move || {
            let end = process.serve_to_end(jail.as_ref());
            finish(Some(process), end)
        };
        let io = std::thread::Builder::new()
            .name("io".into())
            .spawn_scoped(scope, serve)?;
        first.run();
        io.join()
            .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    })
}

/// Leaves the terminal's process group, so that its keys do not reach us, and everything open that is not
/// the VM's, the control process's ends of our pipes among it.
fn isolate(plan: &Plan, channel: &Channel, pipes: Option<&ConsolePipes>) -> io::Result<()> {
    rustix::process::setsid()?;
    let stderr = io::stderr();
    let mut keep = vec![
        stderr.as_fd(),
        channel.as_fd(),
        plan.kvm.as_fd(),
        plan.kernel.as_fd(),
    ];
    keep.extend(plan.initrd.iter().map(AsFd::as_fd));
    keep.extend(plan.disks.iter().map(|disk| disk.file.as_fd()));
    if let Backing::File(file) = &plan.ram.backing {
        keep.push(file.as_fd());
    }
    keep.extend(
        pipes
            .iter()
            .flat_map(|pipes| [pipes.input.as_fd(), pipes.output.as_fd()]),
    );
    process::close_all_but(&keep)
}

/// The event loop broke down: the host's fault.
fn lost(error: &io::Error) -> Report {
    let failure = Failure::host(
        format!("the VM process lost its control process: {error}"),
        "start the VM again",
    );
    Report::Ended {
        end: End::HostFailed(failure),
        counters: Counters::default(),
    }
}

struct VmProcess<'a> {
    plan: &'a Plan,
    channel: &'a Channel,
    machine: Machine,
    pmem: Vec<Arc<FileMapping>>,
    console: Option<ConsolePump>,
    tail: Tail,
    /// Readable when the last vCPU thread has ended.
    ended: Arc<OwnedFd>,
}

impl<'a> VmProcess<'a> {
    fn new(
        plan: &'a Plan,
        channel: &'a Channel,
        pipes: Option<ConsolePipes>,
    ) -> Result<Self, Failure> {
        let tail = Tail::default();
        let (serial, wires) = match pipes {
            Some(pipes) => {
                let (output, watch) = console::output(pipes.output)
                    .map_err(Failure::refused("the console's pipe"))?;
                let output = Tee {
                    output,
                    tail: tail.clone(),
                };
                (Some(Box::new(output) as Box<_>), Some((pipes.input, watch)))
            }
            None => (None, None),
        };
        let pmem = map_disks(plan)?;
        let kvm = plan
            .kvm
            .try_clone()
            .map_err(Failure::refused("a descriptor"))?;
        let kvm = Kvm::from_file(kvm).map_err(|error| crate::plan::no_kvm(&error))?;
        let config = MachineConfig {
            mode: Mode::Basic,
            cpus: plan.cpus,
            memory_bytes: plan.memory_bytes,
            ram: plan.ram.clone(),
            boot: BootConfig {
                kernel: plan
                    .kernel
                    .try_clone()
                    .map_err(Failure::refused("a descriptor"))?,
                initrd: match &plan.initrd {
                    Some(file) => Some(file.try_clone().map_err(Failure::refused("a descriptor"))?),
                    None => None,
                },
                cmdline: plan.cmdline.clone(),
                random_seed: random()?,
            },
            serial,
            pmem: pmem.clone(),
            debug_exit: plan.debug_exit,
            generation_id: random()?,
        };
        let machine =
            Machine::new(&kvm, config).map_err(|error| explain_machine(&error, plan, &kvm))?;
        let console = match (wires, machine.console()) {
            (Some((input, watch)), Some(device)) => {
                let pump = ConsolePump::new(input, watch, device);
                Some(pump.map_err(Failure::refused("the console's pipe"))?)
            }
            _ => None,
        };
        let ended = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)
            .map_err(|error| Failure::refused("an eventfd")(error.into()))?;
        Ok(Self {
            plan,
            channel,
            machine,
            pmem,
            console,
            tail,
            ended: Arc::new(ended),
        })
    }

    /// The last steps before the guest's first instruction. Gives vCPU 0 and the jail of the thread that serves.
    fn prepare_run(&mut self) -> Result<(FirstVcpu, Option<Jail>), Failure> {
        let (vcpu, io) = if self.plan.jailed {
            process::harden().map_err(|error| jail_failure(&error))?;
            let (vcpu, io) = Jail::both(self.plan.cpus).map_err(|error| jail_failure(&error))?;
            (Some(vcpu), Some(io))
        } else {
            (None, None)
        };
        let ended = self.ended.clone();
        let first = self.machine.start_but_first(
            Arc::new(move || vcpu.as_ref().map_or(Ok(()), Jail::enter)),
            Box::new(move || {
                // The counter of an eventfd that is written once cannot overflow.
                let _written = rustix::io::write(&*ended, &1_u64.to_ne_bytes());
            }),
        );
        let first =
            first.map_err(|error| Failure::host(chain(&error), "free some threads or memory"))?;
        Ok((first, io))
    }

    /// Jails the calling thread, serves until the run is over, and says how it ended.
    fn serve_to_end(&mut self, jail: Option<&Jail>) -> Report {
        if let Some(Err(error)) = jail.map(Jail::enter) {
            self.machine.stop();
            return Report::Failed(jail_failure(&error));
        }
        let served = self.channel.send(&Report::Running);
        match served.and_then(|()| self.serve()) {
            Ok(()) => self.end(),
            Err(error) => {
                self.machine.stop();
                lost(&error)
            }
        }
    }

    /// Console and requests, until the run is over.
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let mut fds = vec![
                PollFd::new(&*self.ended, PollFlags::IN),
                PollFd::from_borrowed_fd(self.channel.as_fd(), PollFlags::IN),
            ];
            let timeout = if let Some(console) = &self.console {
                fds.extend(console.poll_fds());
                console.timeout()
            } else {
                None
            };
            let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
            match rustix::event::poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            drop(fds);
            if let Some(console) = &mut self.console {
                console.turn()?;
            }
            if ready.first() == Some(&true) {
                return Ok(());
            }
            if ready.get(1) == Some(&true) {
                match self.channel.receive()? {
                    Some(request) => self.answer(request)?,
                    // The control process has gone; so does the VM.
                    None => self.machine.stop(),
                }
            }
        }
    }

    fn answer(&self, request: Request) -> io::Result<()> {
        let answer = match request {
            Request::Pause => {
                self.machine.pause();
                Answer::Done
            }
            Request::Resume => {
                self.machine.resume();
                Answer::Done
            }
            Request::PowerButton if self.machine.press_power_button() => Answer::Done,
            Request::PowerButton => Answer::Absent,
            Request::Stop => {
                self.machine.stop();
                Answer::Done
            }
            Request::Counters => Answer::Counters(self.counters()),
        };
        self.channel.send(&Report::Answer(answer))
    }

    fn counters(&self) -> Counters {
        let statistics = self.machine.statistics();
        let kvm = statistics.kvm;
        Counters {
            exits: kvm.exits,
            emulated_instructions: kvm.emulated_instructions,
            io_exits: kvm.io_exits,
            mmio_exits: kvm.mmio_exits,
            halt_exits: kvm.halt_exits,
            interrupts: kvm.interrupts,
            unclaimed_ports: statistics.unclaimed_ports,
            unclaimed_mmio: statistics.unclaimed_mmio,
            cpu_ns: cpu_time(),
        }
    }

    /// Hands over the last bytes that the UART still holds, while the control process takes them.
    fn drain_console(&mut self) {
        let Some(console) = &mut self.console else {
            return;
        };
        let second = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        while console.has_output() {
            let mut fds: Vec<_> = console.poll_fds().collect();
            let moved = rustix::event::poll(&mut fds, Some(&second));
            drop(fds);
            // A control process that takes nothing for a second has gone.
            if !matches!(moved, Ok(1..)) || console.turn().is_err() {
                return;
            }
        }
    }

    /// The run is over: what the guest wrote is on its way, and what it stored is stored.
    fn end(&mut self) -> Report {
        let outcome = self.machine.wait();
        self.drain_console();
        // They cost system calls, which a short run feels.
        let counters = match self.plan.metrics {
            Some(_) => self.counters(),
            None => Counters::default(),
        };
        let mut end = match outcome {
            Outcome::PowerOff => End::PowerOff,
            Outcome::Reset => End::Reset,
            Outcome::Stopped => End::Stopped,
            Outcome::DebugExit(value) => End::DebugExit(value),
            Outcome::Crashed(report) => End::Crashed {
                report: report.to_string(),
                last_lines: self.tail.text(),
            },
            Outcome::HostFailed(failure) => End::HostFailed(explain_host(&failure, self.plan)),
        };
        for (disk, mapping) in self.plan.disks.iter().zip(&self.pmem) {
            if !disk.read_only
                && !mapping.is_truncated()
                && let Err(error) = mapping.flush()
            {
                end = End::HostFailed(Failure::host(
                    format!("{} cannot be written back: {error}", disk.path.display()),
                    "look at the storage behind it; the guest's last writes may be lost",
                ));
            }
        }
        Report::Ended { end, counters }
    }
}

fn map_disks(plan: &Plan) -> Result<Vec<Arc<FileMapping>>, Failure> {
    let map = |disk: &crate::plan::Disk| {
        let file = disk
            .file
            .try_clone()
            .map_err(Failure::refused("a descriptor"))?;
        FileMapping::new(file, disk.read_only).map(Arc::new).map_err(|error| {
            Failure::usage(
                format!("disk {}: {}", disk.path.display(), chain(&error)),
                "persistent memory is made of whole pages: truncate -s with a multiple of 4K, such as 64M",
            )
        })
    };
    plan.disks.iter().map(map).collect()
}

fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(length) if length == N => Ok(bytes),
        Ok(_) => Err(Failure::host(
            "the host gave too few random numbers",
            "try again",
        )),
        Err(error) => Err(Failure::refused("random numbers")(error.into())),
    }
}
