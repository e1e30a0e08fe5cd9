//! Where a board puts its chips, and what the host gives them.

use std::sync::Arc;

use trivisor_memory::{FileMapping, GuestRam};

use crate::access::{MmioDevice, PortDevice, Widths};
use crate::character::CharInput;
use crate::component::{Component, RestoreError, SavedState};
use crate::dma::Dma;
use crate::doorbell::Doorbells;
use crate::events::{EventSink, MemoryBalloon, PowerButton};
use crate::input::{Keyboard, Pointer};
use crate::line::InterruptPins;
use crate::msi::{EoiTarget, MsiSink, PinRoutes};
use crate::pages::PageMapper;
use crate::posted::{Posted, PostedPlaces};
use crate::routing::{MmioBus, PortBus, RouteError};
use crate::screen::Screen;
use crate::shadow::ShadowMap;
use crate::shell::Shell;
use crate::storage::DiscDrive;
use crate::time::{Clock, Timers, WallClock};
use crate::wake::Source;

/// What the host of a board provides: everything that chips may lean on.
#[derive(Clone)]
pub struct Host {
    /// Delivers messages to the local APICs.
    pub msi: Arc<dyn MsiSink>,
    /// Knows which pin sends which message.
    pub pin_routes: Arc<dyn PinRoutes>,
    /// Bells for queues; `None`: each notification of a driver is a visit to its device.
    pub doorbells: Option<Arc<dyn Doorbells>>,
    /// Posts writes to registers that move; `None`: there all reach their device at once.
    pub posted: Option<Arc<dyn PostedPlaces>>,
    /// The host's own interrupt controllers, where the machine was made with them.
    pub pins: Option<Arc<dyn InterruptPins>>,
    /// Switches addresses between RAM and the bus.
    pub shadow: Arc<dyn ShadowMap>,
    /// Shows the guest memory of cards.
    pub pages: Arc<dyn PageMapper>,
    /// Hears of power-off, reset and crash.
    pub events: Arc<dyn EventSink>,
    /// Guest RAM for bus masters.
    pub dma: Arc<dyn Dma>,
    /// Guest RAM itself, for chips that hand runs of it to their back-ends.
    pub ram: GuestRam,
    /// Guest time.
    pub clock: Arc<dyn Clock>,
    /// Timers that ring at a guest time.
    pub timers: Arc<dyn Timers>,
    /// The time of day.
    pub wall_clock: Arc<dyn WallClock>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

/// A chip on the board, whatever its type.
pub trait Installed: Send + Sync {
    /// See [`Component::start`].
    fn start(&self);
    /// See [`Component::pause`].
    fn pause(&self);
    /// See [`Component::reset`].
    fn reset(&self);
    /// See [`Component::save`].
    fn save(&self) -> SavedState;
    /// See [`Component::restore`].
    ///
    /// # Errors
    /// When the state does not pass its checks.
    fn restore(&self, state: &SavedState) -> Result<(), RestoreError>;
}

impl<D: Component> Installed for Shell<D> {
    fn start(&self) {
        self.with(D::start);
    }

    fn pause(&self) {
        self.with(D::pause);
    }

    fn reset(&self) {
        self.with(D::reset);
    }

    fn save(&self) -> SavedState {
        self.with(|device| device.save())
    }

    fn restore(&self, state: &SavedState) -> Result<(), RestoreError> {
        self.with(|device| device.restore(state))
    }
}

/// Bytes that stand in guest RAM before the first instruction: firmware tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Guest-physical address.
    pub address: u64,
    /// The table.
    pub bytes: Vec<u8>,
}

/// A file that the guest sees as memory.
#[derive(Debug, Clone)]
pub struct Mapped {
    /// Guest-physical address.
    pub address: u64,
    /// The file's pages.
    pub mapping: Arc<FileMapping>,
}

