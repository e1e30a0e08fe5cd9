//! The basic board: memory, vCPUs, serial port, clock, power, persistent memory; no PCI, no virtio.
//!
//! Addresses and pins stand in [`map`]. The guest finds all of it in ACPI tables: the board is a
//! hardware-reduced machine, without the timers and interrupt controllers of a PC/AT.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use thiserror::Error;
use trivisor_buses::{Board, CharOutput, FitError, MachineEvent, Slots, Widths};
use trivisor_loader::acpi::{self, Nvdimm, Platform, boot_arch};
use trivisor_loader::{mp_table, smbios};
use trivisor_memory::{FileMapping, RamLayout};

use crate::debug_exit::{self, DebugExit};
use crate::i8042::{self, ResetController};
use crate::ioapic::{self, IoApic, IoApicOnBus};
use crate::pmem::{self, PmemFlush};
use crate::power::{self, FrontButton, Power};
use crate::pvpanic::{self, PvPanicPort};
use crate::rtc::{self, Rtc};
use crate::uart::{self, Uart, UartInput};
use crate::vmgenid::Vmgenid;
use crate::{dsdt, map};

/// What is plugged into the board.
pub struct BasicBoard {
    /// vCPUs, whose local APICs have the identifiers from 0 on.
    pub cpus: u8,
    /// Where RAM lies.
    pub ram: RamLayout,
    /// Where the serial port writes to; `None`: nowhere.
    pub serial: Option<Box<dyn CharOutput>>,
    /// Files that the guest sees as persistent memory, at most [`map::MAX_PMEM`].
    pub pmem: Vec<Arc<FileMapping>>,
    /// The port of a debug-exit device, [`map::DEBUG_EXIT`] by custom; `None`: there is none.
    pub debug_exit: Option<u16>,
    /// A number that no other machine, and no other start of this one, has.
    pub generation_id: [u8; 16],
}

/// What can be too much for the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BoardError {
    /// Too many images.
    #[error("{count} images of persistent memory: there is room for the flush hints of {max}")]
    TooManyImages {
        /// How many were plugged in.
        count: usize,
        /// The most.
        max: usize,
    },
    /// Images that reach beyond what can be addressed.
    #[error(
        "image {index} of persistent memory: its {size:#x} bytes do not fit at {address:#x}, below {end:#x}"
    )]
    Unaddressable {
        /// Which one, from 0 on.
        index: usize,
        /// Bytes.
        size: u64,
        /// Where it would begin.
        address: u64,
        /// The first address that does not exist.
        end: u64,
    },
}

impl std::fmt::Debug for BasicBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BasicBoard")
            .field("cpus", &self.cpus)
            .field("ram", &self.ram)
            .field("pmem", &self.pmem)
            .field("debug_exit", &self.debug_exit)
            .finish_non_exhaustive()
    }
}

impl Board for BasicBoard {
    fn fit(self, slots: &mut Slots) -> Result<(), FitError> {
        self.fit_chips(slots)?
            .describe(slots, Extension::new("basic"))
    }
}

impl BasicBoard {
    /// Fits the chips alone: a larger board adds its own before the guest is told of all by
    /// [`BasicChips::describe`].
    ///
    /// # Errors
    /// As for the board.
    pub fn fit_chips(self, slots: &mut Slots) -> Result<BasicChips, FitError> {
        let host = slots.host().clone();
        let events = || host.events.clone();

        // Interrupts: a wire a pin, each edge-triggered and with one line on it.
        let chip = IoApic::new(0, host.msi.clone(), host.pin_routes.clone());
        let io_apic = slots.mmio(
            "ioapic",
            map::IO_APIC.into(),
            ioapic::SIZE,
            Widths::DWORDS,
            chip,
        )?;
        let io_apic = IoApicOnBus(io_apic);
        slots.eoi(Arc::new(io_apic.clone()));

        // Serial port.
        let chip = Uart::new(io_apic.wire(map::COM1_PIN).line(), self.serial);
        let uart = slots.pio("uart", map::COM1, uart::PORTS, Widths::BYTES, chip)?;
        slots.console(Arc::new(UartInput(uart)));

        // Clock.
        let chip = Rtc::new(host.wall_clock.clone());
        slots.pio("rtc", map::RTC, rtc::PORTS, rtc::WIDTHS, chip)?;

        // Power: sleep, reset, the button on the front; and the reset of a PC's keyboard controller.
        let chip = Power::new(io_apic.wire(map::POWER_PIN).line(), events());
        let power = slots.pio("power", map::POWER, power::PORTS, power::WIDTHS, chip)?;
        slots.power_button(Arc::new(FrontButton(power)));
        let chip = ResetController::new(events());
        slots.pio("i8042", map::I8042, i8042::PORTS, Widths::BYTES, chip)?;

        // How a guest tells of its end.
        let chip = PvPanicPort::new(events());
        slots.pio("pvpanic", map::PVPANIC, pvpanic::PORTS, Widths::BYTES, chip)?;
        if let Some(port) = self.debug_exit {
            let chip = DebugExit::new(events());
            slots.pio(
                "debug-exit",
                port,
                debug_exit::PORTS,
                debug_exit::WIDTHS,
                chip,
            )?;
        }

        // Which machine it is.
        let chip = Vmgenid::new(map::GENERATION_ID, self.generation_id, host.dma.clone());
        slots.unaddressed("vmgenid", chip);

        // Persistent memory, and a page of flush hints an image.
        let nvdimms = place_images(self.ram.end(), &self.pmem).map_err(FitError::chip("pmem"))?;
        for (index, (nvdimm, mapping)) in nvdimms.iter().zip(self.pmem).enumerate() {
            slots.map(nvdimm.address, mapping.clone());
            // The guest takes what it flushed for stored and cannot be told otherwise.
            let events = events();
            let failed = move |_: &_| events.event(MachineEvent::FlushFailed { index });
            let chip = PmemFlush::with_flush(move || mapping.flush().inspect_err(&failed));
            slots.mmio("pmem", nvdimm.flush_hint, pmem::SIZE, pmem::WIDTHS, chip)?;
        }

        Ok(BasicChips {
            io_apic,
            cpus: self.cpus,
            ram: self.ram,
            nvdimms,
        })
    }
}

