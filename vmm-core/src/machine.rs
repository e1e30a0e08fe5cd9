//! A machine: made of parts, started once, watched until its end.

use std::io;
use std::sync::Arc;
use std::thread::Builder;

use thiserror::Error;
use trivisor_buses::{
    Board, CharInput, DiscDrive, FitError, Fitted, Host, InterruptPins, Keyboard, MemoryBalloon,
    Pointer, PostedPlaces, PowerButton, Screen, Slots,
};
#[cfg(feature = "hvm")]
use trivisor_devices_hvm::board::HvmBoard;
#[cfg(feature = "pv")]
use trivisor_devices_pv::board::PvBoard;
use trivisor_kvm::{
    IrqchipKind, Kicker, Kvm, PhysicalMemory, PostedWrites, StatisticsFile, Vcpu, Vm, VmError,
    install_kick_handler,
};
use trivisor_loader::LoadError;
use trivisor_memory::{GuestRam, RamError, RamLayout};
#[cfg(feature = "basic")]
use trivisor_mode_basic::board::BasicBoard;

use crate::boot;
use crate::clock::{GuestClock, HostTime};
#[cfg(feature = "pv")]
use crate::config::VirtioConfig;
use crate::config::{CoreConfig, MachineConfig, Mode};
use crate::control::{Control, ThreadEnd};
use crate::events::EventLoop;
use crate::outcome::Outcome;
use crate::timers::GuestTimers;
use crate::vcpu_thread::{BusIo, Stays, VcpuThread};

/// The most vCPUs of a machine: what an 8-bit APIC identifier and the I/O APIC's destinations serve well.
pub const MAX_VCPUS: u8 = 64;

/// Pins of the basic board's I/O APIC.
#[cfg(feature = "basic")]
#[expect(clippy::cast_possible_truncation, reason = "the chip has 24")]
const PINS: u8 = trivisor_mode_basic::ioapic::PINS as u8;

/// A machine that cannot be made or started.
#[derive(Debug, Error)]
pub enum MachineError {
    /// No vCPU, or too many.
    #[error("{cpus} vCPUs: a machine has 1 to {MAX_VCPUS}")]
    Cpus {
        /// What was asked for.
        cpus: u8,
    },
    /// RAM cannot be had.
    #[error(transparent)]
    Ram(#[from] RamError),
    /// KVM refused.
    #[error(transparent)]
    Vm(#[from] VmError),
    /// The board does not fit together.
    #[error(transparent)]
    Board(#[from] FitError),
    /// A table of the board does not lie in RAM.
    #[error("{size} bytes of firmware tables at {address:#x} do not lie in memory")]
    Table {
        /// Guest-physical address.
        address: u64,
        /// Bytes.
        size: usize,
    },
    /// The kernel cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Started a second time.
    #[error("a machine is started once")]
    Started,
    /// No thread for a vCPU.
    #[error("no thread for vCPU {vcpu}")]
    Thread {
        /// Which one.
        vcpu: u8,
        /// Why.
        source: io::Error,
    },
}

/// Counts of what happened so far. None of them is a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// KVM's counters, all vCPUs together; zeroes where the host's KVM has none.
    pub kvm: trivisor_kvm::Statistics,
    /// How often all vCPUs came out of the guest to us. KVM's own count has what it deals with itself besides; where it
    /// emulates all of a guest's ring 0, also a break every thousand instructions or so.
    pub user_exits: u64,
    /// Port accesses that no device claimed.
    pub unclaimed_ports: u64,
    /// Memory accesses that neither RAM nor a device claimed.
    pub unclaimed_mmio: u64,
}

/// What each vCPU's thread does before anything else.
pub type FirstAct = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// A vCPU that waits for a thread.
pub struct FirstVcpu {
    // Dropped in this order: who waits is told before the vCPU's descriptors and mappings go.
    end: ThreadEnd,
    first_act: FirstAct,
    thread: VcpuThread,
}

impl std::fmt::Debug for FirstVcpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstVcpu").finish_non_exhaustive()
    }
}

impl FirstVcpu {
    /// Runs it on the calling thread until the machine's run is over.
    pub fn run(self) {
        self.thread.run(&*self.first_act, self.end);
    }
}

