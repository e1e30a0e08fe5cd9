//! Guest time, timers and the wall clock: no device reads the host's.

use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use crate::wake::Woken;

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

/// Gives timers to chips while a board is fitted. A board that takes none costs its host nothing.
pub trait Timers: Send + Sync {
    /// A disarmed timer, for a chip to hold, and its end, to be fixed when the chip is in its shell.
    ///
    /// # Errors
    /// When the host has no timer left.
    fn timer(&self) -> io::Result<(Box<dyn Timer>, TimerEnd)>;
}

/// Whom a [`Timer`] wakes: one chip, for ever. Where none is fixed, it rings unheard.
#[derive(Clone, Default)]
pub struct TimerEnd(Arc<OnceLock<Weak<dyn Woken>>>);

impl std::fmt::Debug for TimerEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TimerEnd").finish_non_exhaustive()
    }
}

impl TimerEnd {
    /// The timer wakes `chip`, which holds it; a second chip is not taken.
    pub fn wakes<C: Woken + 'static>(&self, chip: &Arc<C>) {
        // The chip holds the timer: it may not hold the chip.
        let chip: Weak<C> = Arc::downgrade(chip);
        let _second = self.0.set(chip);
    }

    /// Wakes the chip, for whoever provides timers; true when it wants to be woken again at once.
    #[must_use]
    pub fn ring(&self) -> bool {
        let chip = self.0.get().and_then(Weak::upgrade);
        chip.is_some_and(|chip| chip.wake())
    }
}

/// The time of day: for real-time clocks alone.
pub trait WallClock: Send + Sync {
    /// Time since 1970-01-01 00:00:00 UTC.
    fn now(&self) -> Duration;
}
