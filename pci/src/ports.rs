//! Configuration access by ports 0xcf8 and 0xcfc (PCI 3.0, 3.2.2.3.2).
//!
//! | offset | register | access | reset |
//! |---|---|---|---|
//! | 0 | CONFIG_ADDRESS | read, write; 4 bytes only | 0 |
//! | 4 to 7 | CONFIG_DATA: the register selected, while CONFIG_ADDRESS is enabled | read, write | - |
//!
//! The bridge passes other accesses at offsets 0 to 3 on to the bus: to the device of
//! [`with_passed`](ConfigPorts::with_passed), where there is one; else they are refused.
//!
//! **Not modelled**: buses other than 0 are empty.

use std::sync::Arc;

use bitfield_struct::bitfield;
use serde::{Deserialize, Serialize};
use trivisor_buses::access::Unfit;
use trivisor_buses::{AccessError, Component, PortDevice, RestoreError, SavedState, Widths};

use crate::address::DeviceFunction;
use crate::bus::Core;

/// Ports that it occupies, from 0xcf8 on by custom.
pub const PORTS: u16 = 8;

/// The widths that it takes.
pub const WIDTHS: Widths = Widths::new(&[1, 2, 4], Unfit::Reject);

const KIND: &str = "pci-config-ports";
const VERSION: u16 = 1;

/// CONFIG_ADDRESS.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ConfigAddress {
    #[bits(2)]
    __: u8,
    /// Double word of configuration space.
    #[bits(6)]
    pub double_word: u8,
    /// Device number in 7:3, function number in 2:0.
    pub device_function: u8,
    /// Bus number.
    pub bus: u8,
    #[bits(7)]
    __: u8,
    /// Accesses to CONFIG_DATA are configuration accesses.
    pub enable: bool,
}

/// Bits that exist; the others read 0.
const EXISTING: u32 = 0x80ff_fffc;

/// Version 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigPortsStateV1 {
    /// CONFIG_ADDRESS.
    pub address: u32,
}

/// The two registers. Its shell's lock is held while a function is accessed, and no function knows it.
pub struct ConfigPorts {
    bus: Arc<Core>,
    /// Who else answers at offsets 0 to 3.
    passed: Option<Box<dyn PortDevice>>,
    address: ConfigAddress,
}

impl std::fmt::Debug for ConfigPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConfigPorts")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl ConfigPorts {
    pub(crate) fn new(bus: Arc<Core>) -> Self {
        Self {
            bus,
            passed: None,
            address: ConfigAddress::new(),
        }
    }

    /// Accesses at offsets 0 to 3 that are none to CONFIG_ADDRESS go to `device`, as a chipset's reset control at
    /// port 0xcf9 gets them. It has its life elsewhere: reset, save and restore here do not reach it.
    #[must_use]
    pub fn with_passed(mut self, device: Box<dyn PortDevice>) -> Self {
        self.passed = Some(device);
        self
    }

    /// The register that an access to CONFIG_DATA reaches; `None`: it is no configuration access.
    fn target(
        &self,
        offset: u16,
        len: usize,
    ) -> Result<Option<(DeviceFunction, u16)>, AccessError> {
        let byte = offset.checked_sub(4).ok_or(AccessError::Width)?;
        if usize::from(byte) + len > 4 {
            return Err(AccessError::NoRegister);
        }
        if !self.address.enable() {
            return Err(AccessError::Value);
        }
        let at = DeviceFunction::from_bits(self.address.device_function());
        let register = u16::from(self.address.double_word()) * 4 + byte;
        Ok((self.address.bus() == 0).then_some((at, register)))
    }
}

impl PortDevice for ConfigPorts {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        if let (0, Ok(data)) = (offset, <&mut [u8; 4]>::try_from(&mut *data)) {
            *data = self.address.into_bits().to_le_bytes();
            return Ok(());
        }
        if let (0..4, Some(passed)) = (offset, &mut self.passed) {
            return passed.read(offset, data);
        }
        match self.target(offset, data.len())? {
            Some((at, register)) => self.bus.config_read(at, register, data),
            None => data.fill(0xff),
        }
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        if let (0, Ok(data)) = (offset, data.try_into()) {
            self.address = ConfigAddress::from_bits(u32::from_le_bytes(data) & EXISTING);
            return Ok(());
        }
        if let (0..4, Some(passed)) = (offset, &mut self.passed) {
            return passed.write(offset, data);
        }
        if let Some((at, register)) = self.target(offset, data.len())? {
            self.bus.config_write(at, register, data);
        }
        Ok(())
    }
}

impl Component for ConfigPorts {
    fn reset(&mut self) {
        self.address = ConfigAddress::new();
    }

    fn save(&self) -> SavedState {
        let address = self.address.into_bits();
        SavedState::encode(KIND, VERSION, &ConfigPortsStateV1 { address })
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let ConfigPortsStateV1 { address } = state.decode(KIND, VERSION)?;
        RestoreError::check(KIND, "address", address.into(), address & !EXISTING == 0)?;
        self.address = ConfigAddress::from_bits(address);
        Ok(())
    }
}
