//! Where the tables of a qcow2 are, and what their entries refer to.

use std::collections::HashMap;
use std::io;

use super::Blocks;
use super::counts::Width;

/// Bytes of the header up to the last field that is needed.
pub(super) const HEADER: usize = 104;

/// Bytes of it up to the last pointer.
const POINTERS: usize = 60;

/// Bytes of an L1 table and of a refcount table at most, as QEMU has it.
const MAX_L1: u64 = 32 << 20;
const MAX_COUNTS: u64 = 8 << 20;

/// Bits of an entry that are an offset in the file: of the L1 and L2 tables; of the refcount table.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const BLOCK_OFFSET: u64 = !0x1ff;

/// Nobody else refers to it, so it may be written.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;

/// What begins somewhere in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Header,
    L1,
    RefcountTable,
    /// An L2 table.
    Table,
    /// The refcount block of that index.
    Block(u64),
}

/// Clusters that a write no longer refers to, and those that it newly refers to. One may be in both.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub old: Vec<u64>,
    pub new: Vec<u64>,
}

/// A table that the header points to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    offset: u64,
    entries: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct Places {
    l1: Table,
    counts: Table,
    /// L2 tables and refcount blocks by their offsets.
    others: HashMap<u64, Place>,
}

pub(super) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    let word = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u32::from_be_bytes(*word))
}

fn long(bytes: &[u8], offset: usize) -> u64 {
    let long = bytes.get(offset..).and_then(|rest| rest.first_chunk());
    long.map_or(0, |long| u64::from_be_bytes(*long))
}

fn entries(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|bytes| long(bytes, 0))
}

/// The logarithm of a cluster's bytes, and the width of a count.
pub(super) fn format(header: &[u8]) -> io::Result<(u32, Width)> {
    let cluster_bits = word(header, 20);
    if !header.starts_with(b"QFI\xfb") || !(9..=21).contains(&cluster_bits) {
        return Err(invalid("it has no valid header of a qcow2"));
    }
    let order = if word(header, 4) < 3 {
        4
    } else {
        word(header, 96)
    };
    Ok((cluster_bits, Width::new(order)?))
}

impl Table {
    fn load(file: &impl Blocks, offset: u64, len: u64, max: u64) -> io::Result<Self> {
        if len > max {
            return Err(invalid("its tables are larger than any disk needs"));
        }
        let len = usize::try_from(len).map_err(io::Error::other)?;
        Ok(Self {
            offset,
            entries: entries(&file.read(offset, len)?).collect(),
        })
    }

    const fn bytes(&self) -> u64 {
        self.entries.len() as u64 * 8
    }

    fn has(&self, offset: u64) -> bool {
        offset
            .checked_sub(self.offset)
            .is_some_and(|from| from < self.bytes())
    }

    /// The clusters that it takes.
    fn clusters(&self, cluster_bits: u32) -> impl Iterator<Item = u64> + use<> {
        let first = self.offset >> cluster_bits;
        first..first + self.bytes().div_ceil(1 << cluster_bits)
    }

    /// Takes a write over; the entries that it changes, by their indices, before and after.
    fn update(&mut self, offset: u64, data: &[u8]) -> Vec<(u64, u64, u64)> {
        let first = (offset - self.offset) / 8;
        let mut changed = Vec::new();
        let known = (0..).zip(&mut self.entries);
        let known = known.skip_while(|(index, _)| *index < first);
        for ((index, entry), new) in known.zip(entries(data)) {
            if *entry != new {
                changed.push((index, *entry, new));
                *entry = new;
            }
        }
        changed
    }
}

impl Places {
    pub(super) fn load(file: &impl Blocks, header: &[u8], cluster_bits: u32) -> io::Result<Self> {
        let l1_len = u64::from(word(header, 36)) * 8;
        let counts_len = u64::from(word(header, 56)) << cluster_bits;
        let l1 = Table::load(file, long(header, 40), l1_len, MAX_L1)?;
        let counts = Table::load(file, long(header, 48), counts_len, MAX_COUNTS)?;
        let mut places = Self {
            l1,
            counts,
            others: HashMap::new(),
        };
        places.enter();
        Ok(places)
    }

    fn enter(&mut self) {
        let tables = self.l1.entries.iter().map(|entry| entry & OFFSET);
        let blocks = self.counts.entries.iter().map(|entry| entry & BLOCK_OFFSET);
        self.others = tables
            .map(|offset| (offset, Place::Table))
            .chain(
                (0..)
                    .zip(blocks)
                    .map(|(index, offset)| (offset, Place::Block(index))),
            )
            .filter(|(offset, _)| *offset != 0)
            .collect();
    }

