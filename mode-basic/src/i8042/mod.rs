//! Keyboard controller, 8042: its reset line alone.
//!
//! Source: IBM, Personal System/2 Hardware Interface Technical Reference, Keyboard and Auxiliary Device
//! Controller (commands 0xf0 to 0xff, status register).
//!
//! | port | read | write | reset |
//! |---|---|---|---|
//! | 0x60 | 0 | taken, no effect | - |
//! | 0x64 | status: nothing waits, self-test passed | command; 0xf0 to 0xfe with bit 0 clear reset the machine | 0x14 |
//!
//! **Not modelled**: keyboard, mouse, every command but "pulse output"; firmware tables say that no
//! keyboard controller is there, so drivers do not probe for one.
//!
//! **Relied on by**: Linux with `reboot=k`, the bare-metal guest.

mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use trivisor_buses::{
    AccessError, Component, EventSink, MachineEvent, PortDevice, RestoreError, SavedState,
};

pub use self::core::I8042;
pub use state::I8042StateV1;

/// Ports from the first to the last that it occupies; those between belong to others.
pub const PORTS: u16 = 5;

/// The chip with its reset line.
pub struct ResetController {
    // Wiring.
    events: Arc<dyn EventSink>,
    // Guest-visible state.
    chip: I8042,
}

impl std::fmt::Debug for ResetController {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResetController")
            .field("chip", &self.chip)
            .finish_non_exhaustive()
    }
}

impl ResetController {
    /// A chip after reset.
    #[must_use]
    pub fn new(events: Arc<dyn EventSink>) -> Self {
        Self {
            events,
            chip: I8042::default(),
        }
    }
}

impl PortDevice for ResetController {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        *byte = self.chip.read(offset)?;
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        if self.chip.write(offset, *byte)? {
            self.events.event(MachineEvent::Reset);
        }
        Ok(())
    }
}

impl Component for ResetController {
    fn reset(&mut self) {
        self.chip = I8042::default();
    }

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &I8042StateV1::from(&self.chip))
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        self.chip = state
            .decode::<I8042StateV1>(state::KIND, state::VERSION)?
            .into();
        Ok(())
    }
}
