//! Interrupt lines, and every other wire that has two levels (reset, A20, NMI, power good).

use std::sync::{Arc, Mutex, PoisonError};

/// Where a wire ends: a pin of an interrupt controller, or a probe.
pub trait LineEnd: Send + Sync {
    /// The wire's level changed: an edge.
    fn set_level(&self, level: bool);

    /// The wire has this level from now on, without an edge: saved state came back.
    fn restore_level(&self, level: bool);
}

/// The inputs of interrupt controllers that are no chips of the board.
pub trait InterruptPins: Send + Sync {
    /// The end of a wire to interrupt `number`: an ISA interrupt below 16, which both the 8259s and the I/O APIC
    /// see, else a pin of the I/O APIC.
    fn pin(&self, number: u8) -> Arc<dyn LineEnd>;
}

/// A wire: the levels of all its lines, ORed, reach its end.
pub struct Wire {
    end: Arc<dyn LineEnd>,
    /// How many lines are high.
    high: Mutex<u32>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire")
            .field("high", &self.high)
            .finish_non_exhaustive()
    }
}

impl Wire {
    /// A wire with nothing on it yet, low.
    pub fn new(end: Arc<dyn LineEnd>) -> Arc<Self> {
        Arc::new(Self {
            end,
            high: Mutex::new(0),
        })
    }

    /// One more input to the wire, low.
    #[must_use]
    pub fn line(self: &Arc<Self>) -> Line {
        Line {
            wire: Some(Arc::clone(self)),
            level: false,
        }
    }

    fn change(&self, level: bool, tell: impl FnOnce(&dyn LineEnd, bool)) {
        // The lock is held while the end is told, so that two inputs cannot overtake each other.
        let mut high = self.high.lock().unwrap_or_else(PoisonError::into_inner);
        let was = *high > 0;
        *high = if level {
            high.saturating_add(1)
        } else {
            high.saturating_sub(1)
        };
        let is = *high > 0;
        if was != is {
            tell(&*self.end, is);
        }
    }
}

/// A device's end of a [`Wire`]: the device sets its level. Dropped, it is low.
///
/// It is deliberately not `Clone`: who shares a wire asks the board for a line of its own.
#[derive(Debug)]
pub struct Line {
    wire: Option<Arc<Wire>>,
    level: bool,
}

impl Line {
    /// A line that leads nowhere.
    #[must_use]
    pub const fn detached() -> Self {
        Self {
            wire: None,
            level: false,
        }
    }

    /// The level that this line was set to last.
    #[must_use]
    pub const fn level(&self) -> bool {
        self.level
    }

    /// Drives the line.
    pub fn set_level(&mut self, level: bool) {
        self.change(level, |end, level| end.set_level(level));
    }

    /// Up and down again: an edge-triggered interrupt.
    pub fn pulse(&mut self) {
        self.set_level(true);
        self.set_level(false);
    }

    /// Puts a saved level back, without an edge.
    pub fn restore_level(&mut self, level: bool) {
        self.change(level, |end, level| end.restore_level(level));
    }

    fn change(&mut self, level: bool, tell: impl FnOnce(&dyn LineEnd, bool)) {
        if self.level == level {
            return;
        }
        self.level = level;
        if let Some(wire) = &self.wire {
            wire.change(level, tell);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.set_level(false);
    }
}
