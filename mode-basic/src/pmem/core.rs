//! The device as a value.

use std::io;

/// What became of the guest's flushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlushCounts {
    /// Flushes that have ended with all data in storage.
    pub done: u64,
    /// Flushes that the host failed: what was written before may be lost.
    pub failed: u64,
    /// How the latest of them failed.
    pub last_failure: Option<io::ErrorKind>,
}

impl FlushCounts {
    /// A flush has ended.
    pub fn note(&mut self, result: &io::Result<()>) {
        match result {
            Ok(()) => self.done += 1,
            Err(error) => {
                self.failed += 1;
                self.last_failure = Some(error.kind());
            }
        }
    }
}
