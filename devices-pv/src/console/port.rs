//! One port: its bytes in both directions, and what the driver is still to be told of it.

use std::collections::VecDeque;

use bitfield_struct::bitfield;
use trivisor_buses::CharOutput;
use trivisor_memory::GuestRam;
use trivisor_virtio_device::{Chain, Io, QueueError};

use super::ConsoleCounters;
use super::config::PortConfig;
use super::regs::{Event, Size};

/// Buffers of a queue.
pub(super) const QUEUE_SIZE: u16 = 64;
/// Bytes that wait for the guest at most.
pub const MAX_INPUT: usize = 4096;
/// Bytes of a console that wait for its output at most.
pub const MAX_BACKLOG: usize = 64 << 10;
/// Bytes of a buffer that are put out. No known driver sends as many at once, and nobody is to wait for 4 GiB.
pub const MAX_BUFFER: u64 = 1 << 20;
/// Bytes that are copied at a time.
const PIECE: usize = 4096;

/// Messages that are to be sent, in the order of their bits.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) add: bool,
    pub(super) console: bool,
    pub(super) resize: bool,
    pub(super) name: bool,
    pub(super) open: bool,
    #[bits(3)]
    __: u8,
}

impl Owed {
    /// All of them.
    pub(super) const ALL: u8 = 0x1f;
    const EVENTS: [Event; 5] = [
        Event::DEVICE_ADD,
        Event::CONSOLE_PORT,
        Event::RESIZE,
        Event::PORT_NAME,
        Event::PORT_OPEN,
    ];

    /// The next one.
    pub(super) fn first(self) -> Option<Event> {
        let first = usize::try_from(self.into_bits().trailing_zeros()).ok()?;
        Self::EVENTS.get(first).copied()
    }

    /// The next one is sent.
    pub(super) const fn without_first(self) -> Self {
        let bits = self.into_bits();
        Self::from_bits(bits & bits.wrapping_sub(1))
    }
}

/// A port.
pub(super) struct Port {
    // Configuration.
    pub(super) name: String,
    pub(super) console: bool,
    // Wiring.
    output: Option<Box<dyn CharOutput>>,
    // Guest-visible state.
    pub(super) added: bool,
    pub(super) ready: bool,
    pub(super) guest_open: bool,
    pub(super) host_open: bool,
    pub(super) owed: Owed,
    pub(super) size: Size,
    /// Bytes of the next buffer of output that have gone: it went back into the ring when the output was full.
    pub(super) sent: u32,
    pub(super) input: VecDeque<u8>,
    pub(super) backlog: VecDeque<u8>,
}

impl std::fmt::Debug for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Port")
            .field("name", &self.name)
            .field("guest_open", &self.guest_open)
            .field("input", &self.input.len())
            .field("backlog", &self.backlog.len())
            .finish_non_exhaustive()
    }
}

impl Port {
    pub(super) fn new(config: PortConfig) -> Self {
        let PortConfig {
            name,
            console,
            output,
        } = config;
        Self {
            name,
            console,
            output,
            added: false,
            ready: false,
            guest_open: false,
            host_open: true,
            owed: Owed::new(),
            size: Size::default(),
            sent: 0,
            input: VecDeque::with_capacity(MAX_INPUT),
            backlog: VecDeque::new(),
        }
    }

    /// The guest begins anew. What it has put out before is not lost.
    pub(super) fn reset(&mut self) {
        self.added = false;
        self.ready = false;
        self.guest_open = false;
        self.owed = Owed::new();
        self.sent = 0;
        self.input.clear();
    }

    /// Takes what there is room for.
    pub(super) fn push(&mut self, bytes: &[u8]) -> usize {
        let taken = self.room().min(bytes.len());
        self.input.extend(bytes.iter().take(taken));
        taken
    }

    pub(super) fn room(&self) -> usize {
        MAX_INPUT.saturating_sub(self.input.len())
    }

    /// Gives the driver what waits, as far as it has buffers. Each takes a byte at least, so the turn ends.
    pub(super) fn deliver(
        &mut self,
        queue: u16,
        chain: &mut Chain,
        io: &mut Io<'_>,
        counters: &mut ConsoleCounters,
    ) {
        let mut used = false;
        io.want_notifications(queue, false);
        while !self.input.is_empty() {
            if !io.pop(queue, chain) {
                if io.want_notifications(queue, true) {
                    io.want_notifications(queue, false);
                    continue;
                }
                break;
            }
            match self.fill(chain, io.ram()) {
                Ok(count) => {
                    io.push(queue, chain.id(), count);
                    counters.input += u64::from(count);
                    used = true;
                }
                Err(error) => io.fail(queue, error),
            }
        }
        if used {
            io.publish(queue);
        }
    }

