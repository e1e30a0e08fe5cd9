//! The VGA as a card for the hvm board.

use std::sync::Arc;

use trivisor_buses::{FitError, Slots};
use trivisor_memory::FileMapping;
use trivisor_pci::RootBus;

use crate::board::Card;

/// A VGA that waits for the board, with its display memory.
#[derive(Debug)]
pub struct VgaCard(pub Arc<FileMapping>);

impl Card for VgaCard {
    fn name(&self) -> &'static str {
        "vga"
    }

    fn insert(self: Box<Self>, slots: &mut Slots, bus: &RootBus) -> Result<(), FitError> {
        super::fit(slots, bus, self.0).map(drop)
    }
}
