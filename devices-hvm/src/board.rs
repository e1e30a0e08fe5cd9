//! The hvm board: a PC with an Intel 440FX chipset, whose firmware boots from its disks as it would on the desk.
//!
//! Addresses and interrupts stand in [`map`]. 8259s, I/O APIC and 8254 are the host's.

mod floppy;
mod tables;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use thiserror::Error;
use trivisor_buses::{
    Alias, Board, CharOutput, FitError, InterruptPins, Line, PortBus, Posted, Shell, Slots, Source,
    Widths, Wire,
};
use trivisor_loader::acpi;
use trivisor_memory::{FileMapping, GuestRam, RamLayout};
use trivisor_mode_basic::debug_exit::{self, DebugExit};
use trivisor_mode_basic::pvpanic::{self, PvPanicPort};
use trivisor_mode_basic::rtc::{self, IrqPin, Rtc};
use trivisor_mode_basic::uart::{self, Uart, UartInput};
use trivisor_pci::{DeviceFunction, FunctionShell, PciFunction, RootBus, Windows, ports};

pub use self::floppy::{FloppyPlug, MadeFloppy};
pub use crate::boot_order::BootDevice;
use crate::debugcon::{self, DebugConsole};
use crate::fw_cfg::{self, FwCfg};
use crate::i440fx::{self, I440fx};
use crate::i8042::{self, Hands, KeyboardController};
use crate::ide::{self, CommandBlock, ControlBlock, Ide, Tray};
pub use crate::ide::{DiskConfig, DriveConfig};
use crate::piix3::Piix3;
use crate::piix4_pm::{self, Apm, FrontButton, Gpe0, Piix4Pm, PmBlock};
use crate::{cmos, dsdt, map};

/// Subsystem of the host bridge by which SeaBIOS knows a virtual machine with a [`FwCfg`]: Red Hat, QEMU.
const VIRTUAL_MACHINE: (u16, u16) = (0x1af4, 0x1100);

/// What is plugged into the board.
pub struct HvmBoard {
    /// vCPUs, whose local APICs have the identifiers from 0 on.
    pub cpus: u8,
    /// Where RAM lies.
    pub ram: RamLayout,
    /// The firmware, a read-only mapping; `None`: a kernel is booted, and the board does what firmware would have.
    pub firmware: Option<Arc<FileMapping>>,
    /// What firmware boots from, best first; empty: as it likes.
    pub boot: Vec<BootDevice>,
    /// Further files for the firmware: option ROMs (`vgaroms/`, `genroms/`) and settings (`etc/`).
    pub files: Vec<(String, Vec<u8>)>,
    /// Where the serial port writes to; `None`: nowhere.
    pub serial: Option<Box<dyn CharOutput>>,
    /// Where the firmware's debug console writes to; `None`: there is none.
    pub debug_console: Option<Box<dyn CharOutput>>,
    /// The port of a debug-exit device; `None`: there is none.
    pub debug_exit: Option<u16>,
    /// What is on the two IDE cables: by channel, the master first.
    pub drives: [[Option<Box<dyn DrivePlug>>; 2]; 2],
    /// The disks in floppy drives A and B; without any there is no controller either.
    pub floppies: [Option<Box<dyn FloppyPlug>>; 2],
    /// PCI functions, in the order in which the guest finds them.
    pub cards: Vec<Box<dyn Card>>,
}

/// A drive that waits for the board: it is made when guest RAM is there, for its storage to hold.
pub trait DrivePlug: Send {
    /// What errors call it.
    fn name(&self) -> &'static str;

    /// Makes the drive.
    ///
    /// # Errors
    /// When its storage refuses guest RAM.
    fn make(self: Box<Self>, ram: &GuestRam) -> std::io::Result<MadeDrive>;
}

/// A drive with the descriptors that wake it.
#[derive(Debug)]
pub struct MadeDrive {
    /// The drive.
    pub drive: DriveConfig,
    /// What its storage becomes ready by.
    pub sources: Vec<OwnedFd>,
}

