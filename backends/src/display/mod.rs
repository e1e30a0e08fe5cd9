//! What a screen shows, kept: a picture with the rows that changed, and its ways out.

mod png;

#[cfg(test)]
mod tests;

use std::ops::Range;

use trivisor_buses::FrameSink;
use trivisor_buses::screen::{MAX_HEIGHT, MAX_WIDTH};

pub use self::png::{PictureError, encode};

/// The latest picture of a screen: at most 15 MiB, and none before somebody looked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FrameBuffer {
    width: u32,
    height: u32,
    /// Three bytes a pixel, row by row.
    pixels: Vec<u8>,
    /// The rows that are others than when they were last taken.
    dirty: Vec<bool>,
}

impl FrameBuffer {
    /// Width and height.
    #[must_use]
    pub const fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Three bytes a pixel, red first, row by row.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The rows that have changed since the last call, as runs from the top; all of them after a change of size.
    pub fn take_dirty(&mut self) -> Vec<Range<u32>> {
        let mut runs: Vec<Range<u32>> = Vec::new();
        for (row, dirty) in (0..).zip(&mut self.dirty) {
            if !std::mem::take(dirty) {
                continue;
            }
            match runs.last_mut() {
                Some(run) if run.end == row => run.end += 1,
                _ => runs.push(row..row + 1),
            }
        }
        runs
    }

    fn row_bytes(&self) -> usize {
        to_usize(self.width) * 3
    }
}

impl FrameSink for FrameBuffer {
    fn set_size(&mut self, width: u32, height: u32) {
        let (width, height) = (width.min(MAX_WIDTH), height.min(MAX_HEIGHT));
        if (width, height) == (self.width, self.height) {
            return;
        }
        (self.width, self.height) = (width, height);
        self.pixels.clear();
        self.pixels.resize(self.row_bytes() * to_usize(height), 0);
        self.dirty.clear();
        self.dirty.resize(to_usize(height), true);
    }

    fn row(&mut self, y: u32, rgb: &[u8]) {
        let (y, len) = (to_usize(y), self.row_bytes());
        let kept = self.pixels.get_mut(y.saturating_mul(len)..);
        let kept = kept.and_then(|kept| kept.get_mut(..len));
        if let (Some(kept), Some(rgb), Some(dirty)) = (kept, rgb.get(..len), self.dirty.get_mut(y))
            && kept != rgb
        {
            kept.copy_from_slice(rgb);
            *dirty = true;
        }
    }
}

/// Sizes of pictures are small.
fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
