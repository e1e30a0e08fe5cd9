//! The pv board: the basic one, and virtio devices on PCI or on a bus of their own.
//!
//! Addresses and pins stand in [`map`].

#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use thiserror::Error;
use trivisor_buses::{
    Board, CharOutput, FitError, MemoryBalloon, Shell, Slots, Source, Storage, Woken, Work,
};
use trivisor_loader::acpi::Ecam;
use trivisor_memory::{FileMapping, GuestRam};
use trivisor_mode_basic::board::{BasicBoard, BasicChips, Extension};
use trivisor_mode_basic::map::{PHYSICAL_END, PMEM_ALIGNMENT};
use trivisor_pci::{FunctionShell, HostBridge, RootBus, Windows, ecam, ports};
use trivisor_virtio_device::mmio::{self, MmioTransport};
use trivisor_virtio_device::pci::PciTransport;
use trivisor_virtio_device::transport::Offer;
use trivisor_virtio_device::{Drive, VirtioDevice};

use crate::balloon::{Balloon, BalloonOptions};
use crate::console::{Console, ConsoleInput, PortConfig};
use crate::pmem::Pmem;
use crate::pmem::regs::Config;
use crate::{dsdt, map};

/// How the virtio devices are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransportKind {
    /// As functions on a PCI bus.
    #[default]
    Pci,
    /// Each at an address and a pin of its own; there is no PCI.
    Mmio,
}

/// What is plugged into the board.
#[derive(Debug)]
pub struct PvBoard {
    /// What the basic board has.
    pub basic: BasicBoard,
    /// The virtio devices, in the order in which the guest finds them.
    pub devices: Vec<Box<dyn Plug>>,
    /// How they are connected.
    pub transport: TransportKind,
    /// They offer packed virtqueues.
    pub packed: bool,
}

/// A virtio device that waits for the board: it is made when guest RAM is there, for its back-end to hold.
pub trait Plug: Send {
    /// What errors, metrics and saved state call it.
    fn name(&self) -> &'static str;

    /// Makes the device and puts it into a socket of the board.
    ///
    /// # Errors
    /// When its back-end refuses guest RAM, or the board has no room.
    fn plug(self: Box<Self>, socket: &mut Socket<'_>) -> Result<(), FitError>;
}

impl std::fmt::Debug for dyn Plug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A device with the descriptors that wake it.
pub struct Made<D> {
    /// The device.
    pub device: D,
    /// What its back-end becomes ready by.
    pub sources: Vec<OwnedFd>,
    /// What its back-end does besides, on the thread that watches the sources.
    pub work: Option<Box<dyn Work>>,
}

impl<D> Made<D> {
    /// A device whose back-end works where it is called.
    pub const fn new(device: D, sources: Vec<OwnedFd>) -> Self {
        Self {
            device,
            sources,
            work: None,
        }
    }
}

impl<D: std::fmt::Debug> std::fmt::Debug for Made<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made")
            .field("device", &self.device)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

/// A [`Plug`] that is a function of guest RAM.
pub struct PlugWith<F> {
    name: &'static str,
    make: F,
}

impl<F> std::fmt::Debug for PlugWith<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlugWith")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<F> PlugWith<F> {
    /// A device of this name, made by `make`.
    pub const fn new<D>(name: &'static str, make: F) -> Self
    where
        F: FnOnce(&GuestRam) -> std::io::Result<Made<D>> + Send,
    {
        Self { name, make }
    }
}

impl<D, F> Plug for PlugWith<F>
where
    D: VirtioDevice + 'static,
    F: FnOnce(&GuestRam) -> std::io::Result<Made<D>> + Send,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn plug(self: Box<Self>, socket: &mut Socket<'_>) -> Result<(), FitError> {
        let made = (self.make)(&socket.slots.host().ram).map_err(FitError::chip(self.name))?;
        socket.insert(self.name, made).map(drop)
    }
}