/// A PCI function that waits for the board.
pub trait Card: Send {
    /// What errors call it.
    fn name(&self) -> &'static str;

    /// Makes the function and puts it onto the bus.
    ///
    /// # Errors
    /// When its back-end refuses guest RAM, or the bus has no room.
    fn insert(self: Box<Self>, slots: &mut Slots, bus: &RootBus) -> Result<(), FitError>;
}

impl std::fmt::Debug for HvmBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HvmBoard")
            .field("cpus", &self.cpus)
            .field("ram", &self.ram)
            .field("boot", &self.boot)
            .finish_non_exhaustive()
    }
}

/// What the board cannot be made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BoardError {
    /// The machine was made without interrupt controllers.
    #[error("the board needs the host's interrupt controllers")]
    NoPins,
    /// A file that is no PC's firmware.
    #[error(
        "{size} bytes are no firmware of a PC: it has 64 KiB to 16 MiB, and whole blocks of 64 KiB"
    )]
    Firmware {
        /// Bytes.
        size: u64,
    },
    /// Firmware that the guest could change.
    #[error("the firmware is not mapped read-only")]
    Writable,
}

impl Board for HvmBoard {
    fn fit(self, slots: &mut Slots) -> Result<(), FitError> {
        let host = slots.host().clone();
        let events = || host.events.clone();
        let isa = Isa::new(&*host.pins.clone().ok_or_else(no_pins)?);

        // Firmware: at the end of the first 4 GiB, and its last 128 KiB below 1 MiB.
        if let Some(firmware) = &self.firmware {
            fit_firmware(slots, firmware).map_err(FitError::chip("firmware"))?;
        }

        // Serial port.
        let chip = Uart::new(isa.line(map::COM1_IRQ), self.serial);
        let com1 = slots.pio("uart", map::COM1, uart::PORTS, Widths::BYTES, chip)?;
        slots.console(Arc::new(UartInput(com1)));

        fit_keyboard(slots, &isa)?;

        // DMA, and the floppy drives.
        let without_firmware = self.firmware.is_none();
        let floppies = floppy::fit(slots, &isa, self.floppies, without_firmware)?;

        // Clock, and what the set-up program has left in its RAM.
        let clock = fit_clock(slots, &isa)?;
        let set_up =
            clock.with(|clock| cmos::set_up(clock, self.ram, self.cpus, &self.boot, floppies));
        set_up.map_err(FitError::chip("rtc"))?;

        // PCI, and the three functions of the chipset.
        let bus = fit_chipset(slots, &isa, without_firmware)?;
        fit_drives(slots, &isa, &bus, self.drives, without_firmware)?;
        for card in self.cards {
            card.insert(slots, &bus)?;
        }
        if without_firmware {
            bus.assign(&windows(self.ram))
                .map_err(FitError::chip("pci"))?;
        }

        // What firmware is told, or a kernel without it.
        let tables = acpi::pc::build(&tables::platform(self.cpus, &dsdt::aml(self.ram, floppies)));
        let items = tables::items(self.ram, self.cpus, &self.files, &tables);
        let items = items.map_err(FitError::chip("fw-cfg"))?;
        if without_firmware {
            tables::place(slots, self.ram, self.cpus, tables);
        }
        let chip = FwCfg::new(&items, host.dma.clone());
        slots.pio("fw-cfg", map::FW_CFG, fw_cfg::PORTS, fw_cfg::WIDTHS, chip)?;
        post_writes(slots, self.debug_console.is_none());
        if let Some(output) = self.debug_console {
            let chip = DebugConsole::new(output);
            let (at, ports) = (map::DEBUG_CONSOLE, debugcon::PORTS);
            slots.pio("debugcon", at, ports, Widths::BYTES, chip)?;
        }

        // How a guest tells of its end.
        let chip = PvPanicPort::new(events());
        slots.pio("pvpanic", map::PVPANIC, pvpanic::PORTS, Widths::BYTES, chip)?;
        if let Some(port) = self.debug_exit {
            let chip = DebugExit::new(events());
            let (ports, widths) = (debug_exit::PORTS, debug_exit::WIDTHS);
            slots.pio("debug-exit", port, ports, widths, chip)?;
        }
        Ok(())
    }
}

