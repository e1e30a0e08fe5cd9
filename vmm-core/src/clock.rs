//! The host's clocks behind the contracts of the devices.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use trivisor_buses::{Clock, GuestTime, WallClock};

/// Guest time: it stands still until the machine runs, and while it is paused.
#[derive(Debug, Default)]
pub(crate) struct GuestClock(Mutex<Phase>);

#[derive(Debug, Clone, Copy, Default)]
struct Phase {
    /// Guest time when the clock last stopped.
    elapsed: Duration,
    /// When it was started; `None`: it stands.
    running_since: Option<Instant>,
}

impl Phase {
    fn now(self) -> Duration {
        self.elapsed
            + self
                .running_since
                .map_or(Duration::ZERO, |since| since.elapsed())
    }
}

impl GuestClock {
    pub(crate) fn start(&self) {
        let phase = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        phase.running_since.get_or_insert_with(Instant::now);
    }

    pub(crate) fn stop(&self) {
        let phase = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *phase = Phase {
            elapsed: phase.now(),
            running_since: None,
        };
    }
}

impl Clock for GuestClock {
    fn now(&self) -> GuestTime {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner).now();
        // 2^64 ns are 584 years.
        GuestTime(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The host's time of day.
#[derive(Debug)]
pub(crate) struct HostTime;

impl WallClock for HostTime {
    fn now(&self) -> Duration {
        // A host whose clock stands before 1970 gives its guests 1970.
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
    }
}
