//! Guest time, timers and the wall clock: no device reads the host's.

use std::time::Duration;

/// Nanoseconds of guest time since the machine was first started. It halts while the machine is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct GuestTime(pub u64);

impl GuestTime {
    /// This moment, `ns` nanoseconds later; the end of time is 584 years away.
    #[must_use]
    pub const fn after_ns(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// Whole ticks of a clock since time 0. The rate is an exact fraction of hertz, such as the 8254's
    /// 105/88 MHz = 105,000,000 / 88 Hz; the product is 128 bits wide, so nothing is rounded twice.
    #[must_use]
    pub fn ticks(self, hz_numerator: u64, hz_denominator: u64) -> u128 {
        u128::from(self.0) * u128::from(hz_numerator)
            / (u128::from(hz_denominator.max(1)) * 1_000_000_000)
    }
}

/// A clock that shows guest time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> GuestTime;
}

/// One alarm of one device. Arming never calls back inline: the device is told later, when nobody
/// holds its lock.
pub trait Timer: Send {
    /// Rings once at `deadline`, or at once after this call when that is past; replaces what was armed.
    fn arm(&mut self, deadline: GuestTime);

    /// Does not ring any more.
    fn disarm(&mut self);
}

/// The time of day: for real-time clocks alone.
pub trait WallClock: Send + Sync {
    /// Time since 1970-01-01 00:00:00 UTC.
    fn now(&self) -> Duration;
}