/// What firmware writes often and to no effect of its own: the clock's index, and what the option ROM of the VGA tells a
/// debug console that is not there.
fn post_writes(slots: &mut Slots, nobody_debugs: bool) {
    let one = |first| Posted::Ports { first, count: 1 };
    slots.posted(one(map::RTC));
    if nobody_debugs {
        slots.posted(one(map::DEBUG_CONSOLE));
    }
}

fn no_pins() -> FitError {
    FitError::chip("interrupts")(BoardError::NoPins)
}

/// The ISA bus's interrupts: a wire each, to the host's 8259s and I/O APIC.
struct Isa([Arc<Wire>; 16]);

impl Isa {
    fn new(pins: &dyn InterruptPins) -> Self {
        let mut numbers = 0..;
        Self([(); 16].map(|()| Wire::new(pins.pin(numbers.next().unwrap_or(0)))))
    }

    fn line(&self, irq: usize) -> Line {
        self.0.get(irq).map_or_else(Line::detached, Wire::line)
    }

    fn lines(&self) -> [Line; 16] {
        self.0.each_ref().map(|wire| wire.line())
    }
}

/// Keyboard and mouse, and the hands on them.
fn fit_keyboard(slots: &mut Slots, isa: &Isa) -> Result<(), FitError> {
    let pins = i8042::Pins {
        keyboard: isa.line(map::KEYBOARD_IRQ),
        auxiliary: isa.line(map::MOUSE_IRQ),
        // The host's processors have no such pin.
        a20: Line::detached(),
    };
    let chip = KeyboardController::new(pins, slots.host().events.clone());
    let (at, ports) = (map::KEYBOARD, i8042::PORTS);
    let shell = slots.pio("i8042", at, ports, Widths::BYTES, chip)?;
    let hands = Arc::new(Hands(shell));
    slots.keyboard(hands.clone());
    slots.pointer(hands);
    Ok(())
}

fn fit_clock(slots: &mut Slots, isa: &Isa) -> Result<Arc<Shell<Rtc>>, FitError> {
    let host = slots.host().clone();
    let (timer, end) = host.timers.timer().map_err(FitError::chip("rtc"))?;
    let irq = IrqPin {
        line: isa.line(map::RTC_IRQ),
        clock: host.clock,
        timer,
    };
    let chip = Rtc::new(host.wall_clock).with_irq(irq);
    let shell = slots.pio("rtc", map::RTC, rtc::PORTS, rtc::WIDTHS, chip)?;
    end.wakes(&shell);
    Ok(shell)
}

fn fit_firmware(slots: &mut Slots, firmware: &Arc<FileMapping>) -> Result<(), BoardError> {
    let size = firmware.size();
    if !(0x1_0000..=map::FIRMWARE_MAX).contains(&size) || !size.is_multiple_of(0x1_0000) {
        return Err(BoardError::Firmware { size });
    }
    if !firmware.is_read_only() {
        return Err(BoardError::Writable);
    }
    slots.map(map::FIRMWARE_END - size, firmware.clone());
    let low = size.min(map::FIRMWARE_LOW_SIZE);
    slots.alias(Alias {
        address: map::SWITCHED.end - low,
        mapping: firmware.clone(),
        offset: size - low,
        size: low,
    });
    Ok(())
}

