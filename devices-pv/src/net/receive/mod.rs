//! Frames from a cable into the buffers of a receive queue: virtio 1.3, 5.1.6.3 and 5.1.6.4.
//!
//! Where a frame goes is settled before it is there, and how long it is not known. Where the last frames were short, it is
//! read into memory of ours and copied to as many buffers as it takes. Else buffers are popped until they hold one as
//! long as the longest of the last frames, and the cable puts the frame into all of them at once, and into our memory what
//! they have no room for; those that it did not reach are kept for the next one.
//!
//! A frame for which there are too few buffers waits for more in our memory, and those behind it in the cable.

mod buffers;
mod own;
mod target;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};

use trivisor_buses::{Packets, Segment};
use trivisor_virtio_device::{Chain, Io, QueueError};

use self::buffers::Collected;
use self::own::{Frame, OwnMemory, Recent};
use super::NetCounters;
use super::regs::{GSO_ECN, GSO_TYPE, HEADER_LEN, NUM_BUFFERS};

/// Errors of a cable in a row after which it is left alone until the next wake-up. One may be the fault of one frame.
const ERRORS_IN_A_ROW: u32 = 4;

/// Buffers that the driver is let see at once, so that it goes on while more frames come.
const PUBLISHED: usize = 32;

/// Bytes of a frame, with its header, that are copied for less than a list of buffers costs.
const SHORT: u64 = 4096;

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
    pub(super) fn most(&self) -> u64 {
        self.header_len() + self.longest
    }

    /// Where the cable's part of a frame begins.
    fn front(&self) -> u64 {
        if self.has_header {
            0
        } else {
            self.header_len()
        }
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
    /// Buffers that were published and did not return before the driver rang; at least so many.
    owed: usize,
    /// The same, those of a driver that rings for each few included: a frame is not lost while it has some left.
    lent: usize,
    /// There may be frames that wait for buffers.
    pub(super) hungry: bool,
    own: OwnMemory,
    /// The frame in it that waits for buffers.
    waiting: Option<Frame>,
    recent: Recent,
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
            lent: 0,
            hungry: true,
            own: OwnMemory::default(),
            waiting: None,
            recent: Recent::default(),
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

    /// The driver rang: it added what it had to add, or some of it.
    pub(super) const fn refilled(&mut self) {
        self.owed = 0;
    }

    /// The frame that waits for buffers, with a header.
    pub(super) fn waiting(&self) -> Option<&[u8]> {
        // No buffers are held where this is asked for, so all of it is here.
        let frame = self.waiting.as_ref()?;
        Some(self.own.bytes(0..frame.len))
    }

    /// Puts such a frame back.
    pub(super) fn put_back(&mut self, frame: Option<&[u8]>) {
        self.waiting = frame.map(|frame| self.own.hold(frame));
        self.forget();
    }

    /// Loses it; true when there was one.
    pub(super) const fn lose_waiting(&mut self) -> bool {
        self.waiting.take().is_some()
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
            if self.waiting.is_some() && !self.go_on(shape, io, counters) {
                return Pause::Starved;
            }
            let wanted = self.wanted(shape);
            if self.collect(wanted, self.owed, shape, io) == Collected::Starved {
                return Pause::Starved;
            }
            let direct = self.choose(shape);
            match self.read(cable, direct, shape) {
                Ok(len) => {
                    errors = 0;
                    if !self.take(Frame::new(len, direct), shape, io, counters) {
                        return Pause::Starved;
                    }
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

    /// Reads a frame, its first `direct` bytes into buffers; its bytes with the header.
    fn read(&mut self, cable: &mut dyn Packets, direct: u64, shape: Shape) -> io::Result<u64> {
        let into = match direct {
            0 => &[],
            _ => self.into.get(self.past..).unwrap_or_default(),
        };
        let front = shape.front();
        let rest = self.own.rest(direct.max(front), shape.most());
        Ok(front + cable.receive(into, rest)? as u64)
    }

    /// A frame has come; false when it waits.
    fn take(
        &mut self,
        frame: Frame,
        shape: Shape,
        io: &mut Io<'_>,
        counters: &mut NetCounters,
    ) -> bool {
        let is_long = frame.len > shape.header_len() + shape.longest_whole;
        let is_wrong = frame.len <= shape.header_len() || frame.len > shape.most();
        if is_wrong || is_long && !self.is_segmented(&frame, shape, io) {
            counters.receive_dropped += 1;
            return true;
        }
        self.recent.note(frame.len);
        self.waiting = Some(frame);
        self.go_on(shape, io, counters)
    }

    /// Gives the driver the frame that waits, or loses it; false when it still waits.
    fn go_on(&mut self, shape: Shape, io: &mut Io<'_>, counters: &mut NetCounters) -> bool {
        let Some(mut frame) = self.waiting.take() else {
            return true;
        };
        let before = self.held.len();
        let collected = self.collect(frame.len, self.lent, shape, io);
        let first = self.held.front().map_or(0, Chain::writable_len);
        match collected {
            Collected::Enough if shape.merge || frame.len <= first => {
                self.deliver(&frame, shape, io, counters);
                true
            }
            Collected::Starved if frame.waits(self.held.len() > before) => {
                self.waiting = Some(frame);
                false
            }
            _ => {
                // Whatever was believed of the driver, the frames behind are not to wait for it.
                (self.owed, self.lent) = (0, 0);
                counters.receive_dropped += 1;
                true
            }
        }
    }

    /// Lets the driver see what it got in this turn.
    pub(super) fn publish(&mut self, io: &mut Io<'_>) {
        self.published = 0;
        let pushed = std::mem::take(&mut self.pushed);
        if pushed > 0 {
            // Those that were popped in the same turn were not among those that the driver had before.
            self.owed = self.owed.max(pushed);
            self.lent = self.lent.max(pushed);
            io.publish(self.queue);
        }
    }

    /// Gives all buffers back unused: they are the next ones to be popped.
    pub(super) fn give_back(&mut self, io: &mut Io<'_>) {
        if let Some(frame) = &mut self.waiting {
            let segments = self.held.iter().flat_map(Chain::writable);
            self.own.take_back(frame, segments, io.ram());
        }
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
        // Unknown again: a frame that waits goes on waiting.
        self.lent = if self.waiting.is_some() {
            2 * self.half
        } else {
            0
        };
        self.hungry = true;
        (self.pushed, self.published) = (0, 0);
    }

    /// Gives the driver a frame for which there are enough buffers.
    fn deliver(
        &mut self,
        frame: &Frame,
        shape: Shape,
        io: &mut Io<'_>,
        counters: &mut NetCounters,
    ) {
        let (mut buffers, mut rest) = (0_u16, frame.len);
        for chain in &self.held {
            if rest == 0 {
                break;
            }
            rest -= rest.min(chain.writable_len());
            buffers += 1;
        }
        let written = self.write_header(frame, buffers, shape, io);
        if let Err(error) = written.and_then(|()| self.write_rest(frame, io)) {
            io.fail(self.queue, error);
            return;
        }
        self.forget_segments(buffers.into());
        let mut rest = frame.len;
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
        self.lent += usize::from(buffers);
        self.pushed += usize::from(buffers);
        counters.received += 1;
    }

    /// Copies what is in our memory to the buffers.
    fn write_rest(&self, frame: &Frame, io: &Io<'_>) -> Result<(), QueueError> {
        let mut start = 0;
        for chain in &self.held {
            let end = start + chain.writable_len();
            let copied = start.max(frame.direct)..end.min(frame.len);
            if !copied.is_empty() {
                let offset = copied.start - start;
                chain.write(io.ram(), offset, self.own.bytes(copied))?;
            }
            if end >= frame.len {
                break;
            }
            start = end;
        }
        Ok(())
    }

    /// Whether the header says that the frame is to be cut into segments.
    fn is_segmented(&self, frame: &Frame, shape: Shape, io: &Io<'_>) -> bool {
        if !shape.has_header {
            return false;
        }
        let mut skip = GSO_TYPE;
        let gso_type = if frame.direct == 0 {
            self.own.bytes(skip.into()..frame.len).first().copied()
        } else {
            let holds = self.target().iter().find(|segment| {
                let here = skip < segment.len;
                skip = if here { skip } else { skip - segment.len };
                here
            });
            let mut byte = [0];
            let read = holds.is_some_and(|segment| {
                let address = segment.address.saturating_add(skip.into());
                io.ram().read(address, &mut byte)
            });
            byte.first().copied().filter(|_| read)
        };
        gso_type.is_some_and(|gso_type| gso_type != 0 && gso_type != GSO_ECN)
    }

    /// Writes what the cable left out of the header, or all of it.
    fn write_header(
        &mut self,
        frame: &Frame,
        buffers: u16,
        shape: Shape,
        io: &Io<'_>,
    ) -> Result<(), QueueError> {
        let [low, high] = buffers.to_le_bytes();
        let header = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, low, high];
        let header = header.split_at(header.len().min(shape.header.into())).0;
        let (at, bytes): (u64, &[u8]) = match (shape.has_header, shape.header) {
            (true, HEADER_LEN) => (NUM_BUFFERS, &[low, high]),
            (true, _) => return Ok(()),
            (false, _) => (0, header),
        };
        if frame.direct == 0 {
            self.own.write(at, bytes);
            return Ok(());
        }
        let first = self.held.front();
        first.map_or(Ok(()), |first| first.write(io.ram(), at, bytes))
    }
}
