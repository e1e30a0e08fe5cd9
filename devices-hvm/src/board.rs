//! The hvm board: a PC with an Intel 440FX chipset, whose firmware boots from its disks as it would on the desk.
//!
//! Addresses and interrupts stand in [`map`]. 8259s, I/O APIC and 8254 are the host's.

mod floppy;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use thiserror::Error;
use trivisor_buses::{
    Alias, Board, CharOutput, FitError, InterruptPins, Line, PortBus, Shell, Slots, Source, Widths,
    Wire,
};
use trivisor_loader::{acpi, smbios};
use trivisor_memory::{FileMapping, GuestRam, RamLayout};
use trivisor_mode_basic::debug_exit::{self, DebugExit};
use trivisor_mode_basic::pvpanic::{self, PvPanicPort};
use trivisor_mode_basic::rtc::{self, Rtc};
use trivisor_mode_basic::uart::{self, Uart, UartInput};
use trivisor_pci::{DeviceFunction, FunctionShell, PciFunction, RootBus, Windows, ports};

pub use self::floppy::{FloppyPlug, MadeFloppy};
pub use crate::boot_order::BootDevice;
use crate::debugcon::{self, DebugConsole};
use crate::fw_cfg::regs::key;
use crate::fw_cfg::{self, FileError, FwCfg, Items};
use crate::i440fx::{self, I440fx};
use crate::i8042::{self, Hands, KeyboardController};
use crate::ide::{self, CommandBlock, ControlBlock, Ide};
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
        let mut chip = Rtc::new(host.wall_clock.clone());
        let set_up = cmos::set_up(&mut chip, self.ram, self.cpus, &self.boot, floppies);
        set_up.map_err(FitError::chip("rtc"))?;
        slots.pio("rtc", map::RTC, rtc::PORTS, rtc::WIDTHS, chip)?;

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
        let tables = acpi::pc::build(&platform(self.cpus, &dsdt::aml(self.ram, floppies)));
        let items = items(self.ram, self.cpus, &self.files, &tables);
        let items = items.map_err(FitError::chip("fw-cfg"))?;
        if without_firmware {
            place_tables(slots, self.ram, self.cpus, tables);
        }
        let chip = FwCfg::new(&items, host.dma.clone());
        slots.pio("fw-cfg", map::FW_CFG, fw_cfg::PORTS, fw_cfg::WIDTHS, chip)?;
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
    for (place, plug) in made
        .as_flattened_mut()
        .iter_mut()
        .zip(drives.into_iter().flatten())
    {
        let Some(plug) = plug else { continue };
        let name = plug.name();
        let drive = plug.make(&host.ram).map_err(FitError::chip(name))?;
        sources.extend(drive.sources);
        *place = Some(drive.drive);
    }
    let lines = map::IDE_IRQS.map(|irq| isa.line(irq));
    let mut chip = Ide::new(made, lines, host.dma).map_err(FitError::chip("ide"))?;
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
    for fd in sources {
        let chip = chip.clone();
        slots.source(Source {
            fd,
            chip,
            work: None,
        });
    }
    let ports = slots.ports();
    for (channel, (command, control)) in map::IDE_PORTS.into_iter().enumerate() {
        let block = CommandBlock::new(chip.clone(), channel);
        let block = Shell::new("ide-command", ide::WIDTHS, block);
        ports.attach("ide-command", command, ide::COMMAND_PORTS.into(), block)?;
        let block = ControlBlock::new(chip.clone(), channel);
        let block = Shell::new("ide-control", ide::WIDTHS, block);
        ports.attach("ide-control", control, ide::CONTROL_PORTS.into(), block)?;
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
    let block = PmBlock::new(sci, host.clock.clone(), host.events.clone());
    let block = Shell::new("piix4-pm-block", piix4_pm::WIDTHS, block);
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

/// What firmware finds behind its keys and names.
fn items(
    ram: RamLayout,
    cpus: u8,
    files: &[(String, Vec<u8>)],
    tables: &acpi::pc::Relocatable,
) -> Result<Items, FileError> {
    let count = u16::from(cpus).to_le_bytes();
    let runs = runs(ram);
    let smbios = smbios::Parts::new(&description(cpus, &runs));
    let mut items = Items::default()
        .with(key::RAM_SIZE, &ram.size().to_le_bytes())
        .with(key::NB_CPUS, &count)
        .with(key::MAX_CPUS, &count)
        .with(key::NO_GRAPHIC, &[0, 0])
        .with(key::BOOT_MENU, &[0, 0])
        .with(key::IRQ0_OVERRIDE, &[1])
        .with_file("etc/e820", &e820(ram))?
        .with_file(acpi::pc::TABLES_FILE, &tables.tables)?
        .with_file(acpi::pc::RSDP_FILE, &tables.rsdp)?
        .with_file(acpi::pc::SCRIPT_FILE, &tables.script())?
        .with_file("etc/smbios/smbios-anchor", &smbios.entry_point)?
        .with_file("etc/smbios/smbios-tables", &smbios.structures)?;
    for (name, bytes) in files {
        items = items.with_file(name, bytes)?;
    }
    Ok(items)
}

fn runs(ram: RamLayout) -> Vec<(u64, u64)> {
    ram.ranges().map(|run| (run.start, run.size)).collect()
}

const fn description(cpus: u8, runs: &[(u64, u64)]) -> smbios::Description<'_> {
    smbios::Description {
        manufacturer: "Trivisor",
        product: "hvm",
        version: env!("CARGO_PKG_VERSION"),
        cpus,
        ram: runs,
    }
}

/// What ACPI says of the board.
const fn platform(cpus: u8, aml: &[u8]) -> acpi::pc::Pc<'_> {
    acpi::pc::Pc {
        cpus,
        local_apic: map::LOCAL_APIC,
        io_apic: acpi::IoApic {
            id: 0,
            address: map::IO_APIC,
        },
        #[expect(clippy::cast_possible_truncation, reason = "it is 9")]
        sci: map::SCI_IRQ as u8,
        level_triggered: &[10, 11],
        smi_command: (
            map::APM,
            piix4_pm::regs::ACPI_ENABLE,
            piix4_pm::regs::ACPI_DISABLE,
        ),
        pm_base: map::POWER_MANAGEMENT,
        gpe0: map::GPE0,
        reset: (map::RESET, map::RESET_VALUE),
        century: rtc::regs::index::CENTURY,
        boot_arch: acpi::boot_arch::LEGACY_DEVICES
            | acpi::boot_arch::KEYBOARD_8042
            | acpi::boot_arch::NO_VGA,
        aml,
    }
}

/// Puts ACPI and SMBIOS tables where a kernel looks for them.
fn place_tables(slots: &mut Slots, ram: RamLayout, cpus: u8, tables: acpi::pc::Relocatable) {
    let tables = tables.placed(map::ACPI);
    slots.rsdp(tables.address);
    slots.place(tables.address, tables.bytes);
    let runs = runs(ram);
    let bytes = smbios::build(&description(cpus, &runs), map::SMBIOS);
    slots.place(map::SMBIOS, bytes);
}

/// RAM, as firmware takes it: address, bytes, type 1.
fn e820(ram: RamLayout) -> Vec<u8> {
    const RAM: u32 = 1;
    let mut table = Vec::new();
    for run in ram.ranges() {
        table.extend(run.start.to_le_bytes());
        table.extend(run.size.to_le_bytes());
        table.extend(RAM.to_le_bytes());
    }
    table
}
