//! VM generation ID: a number that is another whenever the machine is another, so that guests throw away
//! what must not exist twice (random seeds, identifiers, transactions).
//!
//! Source: Microsoft, Virtual Machine Generation ID, 2012.
//!
//! | offset in guest memory | read | write | reset |
//! |---|---|---|---|
//! | 0 to 15 | the ID, a GUID | RAM: lasts until the next start | the ID |
//!
//! It has no register: the ID stands in guest RAM that the memory map reserves, and firmware tables
//! (`ADDR` of a device compatible with `VM_Gen_Counter`) say where. It is written at each start, reset and
//! restore. Pause and reset keep it; who restores a machine makes the device with a new one, or with the old
//! one when the machine has only moved.
//!
//! **Not modelled**: the notification (`Notify`, 0x80) of a guest that runs on with another ID. It has no wire.
//!
//! **Relied on by**: Linux (vmgenid, from 5.18 on), which mixes it into its random seed.

mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use trivisor_buses::{Component, Dma, RestoreError, SavedState};

pub use self::core::GenerationId;

/// The ID with its way into guest RAM.
pub struct Vmgenid {
    // Configuration.
    address: u64,
    id: GenerationId,
    // Wiring.
    dma: Arc<dyn Dma>,
}

impl std::fmt::Debug for Vmgenid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vmgenid")
            .field("address", &self.address)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Vmgenid {
    /// A device that keeps `guid`, 16 random bytes, at `address`, a multiple of [`regs::ALIGNMENT`].
    #[must_use]
    pub fn new(address: u64, guid: [u8; regs::SIZE], dma: Arc<dyn Dma>) -> Self {
        Self {
            address,
            id: GenerationId(guid),
            dma,
        }
    }

    /// The machine is another from now on: call it before the start or restore that makes it so.
    pub fn renew(&mut self, guid: [u8; regs::SIZE]) {
        self.id = GenerationId(guid);
    }

    fn publish(&self) {
        // A board that puts it elsewhere than in RAM has a guest without an ID.
        let _outside = self.dma.write(self.address, &self.id.0);
    }
}

impl Component for Vmgenid {
    fn start(&mut self) {
        self.publish();
    }

    fn reset(&mut self) {
        self.publish();
    }

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &())
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        state.decode::<()>(state::KIND, state::VERSION)?;
        self.publish();
        Ok(())
    }
}
