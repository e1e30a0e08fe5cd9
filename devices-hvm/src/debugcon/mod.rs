//! Debug console of virtual machines: a port that takes bytes.
//!
//! Sources: Bochs, port 0xe9 hack; QEMU, isa-debugcon; SeaBIOS, docs/Debugging.md (port 0x402).
//!
//! | port | read | write | reset |
//! |---|---|---|---|
//! | 0x402 | 0xe9 | a byte goes out | - |
//!
//! What the other side does not take at once is lost, and counted: no vCPU waits for a reader.
//!
//! **Relied on by**: SeaBIOS 1.16.

mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use trivisor_buses::{AccessError, CharOutput, Component, PortDevice, RestoreError, SavedState};

pub use self::core::PRESENT;

/// Ports that it occupies.
pub const PORTS: u16 = 1;

/// The port with where it leads.
pub struct DebugConsole {
    // Wiring.
    output: Box<dyn CharOutput>,
    lost: u64,
}

impl std::fmt::Debug for DebugConsole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DebugConsole")
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl DebugConsole {
    /// A port whose bytes go to `output`.
    #[must_use]
    pub const fn new(output: Box<dyn CharOutput>) -> Self {
        Self { output, lost: 0 }
    }

    /// Bytes that the output did not take.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}

impl PortDevice for DebugConsole {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        let (regs::DATA, [byte]) = (offset, data) else {
            return Err(AccessError::NoRegister);
        };
        *byte = PRESENT;
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        if offset != regs::DATA {
            return Err(AccessError::NoRegister);
        }
        let taken = self.output.write(data);
        let left = data.len().saturating_sub(taken);
        self.lost = self
            .lost
            .saturating_add(u64::try_from(left).unwrap_or(u64::MAX));
        Ok(())
    }
}

/// It has no state.
impl Component for DebugConsole {
    fn reset(&mut self) {}

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &())
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        state.decode(state::KIND, state::VERSION)
    }
}
