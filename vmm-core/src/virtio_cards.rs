//! Virtio devices in the PCI slots of a PC.

use trivisor_buses::{FitError, Slots};
use trivisor_devices_hvm::board::Card;
use trivisor_devices_pv::board::{Plug, Socket};
use trivisor_pci::RootBus;

use crate::config::VirtioConfig;

struct VirtioCard {
    plug: Box<dyn Plug>,
    packed: bool,
}

impl Card for VirtioCard {
    fn name(&self) -> &'static str {
        self.plug.name()
    }

    fn insert(self: Box<Self>, slots: &mut Slots, bus: &RootBus) -> Result<(), FitError> {
        self.plug.plug(&mut Socket::on_pci(slots, bus, self.packed))
    }
}

/// Each device as a card; how they are connected elsewhere does not matter here.
pub(crate) fn cards(config: VirtioConfig) -> impl Iterator<Item = Box<dyn Card>> {
    let packed = config.packed;
    let card = move |plug| -> Box<dyn Card> { Box::new(VirtioCard { plug, packed }) };
    config.devices.into_iter().map(card)
}