    pub(super) fn find(&self, offset: u64) -> Option<Place> {
        if offset == 0 {
            Some(Place::Header)
        } else if self.l1.has(offset) {
            Some(Place::L1)
        } else if self.counts.has(offset) {
            Some(Place::RefcountTable)
        } else {
            self.others.get(&offset).copied()
        }
    }

    /// Where the refcount block of that index is.
    pub(super) fn block(&self, index: u64) -> Option<u64> {
        let index = usize::try_from(index).ok()?;
        let offset = self.counts.entries.get(index)? & BLOCK_OFFSET;
        (offset != 0).then_some(offset)
    }

    /// Whether there is an L2 table of that index that may be written.
    pub(super) fn has_table(&self, index: u64) -> bool {
        let index = usize::try_from(index).ok();
        let entry = index.and_then(|index| self.l1.entries.get(index));
        entry.is_some_and(|entry| entry & COPIED != 0 && entry & OFFSET != 0)
    }

    /// Takes a write of the header, the L1 table or the refcount table over.
    pub(super) fn update(
        &mut self,
        file: &impl Blocks,
        place: Place,
        offset: u64,
        data: &[u8],
        cluster_bits: u32,
    ) -> io::Result<Change> {
        let (changed, mask) = match place {
            Place::Header => return self.update_header(file, data, cluster_bits),
            Place::L1 => (self.l1.update(offset, data), OFFSET),
            _ => (self.counts.update(offset, data), BLOCK_OFFSET),
        };
        let mut change = Change::default();
        for (index, old, new) in changed {
            let (old, new) = (old & mask, new & mask);
            self.others.remove(&old);
            if new != 0 {
                let other = match place {
                    Place::L1 => Place::Table,
                    _ => Place::Block(index),
                };
                self.others.insert(new, other);
            }
            change.add(old, new, cluster_bits);
        }
        Ok(change)
    }

    fn update_header(
        &mut self,
        file: &impl Blocks,
        data: &[u8],
        cluster_bits: u32,
    ) -> io::Result<Change> {
        let mut change = Change::default();
        let pointers = (
            word(data, 36),
            long(data, 40),
            long(data, 48),
            word(data, 56),
        );
        let known = (
            self.l1.entries.len() as u64,
            self.l1.offset,
            self.counts.offset,
            self.counts.bytes() >> cluster_bits,
        );
        if data.len() < POINTERS
            || (
                u64::from(pointers.0),
                pointers.1,
                pointers.2,
                u64::from(pointers.3),
            ) == known
        {
            return Ok(change);
        }
        let new = Self::load(file, data, cluster_bits)?;
        change.old.extend(self.l1.clusters(cluster_bits));
        change.old.extend(self.counts.clusters(cluster_bits));
        change.new.extend(new.l1.clusters(cluster_bits));
        change.new.extend(new.counts.clusters(cluster_bits));
        let others = new.others.keys().map(|offset| offset >> cluster_bits);
        change.new.extend(others);
        *self = new;
        Ok(change)
    }
}

impl Change {
    /// Of an L2 table.
    pub(super) fn of_table(old: &[u8], new: &[u8], cluster_bits: u32) -> Self {
        let mut change = Self::default();
        for (old, new) in entries(old).zip(entries(new)) {
            if old == new {
            } else if (old | new) & COMPRESSED == 0 {
                change.add(old & OFFSET, new & OFFSET, cluster_bits);
            } else {
                change.old.extend(clusters(old, cluster_bits));
                change.new.extend(clusters(new, cluster_bits));
            }
        }
        change
    }

    /// Offsets before and after, 0 for none.
    fn add(&mut self, old: u64, new: u64, cluster_bits: u32) {
        if old != new {
            let [old, new] = [old, new].map(|offset| Some(offset >> cluster_bits));
            self.old.extend(old.filter(|cluster| *cluster != 0));
            self.new.extend(new.filter(|cluster| *cluster != 0));
        }
    }
}

/// What an entry of an L2 table refers to: three clusters at most.
fn clusters(entry: u64, cluster_bits: u32) -> impl Iterator<Item = u64> {
    let (offset, len) = if entry & COMPRESSED == 0 {
        (entry & OFFSET, 1)
    } else {
        // Sectors of 512 bytes behind the first one stand above the offset.
        let bits = 62 - (cluster_bits - 8);
        let offset = entry & ((1 << bits) - 1) & (OFFSET | 0x1ff);
        let sectors = (entry & (COMPRESSED - 1)) >> bits;
        (offset, (sectors + 1) * 512 - offset % 512)
    };
    let end = if offset == 0 { 0 } else { offset + len };
    offset >> cluster_bits..end.div_ceil(1 << cluster_bits)
}
