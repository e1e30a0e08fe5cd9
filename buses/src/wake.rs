//! Descriptors on the host that a chip waits for: a socket, a tap, the completions of a disk, a doorbell.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::shell::Shell;

/// What a chip found that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It hears of all that there is for it to do, so there is no need to look.
    Told,
    /// Nothing.
    Nothing,
    /// There was something, which it did.
    Found,
}

/// A chip that has work to do when its back-end has: packets, completions, input.
pub trait Wake: Send {
    /// Does what can be done without waiting, but no more than a fair share of it; true when more is left
    /// and the chip wants to be woken again at once.
    fn wake(&mut self) -> bool;

    /// Whether it pays to [`look`](Self::look) at it: its driver need not ring then.
    fn is_rung(&self) -> bool {
        false
    }

    /// Does the same without having been told that there is something. Its driver need not ring from now on, for the
    /// chip is looked at again at once; except after the `last` look: if that finds nothing, the driver rings again.
    fn look(&mut self, last: bool) -> Look {
        let _nobody_is_spared = last;
        Look::Told
    }
}

/// A chip in its shell, as an event loop calls it.
pub trait Woken: Send + Sync {
    /// See [`Wake::wake`].
    fn wake(&self) -> bool;

    /// See [`Wake::is_rung`].
    fn is_rung(&self) -> bool;

    /// See [`Wake::look`].
    fn look(&self, last: bool) -> Look;
}

impl<D: Wake> Woken for Shell<D> {
    fn wake(&self) -> bool {
        self.with(D::wake)
    }

    fn is_rung(&self) -> bool {
        self.with(|chip| chip.is_rung())
    }

    fn look(&self, last: bool) -> Look {
        self.with(|chip| chip.look(last))
    }
}

/// Work of a back-end that may wait for the host. It is done on the event loop's thread, but outside of the chip and
/// its lock: no vCPU waits for it.
pub trait Work: Send {
    /// Does a share of what the chip has left for it; true when there was anything. The chip is woken or looked at
    /// after that.
    fn work(&mut self) -> bool;
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
    /// What is done besides, each time when the chip had its turn.
    pub work: Option<Box<dyn Work>>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}