/// A machine.
// Dropped in this order: once KVM has let go of guest RAM, taking it down costs no notice to KVM any more.
pub struct Machine {
    control: Arc<Control>,
    clock: Arc<GuestClock>,
    timers: Arc<GuestTimers>,
    fitted: Fitted,
    posted: Option<Arc<PostedWrites>>,
    statistics: Vec<StatisticsFile>,
    stays: Vec<Arc<Stays>>,
    /// Until the start.
    vcpus: Vec<Vcpu>,
    _vm: Vm,
    /// The last to go: the slots of the VM refer to it.
    memory: PhysicalMemory,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("board", &self.fitted)
            .finish_non_exhaustive()
    }
}

impl Machine {
    /// Makes a machine of one of our modes: the only place that looks at the mode.
    ///
    /// # Errors
    /// What cannot be had, or what is wrong with the kernel.
    pub fn new(kvm: &Kvm, mut config: MachineConfig) -> Result<Self, MachineError> {
        let ram = RamLayout::new(config.memory_bytes)?;
        let core = CoreConfig {
            cpus: config.cpus,
            memory_bytes: config.memory_bytes,
            ram: std::mem::take(&mut config.ram),
            irqchip: IrqchipKind::Split { pins: PINS },
            switched: 0..0,
            boot: config.boot.take(),
        };
        match config.mode {
            #[cfg(feature = "basic")]
            Mode::Basic => Self::with_board(kvm, core, basic_board(config, ram)),
            #[cfg(feature = "pv")]
            Mode::Pv => {
                let VirtioConfig {
                    devices,
                    transport,
                    packed,
                } = std::mem::take(&mut config.virtio);
                let board = PvBoard {
                    basic: basic_board(config, ram),
                    devices,
                    transport,
                    packed,
                };
                Self::with_board(kvm, core, board)
            }
            #[cfg(feature = "hvm")]
            Mode::Hvm => {
                let core = CoreConfig {
                    irqchip: IrqchipKind::Kernel,
                    switched: trivisor_devices_hvm::map::SWITCHED,
                    ..core
                };
                Self::with_board(kvm, core, hvm_board(config, ram))
            }
        }
    }

    /// Makes a machine with a board of the caller's: RAM, VM, chips, vCPUs, and the guest loaded. No thread
    /// is started.
    ///
    /// # Errors
    /// What cannot be had, or what is wrong with the kernel.
    pub fn with_board(
        kvm: &Kvm,
        mut config: CoreConfig,
        board: impl Board,
    ) -> Result<Self, MachineError> {
        let cpus = config.cpus;
        if !(1..=MAX_VCPUS).contains(&cpus) {
            return Err(MachineError::Cpus { cpus });
        }
        let ram = GuestRam::new(RamLayout::new(config.memory_bytes)?, &config.ram)?;
        let mut vm = Vm::new(kvm, config.irqchip, cpus)?;
        vm.add_ram(&ram, &config.switched)?;
        let mut vcpus = (0..cpus)
            .map(|index| vm.create_vcpu(index))
            .collect::<Result<Vec<_>, _>>()?;

        let control = Control::new();
        let clock = Arc::new(GuestClock::default());
        let timers = Arc::new(GuestTimers::new(clock.clone()));
        let host = Host {
            msi: vm.local_apics().clone(),
            pin_routes: vm.local_apics().clone(),
            doorbells: Some(vm.doorbells()),
            posted: (vm.posted_places()).map(|places| places as Arc<dyn PostedPlaces>),
            pins: vm.pins().map(|pins| pins as Arc<dyn InterruptPins>),
            shadow: vm.memory_slots().clone(),
            pages: vm.memory_slots().clone(),
            events: control.clone(),
            dma: Arc::new(PhysicalMemory::new(ram.clone(), Vec::new())),
            ram: ram.clone(),
            clock: clock.clone(),
            timers: timers.clone(),
            wall_clock: Arc::new(HostTime),
        };
        let mut slots = Slots::new(host);
        board.fit(&mut slots)?;
        let fitted = slots.finish();
        let posted = if fitted.posted.is_empty() && !fitted.posted_moves {
            None
        } else {
            vm.post_writes(&mut vcpus, &fitted.posted)?
        };
        for mapped in &fitted.mapped {
            vm.add_slot(mapped.mapping.slot(mapped.address), mapped.mapping.clone())?;
        }
        for alias in &fitted.aliases {
            let slot = (alias.mapping).slot_part(alias.address, alias.offset, alias.size);
            vm.add_rom(slot, alias.mapping.clone())?;
        }
        let mapped = fitted
            .mapped
            .iter()
            .map(|mapped| (mapped.address, mapped.mapping.clone()))
            .collect();
        let memory = PhysicalMemory::new(ram, mapped);

        place_tables(&memory, &fitted)?;
        if let (Some(boot), Some(first)) = (&mut config.boot, vcpus.first()) {
            first.start_at(&boot::load(&memory, &fitted, boot)?)?;
        }
        Ok(Self {
            control,
            clock,
            timers,
            fitted,
            posted,
            statistics: Vec::new(),
            stays: Vec::new(),
            vcpus,
            _vm: vm,
            memory,
        })
    }

