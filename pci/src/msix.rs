//! MSI-X (PCI 3.0, 6.8.2): messages from a table in one of the function's base address registers.
//!
//! | offset in the capability | register | access |
//! |---|---|---|
//! | 2 | message control | enable, function mask: read, write |
//! | 4 | table offset and register | read |
//! | 8 | offset and register of the pending bits | read |
//!
//! | offset in an entry of 16 bytes | register | access | reset |
//! |---|---|---|---|
//! | 0 | message address | read, write | 0 |
//! | 4 | upper half of the address | read, write | 0 |
//! | 8 | message data | read, write | 0 |
//! | 12 | vector control: bit 0 masks | read, write | 1 |
//!
//! Table and pending bits take accesses of 4 and 8 bytes, on their boundaries.

use std::sync::Arc;

use bitfield_struct::bitfield;
use trivisor_buses::{AccessError, Msi as Message, MsiSink};

use crate::bars::BarSpace;
use crate::config::{ConfigError, ConfigSpace};
use crate::regs::capability;

/// Bytes of an entry of the table.
pub const ENTRY_SIZE: u32 = 16;

/// Message control of MSI-X.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Control {
    /// Read only: entries, less one.
    #[bits(11)]
    pub last: u16,
    #[bits(3)]
    __: u8,
    /// Every vector is masked.
    pub function_mask: bool,
    /// Messages are sent, and the interrupt pin is not used.
    pub enable: bool,
}

/// Where table and pending bits stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsixLayout {
    /// Vectors: 1 to 2048.
    pub vectors: u16,
    /// The base address register, of memory.
    pub bar: u8,
    /// Offset of the table in it, on 8 bytes.
    pub table: u32,
    /// Offset of the pending bits in it, on 8 bytes.
    pub pending: u32,
}

impl MsixLayout {
    /// Bytes of the table.
    #[must_use]
    pub const fn table_size(self) -> u32 {
        self.vectors as u32 * ENTRY_SIZE
    }

    /// Bytes of the pending bits.
    #[must_use]
    pub const fn pending_size(self) -> u32 {
        (self.vectors as u32).div_ceil(64) * 8
    }

    fn fits(self, config: &ConfigSpace) -> bool {
        let bar = config.bars.get(usize::from(self.bar)).copied().flatten();
        let size = bar
            .filter(|bar| bar.space() == BarSpace::Memory)
            .map_or(0, |bar| bar.size());
        let (table, pending) = (u64::from(self.table), u64::from(self.pending));
        let table_end = table + u64::from(self.table_size());
        let pending_end = pending + u64::from(self.pending_size());
        let apart = table_end <= pending || pending_end <= table;
        let aligned = table.is_multiple_of(8) && pending.is_multiple_of(8);
        apart && aligned && table_end <= size && pending_end <= size
    }
}

/// An entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) address: u64,
    pub(crate) data: u32,
    pub(crate) masked: bool,
}

const AFTER_RESET: Entry = Entry {
    address: 0,
    data: 0,
    masked: true,
};

/// Which part of a base address register an access hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Region {
    Table(u32),
    Pending(u32),
}

/// The table and the pending bits of a function.
pub(crate) struct Msix {
    // Configuration.
    layout: MsixLayout,
    control: u8,
    // Wiring.
    sink: Arc<dyn MsiSink>,
    // Guest-visible state, beside message control.
    pub(crate) table: Vec<Entry>,
    /// A bit a vector.
    pub(crate) pending: Vec<u64>,
}

impl Msix {
    /// Adds the capability.
    pub(crate) fn add(
        config: &mut ConfigSpace,
        layout: MsixLayout,
        sink: Arc<dyn MsiSink>,
    ) -> Result<Self, ConfigError> {
        let MsixLayout {
            vectors,
            bar,
            table,
            pending,
        } = layout;
        if !(1..=2048).contains(&vectors) {
            let id = capability::MSIX;
            return Err(ConfigError::Vectors { id, vectors });
        }
        if !layout.fits(config) {
            return Err(ConfigError::Table {
                bar,
                table,
                pending,
            });
        }
        let control = Control::new().with_last(vectors - 1);
        let writable = Control::new().with_function_mask(true).with_enable(true);
        let mut body = control.into_bits().to_le_bytes().to_vec();
        body.extend((table | u32::from(bar)).to_le_bytes());
        body.extend((pending | u32::from(bar)).to_le_bytes());
        let mask = writable.into_bits().to_le_bytes();
        let at = config.add_capability(capability::MSIX, &body, &mask)?;
        let words = usize::from(vectors.div_ceil(64));
        Ok(Self {
            layout,
            control: at + 2,
            sink,
            table: vec![AFTER_RESET; vectors.into()],
            pending: vec![0; words],
        })
    }

    fn control(&self, config: &ConfigSpace) -> Control {
        Control::from_bits(u16::from_le_bytes(config.get(self.control)))
    }

    pub(crate) fn enabled(&self, config: &ConfigSpace) -> bool {
        self.control(config).enable()
    }

