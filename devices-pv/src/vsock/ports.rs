//! The ports at which the guest sees programs that asked for a stream.

use std::ops::Range;

/// All of them: as Firecracker numbers them, far from those that a service of the host is given.
pub(super) const PORTS: Range<u32> = 1 << 30..1 << 31;

/// Numbers them in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) next: u32,
}

impl Ports {
    pub(super) const fn new() -> Self {
        Self { next: PORTS.start }
    }

    /// The next one that is not taken. There are many more ports than connections, so it ends.
    pub(super) fn allocate(&mut self, is_taken: impl Fn(u32) -> bool) -> u32 {
        loop {
            let port = self.next;
            let following = port + 1;
            self.next = if PORTS.contains(&following) {
                following
            } else {
                PORTS.start
            };
            if !is_taken(port) {
                return port;
            }
        }
    }
}
