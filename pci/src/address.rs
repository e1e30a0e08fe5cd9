//! Where a function stands on its bus, and which line its interrupt pin leads to.

/// Functions that a bus has room for: 32 devices of 8.
pub(crate) const FUNCTIONS: usize = 256;

/// A device number, 0 to 31, and a function number, 0 to 7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceFunction(u8);

impl DeviceFunction {
    /// `None`: there is no such number.
    #[must_use]
    pub const fn new(device: u8, function: u8) -> Option<Self> {
        if device < 32 && function < 8 {
            Some(Self(device << 3 | function))
        } else {
            None
        }
    }

    /// From the eight bits that the ways of access have for it: device in 7:3, function in 2:0.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Device number.
    #[must_use]
    pub const fn device(self) -> u8 {
        self.0 >> 3
    }

    /// Function number.
    #[must_use]
    pub const fn function(self) -> u8 {
        self.0 & 7
    }

    /// Function 0 of the same device.
    #[must_use]
    pub const fn first(self) -> Self {
        Self(self.0 & !7)
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

impl std::fmt::Display for DeviceFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x}.{}", self.device(), self.function())
    }
}

/// A function's interrupt pin, as its configuration space numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum InterruptPin {
    /// INTA#: the only one of a device with one function.
    A = 1,
    /// INTB#.
    B = 2,
    /// INTC#.
    C = 3,
    /// INTD#.
    D = 4,
}

impl InterruptPin {
    /// From the interrupt pin register; `None`: the function has none.
    #[must_use]
    pub const fn from_register(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::A),
            2 => Some(Self::B),
            3 => Some(Self::C),
            4 => Some(Self::D),
            _ => None,
        }
    }
}

/// Which of a board's four lines (0 to 3) a pin of a device leads to: (device + pin - 1) mod 4, the custom of
/// PC boards and the rule of PCI-to-PCI bridges, so that devices with one function each use all four.
#[must_use]
pub const fn swizzle(device: u8, pin: InterruptPin) -> usize {
    (device as usize + pin as usize - 1) % 4
}
