//! Frames in memory of ours: short ones, and what the driver's buffers had no room for.

use std::ops::Range;

use trivisor_buses::Segment;
use trivisor_memory::GuestRam;

/// Frames after which the longest of them is forgotten, or twice as many. So many copies of a list of 44 buffers cost the
/// host as much as the copy of a frame of 64 KiB, which is what a wrong guess costs.
const WINDOW: u32 = 32;

/// How often in a row a driver is looked at in vain for a frame that waits. One that can add buffers has done so by then.
const VAIN: u32 = 256;

/// How long the last frames were.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Bytes of the longest one in this window, and in the one before.
    longest: [u64; 2],
    frames: u32,
}

impl Recent {
    /// A frame of `len` bytes has come.
    pub(super) fn note(&mut self, len: u64) {
        let [this, before] = self.longest;
        self.longest = [this.max(len), before];
        self.frames += 1;
        if self.frames == WINDOW {
            self.longest = [0, this.max(len)];
            self.frames = 0;
        }
    }

    /// Bytes of the longest one.
    pub(super) fn longest(&self) -> u64 {
        let [this, before] = self.longest;
        this.max(before)
    }
}

/// A frame that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Its bytes, with a header in front.
    pub(super) len: u64,
    /// Those of them for which the buffers that are held had room; the others are in our memory, at their place.
    pub(super) direct: u64,
    /// How often in a row the driver was looked at in vain.
    vain: u32,
}

impl Frame {
    pub(super) const fn new(len: u64, direct: u64) -> Self {
        Self {
            len,
            direct,
            vain: 0,
        }
    }

    /// Goes on waiting for buffers, some of which `came`; false when that makes no sense any more.
    pub(super) const fn waits(&mut self, came: bool) -> bool {
        self.vain = if came { 0 } else { self.vain + 1 };
        self.vain <= VAIN
    }
}

/// Memory for one frame. It is there from the first use on.
#[derive(Debug, Default)]
pub(super) struct OwnMemory {
    bytes: Vec<u8>,
}

impl OwnMemory {
    /// From `start` on, with room for what is longer than `most` by a byte, so that it is seen.
    pub(super) fn rest(&mut self, start: u64, most: u64) -> &mut [u8] {
        let len = index(most) + 1;
        if self.bytes.len() < len {
            self.bytes = vec![0; len];
        }
        let end = self.bytes.len();
        self.bytes
            .get_mut(index(start).min(end)..)
            .unwrap_or_default()
    }

    /// A part of it, as far as there is one.
    pub(super) fn bytes(&self, part: Range<u64>) -> &[u8] {
        self.bytes
            .get(index(part.start)..index(part.end))
            .unwrap_or_default()
    }

    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        let end = index(at).saturating_add(bytes.len());
        if let Some(place) = self.bytes.get_mut(index(at)..end) {
            place.copy_from_slice(bytes);
        }
    }

    /// Holds a frame that was saved.
    pub(super) fn hold(&mut self, frame: &[u8]) -> Frame {
        self.bytes = frame.to_vec();
        Frame::new(frame.len() as u64, 0)
    }

    /// Reads back what went into `segments`, so that all of `frame` is here. What was no RAM could not have come from there.
    pub(super) fn take_back<'a>(
        &mut self,
        frame: &mut Frame,
        segments: impl Iterator<Item = &'a Segment>,
        ram: &GuestRam,
    ) {
        let end = index(frame.direct.min(frame.len));
        let mut rest = self.bytes.get_mut(..end).unwrap_or_default();
        for segment in segments {
            let len = rest.len().min(index(segment.len.into()));
            let (part, behind) = rest.split_at_mut(len);
            ram.read(segment.address, part);
            rest = behind;
        }
        frame.direct = 0;
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
