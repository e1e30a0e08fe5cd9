//! Base address registers (PCI 3.0, 6.2.5.1): what a function wants, and where the guest has put it.

use crate::regs::offset;

/// Base address registers of a header of type 0.
pub const BARS: u8 = 6;

/// What a base address register asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarKind {
    /// I/O ports.
    Io,
    /// Memory below 4 GiB.
    Memory32,
    /// Memory anywhere; takes the next register as well.
    Memory64,
}

/// A base address register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    pub(crate) kind: BarKind,
    pub(crate) prefetchable: bool,
    pub(crate) size: u64,
}

impl Bar {
    /// `size` ports, a power of two from 4 on.
    #[must_use]
    pub const fn io(size: u32) -> Self {
        Self::new(BarKind::Io, size as u64)
    }

    /// `size` bytes of memory below 4 GiB, a power of two from 16 on.
    #[must_use]
    pub const fn memory32(size: u32) -> Self {
        Self::new(BarKind::Memory32, size as u64)
    }

    /// `size` bytes of memory anywhere, a power of two from 16 on.
    #[must_use]
    pub const fn memory64(size: u64) -> Self {
        Self::new(BarKind::Memory64, size)
    }

    const fn new(kind: BarKind, size: u64) -> Self {
        Self {
            kind,
            prefetchable: false,
            size,
        }
    }

    /// Memory whose reads have no effects.
    #[must_use]
    pub const fn prefetchable(mut self) -> Self {
        self.prefetchable = true;
        self
    }

    /// What it asks for.
    #[must_use]
    pub const fn kind(self) -> BarKind {
        self.kind
    }

    /// Bytes or ports.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.size
    }

    /// Where it answers.
    #[must_use]
    pub const fn space(self) -> BarSpace {
        match self.kind {
            BarKind::Io => BarSpace::Ports,
            BarKind::Memory32 | BarKind::Memory64 => BarSpace::Memory,
        }
    }

    pub(crate) const fn size_is_valid(self) -> bool {
        let least = match self.kind {
            BarKind::Io => 4,
            BarKind::Memory32 | BarKind::Memory64 => 16,
        };
        self.size.is_power_of_two() && self.size >= least
    }

    /// Registers that it takes.
    pub(crate) const fn registers(self) -> u8 {
        match self.kind {
            BarKind::Io | BarKind::Memory32 => 1,
            BarKind::Memory64 => 2,
        }
    }

    /// The bits that tell its kind.
    pub(crate) const fn type_bits(self) -> u64 {
        let kind = match self.kind {
            BarKind::Io => 0b001,
            BarKind::Memory32 => 0b000,
            BarKind::Memory64 => 0b100,
        };
        kind | (self.prefetchable as u64) << 3
    }

    /// The bits that hold the address: what is left when a guest writes all ones to learn the size.
    pub(crate) const fn address_bits(self) -> u64 {
        !(self.size - 1)
    }
}

/// An address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BarSpace {
    /// I/O ports.
    Ports,
    /// Guest-physical memory.
    Memory,
}

/// Where a base address register answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarWindow {
    /// In which space.
    pub space: BarSpace,
    /// First address; never 0, which stands for "not assigned".
    pub base: u64,
    /// Addresses.
    pub size: u64,
}

impl BarWindow {
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        // A base is a multiple of its size, so the last address exists.
        let last = |window: &Self| window.base.saturating_add(window.size - 1);
        self.space == other.space && self.base <= last(other) && other.base <= last(self)
    }
}

/// The base address registers of a function.
pub(crate) type Bars = [Option<Bar>; BARS as usize];

/// The offset in configuration space of register `index`.
pub(crate) const fn register(index: u8) -> u8 {
    offset::BAR0 + index * 4
}
