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
//! **A flush waits for the host's disk**, on the thread that rings: a vCPU's. A guest that asks for durability waits for
//! it on any machine, and to answer before would be a lie; nothing else of the VM may wait for a disk there. It holds up
//! the vCPU that flushes, and others that ring this device. So who wires a doorbell for its queue must not
//! serve that on a thread which others need. Flushes that are made available together are one.
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
use std::sync::Arc;

use trivisor_buses::{RestoreError, SavedState};
use trivisor_memory::{FileMapping, GuestRam};
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
    flush: Box<dyn Fn() -> io::Result<()> + Send>,
    // Work, none of it across a turn.
    chains: Vec<Chain>,
    counters: PmemCounters,
}

impl std::fmt::Debug for Pmem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pmem")
            .field("config", &self.config)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Pmem {
    /// `mapping`, which the guest sees from the guest-physical address `start` on.
    #[must_use]
    pub fn new(start: u64, mapping: Arc<FileMapping>) -> Self {
        let size = mapping.size();
        Self::with_flush(Config { start, size }, move || mapping.flush())
    }

    /// Memory of another kind: `flush` returns when all that was written is stable.
    #[must_use]
    pub fn with_flush(config: Config, flush: impl Fn() -> io::Result<()> + Send + 'static) -> Self {
        Self {
            config,
            flush: Box::new(flush),
            chains: vec![Chain::default(); QUEUE_SIZE.into()],
            counters: PmemCounters::default(),
        }
    }

    /// What became of flushes so far.
    #[must_use]
    pub const fn counters(&self) -> PmemCounters {
        self.counters
    }

    /// Answers up to a queue of requests, with one flush for all; how many.
    fn answer_all(&mut self, io: &mut Io<'_>) -> usize {
        let mut chains = std::mem::take(&mut self.chains);
        let came = chains
            .iter_mut()
            .map_while(|chain| io.pop(QUEUE, chain).then_some(()));
        let came = came.count();
        let mut flushed = None;
        for chain in chains.iter().take(came) {
            match self.answer(chain, &mut flushed, io.ram()) {
                Ok(written) => io.push(QUEUE, chain.id(), written),
                Err(error) => io.fail(QUEUE, error),
            }
        }
        self.chains = chains;
        came
    }

    /// Answers one request; `flushed` is the outcome of this turn's flush, once there was one.
    fn answer(
        &mut self,
        chain: &Chain,
        flushed: &mut Option<Ret>,
        ram: &GuestRam,
    ) -> Result<u32, QueueError> {
        let mut kind = [0; RequestType::LEN];
        chain.read(ram, 0, &mut kind)?;
        let ret = match RequestType(u32::from_le_bytes(kind)) {
            RequestType::FLUSH => *flushed.get_or_insert_with(|| self.flush()),
            _ => {
                self.counters.refused += 1;
                Ret::Failure
            }
        };
        let ret = ret.bytes();
        chain.write(ram, 0, &ret)?;
        Ok(u32::try_from(ret.len()).unwrap_or(u32::MAX))
    }

    fn flush(&mut self) -> Ret {
        match (self.flush)() {
            Ok(()) => {
                self.counters.done += 1;
                Ret::Success
            }
            Err(error) => {
                self.counters.failed += 1;
                self.counters.last_failure = Some(error.kind());
                Ret::Failure
            }
        }
    }
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
            left = left.saturating_sub(self.answer_all(io));
            if !io.want_notifications(QUEUE, true) || left == 0 {
                break;
            }
        }
        io.publish(QUEUE);
    }

    fn stop(&mut self, _queue: Option<u16>, _io: &mut Io<'_>) {}

    fn reset(&mut self) {}

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &())
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        state.decode(state::KIND, state::VERSION)
    }
}
