//! Places in a packed ring: 2.8.1.

/// The wrap counter's bit, next to an offset of 15 bits.
const WRAP: u16 = 1 << 15;

/// A descriptor of the ring, and on which of two alternating laps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: u16,
    pub(super) wrap: bool,
}

impl Position {
    /// Where both sides begin: the wrap counters start at 1 (2.8.1).
    pub(super) const START: Self = Self {
        offset: 0,
        wrap: true,
    };

    /// As notification data and event suppression have it.
    pub(super) const fn into_bits(self) -> u16 {
        self.offset | if self.wrap { WRAP } else { 0 }
    }

    pub(super) const fn from_bits(bits: u16) -> Self {
        Self {
            offset: bits & !WRAP,
            wrap: bits & WRAP != 0,
        }
    }

    /// `by` descriptors further in a ring of `size`; no more than that.
    pub(super) fn forward(self, by: u16, size: u16) -> Self {
        // Below 2^16: neither is above 2^15.
        let offset = self.offset.wrapping_add(by);
        match offset.checked_sub(size) {
            Some(offset) => Self {
                offset,
                wrap: !self.wrap,
            },
            None => Self { offset, ..self },
        }
    }

    pub(super) fn back(self, by: u16, size: u16) -> Self {
        match self.offset.checked_sub(by) {
            Some(offset) => Self { offset, ..self },
            None => Self {
                offset: self.offset.wrapping_add(size).wrapping_sub(by),
                wrap: !self.wrap,
            },
        }
    }

    /// Descriptors from here to `to`, within two laps.
    pub(super) fn distance(self, to: Self, size: u16) -> u32 {
        let laps = 2 * u32::from(size);
        let line = |at: Self| u32::from(at.offset) + if at.wrap { 0 } else { u32::from(size) };
        (line(to) + laps - line(self)) % laps
    }

    pub(super) const fn is_within(self, size: u16) -> bool {
        self.offset < size
    }
}
