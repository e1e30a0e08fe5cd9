//! Virtio devices in the PCI slots of a PC.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use trivisor_buses::{FitError, Slots};
use trivisor_devices_hvm::board::Card;
use trivisor_devices_pv::board::{Plug, Socket};
use trivisor_pci::RootBus;

use crate::config::VirtioConfig;

struct VirtioCard {
    plug: Box<dyn Plug>,
    packed: bool,
    /// Where the memory that cards bring may go: behind that of those before.
    free: Arc<AtomicU64>,
}

impl Card for VirtioCard {
    fn name(&self) -> &'static str {
        self.plug.name()
    }

    fn insert(self: Box<Self>, slots: &mut Slots, bus: &RootBus) -> Result<(), FitError> {
        // The board inserts them one after the other.
        let mut free = self.free.load(Ordering::Relaxed);
        let plugged = self
            .plug
            .plug(&mut Socket::on_pci(slots, bus, self.packed, &mut free));
        self.free.store(free, Ordering::Relaxed);
        plugged
    }
}

/// Each device as a card, for a machine whose RAM ends at `ram_end`; how they are connected elsewhere does not matter here.
pub(crate) fn cards(config: VirtioConfig, ram_end: u64) -> impl Iterator<Item = Box<dyn Card>> {
    let packed = config.packed;
    let free = Arc::new(AtomicU64::new(ram_end));
    let card = move |plug| -> Box<dyn Card> {
        let free = Arc::clone(&free);
        Box::new(VirtioCard { plug, packed, free })
    };
    config.devices.into_iter().map(card)
}
