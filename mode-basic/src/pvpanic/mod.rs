//! pvpanic: a guest that has crashed says so.
//!
//! Source: QEMU, docs/specs/pvpanic.rst.
//!
//! | offset | read | write | reset |
//! |---|---|---|---|
//! | 0 | 0x01: "panicked" is supported | bit 0: the guest has panicked | - |
//!
//! **Not modelled**: "crash loaded"; a guest with a crash kernel of its own is left alone.
//!
//! **Relied on by**: Linux (pvpanic-mmio, found by ACPI as QEMU0001), the bare-metal guest.

mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use trivisor_buses::{
    AccessError, Component, EventSink, MachineEvent, PortDevice, RestoreError, SavedState,
};

pub use self::core::PvPanic;

/// Ports that it occupies.
pub const PORTS: u16 = 1;

/// The device with its way out.
pub struct PvPanicPort {
    // Wiring.
    events: Arc<dyn EventSink>,
    // Guest-visible state.
    device: PvPanic,
}

impl std::fmt::Debug for PvPanicPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PvPanicPort")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl PvPanicPort {
    /// A device that tells `events`.
    #[must_use]
    pub fn new(events: Arc<dyn EventSink>) -> Self {
        Self {
            events,
            device: PvPanic,
        }
    }
}

impl PortDevice for PvPanicPort {
    fn read(&mut self, _offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        data.fill(self.device.read());
        Ok(())
    }

    fn write(&mut self, _offset: u16, data: &[u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        let events = self.device.write(*byte).ok_or(AccessError::Value)?;
        self.events.event(MachineEvent::Panicked { events });
        Ok(())
    }
}

impl Component for PvPanicPort {
    fn reset(&mut self) {}

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &())
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        state.decode(state::KIND, state::VERSION)
    }
}
