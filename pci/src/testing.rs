//! A function that shows what reached it: every kind of base address register, MSI, MSI-X, an interrupt pin, and a
//! capability of its own.
//!
//! | register | offset | access | |
//! |---|---|---|---|
//! | 0, 16 ports | 0 | write | signals this vector |
//! | | 4 | write | bit 0: wants an interrupt |
//! | 1, 4 KiB of memory | 0 to 0x3f | read, write | 64 bytes that it keeps |
//! | | 0x100, 0x104 | write | as the ports at 0 and 4 |
//! | | 0x800, 0xc00 | | MSI-X table of 3 vectors, pending bits |
//! | 2, 16 KiB of memory, 64 bits, prefetchable | | | the same, without table |
//!
//! Its vendor capability has an offset at 4 and, at 8, the four of the 64 bytes that stand at it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trivisor_buses::{AccessError, Component, MsiSink, RestoreError, SavedState};

use crate::bars::Bar;
use crate::config::{ConfigError, ConfigSpace, Identity};
use crate::endpoint::Endpoint;
use crate::function::PciFunction;
use crate::regs::{Class, capability};
use crate::state::EndpointStateV1;
use crate::{InterruptPin, MsiLayout, MsixLayout};

const KIND: &str = "pci-probe";
const VERSION: u16 = 1;

/// What it is.
pub const IDENTITY: Identity = Identity {
    vendor: 0x1af4,
    device: 0x10f0,
    revision: 0x12,
    class: Class {
        base: 0xff,
        sub: 0x34,
        interface: 0x56,
    },
    subsystem_vendor: 0x789a,
    subsystem: 0xbcde,
};

/// Its MSI.
pub const MSI: MsiLayout = MsiLayout {
    vectors: 4,
    wide: true,
    maskable: true,
};

/// Its MSI-X.
pub const MSIX: MsixLayout = MsixLayout {
    vectors: 3,
    bar: 1,
    table: 0x800,
    pending: 0xc00,
};

/// The function.
#[derive(Debug)]
pub struct Probe {
    /// Its PCI side.
    pub endpoint: Endpoint,
    /// The bytes that it keeps.
    pub bytes: [u8; 64],
    /// Where its registers answered, the latest last.
    pub moves: Vec<(u8, Option<u64>)>,
    vendor: u8,
}

#[derive(Serialize, Deserialize)]
struct ProbeStateV1 {
    endpoint: EndpointStateV1,
    bytes: Vec<u8>,
}

impl Probe {
    /// A probe with pin A, MSI and MSI-X.
    ///
    /// # Errors
    /// Never: all of it fits.
    pub fn new(sink: Arc<dyn MsiSink>) -> Result<Self, ConfigError> {
        let mut probe = Self::with_pin(InterruptPin::A)?;
        probe.endpoint = probe
            .endpoint
            .with_msi(MSI, Arc::clone(&sink))?
            .with_msix(MSIX, sink)?;
        Ok(probe)
    }

    /// A probe without MSI and MSI-X.
    ///
    /// # Errors
    /// Never: all of it fits.
    pub fn with_pin(pin: InterruptPin) -> Result<Self, ConfigError> {
        let mut config = ConfigSpace::new(IDENTITY).with_interrupt_pin(pin);
        config.add_bar(0, Bar::io(16))?;
        config.add_bar(1, Bar::memory32(0x1000))?;
        config.add_bar(2, Bar::memory64(0x4000).prefetchable())?;
        let vendor = config.add_capability(
            capability::VENDOR,
            &[12],
            &[0, 0, 0x3c, 0, 0, 0, 0, 0, 0, 0],
        )?;
        Ok(Self {
            endpoint: Endpoint::new(config),
            bytes: [0; 64],
            moves: Vec::new(),
            vendor,
        })
    }

    /// The bytes that a read or write of configuration space means, where it means the data of the capability.
    fn data_of_capability(&mut self, offset: u16, len: usize) -> Option<&mut [u8]> {
        let skipped = usize::from(offset.checked_sub(u16::from(self.vendor) + 8)?);
        let [at] = self.endpoint.config().get(self.vendor + 4);
        let data = self.bytes.get_mut(at.into()..)?.get_mut(..4)?;
        data.get_mut(skipped..)?.get_mut(..len)
    }

    fn kept(&mut self, offset: u64, len: usize) -> Result<&mut [u8], AccessError> {
        let offset = usize::try_from(offset).map_err(|_| AccessError::NoRegister)?;
        let part = self.bytes.get_mut(offset..);
        let part = part.and_then(|part| part.get_mut(..len));
        part.ok_or(AccessError::NoRegister)
    }
}

impl PciFunction for Probe {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn endpoint_mut(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    fn bar_read(&mut self, bar: u8, offset: u64, data: &mut [u8]) -> Result<(), AccessError> {
        if bar == 0 {
            return Err(AccessError::WriteOnly);
        }
        data.copy_from_slice(self.kept(offset, data.len())?);
        Ok(())
    }

    fn bar_write(&mut self, bar: u8, offset: u64, data: &[u8]) -> Result<(), AccessError> {
        let low = data.first().copied().unwrap_or(0);
        match (bar, offset) {
            (0, 0) | (1.., 0x100) => self.endpoint.signal(low.into()),
            (0, 4) | (1.., 0x104) => self.endpoint.set_interrupt(low & 1 != 0),
            (0, _) => return Err(AccessError::NoRegister),
            _ => self.kept(offset, data.len())?.copy_from_slice(data),
        }
        Ok(())
    }

    fn config_read(&mut self, offset: u16, data: &mut [u8]) {
        match self.data_of_capability(offset, data.len()) {
            Some(bytes) => data.copy_from_slice(bytes),
            None => self.endpoint.read_config(offset, data),
        }
    }

    fn config_write(&mut self, offset: u16, data: &[u8]) {
        match self.data_of_capability(offset, data.len()) {
            Some(bytes) => bytes.copy_from_slice(data),
            None => self.endpoint.write_config(offset, data),
        }
    }

    fn window_moved(&mut self, bar: u8, base: Option<u64>) {
        self.moves.push((bar, base));
    }
}

impl Component for Probe {
    fn reset(&mut self) {
        self.endpoint.reset();
        self.bytes = [0; 64];
    }

    fn save(&self) -> SavedState {
        let state = ProbeStateV1 {
            endpoint: self.endpoint.save(),
            bytes: self.bytes.to_vec(),
        };
        SavedState::encode(KIND, VERSION, &state)
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let ProbeStateV1 { endpoint, bytes } = state.decode(KIND, VERSION)?;
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let bytes = bytes.try_into().map_err(|_| RestoreError::Field {
            kind: KIND,
            field: "length of bytes",
            value: len,
        })?;
        self.endpoint.restore(KIND, &endpoint)?;
        self.bytes = bytes;
        Ok(())
    }
}