    /// Starts a thread a vCPU. Each runs `first_act` before anything else: the place to confine it. `on_end`
    /// is called once, by the last thread, when the run is over.
    ///
    /// # Errors
    /// When the host gives no thread; those that were started end.
    pub fn start(
        &mut self,
        first_act: FirstAct,
        on_end: Box<dyn FnOnce() + Send>,
    ) -> Result<(), MachineError> {
        let first = self.start_but_first(first_act, on_end)?;
        self.spawn(0, move || first.run())
    }

    /// The same, but that vCPU 0 is left to the caller: the guest's first instruction does not wait for a
    /// thread to come to life.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_but_first(
        &mut self,
        first_act: FirstAct,
        on_end: Box<dyn FnOnce() + Send>,
    ) -> Result<FirstVcpu, MachineError> {
        install_kick_handler()?;
        // A KVM without counters reports none; the machine runs all the same.
        self.statistics = self
            .vcpus
            .iter()
            .filter_map(|vcpu| vcpu.statistics().ok())
            .collect();
        let kickers: Vec<Arc<Kicker>> = self
            .vcpus
            .iter()
            .map(|vcpu| vcpu.kicker().clone())
            .collect();
        self.control.begin(kickers, on_end);
        self.fitted
            .components
            .iter()
            .for_each(|(_, component)| component.start());
        self.clock.start();
        self.timers.start();
        let vcpus = std::mem::take(&mut self.vcpus);
        self.stays = vcpus.iter().map(|_| Arc::default()).collect();
        // All of them before the first one starts: each counts as running until it is dropped, also one that
        // never runs.
        let mut ready = vcpus
            .into_iter()
            .zip(&self.stays)
            .map(|(vcpu, stays)| FirstVcpu {
                end: ThreadEnd(self.control.clone()),
                first_act: first_act.clone(),
                thread: VcpuThread {
                    vcpu,
                    io: self.io(),
                    memory: self.memory.clone(),
                    eoi: self.fitted.eoi.clone(),
                    control: self.control.clone(),
                    stays: stays.clone(),
                },
            });
        let first = ready.next().ok_or(MachineError::Started)?;
        let others: Vec<FirstVcpu> = ready.collect();
        for other in others {
            self.spawn(other.thread.vcpu.index(), move || other.run())?;
        }
        Ok(first)
    }

    /// A way to the devices.
    fn io(&self) -> BusIo {
        BusIo {
            ports: self.fitted.ports.view(),
            mmio: self.fitted.mmio.view(),
        }
    }

    fn spawn(&self, vcpu: u8, run: impl FnOnce() + Send + 'static) -> Result<(), MachineError> {
        let thread = Builder::new().name(format!("vcpu{vcpu}")).spawn(run);
        let started = thread.map(drop);
        started.map_err(|source| {
            self.control.end(Outcome::Stopped);
            MachineError::Thread { vcpu, source }
        })
    }

    /// Stops the guest's time; returns when every vCPU is out of the guest and every chip at rest.
    pub fn pause(&self) {
        self.control.pause();
        self.clock.stop();
        self.timers.stop();
        self.rest();
    }

    /// Returns when the work of every chip has ended.
    fn rest(&self) {
        self.fitted
            .components
            .iter()
            .for_each(|(_, component)| component.pause());
    }

    /// Lets the guest go on.
    pub fn resume(&self) {
        self.fitted
            .components
            .iter()
            .for_each(|(_, component)| component.start());
        self.clock.start();
        self.timers.start();
        self.control.resume();
    }

    /// Ends the run, as pulling the plug would.
    pub fn stop(&self) {
        self.control.end(Outcome::Stopped);
    }

    /// Presses the power button; false when the board has none.
    #[must_use]
    pub fn press_power_button(&self) -> bool {
        let button: Option<&Arc<dyn PowerButton>> = self.fitted.power_button.as_ref();
        button.inspect(|button| button.press()).is_some()
    }

    /// The memory balloon, where the board has one.
    #[must_use]
    pub fn balloon(&self) -> Option<&Arc<dyn MemoryBalloon>> {
        self.fitted.balloon.as_ref()
    }

    /// All of its consoles: first the serial port, then those of virtio, in the order in which they were plugged in.
    #[must_use]
    pub fn consoles(&self) -> &[Arc<dyn CharInput>] {
        &self.fitted.consoles
    }

    /// The first serial console.
    #[must_use]
    pub fn console(&self) -> Option<Arc<dyn CharInput>> {
        self.fitted.consoles.first().cloned()
    }

    /// The first display, to be looked at now: what the guest has written to it until now has reached it.
    #[must_use]
    pub fn screen(&self) -> Option<&Arc<dyn Screen>> {
        let screen = self.fitted.screens.first()?;
        if let Some(posted) = &self.posted {
            posted.carry_out(&mut self.io());
        }
        Some(screen)
    }

    /// The keyboard, where the board has one.
    #[must_use]
    pub fn keyboard(&self) -> Option<&Arc<dyn Keyboard>> {
        self.fitted.keyboard.as_ref()
    }

    /// The drive for discs, where the board has one.
    #[must_use]
    pub fn disc_drive(&self) -> Option<&Arc<dyn DiscDrive>> {
        self.fitted.disc_drive.as_ref()
    }

    /// The pointing device, where the board has one.
    #[must_use]
    pub fn pointer(&self) -> Option<&Arc<dyn Pointer>> {
        self.fitted.pointer.as_ref()
    }

    /// What the board's chips wait for on the host: for the thread that serves them, once. `None`: nothing.
    ///
    /// # Errors
    /// When the host refuses to watch it.
    pub fn events(&mut self) -> io::Result<Option<EventLoop>> {
        let mut sources = std::mem::take(&mut self.fitted.sources);
        sources.extend(self.timers.source()?);
        if sources.is_empty() {
            return Ok(None);
        }
        let posted = self.posted.clone().map(|posted| {
            let mut io = self.io();
            Box::new(move || posted.carry_out(&mut io)) as Box<dyn FnMut() + Send>
        });
        EventLoop::new(sources, posted).map(Some)
    }

    /// What happened so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let mut kvm = trivisor_kvm::Statistics::default();
        self.statistics
            .iter()
            .filter_map(|file| file.read().ok())
            .for_each(|vcpu| kvm += vcpu);
        Statistics {
            kvm,
            user_exits: self.stays.iter().map(|stays| stays.count()).sum(),
            unclaimed_ports: self.fitted.ports.unclaimed(),
            unclaimed_mmio: self.fitted.mmio.unclaimed(),
        }
    }

    /// Waits for the end of the run and says how it ended. Every chip is at rest then: what the guest had asked its
    /// disks for has ended.
    pub fn wait(&mut self) -> Outcome {
        self.control.wait_for_threads();
        self.rest();
        self.control.take_outcome()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.control.end(Outcome::Stopped);
        let _outcome = self.wait();
    }
}

