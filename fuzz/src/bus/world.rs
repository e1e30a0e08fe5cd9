//! What stands around a device: the host, and back-ends that may fail.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trivisor_buses::testing::TestHost;
use trivisor_buses::{CharOutput, Line};

/// What stands around a device.
#[derive(Debug)]
pub struct World {
    /// Clocks, wires and guest memory.
    pub host: Arc<TestHost>,
    /// What stands behind the device.
    pub outside: Outside,
    pub(super) lines: Mutex<Vec<Line>>,
}

impl World {
    /// The input drives this line, which leads to a pin of the device.
    pub fn add_line(&self, line: Line) {
        self.lines().push(line);
    }

    pub(super) fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A back-end that works, or takes nothing.
#[derive(Debug, Clone, Default)]
pub struct Outside(pub(super) Arc<AtomicBool>);

impl Outside {
    /// Done, or refused.
    ///
    /// # Errors
    /// While it does not work.
    pub fn flush(&self) -> io::Result<()> {
        if self.works() {
            Ok(())
        } else {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    pub(super) fn works(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl CharOutput for Outside {
    fn write(&mut self, bytes: &[u8]) -> usize {
        if self.works() { bytes.len() } else { 0 }
    }
}
