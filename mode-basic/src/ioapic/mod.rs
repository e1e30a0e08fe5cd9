//! I/O APIC, 82093AA: turns interrupt lines into messages for the local APICs.
//!
//! Source: Intel, 82093AA I/O Advanced Programmable Interrupt Controller, 290566-001, May 1996, chapter 3;
//! the EOI register from the Intel I/O Controller Hub datasheets (version 0x20).
//!
//! | offset | register | read | write | reset |
//! |---|---|---|---|---|
//! | 0x00 | IOREGSEL | index | index | 0 |
//! | 0x10 | IOWIN | the register selected | the register selected | - |
//! | 0x40 | EOIR | refused | ends level-triggered interrupts with this vector | - |
//!
//! | index | register | access | reset |
//! |---|---|---|---|
//! | 0x00 | IOAPICID | read, write | 0 |
//! | 0x01 | IOAPICVER | read | 0x00170020: version 0x20, 24 pins |
//! | 0x02 | IOAPICARB | read | 0: the identification |
//! | 0x10 to 0x3f | IOREDTBL 0 to 23, low half, high half | read, write; bits 12 and 14 read only | masked |
//!
//! **Not modelled**: the APIC bus and its arbitration; polarity (lines have levels of their own); delivery
//! status (messages leave at once). An edge at a masked pin is lost, as on the chip.
//!
//! **Relied on by**: Linux, the bare-metal guest.

mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use trivisor_buses::{
    AccessError, Component, EoiTarget, LineEnd, MmioDevice, MsiSink, PinRoutes, RestoreError,
    SavedState, Shell, Wire,
};

pub use self::core::{Effects, IoApic82093, PINS};
pub use state::IoApicStateV1;

/// Bytes that it occupies.
pub const SIZE: u64 = 0x1000;

/// The chip with its way to the local APICs.
pub struct IoApic {
    // Configuration.
    gsi_base: u32,
    // Wiring.
    msi: Arc<dyn MsiSink>,
    routes: Arc<dyn PinRoutes>,
    // Guest-visible state.
    chip: IoApic82093,
}

impl std::fmt::Debug for IoApic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IoApic")
            .field("chip", &self.chip)
            .finish_non_exhaustive()
    }
}

impl IoApic {
    /// A chip after reset; its pins are the global system interrupts from `gsi_base` on.
    #[must_use]
    pub fn new(gsi_base: u32, msi: Arc<dyn MsiSink>, routes: Arc<dyn PinRoutes>) -> Self {
        Self {
            gsi_base,
            msi,
            routes,
            chip: IoApic82093::default(),
        }
    }

    fn apply(&self, effects: Effects) {
        // The route first: the host must know the vector before the guest can end it.
        if let Some((pin, msi)) = effects.route {
            self.routes.set_route(self.gsi_base + u32::from(pin), msi);
        }
        if let Some(message) = effects.message {
            self.msi.send(message);
        }
    }
}

impl MmioDevice for IoApic {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        let value = self.chip.read(offset)?.to_le_bytes();
        data.copy_from_slice(value.get(..data.len()).ok_or(AccessError::Width)?);
        Ok(())
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        let value = u32::from_le_bytes(data.try_into().map_err(|_| AccessError::Width)?);
        self.chip
            .write(offset, value)?
            .into_iter()
            .for_each(|effects| self.apply(effects));
        Ok(())
    }
}

impl Component for IoApic {
    fn reset(&mut self) {
        // The levels are the devices', not the chip's.
        let levels = self.chip.levels;
        self.chip = IoApic82093 {
            levels,
            ..IoApic82093::default()
        };
        (0..)
            .zip(0..PINS)
            .for_each(|(pin, _)| self.routes.set_route(self.gsi_base + pin, None));
    }

    fn save(&self) -> SavedState {
        SavedState::encode(
            state::KIND,
            state::VERSION,
            &IoApicStateV1::from(&self.chip),
        )
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        self.chip = state
            .decode::<IoApicStateV1>(state::KIND, state::VERSION)?
            .try_into()?;
        self.chip
            .routes()
            .for_each(|(pin, msi)| self.routes.set_route(self.gsi_base + u32::from(pin), msi));
        Ok(())
    }
}

/// The chip on its bus, as a board wires it.
#[derive(Debug, Clone)]
pub struct IoApicOnBus(pub Arc<Shell<IoApic>>);

impl IoApicOnBus {
    /// A wire to one of its pins; a pin that the chip lacks leads nowhere.
    #[must_use]
    pub fn wire(&self, pin: u8) -> Arc<Wire> {
        Wire::new(Arc::new(Pin {
            chip: self.0.clone(),
            pin,
        }))
    }
}

impl EoiTarget for IoApicOnBus {
    fn end_of_interrupt(&self, vector: u8) {
        self.0.with(|apic| {
            let effects = apic.chip.end_of_interrupt(vector);
            effects.into_iter().for_each(|effects| apic.apply(effects));
        });
    }
}

struct Pin {
    chip: Arc<Shell<IoApic>>,
    pin: u8,
}

impl LineEnd for Pin {
    fn set_level(&self, level: bool) {
        self.chip.with(|apic| {
            let effects = apic.chip.set_level(self.pin, level);
            apic.apply(effects);
        });
    }

    fn restore_level(&self, level: bool) {
        self.chip
            .with(|apic| apic.chip.restore_level(self.pin, level));
    }
}