/// Host bridge, ISA bridge and power management on PCI's bus 0.
fn fit_chipset(slots: &mut Slots, isa: &Isa, without_firmware: bool) -> Result<RootBus, FitError> {
    let host = slots.host().clone();
    let mut south = Piix3::new(isa.lines()).map_err(FitError::chip("piix3"))?;
    // The bus numbers its lines from device 0 on, the chipset its PIRQs from device 1 on.
    let intx = [3, 0, 1, 2].map(|pirq| south.pirq(pirq));
    let bus = RootBus::new(slots.ports(), slots.memory(), Some(intx));

    let options = i440fx::Options {
        subsystem: VIRTUAL_MACHINE,
        pam: if without_firmware {
            [0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33]
        } else {
            [0; 7]
        },
    };
    let north = I440fx::new(options, host.shadow.clone()).map_err(FitError::chip("i440fx"))?;
    let (at, size) = (i440fx::AREA, i440fx::AREA_SIZE);
    let chip = north.shadow_writes(host.dma.clone());
    slots.mmio("i440fx-shadow", at, size, Widths::ANY, chip)?;
    let north = add(slots, &bus, "i440fx", (map::HOST_BRIDGE, 0), north)?;
    if without_firmware {
        // The memory slots hear of it now.
        north.with(|_| ());
    }

    let reset_port = south.reset_port(host.events.clone());
    let chip = bus.config_ports().with_passed(Box::new(reset_port));
    let (at, ports) = (map::PCI_CONFIG, ports::PORTS);
    slots.pio("pci-config", at, ports, ports::WIDTHS, chip)?;
    if without_firmware {
        south
            .assign_routes(map::PIRQ_IRQS)
            .map_err(FitError::chip("piix3"))?;
    }
    add(slots, &bus, "piix3", (map::SOUTH_BRIDGE, 0), south)?;

    fit_power(slots, isa, &bus, without_firmware)?;
    Ok(bus)
}

/// The IDE interface with its drives, which answers at the ports that a PC's disks always had.
fn fit_drives(
    slots: &mut Slots,
    isa: &Isa,
    bus: &RootBus,
    drives: [[Option<Box<dyn DrivePlug>>; 2]; 2],
    without_firmware: bool,
) -> Result<(), FitError> {
    let host = slots.host().clone();
    let mut sources = Vec::new();
    let mut made: [[Option<DriveConfig>; 2]; 2] = Default::default();
    let mut tray = None;
    let places = made.as_flattened_mut().iter_mut().enumerate();
    for ((number, place), plug) in places.zip(drives.into_iter().flatten()) {
        let Some(plug) = plug else { continue };
        let name = plug.name();
        let drive = plug.make(&host.ram).map_err(FitError::chip(name))?;
        sources.extend(drive.sources);
        if matches!(drive.drive, DriveConfig::Cdrom(_)) {
            tray = tray.or(Some((number / 2, number % 2)));
        }
        *place = Some(drive.drive);
    }
    let lines = map::IDE_IRQS.map(|irq| isa.line(irq));
    let chip = Ide::new(made, lines, host.dma).map_err(FitError::chip("ide"))?;
    let mut chip = chip.with_posted(slots.posted_places());
    if without_firmware {
        chip.enable_channels().map_err(FitError::chip("ide"))?;
    }
    let chip = add(
        slots,
        bus,
        "ide",
        (map::SOUTH_BRIDGE, map::IDE_FUNCTION),
        chip,
    )?;
    if let Some((channel, drive)) = tray {
        slots.disc_drive(Arc::new(Tray::new(chip.clone(), channel, drive)));
    }
    for fd in sources {
        let chip = chip.clone();
        slots.source(Source {
            fd,
            chip,
            work: None,
        });
    }
    let ports = slots.ports();
    let mut posted = Vec::new();
    for (channel, (command, control)) in map::IDE_PORTS.into_iter().enumerate() {
        let block = CommandBlock::new(chip.clone(), channel);
        let block = Shell::new("ide-command", ide::WIDTHS, block);
        ports.attach(
            "ide-command",
            command.into(),
            ide::COMMAND_PORTS.into(),
            block,
        )?;
        let block = ControlBlock::new(chip.clone(), channel);
        let block = Shell::new("ide-control", ide::WIDTHS, block);
        ports.attach(
            "ide-control",
            control.into(),
            ide::CONTROL_PORTS.into(),
            block,
        )?;
        posted.push(ide::posted_commands(command));
    }
    for place in posted {
        slots.posted(place);
    }
    Ok(())
}