/// The chips of a basic board in their slots, and what firmware tables have to say of them.
#[derive(Debug)]
pub struct BasicChips {
    io_apic: IoApicOnBus,
    cpus: u8,
    ram: RamLayout,
    nvdimms: Vec<Nvdimm>,
}

/// What a larger board has beside the basic one.
#[derive(Debug, Clone, Default)]
pub struct Extension {
    /// What SMBIOS calls the machine.
    pub product: &'static str,
    /// Further devices, as AML below `\_SB`.
    pub devices: Vec<u8>,
    /// The memory-mapped configuration space of PCI.
    pub ecam: Option<acpi::Ecam>,
    /// Pins that are level-triggered: bit n is pin n. ACPI has that from the devices, the MP table from here.
    pub level: u32,
}

impl Extension {
    /// Nothing but a name.
    #[must_use]
    pub const fn new(product: &'static str) -> Self {
        Self {
            product,
            devices: Vec::new(),
            ecam: None,
            level: 0,
        }
    }
}

/// A page of flush hints an image.
fn flush_hints() -> impl Iterator<Item = u64> {
    (0..).map(|index| map::FLUSH_HINTS + index * pmem::SIZE)
}

/// Where the images go: above RAM, one behind the other; with what the NFIT says of each.
fn place_images(ram_end: u64, images: &[Arc<FileMapping>]) -> Result<Vec<Nvdimm>, BoardError> {
    let count = images.len();
    if count > map::MAX_PMEM {
        let max = map::MAX_PMEM;
        return Err(BoardError::TooManyImages { count, max });
    }
    let mut free = ram_end;
    let mut nvdimms = Vec::with_capacity(count);
    for ((index, image), (handle, flush_hint)) in
        images.iter().enumerate().zip((1..).zip(flush_hints()))
    {
        let (size, end) = (image.size(), map::PHYSICAL_END);
        let address = free
            .checked_next_multiple_of(map::PMEM_ALIGNMENT)
            .unwrap_or(end);
        free = address
            .checked_add(size)
            .filter(|image_end| *image_end <= end)
            .ok_or(BoardError::Unaddressable {
                index,
                size,
                address,
                end,
            })?;
        nvdimms.push(Nvdimm {
            handle,
            address,
            size,
            read_only: image.is_read_only(),
            flush_hint,
        });
    }
    Ok(nvdimms)
}

impl BasicChips {
    /// The chip whose pins from 10 on are free, except [`map::POWER_PIN`].
    #[must_use]
    pub const fn io_apic(&self) -> &IoApicOnBus {
        &self.io_apic
    }

    /// The first address behind RAM and persistent memory.
    #[must_use]
    pub fn end(&self) -> u64 {
        let images = self.nvdimms.iter();
        images
            .map(|image| image.address + image.size)
            .fold(self.ram.end(), u64::max)
    }

    /// Puts ACPI, SMBIOS and MP tables where kernels look for them.
    ///
    /// # Errors
    /// When there is no room for them.
    pub fn describe(&self, slots: &mut Slots, beside: Extension) -> Result<(), FitError> {
        let io_apic = acpi::IoApic {
            id: 0,
            address: map::IO_APIC,
        };
        let platform = Platform {
            cpus: self.cpus,
            local_apic: map::LOCAL_APIC,
            io_apic,
            sleep_control: map::POWER + power::regs::offset::SLEEP_CONTROL,
            sleep_status: map::POWER + power::regs::offset::SLEEP_STATUS,
            reset: map::POWER + power::regs::offset::RESET,
            reset_value: power::regs::RESET_VALUE,
            // A clock, and nothing else that a PC has.
            boot_arch: boot_arch::NO_VGA,
            aml: &dsdt::aml(&self.nvdimms, &beside.devices),
            nvdimms: &self.nvdimms,
            ecam: beside.ecam,
        };
        let tables =
            acpi::build(&platform, map::ACPI, map::ACPI_SIZE).map_err(FitError::chip("acpi"))?;
        slots.rsdp(tables.address);
        slots.place(tables.address, tables.bytes);

        let ram: Vec<(u64, u64)> = self.ram.ranges().map(|run| (run.start, run.size)).collect();
        let description = smbios::Description {
            manufacturer: "Trivisor",
            product: beside.product,
            version: env!("CARGO_PKG_VERSION"),
            cpus: self.cpus,
            ram: &ram,
        };
        slots.place(map::SMBIOS, smbios::build(&description, map::SMBIOS));

        let description = mp_table::Description {
            cpus: self.cpus,
            local_apic: map::LOCAL_APIC,
            io_apic,
            pins: u8::try_from(ioapic::PINS).unwrap_or(u8::MAX),
            level: beside.level,
        };
        let table = mp_table::build(&description, map::MP_TABLE);
        slots.place(map::MP_TABLE.into(), table);
        Ok(())
    }
}
