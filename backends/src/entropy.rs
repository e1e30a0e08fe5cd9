//! Random bytes of the host's kernel for a guest.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};
use trivisor_buses::{Entropy, Segment};
use trivisor_memory::GuestRam;

use crate::segments;

/// Bytes of one [`fill`](Entropy::fill) at most: some 200 microseconds of the host's time. A guest that
/// wants more asks again, and a rate limiter can step in between.
pub const MAX_FILL: usize = 64 << 10;

/// Bytes that are made at once, on the stack.
const CHUNK: usize = 4096;

/// `getrandom`, into guest RAM.
#[derive(Debug)]
pub struct HostEntropy(GuestRam);

impl HostEntropy {
    /// For the guest with this RAM.
    #[must_use]
    pub const fn new(ram: GuestRam) -> Self {
        Self(ram)
    }
}

impl Entropy for HostEntropy {
    fn fill(&mut self, into: &[Segment]) -> io::Result<usize> {
        let mut budget = MAX_FILL;
        for segment in into {
            let mut done = 0;
            while done < segment.len && budget > 0 {
                let left = usize::try_from(segment.len - done).map_err(io::Error::other)?;
                let mut chunk = [0; CHUNK];
                let wanted = chunk.len().min(left).min(budget);
                let (part, _) = chunk.split_at_mut(wanted);
                let made = getrandom(&mut *part, GetRandomFlags::NONBLOCK)?;
                let (part, _) = part.split_at(made);
                let rest = Segment {
                    address: segment.address.saturating_add(done.into()),
                    len: segment.len - done,
                };
                segments::fill(&self.0, &[rest], part)?;
                done += u32::try_from(made).map_err(io::Error::other)?;
                budget -= made;
            }
        }
        Ok(MAX_FILL - budget)
    }
}

#[cfg(test)]
mod tests {
    use trivisor_memory::{RamLayout, RamOptions};

    use super::*;

    fn source() -> (GuestRam, HostEntropy) {
        let layout = RamLayout::new(1 << 20).unwrap();
        let ram = GuestRam::new(layout, &RamOptions::default()).unwrap();
        (ram.clone(), HostEntropy::new(ram))
    }

    fn segment(address: u64, len: u32) -> Segment {
        Segment { address, len }
    }

    #[test]
    fn every_segment_is_filled_and_nothing_else() {
        let (ram, mut source) = source();
        ram.start_dirty_log();
        let segments = [
            segment(0x1000, 32),
            segment(0x2000, 0),
            segment(0x3ff0, 5000),
        ];
        assert_eq!(source.fill(&segments).unwrap(), 5032);
        let mut all = vec![0; 0x6000];
        assert!(ram.read(0, &mut all));
        for (range, filled) in [
            (0x0..0x1000, false),
            (0x1000..0x1020, true),
            (0x1020..0x3ff0, false),
            (0x3ff0..0x3ff0 + 5000, true),
            (0x3ff0 + 5000..0x6000, false),
        ] {
            assert_eq!(
                all[range.clone()].iter().any(|byte| *byte != 0),
                filled,
                "{range:x?}"
            );
        }
        assert_eq!(ram.take_dirty()[0].bits[0], 0b11_1010);
    }

    #[test]
    fn one_call_is_bounded() {
        let (ram, mut source) = source();
        let segments = [segment(0, 60_000), segment(0x2_0000, 60_000)];
        assert_eq!(source.fill(&segments).unwrap(), MAX_FILL);
        let mut behind = [1; 100];
        assert!(ram.read(0x2_0000 + (MAX_FILL as u64 - 60_000), &mut behind));
        assert_eq!(behind, [0; 100]);
        assert_eq!(source.fill(&[]).unwrap(), 0);
    }

    #[test]
    fn two_fills_differ() {
        let (ram, mut source) = source();
        assert_eq!(source.fill(&[segment(0, 32)]).unwrap(), 32);
        assert_eq!(source.fill(&[segment(32, 32)]).unwrap(), 32);
        let mut both = [0; 64];
        assert!(ram.read(0, &mut both));
        assert_ne!(both[..32], both[32..]);
    }

    #[test]
    fn what_is_not_ram_is_an_error() {
        let (_ram, mut source) = source();
        for bad in [segment((1 << 20) - 8, 16), segment(u64::MAX - 4, 100)] {
            let error = source.fill(&[segment(0, 8), bad]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }
}
