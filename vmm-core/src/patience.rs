//! How long it pays to look for work rather than to sleep until it is told of.

use std::time::{Duration, Instant};

/// The most: about what a bell, a sleep and a wake-up take on a slow host. A chip that becomes idle costs no more.
const MOST: Duration = Duration::from_micros(100);

/// The least that is not nothing.
const LEAST: Duration = Duration::from_micros(8);

/// Work that wakes a thread so soon might have been found by looking: a sleep and its wake-up take a part of it.
const SOON: Duration = Duration::from_micros(200);

/// Wake-ups for which nobody looks after it was in vain: this many at first, ...
const FIRST_PAUSE: u16 = 16;

/// ... and twice as many each time, up to so many.
const LAST_PAUSE: u16 = 4096;

/// After so long a sleep the guest may well do something else than before.
const FRESH: Duration = Duration::from_millis(100);

/// Grows when work comes soon after the thread has gone to sleep, and shrinks to nothing when it does not: a guest that
/// asks its disk for something now and then costs no more than without. When the longest look was in vain, nobody looks
/// for a while.
#[derive(Debug)]
pub(crate) struct Patience {
    span: Duration,
    /// When work was found last; asleep, when that began.
    since: Instant,
    /// Wake-ups until somebody may look again.
    pause: u16,
    next_pause: u16,
}

impl Patience {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            span: Duration::ZERO,
            since: now,
            pause: 0,
            next_pause: FIRST_PAUSE,
        }
    }

    /// Work was found by looking.
    pub(crate) fn found(&mut self, now: Instant) {
        self.since = now;
        self.next_pause = self.next_pause.saturating_sub(1).max(FIRST_PAUSE);
    }

    /// Whether it pays to look at all.
    pub(crate) fn has_any(&self) -> bool {
        self.span > Duration::ZERO
    }

    /// There was nothing for too long.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.since) >= self.span
    }

    /// Nobody looks any more.
    pub(crate) const fn sleep(&mut self, now: Instant) {
        self.since = now;
    }

    /// Work woke the thread.
    pub(crate) fn woken(&mut self, now: Instant) {
        let slept = now.duration_since(self.since);
        let soon = slept <= SOON;
        self.since = now;
        if slept >= FRESH {
            *self = Self::new(now);
            return;
        }
        if self.span >= MOST {
            self.span = Duration::ZERO;
            self.pause = self.next_pause;
            self.next_pause = self.next_pause.saturating_mul(2).min(LAST_PAUSE);
        } else if self.pause > 0 {
            self.pause -= 1;
        } else if soon {
            self.span = (self.span * 2).clamp(LEAST, MOST);
        } else {
            let half = self.span / 2;
            self.span = if half < LEAST { Duration::ZERO } else { half };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is spent on looking for work that comes every `gap` for `count` times, and how often it was found so.
    fn spent(gap: Duration, count: u32) -> (Duration, u32) {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        let (mut spent, mut hits) = (Duration::ZERO, 0);
        let mut last = start;
        for turn in 1..=count {
            let now = start + gap * turn;
            let over = (0..=gap.as_micros())
                .map(|us| Duration::from_micros(u64::try_from(us).unwrap()))
                .find(|after| patience.is_over(last + *after));
            match over.filter(|over| *over < gap) {
                Some(over) => {
                    spent += over;
                    patience.sleep(last + over);
                    patience.woken(now);
                }
                None => {
                    spent += gap;
                    hits += 1;
                    patience.found(now);
                }
            }
            last = now;
        }
        (spent, hits)
    }

    #[test]
    fn frequent_work_is_found_by_looking() {
        let (_, hits) = spent(Duration::from_micros(30), 1000);
        assert!(hits > 980, "{hits}");
    }

    #[test]
    fn rare_work_is_not_looked_for() {
        assert_eq!(spent(Duration::from_millis(1), 1000), (Duration::ZERO, 0));
    }

    #[test]
    fn work_that_comes_just_too_late_is_given_up() {
        let gap = Duration::from_micros(150);
        let (spent, _) = spent(gap, 10_000);
        assert!(spent < gap * 10_000 / 50, "{spent:?}");
    }

    #[test]
    fn patience_comes_back() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        let mut now = start;
        for _ in 0..5 {
            now += Duration::from_micros(120);
            patience.woken(now);
        }
        assert!(!patience.is_over(now + MOST / 2));
        for _ in 0..10 {
            now += Duration::from_millis(10);
            patience.woken(now);
        }
        assert!(patience.is_over(now));
        for _ in 0..FIRST_PAUSE - 9 + 5 {
            now += Duration::from_micros(20);
            patience.woken(now);
        }
        assert!(!patience.is_over(now));
    }
}
