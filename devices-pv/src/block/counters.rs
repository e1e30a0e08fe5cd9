//! What became of requests, for whoever looks at the machine.

use trivisor_buses::StorageOp;

/// What became of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockCounters {
    /// Reads that the storage was given.
    pub reads: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Writes that the storage was given, of zeros too.
    pub writes: u64,
    /// Their bytes.
    pub written_bytes: u64,
    /// Flushes that the storage was given, without those behind writes.
    pub flushes: u64,
    /// Discards that the storage was given.
    pub discards: u64,
    /// Requests that the storage was not given: the guest asked for what cannot be.
    pub refused: u64,
    /// Requests that the storage did not manage.
    pub failed: u64,
    /// Times that the storage was busy.
    pub busy: u64,
}

impl BlockCounters {
    /// The storage was given a request.
    pub(super) const fn count(&mut self, op: StorageOp, bytes: u64) {
        match op {
            StorageOp::Read => {
                self.reads += 1;
                self.read_bytes += bytes;
            }
            StorageOp::Write | StorageOp::WriteZeroes { .. } => {
                self.writes += 1;
                self.written_bytes += bytes;
            }
            StorageOp::Flush => self.flushes += 1,
            StorageOp::Discard => self.discards += 1,
        }
    }
}