    /// Moves input into one buffer; how many bytes.
    fn fill(&mut self, chain: &Chain, ram: &GuestRam) -> Result<u32, QueueError> {
        let (id, len) = (chain.id(), chain.writable_len());
        if len == 0 {
            return Err(QueueError::Short { id, len, wanted: 1 });
        }
        let room = usize::try_from(len).unwrap_or(usize::MAX);
        let (front, back) = self.input.as_slices();
        let front = front.get(..room).unwrap_or(front);
        let back = back.get(..room - front.len()).unwrap_or(back);
        chain.write(ram, 0, front)?;
        chain.write(ram, front.len() as u64, back)?;
        let count = front.len() + back.len();
        self.input.drain(..count);
        // The input is bounded.
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// Puts out what the driver has given. `drops`: when the output is full, more than the backlog holds is lost, where
    /// it would wait in the ring otherwise.
    pub(super) fn transmit(
        &mut self,
        queue: u16,
        drops: bool,
        chain: &mut Chain,
        io: &mut Io<'_>,
        counters: &mut ConsoleCounters,
    ) {
        self.drain(counters);
        let (mut left, mut full) = (QUEUE_SIZE, false);
        io.want_notifications(queue, false);
        while !full {
            while left > 0 && !full && io.pop(queue, chain) {
                match self.send(chain, drops, io.ram(), counters) {
                    Ok(true) => {
                        self.sent = 0;
                        left -= 1;
                        io.push(queue, chain.id(), 0);
                    }
                    Ok(false) => {
                        full = true;
                        io.unpop(queue, chain);
                    }
                    Err(error) => {
                        self.sent = 0;
                        io.fail(queue, error);
                    }
                }
            }
            if full || !io.want_notifications(queue, true) || left == 0 {
                break;
            }
        }
        if left < QUEUE_SIZE {
            io.publish(queue);
        }
    }

    /// Puts out one buffer; false when the output is full, and `sent` says how far it came.
    fn send(
        &mut self,
        chain: &Chain,
        drops: bool,
        ram: &GuestRam,
        counters: &mut ConsoleCounters,
    ) -> Result<bool, QueueError> {
        let len = chain.readable_len();
        let most = u32::try_from(len.min(MAX_BUFFER)).unwrap_or(0);
        let mut piece = [0; PIECE];
        while self.sent < most {
            let count = usize::try_from(most - self.sent)
                .unwrap_or(PIECE)
                .min(PIECE);
            let bytes = piece.get_mut(..count).unwrap_or_default();
            chain.read(ram, self.sent.into(), bytes)?;
            let taken = self.put(bytes, drops, counters);
            self.sent += u32::try_from(taken).unwrap_or(0);
            if taken < count {
                return Ok(false);
            }
        }
        counters.output_dropped += len - u64::from(most);
        Ok(true)
    }

    /// Hands bytes to the output; how many are done with.
    pub(super) fn put(
        &mut self,
        bytes: &[u8],
        drops: bool,
        counters: &mut ConsoleCounters,
    ) -> usize {
        let len = bytes.len();
        let Some(output) = self.output.as_mut().filter(|_| self.host_open) else {
            counters.output_dropped += len as u64;
            return len;
        };
        let taken = if self.backlog.is_empty() {
            output.write(bytes).min(len)
        } else {
            0
        };
        counters.output += taken as u64;
        if taken == len || !drops {
            return taken;
        }
        let rest = bytes.get(taken..).unwrap_or_default();
        let kept = rest
            .len()
            .min(MAX_BACKLOG.saturating_sub(self.backlog.len()));
        self.backlog.extend(rest.iter().take(kept));
        counters.output_dropped += (rest.len() - kept) as u64;
        len
    }

    /// Hands over what waits to leave.
    pub(super) fn drain(&mut self, counters: &mut ConsoleCounters) {
        let Some(output) = &mut self.output else {
            self.backlog.clear();
            return;
        };
        loop {
            let (waiting, _) = self.backlog.as_slices();
            let len = waiting.len();
            if len == 0 {
                return;
            }
            let taken = output.write(waiting).min(len);
            counters.output += taken as u64;
            self.backlog.drain(..taken);
            if taken < len {
                return;
            }
        }
    }
}
