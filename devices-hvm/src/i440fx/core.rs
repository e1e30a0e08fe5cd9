//! The attribute map as a value: register contents in, runs of addresses out.

use trivisor_buses::{Responder, ShadowRun};

use super::regs::{Attributes, PAMS};

/// First address of the segments.
pub const AREA: u64 = 0xc_0000;
/// Bytes of all segments together.
pub const AREA_SIZE: u64 = 0x4_0000;

/// Bytes of each segment but the last.
const SEGMENT: u64 = 0x4000;
/// Segments: twelve of 16 KiB from 0xc0000 on, and one of 64 KiB from 0xf0000 on.
const SEGMENTS: usize = 13;

/// The segments' attributes, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttributeMap([Attributes; SEGMENTS]);

impl AttributeMap {
    /// As PAM0 to PAM6 say.
    #[must_use]
    pub fn new(pam: [u8; PAMS]) -> Self {
        let [last, rest @ ..] = pam;
        let halves = rest.iter().flat_map(|pam| [pam & 0xf, pam >> 4]);
        let mut all = halves.chain([last >> 4]);
        Self([(); SEGMENTS].map(|()| Attributes::from_bits(all.next().unwrap_or_default() & 3)))
    }

    /// The attributes of the segment at `offset` in the area.
    #[must_use]
    pub fn at(&self, offset: u64) -> Attributes {
        let segment = usize::try_from(offset / SEGMENT).unwrap_or(SEGMENTS);
        self.0
            .get(segment.min(SEGMENTS - 1))
            .copied()
            .unwrap_or_default()
    }

    /// Who answers where, neighbours of one kind as one run.
    #[must_use]
    pub fn runs(&self) -> Vec<ShadowRun> {
        let responder = |ram| {
            if ram { Responder::Ram } else { Responder::Bus }
        };
        let mut runs: Vec<ShadowRun> = Vec::new();
        for (start, attributes) in (AREA..).step_by(0x4000).zip(self.0) {
            let size = if start == 0xf_0000 { 0x1_0000 } else { SEGMENT };
            let (read, write) = (responder(attributes.re()), responder(attributes.we()));
            match runs.last_mut() {
                Some(last) if (last.read, last.write) == (read, write) => last.size += size,
                _ => runs.push(ShadowRun {
                    start,
                    size,
                    read,
                    write,
                }),
            }
        }
        runs
    }
}
