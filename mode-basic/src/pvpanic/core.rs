//! The device as a value.

use super::regs::Events;

/// pvpanic: it remembers nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PvPanic;

impl PvPanic {
    /// The events that it supports.
    #[must_use]
    pub const fn read(self) -> u8 {
        Events::new().with_panicked(true).into_bits()
    }

    /// The events of a write that are supported; `None` when there are none.
    #[must_use]
    pub const fn write(self, value: u8) -> Option<u8> {
        let events = value & self.read();
        if events == 0 { None } else { Some(events) }
    }
}
