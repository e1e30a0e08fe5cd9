//! Debug exit: a guest that is a test ends its run with a value.
//!
//! Source: QEMU, hw/misc/debugexit.c (isa-debug-exit). The process ends with status (value << 1) | 1.
//!
//! | offset | read | write | reset |
//! |---|---|---|---|
//! | 0 | 0 | ends the run; 1, 2 or 4 bytes | - |
//!
//! **Relied on by**: test kernels; it is on the board only when asked for.

mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use trivisor_buses::{
    AccessError, Component, EventSink, MachineEvent, PortDevice, RestoreError, SavedState, Unfit,
    Widths,
};

pub use self::core::exit_value;

/// Ports that it occupies.
pub const PORTS: u16 = regs::WIDTH;

/// The widths that it takes.
pub const WIDTHS: Widths = Widths::new(&[1, 2, 4], Unfit::Reject);

/// The device with its way out.
pub struct DebugExit {
    // Wiring.
    events: Arc<dyn EventSink>,
}

impl std::fmt::Debug for DebugExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DebugExit").finish_non_exhaustive()
    }
}

impl DebugExit {
    /// A device that tells `events`.
    #[must_use]
    pub fn new(events: Arc<dyn EventSink>) -> Self {
        Self { events }
    }
}

impl PortDevice for DebugExit {
    fn read(&mut self, _offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        data.fill(0);
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        if offset != 0 {
            return Err(AccessError::NoRegister);
        }
        let value = exit_value(data).ok_or(AccessError::Width)?;
        self.events.event(MachineEvent::DebugExit { value });
        Ok(())
    }
}

impl Component for DebugExit {
    fn reset(&mut self) {}

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &())
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        state.decode(state::KIND, state::VERSION)
    }
}
