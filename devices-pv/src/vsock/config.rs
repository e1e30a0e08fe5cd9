//! What a socket device is made with.

use thiserror::Error;

/// The options of a socket device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VsockOptions {
    /// The guest's context identifier: 3 to 2^32 - 2.
    pub guest_cid: u32,
    /// The largest size of the queues of packets: a power of two, 32768 at most.
    pub queue_size: u16,
}

/// Options that no socket device can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VsockError {
    /// Reserved, or the host's (5.10.4).
    #[error("{cid} is no guest's context identifier: those are 3 to 4294967294")]
    GuestCid {
        /// The identifier.
        cid: u32,
    },
    /// No size of a queue.
    #[error("a queue size of {size} is no power of two from 1 to 32768")]
    QueueSize {
        /// The size.
        size: u16,
    },
}

impl VsockOptions {
    /// With this identifier, and queues of 256.
    #[must_use]
    pub const fn new(guest_cid: u32) -> Self {
        Self {
            guest_cid,
            queue_size: 256,
        }
    }

    pub(super) fn check(self) -> Result<(), VsockError> {
        let Self {
            guest_cid,
            queue_size,
        } = self;
        if !(3..u32::MAX).contains(&guest_cid) {
            return Err(VsockError::GuestCid { cid: guest_cid });
        }
        if !queue_size.is_power_of_two() {
            return Err(VsockError::QueueSize { size: queue_size });
        }
        Ok(())
    }
}
