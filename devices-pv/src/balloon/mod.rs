//! Memory balloon: guest RAM that goes back to the host.
//!
//! Source: OASIS, Virtual I/O Device (VIRTIO) Version 1.3, 5.5.
//!
//! | feature | offered | |
//! |---|---|---|
//! | MUST_TELL_HOST | always | not relied on: a page that is used too early is RAM all the same |
//! | STATS_VQ | always | |
//! | DEFLATE_ON_OOM | as the options say | |
//! | PAGE_POISON | always | unless the value is 0, reported pages stay with the guest: the host gives zeros only |
//! | PAGE_REPORTING | as the options say | |
//!
//! | queue | buffer | effect |
//! |---|---|---|
//! | 0, inflateq | numbers of pages | they go back to the host |
//! | 1, deflateq | numbers of pages | none: the host gives them again when they are touched |
//! | 2, statsq | entries of a tag and a value | read, then held until statistics are asked for |
//! | 4, reporting_vq | free pages | they go back to the host |
//!
//! Pages of one buffer are sorted and merged, so that the host is called once a run. Those that are not RAM are counted
//! and left alone, as are those behind the first [`MAX_PAGES`] of a buffer: an inflation is acknowledged as a whole,
//! and the guest does without what it offered. A list that is not RAM breaks the queue.
//!
//! The specification numbers the queues as if all of them were there. Linux, for the sake of QEMU, counts those alone
//! that are. free_page_vq never is here, so queue 3 too can only be for reports, and queue 2 without STATS_VQ as well.
//!
//! Targets are the host's wish. They outlive a reset; `actual` and statistics do not.
//!
//! **Not modelled**: FREE_PAGE_HINT (hints for a migration).
//!
//! **Relied on by**: Linux (`virtio_balloon`).

mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use trivisor_buses::{AccessError, Reclaim, RestoreError, SavedState, Segment};
use trivisor_virtio_device::{Chain, DeviceType, Io, QueueError, VirtioDevice, read_config_bytes};

pub use self::core::MAX_PAGES;
use self::core::{Runs, read_statistics};
pub use self::regs::Statistics;
use self::regs::{
    DEFLATE_QUEUE, Features, INFLATE_QUEUE, PAGE, REPORTING_QUEUE, STATS_QUEUE, config,
};
pub use self::state::BalloonStateV1;

/// Buffers of a queue. Linux puts one at a time into each, of up to 32 segments into that for reports.
const QUEUE_SIZE: u16 = 64;
const QUEUE_SIZES: [u16; 5] = [QUEUE_SIZE; 5];

/// What a balloon can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalloonOptions {
    /// The guest may take pages back when it has no others.
    pub deflate_on_oom: bool,
    /// The guest reports pages that are free without being asked.
    pub free_page_reporting: bool,
}

impl Default for BalloonOptions {
    fn default() -> Self {
        Self {
            deflate_on_oom: true,
            free_page_reporting: true,
        }
    }
}

/// What became of pages of 4 KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BalloonCounters {
    /// Went into the balloon.
    pub inflated: u64,
    /// Came out of it.
    pub deflated: u64,
    /// Were reported as free.
    pub reported: u64,
    /// Bytes that the host took.
    pub given_back: u64,
    /// Bytes of RAM that it did not: parts of huge pages, those that it refused, and reported ones with a poison.
    pub kept: u64,
    /// Were no RAM.
    pub outside: u64,
    /// Stood too far behind in their buffer.
    pub ignored: u64,
    /// Buffers of statistics that were read.
    pub statistics: u64,
}

/// What a queue is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Inflate,
    Deflate,
    Statistics,
    Report,
}

impl Role {
    const fn of(queue: u16, features: Features) -> Option<Self> {
        match queue {
            INFLATE_QUEUE => Some(Self::Inflate),
            DEFLATE_QUEUE => Some(Self::Deflate),
            STATS_QUEUE if features.stats_vq() => Some(Self::Statistics),
            STATS_QUEUE..=REPORTING_QUEUE if features.page_reporting() => Some(Self::Report),
            _ => None,
        }
    }
}

/// A memory balloon.
pub struct Balloon {
    // Configuration.
    offered: Features,
    // Wiring.
    reclaim: Box<dyn Reclaim>,
    // Guest-visible state.
    state: BalloonStateV1,
    statistics: Statistics,
    // Work, none of it across a call.
    chain: Chain,
    runs: Runs,
    counters: BalloonCounters,
}

