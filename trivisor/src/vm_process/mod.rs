//! The VM process: gets descriptors, never paths; makes the machine, jails itself, runs the guest, and tells
//! the control process how it went. Its main thread runs vCPU 0, and one more serves console and requests.

pub(crate) mod explain;
mod io_thread;
mod jail;
mod keyboard;
mod pc;
mod screen;
mod serve;
mod tail;
mod virtio;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use rustix::event::EventfdFlags;
use trivisor_backends::console::{self, ConsolePump, OutputWatch};
use trivisor_backends::disk::DiscChanger;
use trivisor_buses::CharOutput;
use trivisor_kvm::Kvm;
use trivisor_memory::{Backing, FileMapping};
use trivisor_sandbox::process;
use trivisor_sandbox::seccomp::Devices;
use trivisor_vmm_core::{
    BootConfig, EventLoop, FirstVcpu, Machine, MachineConfig, Mode, VirtioConfig,
};

use self::explain::{explain_machine, jail_failure};
pub(crate) use self::io_thread::IoThread;
use self::jail::Jail;
use self::keyboard::Hands;
use self::tail::{Tail, Tee};
use self::virtio::Workers;
use crate::failure::{Failure, chain};
use crate::plan::Plan;
use crate::protocol::{Channel, Report};

/// The VM process's ends of the console's pipes.
pub(crate) struct ConsolePipes {
    /// Bytes for the guest.
    pub(crate) input: OwnedFd,
    /// Bytes from the guest: the terminal, pipe or file itself, or a pipe that is relayed.
    pub(crate) output: OwnedFd,
}

/// The pipes of each console that leads somewhere.
pub(crate) struct Pipes {
    /// Of the serial port.
    pub(crate) serial: Option<ConsolePipes>,
    /// Of the virtio console.
    pub(crate) console: Option<ConsolePipes>,
}

impl Pipes {
    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let both = self.serial.iter().chain(&self.console);
        both.flat_map(|pipes| [pipes.input.as_fd(), pipes.output.as_fd()])
    }
}

/// What waits for the machine's console: the input, and the watch on the output.
type Watched = Option<(OwnedFd, OutputWatch)>;

/// The device's end of a console's output, which remembers the last of it.
fn open_output(
    pipes: Option<ConsolePipes>,
    tail: &Tail,
) -> Result<(Option<Box<dyn CharOutput>>, Watched), Failure> {
    let Some(pipes) = pipes else {
        return Ok((None, None));
    };
    let (output, watch) =
        console::output(pipes.output).map_err(Failure::refused("the console's pipe"))?;
    let tail = tail.clone();
    let output = Box::new(Tee { output, tail });
    Ok((Some(output), Some((pipes.input, watch))))
}

