//! The hvm board: a PC with an Intel 440FX chipset, whose firmware boots from its disks as it would on the desk.
//!
//! [`HvmBoard`] is what is plugged in; its `fit`, from top to bottom, is what stands where. The numbers are in [`map`].
//! 8259s, I/O APIC and 8254 are the host's.

mod chipset;
mod drives;
mod floppy;
mod isa;
mod plugs;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use trivisor_buses::{Board, CharOutput, FitError, Line, Posted, Slots, Widths};
use trivisor_loader::acpi;
use trivisor_memory::{FileMapping, RamLayout};
use trivisor_mode_basic::debug_exit::{self, DebugExit};
use trivisor_mode_basic::pvpanic::{self, PvPanicPort};
use trivisor_mode_basic::uart::{self, Uart, UartInput};

pub(crate) use self::drives::Disks;
pub use self::floppy::{FloppyPlug, MadeFloppy};
use self::isa::Isa;
pub use self::plugs::{BoardError, Card, DrivePlug, MadeDrive};
pub use crate::boot_order::BootDevice;
use crate::debugcon::{self, DebugConsole};
use crate::fw_cfg::{self, FwCfg, Items};
pub use crate::ide::{DiskConfig, DriveConfig};
use crate::{cmos, dsdt, map};

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

impl Board for HvmBoard {
    fn fit(self, slots: &mut Slots) -> Result<(), FitError> {
        let pins = slots.host().pins.clone();
        let pins = pins.ok_or_else(|| FitError::chip("interrupts")(BoardError::NoPins))?;
        let isa = Isa::new(&*pins);
        let without_firmware = self.firmware.is_none();

        // Firmware: at the end of the first 4 GiB, and its last 128 KiB below 1 MiB.
        if let Some(firmware) = &self.firmware {
            isa::firmware(slots, firmware).map_err(FitError::chip("firmware"))?;
        }

        // The ISA bus: serial port, keyboard and mouse, DMA with the floppy controller, the clock.
        serial(slots, map::COM1, isa.line(map::COM1_IRQ), self.serial)?;
        let lines = [map::KEYBOARD_IRQ, map::MOUSE_IRQ].map(|irq| isa.line(irq));
        isa::keyboard(slots, map::KEYBOARD, lines)?;
        let line = isa.line(map::FLOPPY_IRQ);
        let floppies = floppy::fit(slots, line, self.floppies, without_firmware)?;
        let clock = isa::clock(slots, map::RTC, isa.line(map::RTC_IRQ))?;
        // What the set-up program has left in the clock's RAM.
        let set_up =
            clock.with(|clock| cmos::set_up(clock, self.ram, self.cpus, &self.boot, floppies));
        set_up.map_err(FitError::chip("rtc"))?;

        // PCI: the chipset in devices 0 and 1, then the cards.
        let bus = chipset::bus_and_bridges(slots, isa.lines(), without_firmware)?;
        chipset::power(slots, &bus, isa.line(map::SCI_IRQ), without_firmware)?;
        let lines = map::IDE_IRQS.map(|irq| isa.line(irq));
        let disks = drives::fit(slots, &bus, lines, self.drives, without_firmware)?;
        let set_up = clock.with(|clock| cmos::set_up_disks(clock, disks));
        set_up.map_err(FitError::chip("rtc"))?;
        for card in self.cards {
            card.insert(slots, &bus)?;
        }
        if without_firmware {
            let windows = chipset::windows(self.ram);
            bus.assign(&windows).map_err(FitError::chip("pci"))?;
        }

        // What firmware is told, or a kernel without it.
        let tables = acpi::pc::build(&tables::platform(self.cpus, &dsdt::aml(self.ram, floppies)));
        let items = tables::items(self.ram, self.cpus, &self.files, &tables);
        configuration(
            slots,
            map::FW_CFG,
            &items.map_err(FitError::chip("fw-cfg"))?,
        )?;
        if without_firmware {
            tables::place(slots, self.ram, self.cpus, tables);
        }
        post_writes(slots, self.debug_console.is_none());

        // What a guest tells, and how it tells of its end.
        if let Some(output) = self.debug_console {
            let (chip, ports) = (DebugConsole::new(output), debugcon::PORTS);
            slots.pio("debugcon", map::DEBUG_CONSOLE, ports, Widths::BYTES, chip)?;
        }
        let events = slots.host().events.clone();
        let (chip, ports) = (PvPanicPort::new(events.clone()), pvpanic::PORTS);
        slots.pio("pvpanic", map::PVPANIC, ports, Widths::BYTES, chip)?;
        if let Some(port) = self.debug_exit {
            let (chip, widths) = (DebugExit::new(events), debug_exit::WIDTHS);
            slots.pio("debug-exit", port, debug_exit::PORTS, widths, chip)?;
        }
        Ok(())
    }
}

fn serial(
    slots: &mut Slots,
    at: u16,
    line: Line,
    output: Option<Box<dyn CharOutput>>,
) -> Result<(), FitError> {
    let chip = Uart::new(line, output);
    let chip = slots.pio("uart", at, uart::PORTS, Widths::BYTES, chip)?;
    slots.console(Arc::new(UartInput(chip)));
    Ok(())
}

fn configuration(slots: &mut Slots, at: u16, items: &Items) -> Result<(), FitError> {
    let chip = FwCfg::new(items, slots.host().dma.clone());
    slots.pio("fw-cfg", at, fw_cfg::PORTS, fw_cfg::WIDTHS, chip)?;
    Ok(())
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

impl std::fmt::Debug for HvmBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HvmBoard")
            .field("cpus", &self.cpus)
            .field("ram", &self.ram)
            .field("boot", &self.boot)
            .finish_non_exhaustive()
    }
}
