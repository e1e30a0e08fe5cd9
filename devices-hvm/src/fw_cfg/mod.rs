//! Firmware configuration device: items that firmware reads by key, and files that it finds by name.
//!
//! Source: QEMU project, QEMU Firmware Configuration (fw_cfg) Device (docs/specs/fw_cfg).
//!
//! | port | bytes | read | write | reset |
//! |---|---|---|---|---|
//! | 0x510 | 2 | refused | selects the item of a key, from its start | 0 |
//! | 0x511 | 1 | the item's next byte; 0 behind its end | taken, no effect | - |
//! | 0x514 | 4 | "QEMU", big-endian | high half of a request's address, big-endian | 0 |
//! | 0x518 | 4 | " CFG", big-endian | low half; starts the request | - |
//!
//! A request is a structure in RAM, big-endian: control (bit 0 error, 1 read, 2 skip, 3 select, 4 write; 31:16 key),
//! length, address. It is done when the write to 0x518 is; its control then reads 0, or 1 after an error.
//!
//! | key | item | |
//! |---|---|---|
//! | 0x0000 | signature | "QEMU" |
//! | 0x0001 | ID | 3: both interfaces |
//! | 0x0019 | directory of files | count; size, key, name of each, big-endian |
//! | 0x0020 and on | files | in the order of their names |
//!
//! What else there is, the board says. Items cannot be written: a DMA request that wants to is an error.
//!
//! **Differs** from QEMU's, of which the specification says less: an access that a register has no width for reads ones
//! and steps over nothing, and a reset forgets the high half of a request's address.
//!
//! **Relied on by**: SeaBIOS 1.16 (by DMA: files, ACPI's loader, boot order, option ROMs).

pub mod config;
mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use trivisor_buses::{
    AccessError, Component, Dma, DmaError, PortDevice, RestoreError, SavedState, Unfit, Widths,
};

pub use self::config::{FileError, Items};
pub use self::core::Selection;
use self::regs::{DMA_REQUEST, DMA_SIGNATURE, DmaControl, offset};
pub use state::FwCfgStateV1;

/// Ports that it occupies, from 0x510 on.
pub const PORTS: u16 = 12;

/// The widths that it takes.
pub const WIDTHS: Widths = Widths::new(&[1, 2, 4], Unfit::Reject);

/// Bytes that a request moves at once.
const CHUNK: usize = 4096;

/// The device.
pub struct FwCfg {
    // Wiring.
    dma: Arc<dyn Dma>,
    // Guest-visible state.
    selection: Selection,
    dma_high: u32,
}

impl std::fmt::Debug for FwCfg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FwCfg")
            .field("key", &self.selection.key)
            .field("position", &self.selection.position)
            .finish_non_exhaustive()
    }
}

impl FwCfg {
    /// A device that has these items.
    #[must_use]
    pub fn new(items: &Items, dma: Arc<dyn Dma>) -> Self {
        Self {
            dma,
            selection: Selection::new(items),
            dma_high: 0,
        }
    }

    /// Carries out the request at `address`; what it was is in RAM.
    fn request(&mut self, address: u64) {
        let mut request = [0; DMA_REQUEST];
        if self.dma.read(address, &mut request).is_err() {
            // There is nowhere to tell it.
            return;
        }
        let [c0, c1, c2, c3, l0, l1, l2, l3, target @ ..] = request;
        let control = DmaControl::from_bits(u32::from_be_bytes([c0, c1, c2, c3]));
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let target = u64::from_be_bytes(target);
        if control.select() {
            self.selection.select(control.key());
        }
        let done = match (control.read(), control.write(), control.skip()) {
            (true, _, _) => self.read_to(target, length).is_ok(),
            (false, true, _) => false,
            (false, false, true) => {
                self.selection.skip(length);
                true
            }
            (false, false, false) => true,
        };
        let answer = DmaControl::new().with_error(!done).into_bits();
        let _nowhere_to_tell = self.dma.write(address, &answer.to_be_bytes());
    }

    fn read_to(&mut self, mut target: u64, length: u32) -> Result<(), DmaError> {
        let mut left = usize::try_from(length).unwrap_or(usize::MAX);
        let mut chunk = [0; CHUNK];
        while left > 0 {
            let len = left.min(CHUNK);
            let data = chunk.get_mut(..len).unwrap_or_default();
            self.selection.take(data);
            self.dma.write(target, data)?;
            target = target.wrapping_add(u64::try_from(len).unwrap_or_default());
            left -= len;
        }
        Ok(())
    }
}

impl PortDevice for FwCfg {
    fn read(&mut self, at: u16, data: &mut [u8]) -> Result<(), AccessError> {
        let [high, low] = DMA_SIGNATURE;
        match (at, data) {
            (offset::DATA, data @ [_]) => self.selection.take(data),
            (offset::DMA_HIGH, data @ [_, _, _, _]) => data.copy_from_slice(&high),
            (offset::DMA_LOW, data @ [_, _, _, _]) => data.copy_from_slice(&low),
            (offset::SELECTOR, _) => return Err(AccessError::WriteOnly),
            (offset::DATA | offset::DMA_HIGH | offset::DMA_LOW, _) => {
                return Err(AccessError::Width);
            }
            _ => return Err(AccessError::NoRegister),
        }
        Ok(())
    }

    fn write(&mut self, at: u16, data: &[u8]) -> Result<(), AccessError> {
        match (at, data) {
            (offset::SELECTOR, &[low, high]) => {
                self.selection.select(u16::from_le_bytes([low, high]));
            }
            // Items could be written so once; that has no effect any more.
            (offset::DATA, [_]) => {}
            (offset::DMA_HIGH, &[a, b, c, d]) => self.dma_high = u32::from_be_bytes([a, b, c, d]),
            (offset::DMA_LOW, &[a, b, c, d]) => {
                let high = std::mem::take(&mut self.dma_high);
                let low = u32::from_be_bytes([a, b, c, d]);
                self.request(u64::from(high) << 32 | u64::from(low));
            }
            (offset::SELECTOR | offset::DATA | offset::DMA_HIGH | offset::DMA_LOW, _) => {
                return Err(AccessError::Width);
            }
            _ => return Err(AccessError::NoRegister),
        }
        Ok(())
    }
}

impl Component for FwCfg {
    fn reset(&mut self) {
        self.selection.reset();
        self.dma_high = 0;
    }

    fn save(&self) -> SavedState {
        let state = FwCfgStateV1 {
            key: self.selection.key,
            position: self.selection.position,
            dma_high: self.dma_high,
        };
        SavedState::encode(state::KIND, state::VERSION, &state)
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let FwCfgStateV1 {
            key,
            position,
            dma_high,
        } = state.decode(state::KIND, state::VERSION)?;
        self.selection.select(key);
        self.selection.skip(position);
        self.dma_high = dma_high;
        Ok(())
    }
}
