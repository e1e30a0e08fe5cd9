//! Buffers that are popped before it is known how many a frame takes.

use trivisor_virtio_device::{Io, QueueError};

use super::{Receiver, SHORT, Shape};

/// What came of looking for buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collected {
    /// There are as many as were wanted.
    Enough,
    /// There are fewer, and the driver has no more to add.
    Fewer,
    /// The driver is about to add more, or broke the queue.
    Starved,
}

impl Receiver {
    /// Bytes for which buffers are needed before a frame is read: of a short one, any that tells that there are some.
    pub(super) fn wanted(&self, shape: Shape) -> u64 {
        match self.recent.longest() {
            0..=SHORT => 1,
            longest => longest.min(shape.most()),
        }
    }

    /// Pops buffers until they hold `wanted` bytes, of a driver that had `owed` others before.
    pub(super) fn collect(
        &mut self,
        wanted: u64,
        mut owed: usize,
        shape: Shape,
        io: &mut Io<'_>,
    ) -> Collected {
        loop {
            while !self.has(wanted, shape) {
                if !self.pop(shape, io) {
                    break;
                }
                owed = owed.saturating_sub(1);
            }
            if io.outcome().broken.is_some() {
                return Collected::Starved;
            }
            if self.has(wanted, shape) {
                return Collected::Enough;
            }
            if self.has_all(owed, io) {
                return Collected::Fewer;
            }
            self.hungry = true;
            if !io.want_notifications(self.queue, true) {
                return Collected::Starved;
            }
            io.want_notifications(self.queue, false);
        }
    }

    /// Without merging a frame goes into one buffer, or not at all.
    fn has(&self, wanted: u64, shape: Shape) -> bool {
        if shape.merge {
            self.bytes >= wanted
        } else {
            !self.held.is_empty()
        }
    }

    /// Where most of the queue is with the driver, it is about to refill it. None keeps more than half of the queue empty, so
    /// that else what is here is all that there will be.
    fn has_all(&self, owed: usize, io: &Io<'_>) -> bool {
        let size = io
            .queue(self.queue)
            .map_or(0, |queue| usize::from(queue.size()));
        let missing = size.saturating_sub(self.held.len());
        let with_driver = owed.max(self.pushed).min(missing);
        !self.held.is_empty() && with_driver <= size / 2
    }

    fn pop(&mut self, shape: Shape, io: &mut Io<'_>) -> bool {
        let mut chain = self.spare.pop().unwrap_or_default();
        if !io.pop(self.queue, &mut chain) {
            self.spare.push(chain);
            return false;
        }
        let len = chain.writable_len();
        if len < shape.header_len() {
            let (id, wanted) = (chain.id(), shape.header_len());
            io.fail(self.queue, QueueError::Short { id, len, wanted });
            self.spare.push(chain);
            return false;
        }
        self.owed = self.owed.saturating_sub(1);
        self.lent = self.lent.saturating_sub(1);
        self.bytes += len;
        self.held.push_back(chain);
        true
    }
}
