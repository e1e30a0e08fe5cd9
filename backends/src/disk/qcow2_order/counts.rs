//! Reference counts in their blocks.

use std::io;

use super::Blocks;
use super::places::{Places, invalid};

/// Bits of a count, as their logarithm: 0 to 6.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Width(u32);

impl Width {
    pub(super) fn new(order: u32) -> io::Result<Self> {
        if order > 6 {
            return Err(invalid("its reference counts have no known width"));
        }
        Ok(Self(order))
    }

    /// Counts of a block, as their logarithm.
    pub(super) const fn entries_bits(self, cluster_bits: u32) -> u32 {
        cluster_bits + 3 - self.0
    }

    /// Makes a count of zero one; whether it was zero. Without effect behind the end of the block.
    pub(super) fn count(self, block: &mut [u8], entry: u64) -> bool {
        let bit = entry << self.0;
        let Ok(first) = usize::try_from(bit / 8) else {
            return false;
        };
        // Of less than a byte: the first ones are the lower bits. Of more: big endian, the last byte is the lowest.
        let (bytes, mask, one) = if self.0 < 3 {
            (1, (1 << (1 << self.0)) - 1, 1)
        } else {
            (1 << (self.0 - 3), 0xff, 1)
        };
        let shift = bit % 8;
        let Some(bytes) = block
            .get_mut(first..)
            .and_then(|rest| rest.get_mut(..bytes))
        else {
            return false;
        };
        let zero = bytes.iter().all(|byte| byte >> shift & mask == 0);
        if zero && let Some(last) = bytes.last_mut() {
            *last |= one << shift;
        }
        zero
    }
}

/// Counts clusters in the file; holds the block of the last one.
pub(super) struct Counter<'a, F> {
    file: &'a F,
    places: &'a Places,
    cluster_bits: u32,
    width: Width,
    block: Option<Block>,
}

struct Block {
    index: u64,
    offset: u64,
    data: Vec<u8>,
    changed: bool,
}

impl<'a, F: Blocks> Counter<'a, F> {
    pub(super) const fn new(
        file: &'a F,
        places: &'a Places,
        cluster_bits: u32,
        width: Width,
    ) -> Self {
        Self {
            file,
            places,
            cluster_bits,
            width,
            block: None,
        }
    }

    /// Counts a cluster that has no count yet; whether that was so.
    ///
    /// # Errors
    /// `InvalidData`: there is no block for it. Others: as the file's.
    pub(super) fn count(&mut self, cluster: u64) -> io::Result<bool> {
        let entries = self.width.entries_bits(self.cluster_bits);
        let index = cluster >> entries;
        let mut block = match self.block.take() {
            Some(block) if block.index == index => block,
            other => {
                self.block = other;
                self.finish()?;
                let offset = self
                    .places
                    .block(index)
                    .ok_or_else(|| invalid("it refers to a cluster that it has no count for"))?;
                Block {
                    index,
                    offset,
                    data: self.file.read(offset, 1 << self.cluster_bits)?,
                    changed: false,
                }
            }
        };
        let counted = self
            .width
            .count(&mut block.data, cluster & ((1 << entries) - 1));
        block.changed |= counted;
        self.block = Some(block);
        Ok(counted)
    }

    /// Writes what is held.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        match self.block.take() {
            Some(block) if block.changed => self.file.write(block.offset, &block.data),
            _ => Ok(()),
        }
    }
}
