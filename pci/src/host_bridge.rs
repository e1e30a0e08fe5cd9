//! The host bridge of a machine that has no chipset: an identity in configuration space, and nothing else.
//!
//! Source: PCI 3.0, appendix D (class 0x060000).
//!
//! Guests expect function 0 of device 0 to be the host bridge. Its identifiers, 8086:0d57, are those that Cloud
//! Hypervisor and Firecracker give theirs: unlike those of the 82441FX (8086:1237), no guest takes them for a chipset
//! with errata to work around and memory attributes to program.
//!
//! **Relied on by**: Linux, the bare-metal guest.

use trivisor_buses::{Component, RestoreError, SavedState};

use crate::config::{ConfigSpace, Identity};
use crate::endpoint::Endpoint;
use crate::function::PciFunction;
use crate::regs::Class;
use crate::state::EndpointStateV1;

const KIND: &str = "pci-host-bridge";
const VERSION: u16 = 1;

const IDENTITY: Identity = Identity {
    vendor: 0x8086,
    device: 0x0d57,
    revision: 0,
    class: Class {
        base: 0x06,
        sub: 0x00,
        interface: 0x00,
    },
    subsystem_vendor: 0,
    subsystem: 0,
};

/// The bridge.
#[derive(Debug)]
pub struct HostBridge {
    endpoint: Endpoint,
}

impl HostBridge {
    /// A bridge after reset.
    #[must_use]
    pub fn new() -> Self {
        Self {
            endpoint: Endpoint::new(ConfigSpace::new(IDENTITY)),
        }
    }
}

impl Default for HostBridge {
    fn default() -> Self {
        Self::new()
    }
}

impl PciFunction for HostBridge {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }
}

impl Component for HostBridge {
    fn reset(&mut self) {
        self.endpoint.reset();
    }

    fn save(&self) -> SavedState {
        SavedState::encode(KIND, VERSION, &self.endpoint.save())
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let state: EndpointStateV1 = state.decode(KIND, VERSION)?;
        self.endpoint.restore(KIND, &state)
    }
}
