//! The contract between a virtio device and its transport.

use trivisor_buses::{AccessError, RestoreError, SavedState};
use trivisor_memory::GuestRam;

use crate::queue::{Chain, Queue, QueueError};

/// What kind of device: virtio 1.3, chapter 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum DeviceType {
    /// Network card (5.1).
    Network = 1,
    /// Block device (5.2).
    Block = 2,
    /// Console (5.3).
    Console = 3,
    /// Entropy source (5.4).
    Entropy = 4,
    /// Memory balloon (5.5).
    Balloon = 5,
    /// Input device (5.8).
    Input = 18,
    /// Socket device (5.10).
    Socket = 19,
    /// File system (5.11).
    FileSystem = 26,
    /// Persistent memory (5.19).
    Pmem = 27,
}

/// A virtio device: what is common to all stands in its transport.
///
/// `io` gives guest RAM and the queues that the driver enabled. Before the driver is ready (DRIVER_OK) only the
/// methods without it are called; a reset ends in [`stop`](Self::stop) and then [`reset`](Self::reset).
pub trait VirtioDevice: Send {
    /// Its type.
    fn device_type(&self) -> DeviceType;

    /// The feature bits of its type that it offers. The transport adds those of chapter 6.
    fn features(&self) -> u64;

    /// The largest size of each of its queues: a power of two, 32768 at most.
    fn queue_sizes(&self) -> &[u16];

    /// Fills `data` from its configuration; behind its end it reads zeros.
    fn read_config(&self, offset: usize, data: &mut [u8]);

    /// Takes `data` into its configuration.
    ///
    /// # Errors
    /// The reason for which the write has no effect.
    fn write_config(
        &mut self,
        offset: usize,
        data: &[u8],
        io: &mut Io<'_>,
    ) -> Result<(), AccessError> {
        let _nothing_to_write = (offset, data, io);
        Err(AccessError::ReadOnly)
    }

    /// The driver is ready. What it accepted is in `io`.
    fn activate(&mut self, io: &mut Io<'_>) {
        let _nothing_to_prepare = io;
    }

    /// Its queues are served where its back-end is watched, woken by bells, rather than on the thread of the vCPU that
    /// rang: for who has more to do than a vCPU should wait for, often.
    fn wants_bells(&self) -> bool {
        false
    }

    /// The driver rang `queue`: it holds buffers, or has taken some back.
    fn notify(&mut self, queue: u16, io: &mut Io<'_>);

    /// The back-end has something; see [`Wake`](trivisor_buses::Wake).
    fn wake(&mut self, io: &mut Io<'_>) -> bool {
        let _no_back_end = io;
        false
    }

    /// Returns when what was handed to the back-end has ended, its buffers used: guest RAM stands still until the next
    /// call, which is a [`notify`](Self::notify) of each queue and a [`wake`](Self::wake).
    fn pause(&mut self, io: &mut Io<'_>) {
        let _nothing_under_way = io;
    }

    /// Ends all work on `queue`, or on all queues where there is no number: afterwards no buffer of it is held and
    /// nothing is written to guest RAM. Buffers under way are given back used where that can be.
    fn stop(&mut self, queue: Option<u16>, io: &mut Io<'_>);

    /// Power-on state.
    fn reset(&mut self);

    /// Its state beside that of its queues; nothing is under way.
    fn save(&self) -> SavedState;

    /// Puts a saved state back.
    ///
    /// # Errors
    /// When the state does not pass its checks; the device is then untouched.
    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError>;
}

/// Fills `data` from a configuration's bytes, from `offset` on; behind their end it reads zeros.
pub fn read_config_bytes(bytes: &[u8], offset: usize, data: &mut [u8]) {
    let mut rest = bytes.get(offset..).unwrap_or_default().iter();
    data.fill_with(|| rest.next().copied().unwrap_or(0));
}

/// What a device works on during one call.
pub struct Io<'a> {
    ram: &'a GuestRam,
    features: u64,
    queues: &'a mut [Queue],
    /// Somebody looks for buffers all the time: no driver has to ring.
    watched: bool,
    outcome: Outcome,
}

/// What the transport has to do after a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// A bit a queue: its driver wants an interrupt.
    pub interrupts: u64,
    /// The configuration changed.
    pub config_changed: bool,
    /// The driver did what cannot be gone on from: DEVICE_NEEDS_RESET.
    pub broken: Option<(u16, QueueError)>,
}

