//! The other side of a device: a driver for its queues, and a rig that runs a device as a transport would.
//!
//! [`Rig`] is what the tests of a device use; [`DriverQueue`] is one queue of it, written from the driver's chapters of
//! the specification and not from [`Queue`](crate::Queue), so that each checks the other. Everything here panics where
//! a test has to fail.

mod driver;
mod heap;
mod packed;
mod rig;
mod split;
#[cfg(test)]
mod tests;

use crate::features::Feature;

pub use driver::{DriverQueue, Reply};
pub use rig::{Rig, test_ram};

/// Which ring a queue has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// Virtio 1.3, 2.7.
    Split,
    /// Virtio 1.3, 2.8.
    Packed,
}

impl Ring {
    /// Both, for tests that run over each.
    pub const ALL: [Self; 2] = [Self::Split, Self::Packed];

    /// The feature that chooses it.
    #[must_use]
    pub const fn feature(self) -> u64 {
        match self {
            Self::Split => 0,
            Self::Packed => Feature::PackedRing.bit(),
        }
    }
}
