//! Where RAM lies in the guest's physical address space.

use crate::ram::RamError;

/// Bytes of a page.
pub const PAGE_SIZE: u64 = 4096;

/// First address of the hole below 4 GiB, in which devices live: 3 GiB.
pub const HOLE_START: u64 = 0xc000_0000;

/// First address behind the hole: 4 GiB.
pub const HOLE_END: u64 = 0x1_0000_0000;

/// The least RAM: what real mode can address.
const MIN: u64 = 1 << 20;

/// A run of RAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RamRange {
    /// First guest-physical address.
    pub start: u64,
    /// Bytes.
    pub size: u64,
}

/// RAM from address 0, with a hole from 3 to 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RamLayout {
    size: u64,
}

impl RamLayout {
    /// Lays out `size` bytes.
    ///
    /// # Errors
    /// When `size` is below 1 MiB or no multiple of 4 KiB.
    pub const fn new(size: u64) -> Result<Self, RamError> {
        if size < MIN {
            return Err(RamError::TooSmall { size, min: MIN });
        }
        if !size.is_multiple_of(PAGE_SIZE) {
            return Err(RamError::Unaligned {
                size,
                page: PAGE_SIZE,
            });
        }
        Ok(Self { size })
    }

    /// Bytes of RAM.
    #[must_use]
    pub const fn size(self) -> u64 {
        self.size
    }

    /// RAM below the hole.
    #[must_use]
    pub const fn low(self) -> RamRange {
        let size = if self.size < HOLE_START {
            self.size
        } else {
            HOLE_START
        };
        RamRange { start: 0, size }
    }

    /// RAM above the hole, if there is any.
    #[must_use]
    pub const fn high(self) -> Option<RamRange> {
        match self.size.checked_sub(HOLE_START) {
            None | Some(0) => None,
            Some(size) => Some(RamRange {
                start: HOLE_END,
                size,
            }),
        }
    }

    /// The runs of RAM, lowest first.
    pub fn ranges(self) -> impl Iterator<Item = RamRange> {
        std::iter::once(self.low()).chain(self.high())
    }

    /// Whether `len` bytes at `address` are all RAM, without a hole.
    #[must_use]
    pub fn contains(self, address: u64, len: u64) -> bool {
        self.ranges().any(|range| {
            let rest = address
                .checked_sub(range.start)
                .and_then(|at| range.size.checked_sub(at));
            rest.is_some_and(|rest| len <= rest)
        })
    }

    /// The first address above 4 GiB that is not RAM.
    #[must_use]
    pub fn end(self) -> u64 {
        self.high().map_or(HOLE_END, |high| high.start + high.size)
    }
}
