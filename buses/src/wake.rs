//! Descriptors on the host that a chip waits for: a socket, a tap, the completions of a disk.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::shell::Shell;

/// A chip that has work to do when its back-end has: packets, completions, input.
pub trait Wake: Send {
    /// Does what can be done without waiting, but no more than a fair share of it; true when more is left
    /// and the chip wants to be woken again at once.
    fn wake(&mut self) -> bool;
}

/// A chip in its shell, as an event loop calls it.
pub trait Woken: Send + Sync {
    /// See [`Wake::wake`].
    fn wake(&self) -> bool;
}

impl<D: Wake> Woken for Shell<D> {
    fn wake(&self) -> bool {
        self.with(D::wake)
    }
}

/// A descriptor with the chip that it wakes.
///
/// An event loop watches it for reading and writing, edge-triggered: the chip takes and gives until the
/// back-end would block, and is woken by the next change.
pub struct Source {
    /// What is watched.
    pub fd: OwnedFd,
    /// Who is woken.
    pub chip: Arc<dyn Woken>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}
