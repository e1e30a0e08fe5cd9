//! DMA of a PC: two 8237A controllers, one behind the other, and the page registers in front of their addresses.
//!
//! Sources: Intel, 8237A High Performance Programmable DMA Controller, order number 231466; Intel, 82371FB (PIIX) and
//! 82371SB (PIIX3) PCI ISA IDE Xcelerator, order number 290550, 2.5.1.
//!
//! | port | second controller | read | write | reset |
//! |---|---|---|---|---|
//! | 0x00, 0x02, 0x04, 0x06 | 0xc0, 0xc4, 0xc8, 0xcc | current address, in two accesses | base and current address | 0x0000 |
//! | 0x01, 0x03, 0x05, 0x07 | 0xc2, 0xc6, 0xca, 0xce | current count | base and current count | 0x0000 |
//! | 0x08 | 0xd0 | status: requests; terminal counts, which it clears | command: bit 2 disables | 0x00 |
//! | 0x09 | 0xd2 | - | request | 0x0 |
//! | 0x0a | 0xd4 | - | mask of one channel | - |
//! | 0x0b | 0xd6 | - | mode of one channel | 0x00 |
//! | 0x0c | 0xd8 | - | the next access is to a lower byte | - |
//! | 0x0d | 0xda | temporary: 0 | master clear | - |
//! | 0x0e | 0xdc | - | all masks cleared | - |
//! | 0x0f | 0xde | mask | all masks | 0xf |
//!
//! | port | page register |
//! |---|---|
//! | 0x87, 0x83, 0x81, 0x82 | channels 0 to 3: address bits 23:16 |
//! | 0x8b, 0x89, 0x8a | channels 5 to 7: address bits 23:17 |
//! | 0x8f, 0x80, 0x84 to 0x86, 0x88, 0x8c to 0x8e | kept, without effect; firmware writes its progress to 0x80 |
//!
//! A chip has its [`Channel`]: it raises DREQ and offers data, of which the channel takes as much as its count says. A
//! channel that is masked or disabled takes nothing until a write to a port opens it; then [`DmaPorts`] wakes the chip.
//! Channels 0 to 3 need channel 4 open and in cascade mode. The address wraps within its 64 KiB, or 128 KiB on channels 5
//! to 7. Where there is no RAM, nothing takes what is written, and ones are read.
//!
//! **Not modelled**: timing and priorities; memory to memory, which a PC has no use for; transfers by request alone
//! (the request shows in the status until a terminal count); the mirrors from 0x10 and 0x90 on, where ones are read.
//!
//! **Differs from QEMU's** `i8257`, where the documents are on our side:
//! - At terminal count a channel without autoinitialization is masked ("Mask Register"), its count reads 0xffff
//!   ("Current Word Register"); QEMU does neither.
//! - A byte goes to the base and to the current register ("Base Address and Base Word Count Registers"); QEMU's current
//!   register follows the base with the upper one.
//! - The status shows requests of chips in bits 7:4 ("Status Register"); a read of it clears bits 3:0 alone.
//! - Channels 0 to 3 go through channel 4 (290550, 2.5.1: "cascade mode"); QEMU's need it not.
//! - Where a register is write only, ones are read; QEMU reads zeros.
//! - A mode of the other direction, or the illegal one, moves nothing.
//!
//! **Relied on by**: SeaBIOS 1.16 (`dma_setup`, `dma_floppy`), by way of it syslinux, started from a floppy disk.

mod core;
mod ports;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use trivisor_buses::{Component, Dma, DmaChannel, DmaMoved, RestoreError, SavedState, Shell};

use self::core::{Data, Pair};
pub use self::ports::{DmaPorts, FIRST_PORTS, PAGE_PORTS, Part, Requesters, SECOND_PORTS};
pub use self::state::I8237StateV1;

/// The controllers, which have their ports by way of [`DmaPorts`].
pub struct I8237 {
    // Configuration.
    cascaded: bool,
    // Wiring.
    dma: Arc<dyn Dma>,
    // Guest-visible state.
    pair: Pair,
}

impl std::fmt::Debug for I8237 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("I8237")
            .field("pair", &self.pair)
            .finish_non_exhaustive()
    }
}

impl I8237 {
    /// Controllers after reset.
    #[must_use]
    pub fn new(dma: Arc<dyn Dma>) -> Self {
        Self {
            cascaded: false,
            dma,
            pair: Pair::default(),
        }
    }

    /// Opens channel 4 for the first controller, now and after each reset: what firmware would have done.
    pub fn enable_cascade(&mut self) {
        self.cascaded = true;
        self.pair.cascade();
    }
}

impl Component for I8237 {
    fn reset(&mut self) {
        // DREQ is the chips', which are reset as well.
        self.pair = Pair::default();
        if self.cascaded {
            self.pair.cascade();
        }
    }

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &I8237StateV1::from(&self.pair))
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        self.pair = state
            .decode::<I8237StateV1>(state::KIND, state::VERSION)?
            .try_into()?;
        Ok(())
    }
}

/// A channel of controllers that stand on a board, for the chip on it.
#[derive(Debug)]
pub struct Channel {
    chip: Arc<Shell<I8237>>,
    number: usize,
}

impl Channel {
    /// Channel `number`, 0 to 3 or 5 to 7; another one never moves anything.
    #[must_use]
    pub const fn new(chip: Arc<Shell<I8237>>, number: usize) -> Self {
        Self { chip, number }
    }

    fn transfer(&self, data: Data<'_>) -> DmaMoved {
        self.chip.with(|chip| {
            let dma = Arc::clone(&chip.dma);
            chip.pair.transfer(self.number, data, &*dma)
        })
    }
}

impl DmaChannel for Channel {
    fn request(&mut self, level: bool) {
        self.chip.with(|chip| {
            let (controller, number) = chip.pair.place(self.number);
            let bit = 1 << (number & 3);
            controller.dreq = if level {
                controller.dreq | bit
            } else {
                controller.dreq & !bit
            };
        });
    }

    fn write_memory(&mut self, data: &[u8]) -> DmaMoved {
        self.transfer(Data::ToMemory(data))
    }

    fn read_memory(&mut self, data: &mut [u8]) -> DmaMoved {
        self.transfer(Data::FromMemory(data))
    }
}
