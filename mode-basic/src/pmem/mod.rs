//! Flush hints of persistent memory: a guest's write makes all that was written before durable.
//!
//! Source: ACPI 6.5, 5.2.25.8 (flush hint address structure of the NFIT).
//!
//! | offset | read | write | reset |
//! |---|---|---|---|
//! | 0x000 to 0xfff | 0 | any value of any width: a flush, which has ended when the write has | - |
//!
//! The specification gives reads no meaning; they flush nothing. The memory itself is no device: the guest
//! reads and writes the file's pages, mapped.
//!
//! The write waits for the host's storage: a guest that asks for durability waits for it on any machine, and
//! to go on before would be a lie. It holds up the vCPU that flushes, and others that flush the same memory.
//!
//! A flush that fails cannot be told to the guest, for a flush hint has no answer: it is counted
//! ([`FlushCounts::failed`]), and once it is not 0 the VMM has to treat the memory as damaged. A later flush
//! that succeeds does not bring back what an earlier one has lost.
//!
//! **Not modelled**: hints for parts of the memory; every flush is of the whole.
//!
//! **Relied on by**: Linux (libnvdimm).

mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use trivisor_buses::{AccessError, Component, MmioDevice, RestoreError, SavedState, Widths};
use trivisor_memory::FileMapping;

pub use self::core::FlushCounts;
pub use regs::SIZE;

/// The widths that it takes.
pub const WIDTHS: Widths = Widths::ANY;

/// The flush hints of one range of persistent memory.
pub struct PmemFlush {
    // Wiring.
    flush: Box<dyn Fn() -> io::Result<()> + Send>,
    // Not guest-visible.
    counts: FlushCounts,
}

impl std::fmt::Debug for PmemFlush {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PmemFlush")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl PmemFlush {
    /// The flush hints of `mapping`.
    #[must_use]
    pub fn new(mapping: Arc<FileMapping>) -> Self {
        Self::with_flush(move || mapping.flush())
    }

    /// Flush hints for memory of another kind: `flush` returns when all that was written is durable.
    #[must_use]
    pub fn with_flush(flush: impl Fn() -> io::Result<()> + Send + 'static) -> Self {
        Self {
            flush: Box::new(flush),
            counts: FlushCounts::default(),
        }
    }

    /// What became of the flushes so far.
    #[must_use]
    pub const fn counts(&self) -> FlushCounts {
        self.counts
    }
}

impl MmioDevice for PmemFlush {
    fn read(&mut self, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        if offset >= SIZE {
            return Err(AccessError::NoRegister);
        }
        data.fill(0);
        Ok(())
    }

    fn write(&mut self, offset: u64, _data: &[u8]) -> Result<(), AccessError> {
        if offset >= SIZE {
            return Err(AccessError::NoRegister);
        }
        self.counts.note(&(self.flush)());
        Ok(())
    }
}

impl Component for PmemFlush {
    fn reset(&mut self) {}

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &())
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        state.decode(state::KIND, state::VERSION)
    }
}
