//! Data on its way through the data port.

/// A buffer, and the block of it that the host moves now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Pio {
    pub(super) buffer: Vec<u8>,
    /// The next byte.
    pub(super) at: usize,
    /// Where the block ends.
    pub(super) end: usize,
}

impl Pio {
    /// `buffer` with a first block of `block` bytes, or less where there are not as many.
    pub(super) fn new(buffer: Vec<u8>, block: usize) -> Self {
        let mut pio = Self {
            buffer,
            at: 0,
            end: 0,
        };
        pio.next_block(block);
        pio
    }

    /// The block that follows, `block` bytes or what is left.
    pub(super) fn next_block(&mut self, block: usize) {
        self.end = self.buffer.len().min(self.at.saturating_add(block));
    }

    /// Bytes behind those that were moved.
    pub(super) const fn left(&self) -> usize {
        self.buffer.len() - self.at
    }

    pub(super) const fn block_is_done(&self) -> bool {
        self.at >= self.end
    }

    /// Gives bytes of the block to the host; those that it had.
    pub(super) fn read(&mut self, data: &mut [u8]) -> usize {
        let block = self.buffer.get(self.at..self.end).unwrap_or_default();
        let len = block.len().min(data.len());
        if let (Some(to), Some(from)) = (data.get_mut(..len), block.get(..len)) {
            to.copy_from_slice(from);
        }
        self.at += len;
        len
    }

    /// Takes bytes of the block from the host; those that it had room for.
    pub(super) fn write(&mut self, data: &[u8]) -> usize {
        let block = self.buffer.get_mut(self.at..self.end).unwrap_or_default();
        let len = block.len().min(data.len());
        if let (Some(to), Some(from)) = (block.get_mut(..len), data.get(..len)) {
            to.copy_from_slice(from);
        }
        self.at += len;
        len
    }

    /// The buffer, for the storage.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self).buffer
    }
}
