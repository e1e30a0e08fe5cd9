//! What stands behind a balloon: a host that takes memory back.

use trivisor_memory::GuestRam;

use crate::segment::Segment;

/// Takes guest RAM back. The guest finds zeros in it afterwards.
pub trait Reclaim: Send {
    /// Gives the pages of `segments` back to the host; how many bytes went. What is not RAM, no whole page, or refused
    /// by the host stays as it is. Each segment costs the host a call: adjacent ones are merged by the caller.
    fn give_back(&mut self, segments: &[Segment]) -> u64;
}

impl Reclaim for GuestRam {
    fn give_back(&mut self, segments: &[Segment]) -> u64 {
        segments
            .iter()
            .filter_map(|segment| self.discard(segment.address, segment.len.into()).ok())
            .sum()
    }
}
