//! Virtqueues, seen from the device: virtio 1.3, 2.6 to 2.8.
//!
//! Both kinds of ring stand behind [`Queue`]. Everything that a driver can get wrong is a [`QueueError`], never a
//! guess at what it meant: our own walk of the rings instead of virtio-queue's, which ends a malformed chain as if it
//! were complete, so that a device could not ask for the reset that 2.1.2 wants.

use thiserror::Error;
use trivisor_buses::Segment;
use trivisor_memory::GuestRam;

/// What a driver did to a queue that cannot be gone on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QueueError {
    /// A part of the queue, or of an indirect table, is not RAM.
    #[error("{what} at {address:#x} is not all RAM")]
    NotRam {
        /// Which part.
        what: &'static str,
        /// Guest-physical address.
        address: u64,
    },
}

/// A buffer: what the driver made available under one identifier, as runs of guest RAM.
///
/// A device keeps a few of them and hands them to [`Queue::pop`] again and again, so that a pop allocates nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    id: u16,
    /// Descriptors that it takes in the ring.
    descriptors: u16,
    /// The readable ones, then the writable ones.
    segments: Vec<Segment>,
    readable: usize,
}

impl Chain {
    /// What [`push`](crate::Io::push) calls it.
    #[must_use]
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// What the device reads.
    #[must_use]
    pub fn readable(&self) -> &[Segment] {
        self.segments
            .split_at(self.readable.min(self.segments.len()))
            .0
    }

    /// What the device writes.
    #[must_use]
    pub fn writable(&self) -> &[Segment] {
        self.segments
            .split_at(self.readable.min(self.segments.len()))
            .1
    }
}