/// A part of a mapped file that shows at a further address wherever the bus answers there.
#[derive(Debug, Clone)]
pub struct Alias {
    /// Guest-physical address.
    pub address: u64,
    /// The file's pages.
    pub mapping: Arc<FileMapping>,
    /// The first byte of the file that shows.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// All that a board fitted, for whoever runs it.
#[derive(Default)]
pub struct Fitted {
    /// The ports.
    pub ports: Arc<PortBus>,
    /// The memory-mapped devices.
    pub mmio: Arc<MmioBus>,
    /// The chips, in the order in which they were fitted: that of start and restore.
    pub components: Vec<(&'static str, Arc<dyn Installed>)>,
    /// Tables to copy into guest RAM, at start and at each reset.
    pub placed: Vec<Placed>,
    /// Files to map.
    pub mapped: Vec<Mapped>,
    /// What of them shows a second time, in addresses that are switched.
    pub aliases: Vec<Alias>,
    /// Where writes may wait.
    pub posted: Vec<Posted>,
    /// More such places come and go while the guest runs.
    pub posted_moves: bool,
    /// Address of the ACPI root pointer among the tables.
    pub rsdp: Option<u64>,
    /// The I/O APIC that wants to hear of ended interrupts.
    pub eoi: Option<Arc<dyn EoiTarget>>,
    /// The button on the front.
    pub power_button: Option<Arc<dyn PowerButton>>,
    /// The balloon.
    pub balloon: Option<Arc<dyn MemoryBalloon>>,
    /// The consoles, the first serial port first.
    pub consoles: Vec<Arc<dyn CharInput>>,
    /// The displays, the first one first.
    pub screens: Vec<Arc<dyn Screen>>,
    /// The keyboard, where the machine has one.
    pub keyboard: Option<Arc<dyn Keyboard>>,
    /// The pointing device, where the machine has one.
    pub pointer: Option<Arc<dyn Pointer>>,
    /// The drive for discs, where the machine has one.
    pub disc_drive: Option<Arc<dyn DiscDrive>>,
    /// What the chips wait for on the host.
    pub sources: Vec<Source>,
}

impl std::fmt::Debug for Fitted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fitted")
            .field("ports", &self.ports)
            .field("mmio", &self.mmio)
            .finish_non_exhaustive()
    }
}

/// A board's slots while it is being fitted.
#[derive(Debug)]
pub struct Slots {
    host: Host,
    fitted: Fitted,
}

impl Slots {
    /// Empty slots.
    #[must_use]
    pub fn new(host: Host) -> Self {
        Self {
            host,
            fitted: Fitted::default(),
        }
    }

    /// What the host provides.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// Fits `chip` at `size` ports from `base` on.
    ///
    /// # Errors
    /// When the ports are taken or do not exist.
    pub fn pio<D>(
        &mut self,
        name: &'static str,
        base: u16,
        size: u16,
        widths: Widths,
        chip: D,
    ) -> Result<Arc<Shell<D>>, RouteError>
    where
        D: PortDevice + Component + 'static,
    {
        let chip = Shell::new(name, widths, chip);
        self.pio_alias(base, size, &chip)?;
        self.fitted
            .components
            .push((name, Arc::<Shell<D>>::clone(&chip)));
        Ok(chip)
    }

    /// Lets a chip that is already fitted answer at further ports as well.
    ///
    /// # Errors
    /// When the ports are taken or do not exist.
    pub fn pio_alias<D>(
        &mut self,
        base: u16,
        size: u16,
        chip: &Arc<Shell<D>>,
    ) -> Result<(), RouteError>
    where
        D: PortDevice + 'static,
    {
        self.fitted.ports.attach(
            chip.name(),
            base.into(),
            size.into(),
            Arc::<Shell<D>>::clone(chip),
        )
    }

    /// Fits `chip` at `size` bytes of memory space from `base` on.
    ///
    /// # Errors
    /// When the addresses are taken or do not exist.
    pub fn mmio<D>(
        &mut self,
        name: &'static str,
        base: u64,
        size: u64,
        widths: Widths,
        chip: D,
    ) -> Result<Arc<Shell<D>>, RouteError>
    where
        D: MmioDevice + Component + 'static,
    {
        let chip = Shell::new(name, widths, chip);
        self.fitted
            .mmio
            .attach(name, base, size, Arc::<Shell<D>>::clone(&chip))?;
        self.fitted
            .components
            .push((name, Arc::<Shell<D>>::clone(&chip)));
        Ok(chip)
    }

