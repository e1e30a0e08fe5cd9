//! Runs of guest RAM: what devices hand to back-ends, so that data moves without a copy of its own.

/// A run of guest RAM that data comes from or goes to. Whoever moves the data checks that it is RAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Segment {
    /// Guest-physical address.
    pub address: u64,
    /// Bytes.
    pub len: u32,
}

impl Segment {
    /// Bytes of all `segments` together.
    #[must_use]
    pub fn total(segments: &[Self]) -> u64 {
        segments.iter().map(|segment| u64::from(segment.len)).sum()
    }
}