impl std::fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io")
            .field("features", &self.features)
            .field("queues", &self.queues)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

impl<'a> Io<'a> {
    /// For one call; a transport's, or a test's.
    #[must_use]
    pub fn new(ram: &'a GuestRam, features: u64, queues: &'a mut [Queue]) -> Self {
        Self {
            ram,
            features,
            queues,
            watched: false,
            outcome: Outcome::default(),
        }
    }

    /// While somebody looks for buffers all the time, drivers are not asked to ring.
    #[must_use]
    pub const fn watched(self, watched: bool) -> Self {
        Self { watched, ..self }
    }

    /// Guest RAM.
    #[must_use]
    pub const fn ram(&self) -> &'a GuestRam {
        self.ram
    }

    /// The features that the driver accepted.
    #[must_use]
    pub const fn features(&self) -> u64 {
        self.features
    }

    /// Takes the next buffer that the driver made available in `queue` into `chain`; false when there is none, the
    /// queue is not enabled, or the driver broke it, of which the transport hears.
    pub fn pop(&mut self, queue: u16, chain: &mut Chain) -> bool {
        if self.outcome.broken.is_some() {
            return false;
        }
        let Some(ring) = self.queues.get_mut(usize::from(queue)) else {
            return false;
        };
        match ring.pop(self.ram, chain) {
            Ok(found) => found,
            Err(error) => {
                self.outcome.broken = Some((queue, error));
                false
            }
        }
    }

    /// Gives the buffer `id` back to the driver, with `written` bytes written to it. It hears of it by
    /// [`publish`](Self::publish).
    pub fn push(&mut self, queue: u16, id: u16, written: u32) {
        if let Some(ring) = self.queues.get_mut(usize::from(queue))
            && let Err(error) = ring.push(self.ram, id, written)
        {
            self.outcome.broken.get_or_insert((queue, error));
        }
    }

    /// Takes back the last `chain` that was popped from `queue` and not pushed: it is the next one to be popped.
    pub fn unpop(&mut self, queue: u16, chain: &Chain) {
        if let Some(ring) = self.queues.get_mut(usize::from(queue)) {
            ring.unpop(chain);
        }
    }

    /// Lets the driver see what was pushed to `queue`, and interrupts it where it wants that.
    pub fn publish(&mut self, queue: u16) {
        let Some(ring) = self.queues.get_mut(usize::from(queue)) else {
            return;
        };
        match ring.publish(self.ram) {
            Ok(true) => self.outcome.interrupts |= 1_u64.checked_shl(queue.into()).unwrap_or(0),
            Ok(false) => {}
            Err(error) => {
                self.outcome.broken.get_or_insert((queue, error));
            }
        }
    }

    /// Asks the driver to ring when it makes the next buffer available (true), or spares it that (false). True: there
    /// is a buffer already that it has not seen, so the caller goes on; never of a broken queue, from which
    /// [`pop`](Self::pop) takes nothing.
    pub fn want_notifications(&mut self, queue: u16, wanted: bool) -> bool {
        if self.outcome.broken.is_some() {
            return false;
        }
        let Some(ring) = self.queues.get_mut(usize::from(queue)) else {
            return false;
        };
        let news = if wanted && self.watched {
            ring.has_news(self.ram)
        } else {
            ring.want_notifications(self.ram, wanted)
        };
        match news {
            Ok(more) => more,
            Err(error) => {
                self.outcome.broken.get_or_insert((queue, error));
                false
            }
        }
    }

    /// The driver broke `queue` in a way that the device's own protocol does not answer: it has to reset the device.
    pub fn fail(&mut self, queue: u16, error: QueueError) {
        self.outcome.broken.get_or_insert((queue, error));
    }

    /// The configuration changed on the host's behalf: the driver is told.
    pub fn config_changed(&mut self) {
        self.outcome.config_changed = true;
    }

    /// What is to be done after the call.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }
}
