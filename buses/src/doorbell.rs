//! Writes that wake a queue without a visit to the device.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A guest write that rings: at this address, of this width, with this value where one is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoorbellAddress {
    /// Guest-physical address or port.
    pub address: u64,
    /// True: a port.
    pub port: bool,
    /// Bytes written: 1, 2, 4 or 8; 0 stands for any, and then there is no value.
    pub width: u8,
    /// Only this value rings.
    pub value: Option<u64>,
}

/// A bell that can be hung up: armed when its queue is enabled, moved with its BAR.
///
/// Removing one may cost 10 ms on some hosts, so removals are collected until
/// [`commit_removals`](Self::commit_removals).
pub trait Doorbell: Send + Sync {
    /// From now on a matching write wakes the queue and does not reach the device.
    ///
    /// # Errors
    /// What the host said, for example that its limit is reached.
    fn arm(&self, at: DoorbellAddress) -> io::Result<()>;

    /// Marks the bell for removal; it may ring until the removals are committed.
    fn disarm(&self, at: DoorbellAddress);

    /// Takes all marked bells off at once.
    fn commit_removals(&self);
}

/// Where bells come from.
pub trait Doorbells: Send + Sync {
    /// A bell that hangs nowhere, and what becomes readable when it rings.
    ///
    /// # Errors
    /// When the process has no more descriptors.
    fn make(&self) -> io::Result<(Arc<dyn Doorbell>, OwnedFd)>;
}