#[cfg(feature = "basic")]
fn basic_board(config: MachineConfig, ram: RamLayout) -> BasicBoard {
    BasicBoard {
        cpus: config.cpus,
        ram,
        serial: config.serial,
        pmem: config.pmem,
        debug_exit: config.debug_exit,
        generation_id: config.generation_id,
    }
}

#[cfg(feature = "hvm")]
fn hvm_board(config: MachineConfig, ram: RamLayout) -> HvmBoard {
    let pc = config.pc;
    let mut cards = pc.cards;
    #[cfg(feature = "pv")]
    cards.extend(crate::virtio_cards::cards(config.virtio, ram.end()));
    HvmBoard {
        cpus: config.cpus,
        ram,
        firmware: pc.firmware,
        boot: pc.boot_order,
        files: pc.files,
        serial: config.serial,
        debug_console: pc.debug_console,
        debug_exit: config.debug_exit,
        drives: pc.drives,
        floppies: pc.floppies,
        cards,
    }
}

/// Copies the board's firmware tables into RAM.
fn place_tables(memory: &PhysicalMemory, fitted: &Fitted) -> Result<(), MachineError> {
    for table in &fitted.placed {
        if !memory.ram().write(table.address, &table.bytes) {
            return Err(MachineError::Table {
                address: table.address,
                size: table.bytes.len(),
            });
        }
    }
    Ok(())
}