    /// Fits `chip`, which answers at no address.
    pub fn unaddressed<D>(&mut self, name: &'static str, chip: D) -> Arc<Shell<D>>
    where
        D: Component + 'static,
    {
        let chip = Shell::new(name, Widths::ANY, chip);
        self.fitted
            .components
            .push((name, Arc::<Shell<D>>::clone(&chip)));
        chip
    }

    /// Takes `chip` into start, reset and save; something else, such as a PCI bus, gives it its addresses.
    pub fn component(&mut self, name: &'static str, chip: Arc<dyn Installed>) {
        self.fitted.components.push((name, chip));
    }

    /// The ports, for a chip that gives out addresses itself.
    #[must_use]
    pub fn ports(&self) -> &Arc<PortBus> {
        &self.fitted.ports
    }

    /// The memory-mapped devices, for a chip that gives out addresses itself.
    #[must_use]
    pub fn memory(&self) -> &Arc<MmioBus> {
        &self.fitted.mmio
    }

    /// A chip is woken when a descriptor can be read or written.
    pub fn source(&mut self, source: Source) {
        self.fitted.sources.push(source);
    }

    /// Copies a firmware table to guest RAM at `address`.
    pub fn place(&mut self, address: u64, bytes: Vec<u8>) {
        self.fitted.placed.push(Placed { address, bytes });
    }

    /// The ACPI root pointer is at `address`.
    pub fn rsdp(&mut self, address: u64) {
        self.fitted.rsdp = Some(address);
    }

    /// Maps a file's pages at `address`.
    pub fn map(&mut self, address: u64, mapping: Arc<FileMapping>) {
        self.fitted.mapped.push(Mapped { address, mapping });
    }

    /// Shows a part of a file in addresses that a chipset switches between RAM and the bus.
    pub fn alias(&mut self, alias: Alias) {
        self.fitted.aliases.push(alias);
    }

    /// Lets the guest's writes wait at these addresses, where the host can have them wait.
    pub fn posted(&mut self, posted: Posted) {
        self.fitted.posted.push(posted);
    }

    /// What posts writes to registers that the guest moves, where the host can.
    pub fn posted_places(&mut self) -> Option<Arc<dyn PostedPlaces>> {
        self.fitted.posted_moves = true;
        self.host.posted.clone()
    }

    /// `target` hears of ended level-triggered interrupts.
    pub fn eoi(&mut self, target: Arc<dyn EoiTarget>) {
        self.fitted.eoi = Some(target);
    }

    /// The machine has a power button.
    pub fn power_button(&mut self, button: Arc<dyn PowerButton>) {
        self.fitted.power_button = Some(button);
    }

    /// The machine has a balloon.
    pub fn balloon(&mut self, balloon: Arc<dyn MemoryBalloon>) {
        self.fitted.balloon = Some(balloon);
    }

    /// The machine has one more console.
    pub fn console(&mut self, input: Arc<dyn CharInput>) {
        self.fitted.consoles.push(input);
    }

    /// The machine has one more display.
    pub fn screen(&mut self, screen: Arc<dyn Screen>) {
        self.fitted.screens.push(screen);
    }

    /// The machine has a keyboard.
    pub fn keyboard(&mut self, keyboard: Arc<dyn Keyboard>) {
        self.fitted.keyboard = Some(keyboard);
    }

    /// The machine has a pointing device.
    pub fn pointer(&mut self, pointer: Arc<dyn Pointer>) {
        self.fitted.pointer = Some(pointer);
    }

    /// The machine has a drive for discs.
    pub fn disc_drive(&mut self, drive: Arc<dyn DiscDrive>) {
        self.fitted.disc_drive = Some(drive);
    }

    /// The board is complete.
    #[must_use]
    pub fn finish(self) -> Fitted {
        self.fitted
    }
}
