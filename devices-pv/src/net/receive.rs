//! Frames from a cable into the buffers of a receive queue: virtio 1.3, 5.1.6.3 and 5.1.6.4.
//!
//! Where a frame goes is settled before it is there: buffers are popped until they hold the longest frame that may
//! come, and the cable puts the frame into all of them at once. Those that it did not reach are kept for the next one.

use std::collections::VecDeque;
use std::io::ErrorKind;

use trivisor_buses::{Packets, Segment};
use trivisor_memory::vm_memory::{GuestAddress, GuestMemoryBackend};
use trivisor_virtio_device::{Chain, Io, QueueError};

use super::NetCounters;
use super::regs::{GSO_ECN, GSO_TYPE, HEADER_LEN, NUM_BUFFERS};

/// Errors of a cable in a row after which it is left alone until the next wake-up. One may be the fault of one frame.
const ERRORS_IN_A_ROW: u32 = 4;

/// Buffers that the driver is let see at once, so that it goes on while more frames come.
const PUBLISHED: usize = 32;

/// What frames look like, by what was negotiated and what the cable can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// A frame may be spread over several buffers.
    pub(super) merge: bool,
    /// The cable puts a virtio-net header in front.
    pub(super) has_header: bool,
    /// Bytes of that header, or of the one that the driver gets.
    pub(super) header: u8,
    /// Bytes of the longest frame that the guest takes, without a header.
    pub(super) longest: u64,
    /// Bytes of the longest frame of which nobody will cut segments.
    pub(super) longest_whole: u64,
}

impl Shape {
    /// Bytes of the longest frame with its header.
    fn most(&self) -> u64 {
        self.header_len() + self.longest
    }

    fn header_len(&self) -> u64 {
        self.header.into()
    }
}

/// Why no more is received for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// The cable has nothing.
    Empty,
    /// The driver has to add buffers first, and will ring when it does.
    Starved,
    /// As many frames as were asked for have come.
    Enough,
}

/// A receive queue.
#[derive(Debug)]
pub(super) struct Receiver {
    queue: u16,
    /// Half of the queue.
    half: usize,
    /// Popped and not used yet, in order.
    held: VecDeque<Chain>,
    /// Bytes that they can hold.
    bytes: u64,
    /// Buffers that were published and did not return; at least so many.
    owed: usize,
    /// There may be frames that wait for buffers.
    pub(super) hungry: bool,
    /// Buffers that were pushed in this turn, ...
    pushed: usize,
    /// ... and those of them that the driver has been let see.
    published: usize,
    // Kept so that nothing is allocated.
    spare: Vec<Chain>,
    into: Vec<Segment>,
    /// Segments at the front of `into` that belong to buffers no longer held.
    past: usize,
    /// Buffers from the oldest held one on whose segments are in `into` behind those, ...
    laid: usize,
    /// ... for frames of this shape, if any are.
    chosen: Option<Shape>,
}

impl Receiver {
    pub(super) fn new(queue: u16, size: u16) -> Self {
        Self {
            queue,
            half: usize::from(size) / 2,
            held: VecDeque::new(),
            bytes: 0,
            owed: 0,
            hungry: true,
            pushed: 0,
            published: 0,
            spare: Vec::new(),
            into: Vec::new(),
            past: 0,
            laid: 0,
            chosen: None,
        }
    }

    pub(super) const fn queue(&self) -> u16 {
        self.queue
    }

    /// The driver rang: it added what it had to add.
    pub(super) const fn refilled(&mut self) {
        self.owed = 0;
    }