    /// Messages may leave: enabled, the function not masked, and bus master.
    pub(crate) fn open(&self, config: &ConfigSpace) -> bool {
        let control = self.control(config);
        control.enable() && !control.function_mask() && config.command().bus_master()
    }

    /// Sends the message of `vector`, or keeps it pending while that is masked; there is no vector behind the table.
    pub(crate) fn signal(&mut self, config: &ConfigSpace, vector: u16) {
        match self.table.get(usize::from(vector)) {
            Some(entry) if self.open(config) && !entry.masked => self.send(*entry),
            Some(_) => self.set_pending(vector.into(), true),
            None => {}
        }
    }

    /// Sends what is pending and not masked any more; forgets what is pending while messages are off.
    pub(crate) fn deliver(&mut self, config: &ConfigSpace) {
        if !self.enabled(config) {
            self.pending.fill(0);
        } else if self.open(config) {
            for vector in 0..self.table.len() {
                self.deliver_one(vector);
            }
        }
    }

    fn deliver_one(&mut self, vector: usize) {
        if let Some(entry) = self.table.get(vector).filter(|entry| !entry.masked)
            && self.is_pending(vector)
        {
            self.send(*entry);
            self.set_pending(vector, false);
        }
    }

    fn send(&self, entry: Entry) {
        self.sink.send(Message {
            address: entry.address,
            data: entry.data,
        });
    }

    pub(crate) fn is_pending(&self, vector: usize) -> bool {
        let word = self.pending.get(vector / 64).copied().unwrap_or(0);
        word >> (vector % 64) & 1 != 0
    }

    fn set_pending(&mut self, vector: usize, level: bool) {
        let bit = 1 << (vector % 64);
        if let Some(word) = self.pending.get_mut(vector / 64) {
            *word = if level { *word | bit } else { *word & !bit };
        }
    }

    pub(crate) fn reset(&mut self) {
        self.table.fill(AFTER_RESET);
        self.pending.fill(0);
    }

    /// What stands at `offset` in base address register `bar`; `None`: nothing of ours.
    pub(crate) fn region(&self, bar: u8, offset: u64) -> Option<Region> {
        let inside = |start: u32, size: u32| {
            let offset = u32::try_from(offset).ok()?.checked_sub(start)?;
            (bar == self.layout.bar && offset < size).then_some(offset)
        };
        let table = inside(self.layout.table, self.layout.table_size()).map(Region::Table);
        table.or_else(|| {
            inside(self.layout.pending, self.layout.pending_size()).map(Region::Pending)
        })
    }

    pub(crate) fn read(&self, region: Region, data: &mut [u8]) -> Result<(), AccessError> {
        let (Region::Table(offset) | Region::Pending(offset)) = region;
        check_access(offset, data.len())?;
        for (at, word) in (offset..).step_by(4).zip(data.chunks_mut(4)) {
            let value = match region {
                Region::Table(_) => self.read_table(at),
                Region::Pending(_) => self.read_pending(at),
            };
            word.copy_from_slice(&value.to_le_bytes());
        }
        Ok(())
    }

    pub(crate) fn write(
        &mut self,
        config: &ConfigSpace,
        region: Region,
        data: &[u8],
    ) -> Result<(), AccessError> {
        let Region::Table(offset) = region else {
            return Err(AccessError::ReadOnly);
        };
        check_access(offset, data.len())?;
        let (words, _) = data.as_chunks();
        for (at, word) in (offset..).step_by(4).zip(words) {
            self.write_table(at, u32::from_le_bytes(*word));
        }
        if self.open(config) {
            self.deliver_one(index(offset));
        }
        Ok(())
    }

    fn read_table(&self, offset: u32) -> u32 {
        let Some(entry) = self.table.get(index(offset)) else {
            return 0;
        };
        let [low, high] = halves(entry.address);
        match offset % ENTRY_SIZE {
            0 => low,
            4 => high,
            8 => entry.data,
            _ => entry.masked.into(),
        }
    }

    fn write_table(&mut self, offset: u32, value: u32) {
        let Some(entry) = self.table.get_mut(index(offset)) else {
            return;
        };
        let [low, high] = halves(entry.address);
        let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        match offset % ENTRY_SIZE {
            // Messages are whole words in memory: the address ends in 00.
            0 => entry.address = join(value & !3, high),
            4 => entry.address = join(low, value),
            8 => entry.data = value,
            _ => entry.masked = value & 1 != 0,
        }
    }

    fn read_pending(&self, offset: u32) -> u32 {
        let at = usize::try_from(offset / 8).unwrap_or(usize::MAX);
        let [low, high] = halves(self.pending.get(at).copied().unwrap_or(0));
        if offset.is_multiple_of(8) { low } else { high }
    }
}

/// The entry that stands at an offset of the table.
fn index(offset: u32) -> usize {
    usize::try_from(offset / ENTRY_SIZE).unwrap_or(usize::MAX)
}

fn check_access(offset: u32, len: usize) -> Result<(), AccessError> {
    match len {
        4 if offset.is_multiple_of(4) => Ok(()),
        8 if offset.is_multiple_of(8) => Ok(()),
        _ => Err(AccessError::Width),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "each half is 32 bits wide")]
const fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}
