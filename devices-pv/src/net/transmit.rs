//! Frames from the buffers of a transmit queue onto a cable: virtio 1.3, 5.1.6.2.

use std::io::{self, ErrorKind};

use trivisor_buses::{Packets, Segment};
use trivisor_virtio_device::{Chain, Io};

use super::NetCounters;

/// Frames that a cable gets at once.
const BATCH: usize = 64;

/// A transmit queue.
#[derive(Debug)]
pub(super) struct Transmitter {
    queue: u16,
    size: u16,
    /// The cable was full; it wakes the device when it no longer is.
    pub(super) blocked: bool,
    // Kept so that nothing is allocated.
    batch: Vec<Outgoing>,
    results: Vec<io::Result<()>>,
}

/// A buffer of the driver's.
#[derive(Debug, Default)]
struct Outgoing {
    chain: Chain,
    /// The frame without its header, where the cable wants none.
    bare: Vec<Segment>,
    /// It is none where it has no byte behind the header, or an address beyond the end of the address space.
    is_frame: bool,
}

impl Outgoing {
    fn look(&mut self, has_header: bool, header: u64) {
        let len = self.chain.readable_len();
        self.is_frame = len > header;
        if !has_header && self.is_frame {
            self.bare.clear();
            let bare = &mut self.bare;
            let cut = self.chain.readable_range(header, len - header, bare);
            self.is_frame = cut.is_ok();
        }
    }
}

impl Transmitter {
    pub(super) fn new(queue: u16, size: u16) -> Self {
        Self {
            queue,
            size,
            blocked: false,
            batch: Vec::new(),
            results: Vec::new(),
        }
    }

    /// Sends what there is, until the cable is full: frames behind `header` bytes. Without a cable they are lost.
    ///
    /// No buffer goes back before the end, so there are no more of them than the queue has, and one turn always does.
    pub(super) fn transmit(
        &mut self,
        mut cable: Option<&mut Box<dyn Packets>>,
        header: u8,
        io: &mut Io<'_>,
        counters: &mut NetCounters,
    ) {
        if self.blocked {
            return;
        }
        let before = counters.sent + counters.send_dropped;
        let mut left = usize::from(self.size);
        let mut more = true;
        while more {
            io.want_notifications(self.queue, false);
            while !self.blocked {
                let count = self.pop(left.min(BATCH), io);
                if count == 0 {
                    break;
                }
                left -= count;
                self.send(
                    count,
                    cable.as_deref_mut().map(Box::as_mut),
                    header,
                    io,
                    counters,
                );
            }
            // A full cable says when to go on, so the driver need not. One with more buffers than its queue breaks the
            // rules, and may wait.
            more = !self.blocked && io.want_notifications(self.queue, true) && left > 0;
        }
        if counters.sent + counters.send_dropped != before {
            io.publish(self.queue);
        }
    }

    /// Pops up to `most` buffers into the batch; how many there were.
    fn pop(&mut self, most: usize, io: &mut Io<'_>) -> usize {
        if self.batch.len() < most {
            self.batch.resize_with(most, Outgoing::default);
        }
        let mut slots = self.batch.iter_mut().take(most);
        slots
            .position(|slot| !io.pop(self.queue, &mut slot.chain))
            .unwrap_or(most)
    }

    /// Sends the first `count` of the batch, and gives them back; those that the cable has no room for are popped again
    /// later.
    fn send(
        &mut self,
        count: usize,
        cable: Option<&mut (dyn Packets + 'static)>,
        header: u8,
        io: &mut Io<'_>,
        counters: &mut NetCounters,
    ) {
        let batch = self.batch.get_mut(..count).unwrap_or_default();
        self.results.clear();
        if let Some(cable) = cable {
            let has_header = cable.has_header();
            batch
                .iter_mut()
                .for_each(|slot| slot.look(has_header, header.into()));
            let frames = batch.iter().filter(|slot| slot.is_frame);
            let mut frames = frames.map(|slot| match has_header {
                true => slot.chain.readable(),
                false => slot.bare.as_slice(),
            });
            cable.send_all(&mut frames, &mut self.results);
        } else {
            batch.iter_mut().for_each(|slot| slot.is_frame = false);
        }
        let mut results = self.results.iter();
        let mut gone = 0;
        for slot in &*batch {
            match slot.is_frame.then(|| results.next()) {
                // Nothing becomes of those behind one for which there was no room.
                Some(None) => break,
                Some(Some(Err(error))) if error.kind() == ErrorKind::WouldBlock => break,
                Some(Some(Ok(()))) => counters.sent += 1,
                Some(Some(Err(_))) | None => counters.send_dropped += 1,
            }
            io.push(self.queue, slot.chain.id(), 0);
            gone += 1;
        }
        for slot in batch.iter().skip(gone).rev() {
            io.unpop(self.queue, &slot.chain);
            self.blocked = true;
        }
    }
}
