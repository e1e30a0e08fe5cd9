//! Frames from the buffers of a transmit queue onto a cable: virtio 1.3, 5.1.6.2.

use std::io::ErrorKind;

use trivisor_buses::{Packets, Segment};
use trivisor_virtio_device::{Chain, Io};

use super::NetCounters;

/// A transmit queue.
#[derive(Debug)]
pub(super) struct Transmitter {
    queue: u16,
    size: u16,
    /// The cable was full; it wakes the device when it no longer is.
    pub(super) blocked: bool,
    // Kept so that nothing is allocated.
    chain: Chain,
    frame: Vec<Segment>,
}

/// What became of a frame.
enum Sent {
    /// It is gone, one way or the other.
    Gone,
    /// The cable is full.
    Full,
}

impl Transmitter {
    pub(super) fn new(queue: u16, size: u16) -> Self {
        Self {
            queue,
            size,
            blocked: false,
            chain: Chain::default(),
            frame: Vec::new(),
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
        let mut left = self.size;
        let mut more = true;
        while more {
            io.want_notifications(self.queue, false);
            while left > 0 && !self.blocked && io.pop(self.queue, &mut self.chain) {
                left -= 1;
                match self.send(cable.as_deref_mut().map(Box::as_mut), header, counters) {
                    Sent::Gone => io.push(self.queue, self.chain.id(), 0),
                    Sent::Full => {
                        io.unpop(self.queue, &self.chain);
                        self.blocked = true;
                    }
                }
            }
            // A full cable says when to go on, so the driver need not. One with more buffers than its queue breaks the
            // rules, and may wait.
            more = !self.blocked && io.want_notifications(self.queue, true) && left > 0;
        }
        if counters.sent + counters.send_dropped != before {
            io.publish(self.queue);
        }
    }

    fn send(
        &mut self,
        cable: Option<&mut (dyn Packets + 'static)>,
        header: u8,
        counters: &mut NetCounters,
    ) -> Sent {
        let (len, header) = (self.chain.readable_len(), u64::from(header));
        let Some(cable) = cable.filter(|_| len > header) else {
            counters.send_dropped += 1;
            return Sent::Gone;
        };
        let frame = if cable.has_header() {
            self.chain.readable()
        } else {
            self.frame.clear();
            let cut = self
                .chain
                .readable_range(header, len - header, &mut self.frame);
            if cut.is_err() {
                // An address beyond the end of the address space.
                counters.send_dropped += 1;
                return Sent::Gone;
            }
            &self.frame
        };
        match cable.send(frame) {
            Ok(()) => counters.sent += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Sent::Full,
            Err(_) => counters.send_dropped += 1,
        }
        Sent::Gone
    }
}
