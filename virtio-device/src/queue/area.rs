//! The parts of a queue and their addresses.

use std::fmt;

/// The parts of a queue, by their names of 2.6. What each holds depends on the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Area {
    /// Descriptor table, or descriptor ring.
    Descriptor = 0,
    /// What the driver writes: available ring, or driver event suppression.
    Driver = 1,
    /// What the device writes: used ring, or device event suppression.
    Device = 2,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Descriptor, Self::Driver, Self::Device];

    pub(super) const fn index(self) -> usize {
        self as usize
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Descriptor => "descriptor area",
            Self::Driver => "driver area",
            Self::Device => "device area",
        }
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Half of an address, as a transport of 32-bit registers writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Bits 0 to 31.
    Low,
    /// Bits 32 to 63.
    High,
}
