//! The order of the writes to a qcow2: the file counts a cluster before anything in it refers to it, so that it is
//! sound after each single write. The format is that of QEMU, `docs/interop/qcow2.rst`.
//!
//! imago 0.2.6 holds counts back in its cache, and lets these go first:
//! - the entry of the L1 table for a new L2 table, and that of the refcount table for a new refcount block;
//! - the header with a new L1 table;
//! - an entry of an L2 table, if a flush writes that table after it has written the counts of before a write that runs
//!   beside it.
//!
//! So whatever of this is to be written is looked through for references that are new in the file, and a cluster that
//! the file counts as free is counted there at once. imago knows its count already and writes the same later; a copy
//! of a block that it took before is corrected on its way (`ahead`).
//!
//! The other direction, that nothing in the file refers to a cluster any more when it is used for something else,
//! imago keeps for what holds data, not for its tables: it takes a cluster for a table as soon as it counts it as free.
//! [`Order::missing`] says where a table will be made, for the caller to flush before.

mod counts;
mod places;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use counts::{Counter, Width};
use places::{Change, Place, Places};

/// Clusters at most that the file counts and no block of imago has yet: a sound image has a few of them.
const MAX_AHEAD: usize = 1 << 16;

/// The file behind.
pub(crate) trait Blocks {
    /// Bytes there; zeros behind the end.
    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Whole blocks of the host.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
}

/// What is known of a qcow2 that is written.
#[derive(Debug)]
pub(crate) struct Order {
    cluster_bits: u32,
    width: Width,
    places: RwLock<Places>,
    /// Clusters that were counted here, as long as imago has not written their count itself. Locked while one of the
    /// tables is written.
    ahead: Mutex<BTreeSet<u64>>,
}

impl Order {
    /// Reads where everything is. `align` is what the host's blocks are, in bytes.
    ///
    /// # Errors
    /// `InvalidData`: it is no qcow2, or its tables are larger than QEMU has them. `Unsupported`: a block of the host
    /// is larger than a cluster. Others: it cannot be read.
    pub(crate) fn load(file: &impl Blocks, align: usize) -> io::Result<Self> {
        let header = file.read(0, places::HEADER)?;
        let (cluster_bits, width) = places::format(&header)?;
        if align > 1 << cluster_bits {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!(
                    "its clusters have {} bytes, direct I/O needs blocks of {align} bytes there",
                    1_u64 << cluster_bits
                ),
            ));
        }
        let places = Places::load(file, &header, cluster_bits)?;
        Ok(Self {
            cluster_bits,
            width,
            places: RwLock::new(places),
            ahead: Mutex::default(),
        })
    }

    /// Whether a write that begins there is one for [`write`](Self::write). All others need no order.
    pub(crate) fn concerns(&self, offset: u64) -> bool {
        self.find(offset).is_some()
    }

    fn find(&self, offset: u64) -> Option<Place> {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        places.find(offset)
    }

    /// Writes a table or a part of it, and counts what it refers to before.
    ///
    /// # Errors
    /// `InvalidData`: it refers to what cannot be counted; nothing was written. Others: as the file's.
    pub(crate) fn write(&self, file: &impl Blocks, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        match self.find(offset) {
            Some(Place::Block(index)) => self.correct(&mut ahead, index, data),
            Some(place) => self.count(file, &mut ahead, place, offset, data)?,
            None => {}
        }
        file.write(offset, data)
    }

    /// Counts what `data` refers to and what stood there did not.
    fn count(
        &self,
        file: &impl Blocks,
        ahead: &mut MutexGuard<'_, BTreeSet<u64>>,
        place: Place,
        offset: u64,
        data: &[u8],
    ) -> io::Result<()> {
        let change = match place {
            Place::Table => {
                let old = file.read(offset, data.len())?;
                Change::of_table(&old, data, self.cluster_bits)
            }
            _ => {
                // Before it is written, and if that fails as well: imago does not take it back either.
                let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
                places.update(file, place, offset, data, self.cluster_bits)?
            }
        };
        for cluster in &change.old {
            ahead.remove(cluster);
        }
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        let mut counter = Counter::new(file, &places, self.cluster_bits, self.width);
        for cluster in change.new {
            if counter.count(cluster)? {
                if ahead.len() >= MAX_AHEAD {
                    return Err(places::invalid(
                        "too many of its clusters are used uncounted",
                    ));
                }
                ahead.insert(cluster);
            }
        }
        counter.finish()
    }

    /// Keeps what is counted in a block that imago may have copied before it counted that.
    fn correct(&self, ahead: &mut MutexGuard<'_, BTreeSet<u64>>, index: u64, data: &mut [u8]) {
        let entries = self.width.entries_bits(self.cluster_bits);
        ahead.retain(|cluster| {
            if cluster >> entries != index {
                return true;
            }
            // False if it is counted: from here on it is so in all copies.
            self.width.count(data, cluster & ((1 << entries) - 1))
        });
    }

    /// Whether a write to the disk's byte `offset` makes a table; and where the disk's next table begins, in bytes.
    pub(crate) fn missing(&self, offset: u64) -> (bool, u64) {
        // A table is a cluster of 8-byte entries of a cluster each.
        let bits = 2 * self.cluster_bits - 3;
        let index = offset >> bits;
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        let last = offset | ((1 << bits) - 1);
        (!places.has_table(index), last.saturating_add(1))
    }
}
