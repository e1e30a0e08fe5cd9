//! Entropy device: random bytes for the guest.
//!
//! Source: OASIS, Virtual I/O Device (VIRTIO) Version 1.3, 5.4. It has one queue, no features and no configuration.
//!
//! | buffer | is given back with |
//! |---|---|
//! | of writable bytes | random ones from the front on, 64 KiB at most |
//! | of writable bytes, while the source has none yet | those, when it has |
//! | of writable bytes, when the source fails or a segment is not RAM | 0 bytes |
//! | of readable bytes alone | nothing: the device needs a reset |
//!
//! The limits keep one turn short: a driver that wants more asks again.
//!
//! **Not modelled**: nothing is missing.
//!
//! **Relied on by**: Linux (`virtio_rng`), the `virtio-drivers` crate.

mod state;

#[cfg(test)]
mod tests;

use std::io::ErrorKind;

use trivisor_buses::{Entropy, RestoreError, SavedState, Segment};
use trivisor_virtio_device::{Chain, DeviceType, Io, QueueError, VirtioDevice};

/// `requestq`.
const QUEUE: u16 = 0;
/// Buffers of the queue. Linux has one at a time.
const QUEUE_SIZE: u16 = 8;
/// Bytes of a buffer that are filled at most.
pub const MAX_FILL: u64 = 64 << 10;

/// What became of buffers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RngCounters {
    /// Bytes that the guest got.
    pub bytes: u64,
    /// Buffers that were given back empty.
    pub failed: u64,
}

/// A source of random bytes.
pub struct Rng {
    // Wiring.
    entropy: Box<dyn Entropy>,
    // Work, none of it across a pause.
    chain: Chain,
    segments: Vec<Segment>,
    counters: RngCounters,
}

impl std::fmt::Debug for Rng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rng")
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Rng {
    /// With the bytes of `entropy`.
    #[must_use]
    pub fn new(entropy: Box<dyn Entropy>) -> Self {
        Self {
            entropy,
            chain: Chain::default(),
            segments: Vec::new(),
            counters: RngCounters::default(),
        }
    }

    /// What became of buffers so far.
    #[must_use]
    pub const fn counters(&self) -> RngCounters {
        self.counters
    }

    /// Fills the buffers that there are. No driver has more than the queue holds before it is told of used ones.
    fn fill_all(&mut self, io: &mut Io<'_>) {
        io.want_notifications(QUEUE, false);
        let mut left = QUEUE_SIZE;
        loop {
            while left > 0 && io.pop(QUEUE, &mut self.chain) {
                left -= 1;
                match self.fill() {
                    Ok(Some(written)) => io.push(QUEUE, self.chain.id(), written),
                    Ok(None) => {
                        // The next wake-up looks at it again; until then nobody has to ring.
                        io.unpop(QUEUE, &self.chain);
                        io.publish(QUEUE);
                        return;
                    }
                    Err(error) => io.fail(QUEUE, error),
                }
            }
            if !io.want_notifications(QUEUE, true) || left == 0 {
                break;
            }
        }
        io.publish(QUEUE);
    }

    /// Fills the buffer in `self.chain`: the bytes written, or `None` when there are none yet.
    fn fill(&mut self) -> Result<Option<u32>, QueueError> {
        let len = self.chain.writable_len();
        if len == 0 {
            let (id, wanted) = (self.chain.id(), 1);
            return Err(QueueError::Short { id, len, wanted });
        }
        self.segments.clear();
        self.chain
            .writable_range(0, len.min(MAX_FILL), &mut self.segments)?;
        match self.entropy.fill(&self.segments) {
            Ok(filled) => {
                self.counters.bytes += filled as u64;
                Ok(Some(u32::try_from(filled).unwrap_or(u32::MAX)))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(_) => {
                self.counters.failed += 1;
                Ok(Some(0))
            }
        }
    }
}

impl VirtioDevice for Rng {
    fn device_type(&self) -> DeviceType {
        DeviceType::Entropy
    }

    fn features(&self) -> u64 {
        0
    }

    fn in_order(&self) -> bool {
        true
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, _offset: usize, data: &mut [u8]) {
        data.fill(0);
    }

    fn notify(&mut self, _queue: u16, io: &mut Io<'_>) {
        self.fill_all(io);
    }

    fn wake(&mut self, io: &mut Io<'_>) -> bool {
        self.fill_all(io);
        false
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