    /// Receives up to `most` frames.
    pub(super) fn receive(
        &mut self,
        cable: &mut dyn Packets,
        shape: Shape,
        most: u32,
        io: &mut Io<'_>,
        counters: &mut NetCounters,
    ) -> Pause {
        let mut errors = 0;
        for _frame in 0..most {
            if !self.collect(shape, io) {
                return Pause::Starved;
            }
            let total = self.choose(shape);
            match cable.receive(self.target()) {
                Ok(len) => {
                    errors = 0;
                    let len = if shape.has_header {
                        len as u64
                    } else {
                        shape.header_len() + len as u64
                    };
                    self.deliver(len, total, shape, io, counters);
                    if self.pushed >= self.published + PUBLISHED {
                        self.published = self.pushed;
                        io.publish(self.queue);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Pause::Empty,
                Err(_) => {
                    counters.receive_errors += 1;
                    if let Some(error) = self.outside_of_ram(io) {
                        io.fail(self.queue, error);
                        return Pause::Starved;
                    }
                    errors += 1;
                    if errors == ERRORS_IN_A_ROW {
                        return Pause::Empty;
                    }
                }
            }
        }
        Pause::Enough
    }

    /// Lets the driver see what it got in this turn.
    pub(super) fn publish(&mut self, io: &mut Io<'_>) {
        self.published = 0;
        let pushed = std::mem::take(&mut self.pushed);
        if pushed > 0 {
            // Those that were popped in the same turn were not among those that the driver had before.
            self.owed = self.owed.max(pushed);
            io.publish(self.queue);
        }
    }

    /// Gives all buffers back unused: they are the next ones to be popped.
    pub(super) fn give_back(&mut self, io: &mut Io<'_>) {
        while let Some(chain) = self.held.pop_back() {
            io.unpop(self.queue, &chain);
            self.spare.push(chain);
        }
        self.forget();
    }

    /// As [`give_back`](Self::give_back), where the queue is no more.
    pub(super) fn forget(&mut self) {
        self.spare.extend(self.held.drain(..));
        self.chosen = None;
        self.bytes = 0;
        self.owed = 0;
        self.hungry = true;
        (self.pushed, self.published) = (0, 0);
    }

    /// Pops buffers until there are enough for a frame; false when it is better to wait for more.
    fn collect(&mut self, shape: Shape, io: &mut Io<'_>) -> bool {
        loop {
            while !self.has_enough(shape) {
                if !self.pop(shape, io) {
                    break;
                }
            }
            if io.outcome().broken.is_some() {
                return false;
            }
            if self.has_enough(shape) || self.has_some(shape) {
                return true;
            }
            self.hungry = true;
            if !io.want_notifications(self.queue, true) {
                return false;
            }
            io.want_notifications(self.queue, false);
        }
    }

    /// Without merging the second buffer tells frames that are too long for the first from those that just fit.
    fn has_enough(&self, shape: Shape) -> bool {
        if shape.merge {
            self.bytes > shape.most()
        } else {
            self.held.len() >= 2
        }
    }

    /// Most frames are shorter than the longest, so fewer buffers may do. But where most of the queue is with the driver,
    /// it is about to refill it, and waiting for that loses fewer frames. None keeps more than half of the queue empty.
    fn has_some(&self, shape: Shape) -> bool {
        let with_driver = self.owed.max(self.pushed);
        !self.held.is_empty() && (!shape.merge || with_driver <= self.half)
    }

    fn pop(&mut self, shape: Shape, io: &mut Io<'_>) -> bool {
        let mut chain = self.spare.pop().unwrap_or_default();
        if !io.pop(self.queue, &mut chain) {
            self.spare.push(chain);
            return false;
        }
        let len = chain.writable_len();
        if len < shape.header_len() {
            let (id, wanted) = (chain.id(), shape.header_len());
            io.fail(self.queue, QueueError::Short { id, len, wanted });
            self.spare.push(chain);
            return false;
        }
        self.owed = self.owed.saturating_sub(1);
        self.bytes += len;
        self.held.push_back(chain);
        true
    }

    /// Chooses the segments for a frame: those of all buffers that are held. All their bytes, header included.
    ///
    /// Most of them were chosen for the frame before.
    fn choose(&mut self, shape: Shape) -> u64 {
        if self.chosen != Some(shape) {
            self.into.clear();
            (self.past, self.laid) = (0, 0);
            self.chosen = Some(shape);
        }
        for chain in self.held.iter().skip(self.laid) {
            self.into.extend_from_slice(chain.writable());
        }
        self.laid = self.held.len();
        if !shape.has_header {
            self.skip_header(shape.header_len());
        }
        self.bytes
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

    fn target(&self) -> &[Segment] {
        self.into.get(self.past..).unwrap_or_default()
    }

    /// The `count` oldest buffers are no longer held.
    fn forget_segments(&mut self, count: usize) {
        self.past += self
            .held
            .iter()
            .take(count)
            .map(|chain| chain.writable().len())
            .sum::<usize>();
        self.laid = self.laid.saturating_sub(count);
        if self.past > self.half {
            self.into.drain(..self.past.min(self.into.len()));
            self.past = 0;
        }
    }

    /// Gives the driver a frame that has `len` bytes with its header, for which there were `total`.
    fn deliver(
        &mut self,
        len: u64,
        total: u64,
        shape: Shape,
        io: &mut Io<'_>,
        counters: &mut NetCounters,
    ) {
        let room = match self.held.front() {
            // What fills all that there is was cut off, or might have been.
            Some(_) if shape.merge => total.saturating_sub(1),
            Some(first) => first.writable_len().min(shape.most()),
            None => 0,
        };
        let is_long = len > shape.header_len() + shape.longest_whole;
        let is_wrong = len <= shape.header_len() || len > room.min(shape.most());
        if is_wrong || is_long && !self.is_segmented(shape, io) {
            counters.receive_dropped += 1;
            return;
        }
        let (mut buffers, mut rest) = (0_u16, len);
        for chain in &self.held {
            if rest == 0 {
                break;
            }
            rest -= rest.min(chain.writable_len());
            buffers += 1;
        }
        if let Err(error) = self.write_header(buffers, shape, io) {
            io.fail(self.queue, error);
            return;
        }
        self.forget_segments(buffers.into());
        let mut rest = len;
        for chain in self.held.drain(..usize::from(buffers)) {
            let written = rest.min(chain.writable_len());
            rest -= written;
            self.bytes -= chain.writable_len();
            io.push(
                self.queue,
                chain.id(),
                u32::try_from(written).unwrap_or(u32::MAX),
            );
            self.spare.push(chain);
        }
        self.owed += usize::from(buffers);
        self.pushed += usize::from(buffers);
        counters.received += 1;
    }

    /// Whether the header says that the frame is to be cut into segments.
    fn is_segmented(&self, shape: Shape, io: &Io<'_>) -> bool {
        let mut skip = GSO_TYPE;
        let holds = self.target().iter().find(|segment| {
            let here = skip < segment.len;
            skip = if here { skip } else { skip - segment.len };
            here
        });
        let mut gso_type = [0];
        shape.has_header
            && holds.is_some_and(|segment| {
                io.ram()
                    .read(segment.address.saturating_add(skip.into()), &mut gso_type)
                    && gso_type != [0]
                    && gso_type != [GSO_ECN]
            })
    }

    fn write_header(&self, buffers: u16, shape: Shape, io: &Io<'_>) -> Result<(), QueueError> {
        let Some(first) = self.held.front() else {
            return Ok(());
        };
        let [low, high] = buffers.to_le_bytes();
        let header = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, low, high];
        match (shape.has_header, shape.header) {
            (true, HEADER_LEN) => first.write(io.ram(), NUM_BUFFERS, &[low, high]),
            (true, _) => Ok(()),
            (false, len) => {
                let header = header.split_at(header.len().min(len.into())).0;
                first.write(io.ram(), 0, header)
            }
        }
    }

    /// The error of a driver whose buffers are not RAM.
    fn outside_of_ram(&self, io: &Io<'_>) -> Option<QueueError> {
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