/// A memory balloon, whose pages guest RAM takes back.
#[derive(Debug)]
pub struct BalloonPlug(pub BalloonOptions);

impl Plug for BalloonPlug {
    fn name(&self) -> &'static str {
        "virtio-balloon"
    }

    fn plug(self: Box<Self>, socket: &mut Socket<'_>) -> Result<(), FitError> {
        let reclaim = Box::new(socket.slots.host().ram.clone());
        let made = Made::new(Balloon::new(self.0, reclaim), Vec::new());
        let balloon = socket.insert("virtio-balloon", made)?;
        socket.slots.balloon(Arc::new(BalloonHand(balloon)));
        Ok(())
    }
}

/// A file as persistent memory: the guest sees its pages, which the board gives a place above RAM.
pub struct PmemPlug<F> {
    /// The file's pages.
    pub mapping: Arc<FileMapping>,
    /// Makes what flushes the file, and the descriptors that wake the device.
    pub storage: F,
}

impl<F> std::fmt::Debug for PmemPlug<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PmemPlug")
            .field("mapping", &self.mapping)
            .finish_non_exhaustive()
    }
}

impl<F> Plug for PmemPlug<F>
where
    F: FnOnce(&GuestRam) -> std::io::Result<(Box<dyn Storage>, Vec<OwnedFd>)> + Send,
{
    fn name(&self) -> &'static str {
        "virtio-pmem"
    }

    fn plug(self: Box<Self>, socket: &mut Socket<'_>) -> Result<(), FitError> {
        let name = self.name();
        let made = (self.storage)(&socket.slots.host().ram);
        let (storage, sources) = made.map_err(FitError::chip(name))?;
        let config = Config {
            start: socket.map(name, self.mapping.clone())?,
            size: self.mapping.size(),
        };
        let device = Pmem::new(config, storage);
        socket.insert(name, Made::new(device, sources)).map(drop)
    }
}

/// A console of one port, whose input is the machine's.
pub struct ConsolePlug(pub Box<dyn CharOutput>);

impl std::fmt::Debug for ConsolePlug {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ConsolePlug").finish_non_exhaustive()
    }
}

impl Plug for ConsolePlug {
    fn name(&self) -> &'static str {
        "virtio-console"
    }

    fn plug(self: Box<Self>, socket: &mut Socket<'_>) -> Result<(), FitError> {
        let name = self.name();
        let port = PortConfig {
            name: String::new(),
            console: true,
            output: Some(self.0),
        };
        let device = Console::new(vec![port]).map_err(FitError::chip(name))?;
        let sources = Vec::new();
        let console = socket.insert(name, Made::new(device, sources))?;
        let input = ConsoleInput::new(console, 0);
        socket.slots.console(Arc::new(input));
        Ok(())
    }
}

/// A device that has the legacy interface beside, for drivers older than version 1: those of old systems and of
/// firmware. On PCI alone, and only for the types that there were before version 1.
#[derive(Debug)]
pub struct Transitional(pub Box<dyn Plug>);

impl Plug for Transitional {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn plug(self: Box<Self>, socket: &mut Socket<'_>) -> Result<(), FitError> {
        socket.layout = Layout::Transitional;
        self.0.plug(socket)
    }
}

/// Which registers a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Layout {
    /// Those of version 1.
    #[default]
    Modern,
    /// And the legacy interface.
    Transitional,
}

struct BalloonHand(Arc<dyn Drive<Balloon>>);

/// Bytes of a page of a balloon: 5.5.6.
const BALLOON_PAGE: u64 = 4096;

impl MemoryBalloon for BalloonHand {
    fn set_target(&self, bytes: u64) {
        let pages = u32::try_from(bytes / BALLOON_PAGE).unwrap_or(u32::MAX);
        self.0
            .drive(&mut |balloon, io| balloon.set_target(pages, io));
    }

