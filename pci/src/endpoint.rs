//! What every function has: configuration space, interrupt pin, MSI and MSI-X.

use std::sync::Arc;

use trivisor_buses::{AccessError, Line, MsiSink};

use crate::config::{ConfigError, ConfigSpace};
use crate::msi::{Msi, MsiLayout};
use crate::msix::{Msix, MsixLayout};
use crate::regs::{Status, offset};

const INTERRUPT: [u8; 2] = Status::new().with_interrupt(true).into_bits().to_le_bytes();

/// The PCI side of a function.
///
/// Interrupts may be signalled while the function's lock is held: their ends come later in the order of locks.
pub struct Endpoint {
    // Wiring.
    pub(crate) line: Line,
    // Guest-visible state.
    pub(crate) config: ConfigSpace,
    pub(crate) msi: Option<Msi>,
    pub(crate) msix: Option<Msix>,
    // Glue: the bus has to look where the base address registers answer.
    moved: bool,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("windows", &self.config.windows())
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// A function with this configuration space; its bus connects the interrupt pin.
    #[must_use]
    pub const fn new(config: ConfigSpace) -> Self {
        Self {
            line: Line::detached(),
            config,
            msi: None,
            msix: None,
            moved: false,
        }
    }

    /// Adds MSI, whose messages go to `sink`.
    ///
    /// # Errors
    /// When the number of vectors is not possible, or there is no room for the capability.
    pub fn with_msi(
        mut self,
        layout: MsiLayout,
        sink: Arc<dyn MsiSink>,
    ) -> Result<Self, ConfigError> {
        self.msi = Some(Msi::add(&mut self.config, layout, sink)?);
        Ok(self)
    }

    /// Adds MSI-X, whose messages go to `sink`; table and pending bits are served in front of the function.
    ///
    /// # Errors
    /// When the number of vectors is not possible, table or pending bits do not fit their base address register, or
    /// there is no room for the capability.
    pub fn with_msix(
        mut self,
        layout: MsixLayout,
        sink: Arc<dyn MsiSink>,
    ) -> Result<Self, ConfigError> {
        self.msix = Some(Msix::add(&mut self.config, layout, sink)?);
        Ok(self)
    }

    /// Its configuration space.
    #[must_use]
    pub const fn config(&self) -> &ConfigSpace {
        &self.config
    }

    /// Its configuration space, for the function and its board; a guest's accesses go by
    /// [`write_config`](Self::write_config).
    pub const fn config_mut(&mut self) -> &mut ConfigSpace {
        self.moved = true;
        &mut self.config
    }

    /// Fills `data` from configuration space.
    pub fn read_config(&self, offset: u16, data: &mut [u8]) {
        self.config.read(offset, data);
    }

    /// Takes a guest's write to configuration space, and sends the messages that it set free.
    pub fn write_config(&mut self, offset: u16, data: &[u8]) {
        self.moved |= self.config.write(offset, data).windows;
        if let Some(msi) = &self.msi {
            msi.deliver(&mut self.config);
        }
        if let Some(msix) = &mut self.msix {
            msix.deliver(&self.config);
        }
        self.line.set_level(self.pin_level());
    }

    /// MSI-X is enabled: each vector has a message of its own.
    #[must_use]
    pub fn msix_enabled(&self) -> bool {
        self.msix
            .as_ref()
            .is_some_and(|msix| msix.enabled(&self.config))
    }

    /// MSI is enabled.
    #[must_use]
    pub fn msi_enabled(&self) -> bool {
        self.msi
            .as_ref()
            .is_some_and(|msi| msi.enabled(&self.config))
    }

    /// Sends the message of `vector` by MSI-X or MSI, or keeps it pending while it is masked. Nothing happens while
    /// neither is enabled, or there is no such vector.
    pub fn signal(&mut self, vector: u16) {
        if let Some(msix) = &mut self.msix
            && msix.enabled(&self.config)
        {
            msix.signal(&self.config, vector);
        } else if let Some(msi) = &self.msi
            && msi.enabled(&self.config)
        {
            msi.signal(&mut self.config, vector);
        }
    }

    /// The function wants an interrupt (or no more): its pin follows, unless it is disabled or messages are enabled.
    pub fn set_interrupt(&mut self, level: bool) {
        self.config.set(offset::STATUS, &INTERRUPT, level);
        self.line.set_level(self.pin_level());
    }

    /// Power-on state, also of table and pending bits; the pin goes low.
    pub fn reset(&mut self) {
        self.config.reset();
        if let Some(msix) = &mut self.msix {
            msix.reset();
        }
        self.line.set_level(self.pin_level());
        self.moved = true;
    }

    /// The level that the pin has.
    pub(crate) fn pin_level(&self) -> bool {
        let wanted = self.config.status().interrupt() && !self.config.command().interrupt_disable();
        wanted && !self.msi_enabled() && !self.msix_enabled()
    }

    /// Reads from the MSI-X table or pending bits; `None`: they do not stand there.
    pub(crate) fn read_msix(
        &self,
        bar: u8,
        offset: u64,
        data: &mut [u8],
    ) -> Option<Result<(), AccessError>> {
        let msix = self.msix.as_ref()?;
        let region = msix.region(bar, offset)?;
        Some(msix.read(region, data))
    }

    /// Writes to the MSI-X table; `None`: neither it nor the pending bits stand there.
    pub(crate) fn write_msix(
        &mut self,
        bar: u8,
        offset: u64,
        data: &[u8],
    ) -> Option<Result<(), AccessError>> {
        let msix = self.msix.as_mut()?;
        let region = msix.region(bar, offset)?;
        Some(msix.write(&self.config, region, data))
    }

    /// The pin leads to `line` from now on.
    pub(crate) fn connect(&mut self, line: Line) {
        self.line = line;
        self.line.set_level(self.pin_level());
    }

    pub(crate) const fn set_moved(&mut self) {
        self.moved = true;
    }

    /// Whether the base address registers may answer at other addresses than at the last call.
    pub(crate) const fn take_moved(&mut self) -> bool {
        std::mem::replace(&mut self.moved, false)
    }
}
