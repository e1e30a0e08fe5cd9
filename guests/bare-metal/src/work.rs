//! The loops that are measured, on one processor or on several at once.

use core::hint::black_box;

use crate::memory;
use crate::port;
use crate::ring0;

/// A loop and its two numbers.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Port, count: byte writes from ring 3.
    Ports(u16, u64),
    /// Port, count: byte writes from ring 0.
    PortsOfRing0(u16, u64),
    /// Address, count: 32-bit reads.
    MmioReads(u64, u64),
    /// Address, count: 32-bit writes of 0.
    MmioWrites(u64, u64),
    /// Address, length: the sum of the range.
    Sum(u64, u64),
}

impl Work {
    /// Three words for another processor.
    pub fn to_words(self) -> [u64; 3] {
        match self {
            Self::Ports(port, count) => [0, u64::from(port), count],
            Self::PortsOfRing0(port, count) => [1, u64::from(port), count],
            Self::MmioReads(address, count) => [2, address, count],
            Self::MmioWrites(address, count) => [3, address, count],
            Self::Sum(address, length) => [4, address, length],
        }
    }

    /// Back from [`Work::to_words`].
    pub fn from_words([kind, first, second]: [u64; 3]) -> Option<Self> {
        match kind {
            0 => Some(Self::Ports(u16::try_from(first).ok()?, second)),
            1 => Some(Self::PortsOfRing0(u16::try_from(first).ok()?, second)),
            2 => Some(Self::MmioReads(first, second)),
            3 => Some(Self::MmioWrites(first, second)),
            4 => Some(Self::Sum(first, second)),
            _ => None,
        }
    }

    /// Runs it.
    pub fn run(self) {
        match self {
            Self::Ports(port, count) => (0..count).for_each(|_| port::write_u8(port, 0)),
            Self::PortsOfRing0(port, count) => ring0::write_port(port, count),
            Self::MmioReads(address, count) => (0..count).for_each(|_| {
                black_box(memory::read(address, 4));
            }),
            Self::MmioWrites(address, count) => {
                (0..count).for_each(|_| memory::write(address, 4, 0))
            }
            Self::Sum(address, length) => {
                black_box(memory::sum(address, length));
            }
        }
    }
}