    fn actual(&self) -> u64 {
        let mut pages = 0;
        self.0.drive(&mut |balloon, _| pages = balloon.actual());
        u64::from(pages) * BALLOON_PAGE
    }
}

/// A place on the board for one virtio device.
pub struct Socket<'a> {
    slots: &'a mut Slots,
    offer: Offer,
    layout: Layout,
    place: Place<'a>,
    /// The first address above all memory.
    free: &'a mut u64,
}

enum Place<'a> {
    Pci(&'a RootBus),
    Mmio {
        chips: &'a BasicChips,
        at: Option<(u64, u8)>,
    },
}

impl std::fmt::Debug for Socket<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket")
            .field("offer", &self.offer)
            .finish_non_exhaustive()
    }
}

/// More devices than the board has places for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("there is no room for another device: virtio over MMIO has {}", map::MMIO_PINS.len())]
pub struct NoRoom;

/// Persistent memory that no processor can address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{size} bytes above all other memory end behind {PHYSICAL_END:#x}, where addresses do")]
pub struct TooLarge {
    /// Its bytes.
    pub size: u64,
}

/// A transitional device where there is no PCI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a device is transitional on PCI alone: virtio over MMIO has no legacy interface here")]
pub struct NoLegacy;

impl<'a> Socket<'a> {
    const fn new(slots: &'a mut Slots, offer: Offer, place: Place<'a>, free: &'a mut u64) -> Self {
        Self {
            slots,
            offer,
            layout: Layout::Modern,
            place,
            free,
        }
    }

    /// A place on a PCI bus of another board's; `free` is where memory that devices bring may go.
    #[must_use]
    pub const fn on_pci(
        slots: &'a mut Slots,
        bus: &'a RootBus,
        packed: bool,
        free: &'a mut u64,
    ) -> Self {
        Self::new(slots, Offer { packed }, Place::Pci(bus), free)
    }
}

impl Socket<'_> {
    /// Gives pages a place above all memory; its address.
    fn map(&mut self, name: &'static str, mapping: Arc<FileMapping>) -> Result<u64, FitError> {
        let size = mapping.size();
        let start = self.free.checked_next_multiple_of(PMEM_ALIGNMENT);
        let end = start.and_then(|start| start.checked_add(size));
        let (Some(start), Some(end)) = (start, end.filter(|end| *end <= PHYSICAL_END)) else {
            return Err(FitError::chip(name)(TooLarge { size }));
        };
        self.slots.map(start, mapping);
        *self.free = end;
        Ok(start)
    }

    /// Puts the device in, behind the board's transport.
    ///
    /// # Errors
    /// When the board has no room.
    pub fn insert<D>(
        &mut self,
        name: &'static str,
        made: Made<D>,
    ) -> Result<Arc<dyn Drive<D>>, FitError>
    where
        D: VirtioDevice + 'static,
    {
        let host = self.slots.host().clone();
        let Made {
            device,
            mut sources,
            work,
        } = made;
        let mut bell = None;
        if let Some(bells) = host.doorbells.as_ref().filter(|_| device.wants_bells()) {
            let (made, rings) = bells.make().map_err(FitError::chip(name))?;
            sources.insert(0, rings);
            bell = Some(made);
        }
        let (chip, driven): (Arc<dyn Woken>, Arc<dyn Drive<D>>) = match &self.place {
            Place::Pci(bus) => {
                let make = match self.layout {
                    Layout::Modern => PciTransport::new,
                    Layout::Transitional => PciTransport::transitional,
                };
                let function = make(device, host.ram, host.msi, self.offer);
                let mut function = function.map_err(FitError::chip(name))?;
                if let Some(bell) = bell {
                    function = function.with_bell(bell);
                }
                let shell = bus.add(name, function).map_err(FitError::chip(name))?;
                self.slots
                    .component(name, Arc::<FunctionShell<_>>::clone(&shell));
                (Arc::<FunctionShell<_>>::clone(&shell), shell)
            }
            Place::Mmio { .. } if self.layout == Layout::Transitional => {
                return Err(FitError::chip(name)(NoLegacy));
            }
            Place::Mmio { chips, at } => {
                let (address, pin) = at.ok_or(NoRoom).map_err(FitError::chip(name))?;
                let line = chips.io_apic().wire(pin).line();
                let mut chip = MmioTransport::new(device, host.ram, line, self.offer);
                if let Some(bell) = bell {
                    chip = chip.with_bell(bell, address);
                }
                let slots = &mut *self.slots;
                let shell = slots.mmio(name, address, mmio::SIZE, mmio::WIDTHS, chip)?;
                (Arc::<Shell<_>>::clone(&shell), shell)
            }
        };
        let mut work = work;
        for fd in sources {
            let (chip, work) = (chip.clone(), work.take());
            self.slots.source(Source { fd, chip, work });
        }
        Ok(driven)
    }
}

