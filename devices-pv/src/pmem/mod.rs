//! Persistent memory device: a file's pages as memory of the guest, and a request that makes them durable.
//!
//! Source: OASIS, Virtual I/O Device (VIRTIO) Version 1.3, 5.19. It has one queue. The board maps the file and tells
//! where; the device tells the driver of it, and flushes.
//!
//! | feature | offered | |
//! |---|---|---|
//! | SHMEM_REGION | never | the address stands in the configuration |
//!
//! | request | effect | `ret` -1 |
//! |---|---|---|
//! | FLUSH | all that was written before is stable | the host failed to write it |
//! | others | | always |
//!
//! A buffer without room for request and response cannot be answered: the device then needs a reset.
//!
//! A flush is the host's of the whole file, begun when none is under way: those that are made available meanwhile are
//! answered together by the next one, for the one under way may have passed what was written before them. No vCPU waits
//! for it but in a reset and a pause.
//!
//! VIRTIO_F_IN_ORDER is not offered: what is no flush is answered at once.
//!
//! After a failed flush the pages may count as clean on the host: a later one that succeeds does not bring back what was
//! lost ([`PmemCounters::failed`]).
//!
//! **Not modelled**: shared memory regions.
//!
//! **Relied on by**: Linux (`virtio_pmem`), which wants the memory at a multiple of 2 MiB and as long as such.

pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::io;

use trivisor_buses::{
    Completion, RestoreError, SavedState, Storage, StorageBusy, StorageOp, StorageRequest,
};
use trivisor_memory::GuestRam;
use trivisor_virtio_device::{Chain, DeviceType, Io, QueueError, VirtioDevice, read_config_bytes};

use self::regs::{Config, RequestType, Ret};

/// `req_vq`.
const QUEUE: u16 = 0;
/// Buffers of the queue.
const QUEUE_SIZE: u16 = 64;

/// What became of flushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PmemCounters {
    /// Flushes of the host that have ended with all data in storage.
    pub done: u64,
    /// Flushes that the host failed: what was written before may be lost.
    pub failed: u64,
    /// How the latest of them failed.
    pub last_failure: Option<io::ErrorKind>,
    /// Requests that are no flushes.
    pub refused: u64,
}

/// A range of persistent memory.
pub struct Pmem {
    // Configuration.
    config: Config,
    // Wiring.
    storage: Box<dyn Storage>,
    // Work, none of it across a pause.
    /// Flushes that the host's next one answers.
    waiting: Vec<Chain>,
    /// Those that the one under way answers.
    flushing: Vec<Chain>,
    /// The number of the latest.
    latest: u64,
    spare: Vec<Chain>,
    counters: PmemCounters,
}