/// Power management: the function, and the ports that it moves.
fn fit_power(
    slots: &mut Slots,
    isa: &Isa,
    bus: &RootBus,
    without_firmware: bool,
) -> Result<(), FitError> {
    let host = slots.host().clone();
    let sci = isa.line(map::SCI_IRQ);
    let (timer, end) = host.timers.timer().map_err(FitError::chip("piix4-pm"))?;
    let block = PmBlock::new(sci, host.clock.clone(), timer, host.events.clone());
    let block = Shell::new("piix4-pm-block", piix4_pm::WIDTHS, block);
    end.wakes(&block);
    slots.component("piix4-pm-block", block.clone());
    slots.power_button(Arc::new(FrontButton(block.clone())));

    let place = Arc::new(PortsOnBus::new(slots.ports(), block.clone()));
    let chip = Piix4Pm::new(Arc::new(move |base| place.set(base)));
    let mut chip = chip.map_err(FitError::chip("piix4-pm"))?;
    if without_firmware {
        chip.assign_base(map::POWER_MANAGEMENT)
            .map_err(FitError::chip("piix4-pm"))?;
    }
    let at = (map::SOUTH_BRIDGE, map::PM_FUNCTION);
    add(slots, bus, "piix4-pm", at, chip)?.with(|_| ());

    let chip = Apm::new(block);
    slots.pio("apm", map::APM, piix4_pm::APM_PORTS, Widths::BYTES, chip)?;
    let (ports, widths) = (piix4_pm::GPE_PORTS, piix4_pm::WIDTHS);
    slots.pio("gpe0", map::GPE0, ports, widths, Gpe0::default())?;
    Ok(())
}

/// Ports of a chip that a PCI function moves by a register of its own.
struct PortsOnBus {
    /// The bus holds the function, not the other way round.
    ports: std::sync::Weak<PortBus>,
    block: Arc<Shell<PmBlock>>,
    now: std::sync::Mutex<Option<u16>>,
}

impl PortsOnBus {
    fn new(ports: &Arc<PortBus>, block: Arc<Shell<PmBlock>>) -> Self {
        Self {
            ports: Arc::downgrade(ports),
            block,
            now: std::sync::Mutex::new(None),
        }
    }

    fn set(&self, base: Option<u16>) {
        let Some(ports) = self.ports.upgrade() else {
            return;
        };
        let mut now = self
            .now
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(old) = now.take() {
            ports.detach(old.into());
        }
        *now = base.filter(|base| {
            // Where others answer already, these ports do not.
            let (name, size) = (self.block.name(), piix4_pm::PM_PORTS);
            let attached = ports.attach(name, (*base).into(), size.into(), self.block.clone());
            attached.is_ok()
        });
    }
}

fn add<F: PciFunction + 'static>(
    slots: &mut Slots,
    bus: &RootBus,
    name: &'static str,
    (device, function): (u8, u8),
    chip: F,
) -> Result<Arc<FunctionShell<F>>, FitError> {
    let at = DeviceFunction::from_bits(device << 3 | function);
    let shell = bus.add_at(name, at, chip).map_err(FitError::chip(name))?;
    slots.component(name, shell.clone());
    Ok(shell)
}

/// Where PCI functions may be when there is no firmware to say.
fn windows(ram: RamLayout) -> Windows {
    let (io, memory) = (map::PCI_PORTS, map::pci_memory(ram.low().size));
    let [a, b, c, d] = map::PIRQ_IRQS;
    Windows {
        io: u64::from(*io.start())..u64::from(*io.end()) + 1,
        memory32: u64::from(memory)..u64::from(map::PCI_MEMORY_LAST) + 1,
        memory64: 0..0,
        irqs: [d, a, b, c],
    }
}
