//! Bytes of a command on their way in, and of its result on their way out.

/// Bytes that the chip holds of either.
pub(super) const SIZE: usize = 16;

/// A queue that cannot hold more than it has room for: nothing is indexed by what a guest does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fifo {
    bytes: [u8; SIZE],
    /// Bytes put in.
    len: usize,
    /// Bytes taken out.
    taken: usize,
}

impl Fifo {
    /// With these bytes, as many of them as there is room for.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut fifo = Self::default();
        bytes.iter().for_each(|byte| fifo.push(*byte));
        fifo
    }

    /// Puts a byte in; where there is no room it is lost.
    pub(super) fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// Takes the next byte out.
    pub(super) fn pop(&mut self) -> Option<u8> {
        let byte = self.rest().first().copied();
        self.taken += usize::from(byte.is_some());
        byte
    }

    /// What was put in and not taken out.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.taken..self.len).unwrap_or_default()
    }
}
