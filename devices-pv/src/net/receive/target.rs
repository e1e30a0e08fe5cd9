//! Where in guest RAM a frame goes.

use trivisor_buses::Segment;
use trivisor_memory::vm_memory::{GuestAddress, GuestMemoryBackend};
use trivisor_virtio_device::{Chain, Io, QueueError};

use super::{Receiver, SHORT, Shape};

impl Receiver {
    /// Chooses the segments for a frame: those of all buffers that are held; of a short one none. All their bytes, header
    /// included.
    ///
    /// Most of them were chosen for the frame before.
    pub(super) fn choose(&mut self, shape: Shape) -> u64 {
        if self.recent.longest() <= SHORT {
            self.chosen = None;
            self.into.clear();
            self.past = 0;
            return 0;
        }
        if self.chosen != Some(shape) {
            self.into.clear();
            (self.past, self.laid) = (0, 0);
            self.chosen = Some(shape);
        }
        let used = if shape.merge { self.held.len() } else { 1 };
        for chain in self.held.iter().take(used).skip(self.laid) {
            self.into.extend_from_slice(chain.writable());
        }
        self.laid = self.held.len().min(used);
        if !shape.has_header {
            self.skip_header(shape.header_len());
        }
        if shape.merge {
            return self.bytes;
        }
        self.held.front().map_or(0, Chain::writable_len)
    }

    /// The header is not the cable's.
    fn skip_header(&mut self, len: u64) {
        self.chosen = None;
        let mut skip = len;
        let whole = self.into.iter().take_while(|segment| {
            let fits = u64::from(segment.len) <= skip;
            skip -= if fits { segment.len.into() } else { 0 };
            fits
        });
        self.past = whole.count();
        if let Some(segment) = self.into.get_mut(self.past) {
            segment.address = segment.address.saturating_add(skip);
            // Less than the length.
            segment.len -= u32::try_from(skip).unwrap_or(0);
        }
    }

    pub(super) fn target(&self) -> &[Segment] {
        self.into.get(self.past..).unwrap_or_default()
    }

    /// The `count` oldest buffers are no longer held.
    pub(super) fn forget_segments(&mut self, count: usize) {
        if self.chosen.is_none() {
            return;
        }
        self.past += self
            .held
            .iter()
            .take(count.min(self.laid))
            .map(|chain| chain.writable().len())
            .sum::<usize>();
        self.laid = self.laid.saturating_sub(count);
        if self.past > self.half {
            self.into.drain(..self.past.min(self.into.len()));
            self.past = 0;
        }
    }

    /// The error of a driver whose buffers are not RAM.
    pub(super) fn outside_of_ram(&self, io: &Io<'_>) -> Option<QueueError> {
        let memory = io.ram().memory();
        let wrong = self.target().iter().find(|segment| {
            let len = usize::try_from(segment.len);
            !len.is_ok_and(|len| memory.check_range(GuestAddress(segment.address), len))
        });
        wrong.map(|segment| QueueError::NotRam {
            what: "a receive buffer",
            address: segment.address,
        })
    }
}
