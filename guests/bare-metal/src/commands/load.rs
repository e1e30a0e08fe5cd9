//! What the loads of devices have in common: how long they go on, and what was waited for in vain.

use crate::clock;
use crate::cpu;
use crate::script::{Failure, Words};

/// Operations after which the time is looked at: some hosts interpret the instruction that reads it, for microseconds.
const LOOK: u64 = 16;
/// Looks at a used ring, one after the other in vain, after which nothing will come any more: half a minute or
/// more.
const MOST_IDLE: u64 = 1 << 30;

/// The rate of the time-stamp counter.
///
/// # Errors
/// When nothing tells it.
pub fn hz() -> Result<u64, Failure> {
    clock::tsc_hz().ok_or(Failure::Absent("rate of the time-stamp counter"))
}

/// When no more operations are begun.
#[derive(Clone, Copy)]
pub enum Until {
    Operations(u64),
    /// Of the time-stamp counter.
    Cycles(u64),
}

impl Until {
    /// `ops|ms NUMBER`
    ///
    /// # Errors
    /// [`Failure::Usage`].
    pub fn parse(words: &mut Words<'_>, hz: u64) -> Result<Self, Failure> {
        match (words.word(), words.number::<u64>()?) {
            (Some("ops"), count) => Ok(Self::Operations(count)),
            (Some("ms"), ms) => Ok(Self::Cycles(hz / 1000 * ms)),
            _ => Err(Failure::Usage),
        }
    }

    /// Whether one more is begun, when so many have begun and ended since `start`.
    pub fn goes_on(self, begun: u64, ended: u64, start: u64) -> bool {
        match self {
            Self::Operations(count) => begun < count,
            Self::Cycles(cycles) => {
                !ended.is_multiple_of(LOOK) || cpu::tsc().wrapping_sub(start) < cycles
            }
        }
    }
}

/// Places at random: Knuth's generator, whose high bits are the good ones.
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(1)
    }
}

impl Random {
    /// One of `places`.
    pub fn below(&mut self, places: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) % places
    }
}

/// Counts looks in vain.
#[derive(Default)]
pub struct Idle(u64);

impl Idle {
    /// What was waited for came.
    pub fn end(&mut self) {
        self.0 = 0;
    }

    /// A look in vain.
    ///
    /// # Errors
    /// [`Failure::Timeout`] after too many.
    pub fn look(&mut self, what: &'static str) -> Result<(), Failure> {
        self.0 += 1;
        if self.0 == MOST_IDLE {
            return Err(Failure::Timeout(what));
        }
        core::hint::spin_loop();
        Ok(())
    }
}