/// The whole life of a VM process; its exit status says only whether it could tell its end. A bus error ends
/// it with `bus_error`.
pub(crate) fn enter_process(plan: &Arc<Plan>, channel: Channel, pipes: Pipes, bus_error: u8) -> u8 {
    let prepare = || {
        isolate(plan, &channel, &pipes).map_err(Failure::refused("a process group"))?;
        process::exit_on_bus_error(bus_error, || ())
            .map_err(Failure::refused("a handler of bus errors"))
    };
    let told = match prepare() {
        Ok(()) => live(plan, channel, pipes, &IoThread::Unborn, |process, end| {
            let channel = process.channel.clone();
            let process = process.close_disks();
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
pub(crate) fn enter_thread(plan: &Arc<Plan>, channel: Channel, pipes: Pipes, io: &IoThread) {
    let reboots = plan.reboot;
    // Nobody is left to hear of an error.
    let _told = live(plan, channel, pipes, io, move |process, end| {
        let channel = process.channel.clone();
        let process = process.close_disks();
        if reboots {
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

/// From the machine's making to its end. The calling thread becomes that of vCPU 0, and `io` serves console
/// and requests: the guest's first instruction waits for no thread to come to life. `finish` tells the end and
/// takes the machine down.
fn live(
    plan: &Arc<Plan>,
    channel: Channel,
    pipes: Pipes,
    io: &IoThread,
    finish: impl FnOnce(VmProcess, Report) -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    let channel = Arc::new(channel);
    let mut process = match VmProcess::new(plan.clone(), channel.clone(), pipes, io) {
        Ok(process) => process,
        Err(failure) => return channel.send(&Report::Failed(failure)),
    };
    let (first, jail) = match process.prepare_run() {
        Ok(ready) => ready,
        Err(failure) => return finish(process, Report::Failed(failure)),
    };
    // Without a thread it is still here, to tell of that.
    let server = Arc::new(Mutex::new(Some((process, finish))));
    let (tell, told) = mpsc::channel();
    let theirs = server.clone();
    let serve = Box::new(move || {
        let served = take(&theirs).and_then(|(mut process, finish)| {
            let end = process.serve_to_end(jail.as_ref());
            finish(process, end)
        });
        // Where this thread's vCPU is gone as well, nobody waits.
        let _heard = tell.send(served);
    });
    if let Err(error) = io.take_over(serve) {
        // The machine waits for all of its vCPUs.
        drop(first);
        let (process, finish) = take(&server)?;
        let failure = Failure::no_thread("the thread for console and requests")(error);
        return finish(process, Report::Failed(failure));
    }
    first.run();
    told.recv()
        .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
}

fn take<T>(slot: &Mutex<Option<T>>) -> io::Result<T> {
    let taken = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    taken.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
}

/// Leaves the terminal's process group, so that its keys do not reach us, and everything open that is not
/// the VM's, the control process's ends of our pipes among it.
fn isolate(plan: &Plan, channel: &Channel, pipes: &Pipes) -> io::Result<()> {
    rustix::process::setsid()?;
    let stderr = io::stderr();
    let disc = plan.pc.disc();
    let mut keep = vec![stderr.as_fd(), channel.as_fd(), plan.kvm.as_fd()];
    keep.extend(plan.kernel.iter().map(|kernel| kernel.file.as_fd()));
    keep.extend(plan.pc.descriptors());
    keep.extend(disc.iter().flat_map(|disc| disc.image.descriptors()));
    keep.extend(plan.initrd.iter().map(AsFd::as_fd));
    keep.extend(plan.pmem.iter().map(|disk| disk.file.as_fd()));
    keep.extend(plan.virtio.descriptors());
    if let Backing::File(file) = &plan.ram.backing {
        keep.push(file.as_fd());
    }
    keep.extend(pipes.descriptors());
    process::close_all_but(&keep)
}

struct VmProcess {
    plan: Arc<Plan>,
    channel: Arc<Channel>,
    machine: Machine,
    pmem: Vec<Arc<FileMapping>>,
    consoles: Vec<ConsolePump>,
    /// Where the virtio devices' back-ends are watched.
    events: Option<EventLoop>,
    /// Those of the disks, until they are started.
    workers: Workers,
    worker_threads: Vec<JoinHandle<()>>,
    tail: Tail,
    /// Keys on their way to the keyboard.
    hands: Hands,
    /// What makes discs for the CD drive.
    changer: Option<DiscChanger>,
    /// Readable when the last vCPU thread has ended.
    ended: Arc<OwnedFd>,
}

impl VmProcess {
    fn new(
        plan: Arc<Plan>,
        channel: Arc<Channel>,
        pipes: Pipes,
        io: &IoThread,
    ) -> Result<Self, Failure> {
        let tail = Tail::default();
        let (serial, serial_watch) = open_output(pipes.serial, &tail)?;
        let (console, console_watch) = open_output(pipes.console, &tail)?;
        let pmem = map_disks(&plan)?;
        let images = plan.pmem.iter().zip(&pmem);
        let nvdimms = images.filter(|(disk, _)| !plan.is_virtio_pmem(disk));
        let workers = Workers::default();
        let kvm = plan
            .kvm
            .try_clone()
            .map_err(Failure::refused("a descriptor"))?;
        let mut kvm = Kvm::from_file(kvm).map_err(|error| crate::plan::no_kvm(&error))?;
        if let Some(errands) = io.errands() {
            kvm = kvm.with_errands(errands);
        }
        let devices = virtio::config(&plan, console, &pmem, &workers)?;
        let config = MachineConfig {
            mode: plan.mode,
            cpus: plan.cpus,
            memory_bytes: plan.memory_bytes,
            ram: plan.ram.clone(),
            boot: match &plan.kernel {
                Some(kernel) => Some(boot_config(&plan, &kernel.file, &devices)?),
                None => None,
            },
            serial,
            pmem: nvdimms.map(|(_, mapping)| mapping.clone()).collect(),
            debug_exit: plan.debug_exit,
            generation_id: random()?,
            virtio: devices,
            pc: pc::config(&plan, &workers)?,
        };
        let mut machine =
            Machine::new(&kvm, config).map_err(|error| explain_machine(&error, &plan, &kvm))?;
        let events = machine.events();
        let events = events.map_err(Failure::refused("a watch on what the devices wait for"))?;
        // In the board's order: the serial port, then virtio's.
        let consoles = [serial_watch, console_watch].into_iter();
        let consoles = consoles
            .zip(machine.consoles())
            .filter_map(|(watched, device)| {
                let (input, watch) = watched?;
                Some(ConsolePump::new(input, watch, device.clone()))
            });
        let consoles = consoles.collect::<io::Result<_>>();
        let consoles = consoles.map_err(Failure::refused("the console's pipe"))?;
        let ended = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)
            .map_err(|error| Failure::refused("an eventfd")(error.into()))?;
        Ok(Self {
            plan,
            channel,
            machine,
            pmem,
            consoles,
            events,
            workers,
            worker_threads: Vec::new(),
            tail,
            hands: Hands::default(),
            changer: None,
            ended: Arc::new(ended),
        })
    }

    /// Takes the machine down where a disk has more to store than its file shows, and returns when it is stored.
    fn close_disks(mut self) -> Option<Self> {
        if self.worker_threads.is_empty() {
            return Some(self);
        }
        let threads = std::mem::take(&mut self.worker_threads);
        drop(self);
        for thread in threads {
            // One that panicked has stored what it could.
            let _ended = thread.join();
        }
        None
    }

    /// The last steps before the guest's first instruction. Gives vCPU 0 and the jail of the thread that serves.
    fn prepare_run(&mut self) -> Result<(FirstVcpu, Option<Jail>), Failure> {
        let workers = self.workers.take();
        self.changer = self.workers.take_changer();
        let attendant = self.workers.take_attendant();
        let threads = workers.len() + usize::from(attendant.is_some());
        let jails = if self.plan.jailed {
            process::harden().map_err(|error| jail_failure(&error))?;
            let devices = match self.plan.mode {
                Mode::Basic => Devices::Basic,
                Mode::Hvm => Devices::Pc,
                _ => Devices::Virtio,
            };
            let jails = Jail::all(self.plan.cpus, threads, devices);
            Some(jails.map_err(|error| jail_failure(&error))?)
        } else {
            None
        };
        let (vcpu, io, worker) = match jails {
            Some(jails) => (Some(jails.vcpu), Some(jails.io), jails.worker),
            None => (None, None, None),
        };
        self.worker_threads = virtio::start_workers(workers, worker.as_ref())?;
        // It has nothing to store at the end, which waits for the others alone.
        attendant.map_or(Ok(()), |attendant| {
            virtio::start_attendant(attendant, worker.as_ref())
        })?;
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
}

fn boot_config(plan: &Plan, kernel: &File, devices: &VirtioConfig) -> Result<BootConfig, Failure> {
    let own = |file: &File| file.try_clone().map_err(Failure::refused("a descriptor"));
    Ok(BootConfig {
        kernel: own(kernel)?,
        initrd: plan.initrd.as_ref().map(own).transpose()?,
        cmdline: virtio::cmdline(plan, devices),
        random_seed: random()?,
    })
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
    plan.pmem.iter().map(map).collect()
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