impl Board for PvBoard {
    fn fit(self, slots: &mut Slots) -> Result<(), FitError> {
        // Serial port, clock, power, persistent memory: as on the basic board.
        let chips = self.basic.fit_chips(slots)?;
        let offer = Offer {
            packed: self.packed,
        };
        let mut extension = Extension::new("pv");
        let mut free = chips.end();
        match self.transport {
            TransportKind::Pci => {
                let bus = pci_bus(slots, &chips)?;
                for plug in self.devices {
                    let place = Place::Pci(&bus);
                    plug.plug(&mut Socket::new(slots, offer, place, &mut free))?;
                }
                // There is no firmware to do it.
                bus.assign(&windows()).map_err(FitError::chip("pci"))?;
                extension.devices = dsdt::pci_root();
                extension.ecam = Some(Ecam {
                    address: map::ECAM,
                    last_bus: map::LAST_BUS,
                });
                extension.level = 0b1111 << map::PCI_PINS;
            }
            TransportKind::Mmio => {
                extension.devices = dsdt::virtio_mmio(self.devices.len());
                let pins = map::mmio().take(self.devices.len());
                extension.level = pins.fold(0, |pins, (_, pin)| pins | 1 << pin);
                let mut places = map::mmio();
                for plug in self.devices {
                    let (chips, at) = (&chips, places.next());
                    let place = Place::Mmio { chips, at };
                    plug.plug(&mut Socket::new(slots, offer, place, &mut free))?;
                }
            }
        }
        chips.describe(slots, extension)
    }
}

/// An empty bus behind its host bridge, reached by ports and by memory.
fn pci_bus(slots: &mut Slots, chips: &BasicChips) -> Result<RootBus, FitError> {
    let pins = [0, 1, 2, 3].map(|line| chips.io_apic().wire(map::PCI_PINS + line));
    let bus = RootBus::new(slots.ports(), slots.memory(), Some(pins));
    slots.pio(
        "pci-config",
        map::PCI_CONFIG,
        ports::PORTS,
        ports::WIDTHS,
        bus.config_ports(),
    )?;
    let memory = slots.memory().clone();
    memory.attach("pci-ecam", map::ECAM, ecam::SIZE, bus.ecam())?;
    let bridge = bus
        .add("pci-host", HostBridge::new())
        .map_err(FitError::chip("pci-host"))?;
    slots.component("pci-host", bridge);
    Ok(bus)
}

/// Where PCI functions may be.
fn windows() -> Windows {
    let (ports, memory) = (map::PCI_PORTS, map::PCI_MEMORY);
    Windows {
        io: u64::from(*ports.start())..u64::from(*ports.end()) + 1,
        memory32: u64::from(*memory.start())..u64::from(*memory.end()) + 1,
        memory64: 0..0,
        irqs: [0, 1, 2, 3].map(|line| map::PCI_PINS + line),
    }
}