impl std::fmt::Debug for Pmem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pmem")
            .field("config", &self.config)
            .field("flushing", &self.flushing.len())
            .field("waiting", &self.waiting.len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Pmem {
    /// Memory that the guest sees at `config`. A flush of `storage`, of which nothing else is used, stores all that was
    /// written there.
    #[must_use]
    pub fn new(config: Config, storage: Box<dyn Storage>) -> Self {
        Self {
            config,
            storage,
            waiting: Vec::new(),
            flushing: Vec::new(),
            latest: 0,
            spare: Vec::new(),
            counters: PmemCounters::default(),
        }
    }

    /// What became of flushes so far.
    #[must_use]
    pub const fn counters(&self) -> PmemCounters {
        self.counters
    }

    /// Takes up to a queue of requests; how many.
    fn take(&mut self, io: &mut Io<'_>) -> usize {
        for taken in 0..usize::from(QUEUE_SIZE) {
            let mut chain = self.spare.pop().unwrap_or_default();
            if !io.pop(QUEUE, &mut chain) {
                self.spare.push(chain);
                return taken;
            }
            match kind(&chain, io.ram()) {
                Ok(RequestType::FLUSH) => self.waiting.push(chain),
                Ok(_) => {
                    self.counters.refused += 1;
                    self.answer(chain, Ret::Failure, io);
                }
                Err(error) => {
                    io.fail(QUEUE, error);
                    self.spare.push(chain);
                }
            }
        }
        QUEUE_SIZE.into()
    }

    fn answer(&mut self, chain: Chain, ret: Ret, io: &mut Io<'_>) {
        let ret = ret.bytes();
        match chain.write(io.ram(), 0, &ret) {
            Ok(()) => io.push(QUEUE, chain.id(), u32::try_from(ret.len()).unwrap_or(0)),
            Err(error) => io.fail(QUEUE, error),
        }
        self.spare.push(chain);
    }

    /// Begins flushes that are due, and answers those that have ended.
    fn turn(&mut self, io: &mut Io<'_>) {
        loop {
            self.begin(io);
            if !self.fetch(io) {
                break;
            }
        }
    }

    fn begin(&mut self, io: &mut Io<'_>) {
        if self.waiting.is_empty() || !self.flushing.is_empty() {
            return;
        }
        std::mem::swap(&mut self.waiting, &mut self.flushing);
        self.latest = self.latest.wrapping_add(1);
        let flush = StorageRequest {
            id: self.latest,
            op: StorageOp::Flush,
            offset: 0,
            len: 0,
            segments: &[],
        };
        match self.storage.submit(&flush) {
            Ok(()) => self.storage.start(),
            // It has nothing else to do.
            Err(StorageBusy) => self.end(Err(io::ErrorKind::ResourceBusy.into()), io),
        }
    }

    /// Whether the flush under way has ended.
    fn fetch(&mut self, io: &mut Io<'_>) -> bool {
        let mut ended = false;
        while let Some(Completion { id, result, .. }) = self.storage.complete() {
            if id == self.latest && !self.flushing.is_empty() {
                self.end(result, io);
                ended = true;
            }
        }
        ended
    }

    /// Answers all that the flush under way was for.
    fn end(&mut self, result: io::Result<()>, io: &mut Io<'_>) {
        let ret = match result {
            Ok(()) => {
                self.counters.done += 1;
                Ret::Success
            }
            Err(error) => {
                self.counters.failed += 1;
                self.counters.last_failure = Some(error.kind());
                Ret::Failure
            }
        };
        let mut answered = std::mem::take(&mut self.flushing);
        for chain in answered.drain(..) {
            self.answer(chain, ret, io);
        }
        self.flushing = answered;
    }

    /// Returns when nothing is under way.
    fn settle(&mut self, io: &mut Io<'_>) {
        self.turn(io);
        while !self.flushing.is_empty() {
            self.storage.drain();
            if !self.fetch(io) {
                // It was lost, and what was written with it, for all that is known.
                self.end(Err(io::ErrorKind::Interrupted.into()), io);
            }
            self.turn(io);
        }
        io.publish(QUEUE);
    }
}

/// What is asked for, if it can be answered.
fn kind(chain: &Chain, ram: &GuestRam) -> Result<RequestType, QueueError> {
    let mut kind = [0; RequestType::LEN];
    chain.read(ram, 0, &mut kind)?;
    let (len, wanted) = (chain.writable_len(), Ret::LEN as u64);
    if len < wanted {
        let id = chain.id();
        return Err(QueueError::Short { id, len, wanted });
    }
    Ok(RequestType(u32::from_le_bytes(kind)))
}

impl VirtioDevice for Pmem {
    fn device_type(&self) -> DeviceType {
        DeviceType::Pmem
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        let bytes = self.config.bytes();
        read_config_bytes(&bytes, offset, data);
    }

    fn notify(&mut self, _queue: u16, io: &mut Io<'_>) {
        io.want_notifications(QUEUE, false);
        // Answers are told at the end, so a driver cannot make more than a queue of requests available before, however
        // fast other vCPUs are: whoever rang gets back to the guest.
        let mut left = usize::from(QUEUE_SIZE);
        loop {
            left = left.saturating_sub(self.take(io));
            if !io.want_notifications(QUEUE, true) || left == 0 {
                break;
            }
        }
        self.turn(io);
        io.publish(QUEUE);
    }

    fn wake(&mut self, io: &mut Io<'_>) -> bool {
        if self.fetch(io) {
            self.turn(io);
            io.publish(QUEUE);
        }
        false
    }

    fn pause(&mut self, io: &mut Io<'_>) {
        self.settle(io);
    }

    fn stop(&mut self, _queue: Option<u16>, io: &mut Io<'_>) {
        self.settle(io);
    }

    fn reset(&mut self) {}

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &())
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        state.decode(state::KIND, state::VERSION)
    }
}
