//! The bells at the places where a driver rings.

use std::sync::Arc;

use trivisor_buses::{Doorbell, DoorbellAddress};

/// Where a driver rings for a queue, in the window of the transport's registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Places {
    /// Offset of the first queue's.
    pub(crate) first: u64,
    /// Bytes from one queue's to the next; 0: all ring at the same place.
    pub(crate) step: u64,
}

/// One bell for all queues: who hears it looks which of them has something.
///
/// A bell that hangs rings for nothing while the device is reset, which does no harm; so that bells are removed only when
/// the window moves.
pub(crate) struct Bells {
    bell: Arc<dyn Doorbell>,
    places: Places,
    /// Guest-physical address of the window; `None` while it is nowhere.
    window: Option<u64>,
    hung: Vec<DoorbellAddress>,
}

impl Bells {
    pub(crate) const fn new(bell: Arc<dyn Doorbell>, places: Places) -> Self {
        Self {
            bell,
            places,
            window: None,
            hung: Vec::new(),
        }
    }

    /// Whether there is one that rings.
    pub(crate) const fn any_hung(&self) -> bool {
        !self.hung.is_empty()
    }

    /// Hangs one up for `queue`, unless there is one. Where the host refuses, a notification stays a visit to the
    /// device.
    pub(crate) fn hang(&mut self, queue: u16) {
        let Some(window) = self.window else {
            return;
        };
        let offset = self.places.first + self.places.step * u64::from(queue);
        let at = DoorbellAddress {
            address: window.wrapping_add(offset),
            port: false,
            // Drivers write 2 bytes or 4; and without a value to compare, some hosts need not decode the instruction.
            width: 0,
            value: None,
        };
        if !self.hung.contains(&at) && self.bell.arm(at).is_ok() {
            self.hung.push(at);
        }
    }

    /// The window is there from now on; nothing hangs yet.
    pub(crate) fn move_to(&mut self, window: Option<u64>) {
        if self.window == window {
            return;
        }
        self.window = window;
        if self.any_hung() {
            self.hung.drain(..).for_each(|at| self.bell.disarm(at));
            self.bell.commit_removals();
        }
    }
}
