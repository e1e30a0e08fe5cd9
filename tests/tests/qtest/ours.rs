//! Our chips on buses of their own, without KVM.

use std::sync::Arc;

use trivisor_buses::routing::{Memory, Ports, View};
use trivisor_buses::testing::TestHost;
use trivisor_buses::{Fitted, Responder, ShadowRun, Shell, Slots};
use trivisor_pci::{RootBus, ports};

use crate::script::Machine;

/// Slots for chips, and PCI's configuration ports.
pub(crate) struct Ours {
    pub(crate) host: Arc<TestHost>,
    ports: View<Ports>,
    memory: View<Memory>,
    fitted: Fitted,
    /// What a host bridge has switched.
    shadow: Vec<ShadowRun>,
    _pci: RootBus,
}

impl Ours {
    /// With the chips that `fit` puts there.
    pub(crate) fn new(fit: impl FnOnce(&Arc<TestHost>, &mut Slots, &RootBus)) -> Self {
        let host = TestHost::new();
        let mut slots = Slots::new(host.as_host());
        let pci = RootBus::new(slots.ports(), slots.memory(), None);
        let config = Shell::new("pci-config", ports::WIDTHS, pci.config_ports());
        let size = ports::PORTS.into();
        slots
            .ports()
            .attach("pci-config", 0xcf8, size, config)
            .unwrap();
        fit(&host, &mut slots, &pci);
        Self {
            host,
            ports: slots.ports().view(),
            memory: slots.memory().view(),
            fitted: slots.finish(),
            shadow: Vec::new(),
            _pci: pci,
        }
    }
}

impl Ours {
    /// A device stands there, if need be in front of the RAM.
    fn is_device(&self, address: u64) -> bool {
        let routes = self.fitted.mmio.list();
        let mut routes = routes.iter();
        routes.any(|(first, last, _)| (*first..=*last).contains(&address))
    }

    /// Who answers reads and takes writes where a host bridge decides that.
    fn switched(&mut self, address: u64) -> Option<(Responder, Responder)> {
        if let Some(runs) = self.host.shadows.take().pop() {
            self.shadow = runs;
        }
        let mut runs = self.shadow.iter();
        let run = runs.find(|run| (run.start..run.start + run.size).contains(&address))?;
        Some((run.read, run.write))
    }
}

impl Machine for Ours {
    fn port_read(&mut self, port: u16, width: usize) -> u32 {
        let mut data = [0; 4];
        self.ports.read(port.into(), &mut data[..width]);
        u32::from_le_bytes(data)
    }

    fn port_write(&mut self, port: u16, width: usize, value: u32) {
        self.ports.write(port.into(), &value.to_le_bytes()[..width]);
    }

    fn port_read_string(&mut self, port: u16, width: usize, count: usize) -> Vec<u8> {
        let mut data = vec![0; width * count];
        self.ports.read_string(port, width, &mut data);
        data
    }

    fn load(&mut self, address: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        let ram = match self.switched(address) {
            Some((read, _)) => read == Responder::Ram,
            None => !self.is_device(address),
        };
        if !(ram && self.host.memory.ram().read(address, &mut data)) {
            self.memory.read(address, &mut data);
        }
        data
    }

    fn store(&mut self, address: u64, data: &[u8]) {
        let ram = match self.switched(address) {
            // As memory slots can: a slot that takes writes gives reads, too.
            Some((read, write)) => (read, write) == (Responder::Ram, Responder::Ram),
            None => !self.is_device(address),
        };
        if !(ram && self.host.memory.ram().write(address, data)) {
            self.memory.write(address, data);
        }
    }

    fn breathe(&mut self) {}

    fn reset(&mut self) {
        for (_, chip) in self.fitted.components.iter().rev() {
            chip.reset();
        }
    }
}
