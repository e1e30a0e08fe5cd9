//! What stands in the driver's buffers.

use trivisor_buses::Segment;
use trivisor_memory::GuestRam;
use trivisor_virtio_device::{Chain, QueueError};

use super::regs::{PAGE, STAT_LEN, Statistics};

/// Pages of one buffer that are looked at: 16 MiB. Linux sends 256, Windows 1024. A buffer can hold 2^30, which nobody
/// is to wait for; those behind stay with the guest.
pub const MAX_PAGES: usize = 4096;
/// Entries of one buffer of statistics that are looked at.
const MAX_STATS: u64 = 64;
/// Pages that are read at a time.
const BATCH: usize = 256;

/// Pages of a buffer, made into runs.
#[derive(Debug, Default)]
pub(super) struct Runs {
    /// In the order of their addresses, none adjacent to the next.
    pub(super) segments: Vec<Segment>,
    /// Pages that are not RAM.
    pub(super) outside: u64,
    /// Pages behind the first [`MAX_PAGES`].
    pub(super) behind: u64,
}

impl Runs {
    fn clear(&mut self) {
        self.segments.clear();
        self.outside = 0;
        self.behind = 0;
    }

    /// From an array of page numbers: 5.5.6.
    pub(super) fn read_pages(&mut self, ram: &GuestRam, chain: &Chain) -> Result<(), QueueError> {
        self.clear();
        let count = chain.readable_len() / 4;
        let most = count.min(MAX_PAGES as u64);
        self.behind = count - most;
        let mut numbers = [0; 4 * BATCH];
        let mut at = 0;
        while at < most {
            let batch = usize::try_from(most - at).unwrap_or(BATCH).min(BATCH);
            let bytes = numbers.get_mut(..4 * batch).unwrap_or_default();
            chain.read(ram, 4 * at, bytes)?;
            for number in bytes.as_chunks().0 {
                self.add(
                    ram,
                    u64::from(u32::from_le_bytes(*number)) * u64::from(PAGE),
                    PAGE,
                );
            }
            at += batch as u64;
        }
        self.merge();
        Ok(())
    }

    /// The buffer is the pages: 5.5.6.7.
    pub(super) fn read_report(&mut self, ram: &GuestRam, chain: &Chain) {
        self.clear();
        for segment in chain.writable() {
            self.add(ram, segment.address, segment.len);
        }
        self.merge();
    }

    fn add(&mut self, ram: &GuestRam, address: u64, len: u32) {
        if ram.layout().contains(address, len.into()) {
            self.segments.push(Segment { address, len });
        } else {
            self.outside += u64::from(len.div_ceil(PAGE));
        }
    }

    /// Sorts, and makes runs of what touches. Each is a call of the host.
    fn merge(&mut self) {
        self.segments
            .sort_unstable_by_key(|segment| segment.address);
        self.segments.dedup_by(|next, run| {
            // RAM, so that no end overflows.
            let end = run.address + u64::from(run.len);
            let both = (next.address + u64::from(next.len)).max(end) - run.address;
            let fits = u32::try_from(both).ok().filter(|_| next.address <= end);
            if let Some(len) = fits {
                run.len = len;
            }
            fits.is_some()
        });
    }
}

/// From an array of entries; what is behind the last whole one says nothing.
pub(super) fn read_statistics(ram: &GuestRam, chain: &Chain) -> Result<Statistics, QueueError> {
    let mut statistics = Statistics::default();
    let len = STAT_LEN as u64;
    for index in 0..(chain.readable_len() / len).min(MAX_STATS) {
        let mut stat = [0; STAT_LEN];
        chain.read(ram, index * len, &mut stat)?;
        statistics.take(stat);
    }
    Ok(statistics)
}
