//! MSI (PCI 3.0, 6.8.1): messages whose registers all stand in configuration space.
//!
//! | offset in the capability | register | access |
//! |---|---|---|
//! | 2 | message control | enable, vectors allocated: read, write |
//! | 4 | message address | read, write |
//! | 8 | upper half of the address, where it is 64 bits wide; all below then stands 4 bytes on | read, write |
//! | 8 | message data, 16 bits | read, write |
//! | 12 | mask bits, a bit a vector, where they exist | read, write |
//! | 16 | pending bits | read |

use std::sync::Arc;

use bitfield_struct::bitfield;
use trivisor_buses::{Msi as Message, MsiSink};

use crate::config::{ConfigError, ConfigSpace};
use crate::regs::capability;

/// Message control of MSI.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Control {
    /// Messages are sent, and the interrupt pin is not used.
    pub enable: bool,
    /// Read only: log2 of the vectors that the function wants.
    #[bits(3)]
    pub vectors_capable: u8,
    /// Log2 of the vectors that it was given.
    #[bits(3)]
    pub vectors_allocated: u8,
    /// Read only: the address is 64 bits wide.
    pub wide: bool,
    /// Read only: there are mask and pending bits.
    pub maskable: bool,
    #[bits(7)]
    __: u8,
}

/// What a function offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsiLayout {
    /// Vectors: 1, 2, 4, 8, 16 or 32.
    pub vectors: u16,
    /// The address is 64 bits wide.
    pub wide: bool,
    /// There are mask and pending bits.
    pub maskable: bool,
}

/// The capability of a function.
pub(crate) struct Msi {
    sink: Arc<dyn MsiSink>,
    layout: MsiLayout,
    control: u8,
    address: u8,
    data: u8,
    mask: u8,
    pending: u8,
}

impl Msi {
    /// Adds the capability.
    pub(crate) fn add(
        config: &mut ConfigSpace,
        layout: MsiLayout,
        sink: Arc<dyn MsiSink>,
    ) -> Result<Self, ConfigError> {
        let MsiLayout {
            vectors,
            wide,
            maskable,
        } = layout;
        let wrong = ConfigError::Vectors {
            id: capability::MSI,
            vectors,
        };
        if !vectors.is_power_of_two() || vectors > 32 {
            return Err(wrong);
        }
        let capable = u8::try_from(vectors.ilog2()).map_err(|_| wrong)?;
        let control = Control::new()
            .with_vectors_capable(capable)
            .with_wide(wide)
            .with_maskable(maskable);
        let writable = Control::new()
            .with_enable(true)
            .with_vectors_allocated(0b111);
        let mut body = control.into_bits().to_le_bytes().to_vec();
        let mut mask = writable.into_bits().to_le_bytes().to_vec();
        // Messages are whole words in memory: the address ends in 00.
        mask.extend(0xffff_fffc_u32.to_le_bytes());
        if wide {
            mask.extend([0xff; 4]);
        }
        mask.extend([0xff, 0xff]);
        let all = all_vectors(vectors).to_le_bytes();
        if maskable {
            mask.extend([0, 0]);
            mask.extend(all);
            mask.extend([0; 4]);
        }
        body.resize(mask.len(), 0);
        let at = config.add_capability(capability::MSI, &body, &mask)?;
        let data = at + if wide { 12 } else { 8 };
        if maskable {
            config.define_hardware(data + 8, &all)?;
        }
        Ok(Self {
            sink,
            layout,
            control: at + 2,
            address: at + 4,
            data,
            mask: data.saturating_add(4),
            pending: data.saturating_add(8),
        })
    }

    fn control(&self, config: &ConfigSpace) -> Control {
        Control::from_bits(u16::from_le_bytes(config.get(self.control)))
    }

    pub(crate) fn enabled(&self, config: &ConfigSpace) -> bool {
        self.control(config).enable()
    }

    /// Pending bits that could be sent.
    pub(crate) fn due(&self, config: &ConfigSpace) -> u32 {
        if self.layout.maskable && self.enabled(config) && config.command().bus_master() {
            let [pending, mask] = [self.pending, self.mask].map(|at| config.get(at));
            u32::from_le_bytes(pending) & !u32::from_le_bytes(mask)
        } else {
            0
        }
    }

    /// Sends the message of `vector`, or keeps it pending while that is masked. Where the guest allocated fewer
    /// vectors, several share a message.
    pub(crate) fn signal(&self, config: &mut ConfigSpace, vector: u16) {
        let allocated = self.allocated(config);
        let vector = vector & (allocated - 1);
        if self.layout.maskable {
            let bit = 1_u32.checked_shl(vector.into()).unwrap_or(0);
            config.set(self.pending, &bit.to_le_bytes(), true);
            self.deliver(config);
        } else if config.command().bus_master() {
            self.send(config, vector);
        }
    }

    /// Sends what is pending and not masked any more; forgets what is pending while messages are off.
    pub(crate) fn deliver(&self, config: &mut ConfigSpace) {
        if !self.enabled(config) {
            config.set(self.pending, &self.hardware_bits(), false);
            return;
        }
        let due = self.due(config);
        config.set(self.pending, &due.to_le_bytes(), false);
        (0..32)
            .filter(|vector| due >> vector & 1 != 0)
            .for_each(|vector| self.send(config, vector));
    }

    const fn hardware_bits(&self) -> [u8; 4] {
        if self.layout.maskable {
            [0xff; 4]
        } else {
            [0; 4]
        }
    }

    /// Vectors that the guest allocated, not more than there are.
    fn allocated(&self, config: &ConfigSpace) -> u16 {
        let exponent = self.control(config).vectors_allocated();
        self.layout.vectors.min(1 << exponent)
    }

    fn send(&self, config: &ConfigSpace, vector: u16) {
        let low = u32::from_le_bytes(config.get(self.address));
        let high = if self.layout.wide {
            u32::from_le_bytes(config.get(self.address + 4))
        } else {
            0
        };
        // The low bits of the data are the vector's.
        let data = u16::from_le_bytes(config.get(self.data));
        let data = data & !(self.allocated(config) - 1) | vector;
        self.sink.send(Message {
            address: u64::from(high) << 32 | u64::from(low),
            data: data.into(),
        });
    }
}

const fn all_vectors(vectors: u16) -> u32 {
    u32::MAX >> (32 - vectors as u32)
}