impl std::fmt::Debug for Balloon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Balloon")
            .field("state", &self.state)
            .field("statistics", &self.statistics)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Balloon {
    /// An empty balloon, whose pages `reclaim` gets.
    #[must_use]
    pub fn new(options: BalloonOptions, reclaim: Box<dyn Reclaim>) -> Self {
        Self {
            offered: Features::new()
                .with_must_tell_host(true)
                .with_stats_vq(true)
                .with_deflate_on_oom(options.deflate_on_oom)
                .with_page_poison(true)
                .with_page_reporting(options.free_page_reporting),
            reclaim,
            state: BalloonStateV1::default(),
            statistics: Statistics::default(),
            chain: Chain::default(),
            runs: Runs::default(),
            counters: BalloonCounters::default(),
        }
    }

    /// Wants `pages` of 4 KiB to be in the balloon. The guest gives what it can, and takes the rest of what it gave back.
    pub fn set_target(&mut self, pages: u32, io: &mut Io<'_>) {
        if std::mem::replace(&mut self.state.num_pages, pages) != pages {
            io.config_changed();
        }
    }

    /// Pages of 4 KiB that are wanted.
    #[must_use]
    pub const fn target(&self) -> u32 {
        self.state.num_pages
    }

    /// Pages of 4 KiB in the balloon, as the driver says.
    #[must_use]
    pub const fn actual(&self) -> u32 {
        self.state.actual
    }

    /// Asks the driver for statistics. False when it cannot be asked: it has not answered the last time, or has none.
    pub fn request_statistics(&mut self, io: &mut Io<'_>) -> bool {
        let Some(buffer) = self.state.statistics_buffer.take() else {
            return false;
        };
        io.push(STATS_QUEUE, buffer, 0);
        io.publish(STATS_QUEUE);
        true
    }

    /// What the driver told the last time.
    #[must_use]
    pub const fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// What became of pages so far.
    #[must_use]
    pub const fn counters(&self) -> BalloonCounters {
        self.counters
    }

    /// Carries out what stands in the buffers of `queue`. Each goes back at the end of the turn, so there are no more
    /// than the queue has; a driver that adds others meanwhile has to ring again.
    fn serve(&mut self, queue: u16, role: Role, io: &mut Io<'_>) {
        let mut chain = std::mem::take(&mut self.chain);
        let (mut left, mut used) = (QUEUE_SIZE, false);
        io.want_notifications(queue, false);
        loop {
            while left > 0 && io.pop(queue, &mut chain) {
                left -= 1;
                match self.take(role, &chain, io) {
                    Ok(back) => {
                        if let Some(id) = back {
                            io.push(queue, id, 0);
                            used = true;
                        }
                    }
                    Err(error) => io.fail(queue, error),
                }
            }
            if !io.want_notifications(queue, true) || left == 0 {
                break;
            }
        }
        if used {
            io.publish(queue);
        }
        self.chain = chain;
    }

    /// Carries out one buffer; which one is to be given back.
    fn take(&mut self, role: Role, chain: &Chain, io: &Io<'_>) -> Result<Option<u16>, QueueError> {
        match role {
            Role::Inflate => {
                self.runs.read_pages(io.ram(), chain)?;
                self.counters.inflated += self.look_at_runs();
                self.give_back();
            }
            Role::Deflate => self.counters.deflated += chain.readable_len() / 4,
            Role::Report => {
                self.runs.read_report(io.ram(), chain);
                self.counters.reported += self.look_at_runs();
                let poisoned = Features::from_bits(io.features()).page_poison();
                if poisoned && self.state.poison_val != 0 {
                    self.counters.kept += Segment::total(&self.runs.segments);
                } else {
                    self.give_back();
                }
            }
            Role::Statistics => {
                self.statistics = read_statistics(io.ram(), chain)?;
                self.counters.statistics += 1;
                // A driver may have one there at a time (5.5.6.3). Of two, the older goes back.
                return Ok(self.state.statistics_buffer.replace(chain.id()));
            }
        }
        Ok(Some(chain.id()))
    }

    /// Counts what is in the runs; the pages that are RAM.
    fn look_at_runs(&mut self) -> u64 {
        self.counters.outside += self.runs.outside;
        self.counters.ignored += self.runs.behind;
        Segment::total(&self.runs.segments) / u64::from(PAGE)
    }

    fn give_back(&mut self) {
        let segments = &self.runs.segments;
        let given = if segments.is_empty() {
            0
        } else {
            self.reclaim.give_back(segments)
        };
        self.counters.given_back += given;
        self.counters.kept += Segment::total(segments).saturating_sub(given);
    }
}

impl VirtioDevice for Balloon {
    fn device_type(&self) -> DeviceType {
        DeviceType::Balloon
    }

    fn features(&self) -> u64 {
        self.offered.into_bits()
    }

    fn in_order(&self) -> bool {
        true
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        let BalloonStateV1 {
            num_pages,
            actual,
            poison_val,
            statistics_buffer: _,
        } = self.state;
        let mut space = [0; config::LEN];
        for (field, value) in space
            .as_chunks_mut()
            .0
            .iter_mut()
            .zip([num_pages, actual, 0, poison_val])
        {
            *field = value.to_le_bytes();
        }
        read_config_bytes(&space, offset, data);
    }

    fn write_config(
        &mut self,
        offset: usize,
        data: &[u8],
        io: &mut Io<'_>,
    ) -> Result<(), AccessError> {
        let poison = Features::from_bits(io.features()).page_poison();
        let (start, value) = match offset {
            config::ACTUAL..config::FREE_PAGE_HINT_CMD_ID => {
                (config::ACTUAL, &mut self.state.actual)
            }
            config::POISON_VAL..config::LEN if poison => {
                (config::POISON_VAL, &mut self.state.poison_val)
            }
            _ => return Err(AccessError::ReadOnly),
        };
        let mut bytes = value.to_le_bytes();
        let at = offset - start;
        let written = bytes.get_mut(at..at.saturating_add(data.len()));
        written.ok_or(AccessError::Width)?.copy_from_slice(data);
        *value = u32::from_le_bytes(bytes);
        Ok(())
    }

    fn notify(&mut self, queue: u16, io: &mut Io<'_>) {
        if let Some(role) = Role::of(queue, Features::from_bits(io.features())) {
            self.serve(queue, role, io);
        }
    }

    fn stop(&mut self, queue: Option<u16>, io: &mut Io<'_>) {
        if queue.is_none_or(|queue| queue == STATS_QUEUE) {
            self.request_statistics(io);
        }
    }

    fn reset(&mut self) {
        self.state = BalloonStateV1 {
            num_pages: self.state.num_pages,
            ..BalloonStateV1::default()
        };
        self.statistics = Statistics::default();
    }

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &self.state)
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        self.state = state.decode(state::KIND, state::VERSION)?;
        self.statistics = Statistics::default();
        Ok(())
    }
}
