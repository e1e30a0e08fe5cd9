//! Timers of chips, in guest time: all of a machine's behind one descriptor of the host's, which the event loop watches.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use trivisor_buses::{Clock, GuestTime, Look, Source, Timer, TimerEnd, Timers, Woken};

use crate::clock::GuestClock;

/// The timers of a machine. The first one makes the descriptor, so a board without timers has none.
///
/// They ring on the event loop's thread. While the machine is paused, guest time stands and nothing rings.
#[derive(Debug)]
pub(crate) struct GuestTimers {
    clock: Arc<GuestClock>,
    queue: Arc<Mutex<Queue>>,
    /// Held while chips are woken: who halts the timers waits for them.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Queue {
    /// `None`: nobody has taken a timer.
    host: Option<OwnedFd>,
    /// Guest time goes on.
    running: bool,
    /// What the host was told last.
    told: Option<GuestTime>,
    timers: Vec<Entry>,
}

/// A timer of the queue.
#[derive(Debug)]
struct Entry {
    deadline: Option<GuestTime>,
    end: TimerEnd,
}

/// A chip's timer.
struct QueuedTimer {
    clock: Arc<GuestClock>,
    queue: Arc<Mutex<Queue>>,
    place: usize,
}

impl Queue {
    /// Tells the host of the next deadline, unless it knows.
    fn tell(&mut self, now: impl FnOnce() -> GuestTime) {
        let deadlines = self.timers.iter().filter_map(|timer| timer.deadline);
        let next = deadlines.min().filter(|_| self.running);
        let Some(host) = self.host.as_ref().filter(|_| next != self.told) else {
            return;
        };
        // Zero would disarm it.
        let ns = next.map_or(0, |next| next.0.saturating_sub(now().0).max(1));
        let value = Itimerspec {
            it_interval: timespec(0),
            it_value: timespec(ns),
        };
        // Refused are only times that do not exist.
        let set = timerfd_settime(host, TimerfdTimerFlags::empty(), &value);
        debug_assert!(set.is_ok(), "{set:?}");
        self.told = next;
    }
}

fn timespec(ns: u64) -> Timespec {
    const SECOND: u64 = 1_000_000_000;
    Timespec {
        tv_sec: i64::try_from(ns / SECOND).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ns % SECOND).unwrap_or_default(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl GuestTimers {
    pub(crate) fn new(clock: Arc<GuestClock>) -> Self {
        Self {
            clock,
            queue: Arc::default(),
            turn: Mutex::new(()),
        }
    }

    /// What the event loop waits for; `None`: nobody has taken a timer.
    ///
    /// # Errors
    /// When the host has no descriptor left.
    pub(crate) fn source(self: &Arc<Self>) -> io::Result<Option<Source>> {
        let fd = lock(&self.queue).host.as_ref().map(OwnedFd::try_clone);
        Ok(fd.transpose()?.map(|fd| Source {
            fd,
            chip: self.clone(),
            work: None,
        }))
    }

    /// Guest time goes on.
    pub(crate) fn start(&self) {
        let mut queue = lock(&self.queue);
        queue.running = true;
        queue.tell(|| self.clock.now());
    }

    /// Guest time stands: returns when nothing rings any more.
    pub(crate) fn stop(&self) {
        let mut queue = lock(&self.queue);
        queue.running = false;
        queue.tell(|| self.clock.now());
        drop(queue);
        drop(lock(&self.turn));
    }

    /// The timers whose time has come, now disarmed.
    fn take_due(&self) -> Vec<(usize, TimerEnd)> {
        let mut queue = lock(&self.queue);
        if !queue.running {
            return Vec::new();
        }
        // The host's timer has run out, or it is set again below.
        queue.told = None;
        let now = self.clock.now();
        let timers = queue.timers.iter_mut().enumerate();
        let due = timers.filter(|(_, timer)| timer.deadline.is_some_and(|at| at <= now));
        due.map(|(place, timer)| {
            timer.deadline = None;
            (place, timer.end.clone())
        })
        .collect()
    }
}

impl Timers for GuestTimers {
    fn timer(&self) -> io::Result<(Box<dyn Timer>, TimerEnd)> {
        let mut queue = lock(&self.queue);
        if queue.host.is_none() {
            let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
            queue.host = Some(timerfd_create(TimerfdClockId::Monotonic, flags)?);
        }
        let end = TimerEnd::default();
        let timer = QueuedTimer {
            clock: self.clock.clone(),
            queue: self.queue.clone(),
            place: queue.timers.len(),
        };
        queue.timers.push(Entry {
            deadline: None,
            end: end.clone(),
        });
        Ok((Box::new(timer), end))
    }
}

impl Woken for GuestTimers {
    fn wake(&self) -> bool {
        let _turn = lock(&self.turn);
        // The chips are called without the queue's lock: they arm their timers.
        let due = self.take_due();
        let again = due.into_iter().filter(|(_, end)| end.ring());
        let again: Vec<_> = again.collect();
        let mut queue = lock(&self.queue);
        for (place, _) in &again {
            if let Some(timer) = queue.timers.get_mut(*place) {
                timer.deadline = Some(GuestTime::default());
            }
        }
        queue.tell(|| self.clock.now());
        !again.is_empty()
    }

    fn is_rung(&self) -> bool {
        false
    }

    fn look(&self, _last: bool) -> Look {
        Look::Told
    }
}

impl QueuedTimer {
    fn set(&self, deadline: Option<GuestTime>) {
        let mut queue = lock(&self.queue);
        if let Some(timer) = queue.timers.get_mut(self.place) {
            timer.deadline = deadline;
        }
        queue.tell(|| self.clock.now());
    }
}

impl Timer for QueuedTimer {
    fn arm(&mut self, deadline: GuestTime) {
        self.set(Some(deadline));
    }

    fn disarm(&mut self) {
        self.set(None);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, poll};
    use trivisor_buses::{Shell, Wake, Widths};

    use super::*;
    use crate::events::EventLoop;

    /// A chip that arms its timer `again` times more, a millisecond each.
    struct Chip {
        clock: Arc<GuestClock>,
        timer: Box<dyn Timer>,
        again: usize,
        rings: usize,
        /// Wants a further turn for each ring.
        more: bool,
    }

    impl Wake for Chip {
        fn wake(&mut self) -> bool {
            self.rings += 1;
            if self.again > 0 {
                self.again -= 1;
                self.timer.arm(self.clock.now().after_ns(1_000_000));
            }
            std::mem::take(&mut self.more)
        }
    }

    fn machine(count: usize) -> (Arc<GuestTimers>, EventLoop, Vec<Arc<Shell<Chip>>>) {
        let clock = Arc::new(GuestClock::default());
        let timers = Arc::new(GuestTimers::new(clock.clone()));
        let chips = (0..count).map(|_| {
            let (timer, end) = timers.timer().unwrap();
            let chip = Chip {
                clock: clock.clone(),
                timer,
                again: 0,
                rings: 0,
                more: false,
            };
            let chip = Shell::new("chip", Widths::ANY, chip);
            end.wakes(&chip);
            chip
        });
        let chips = chips.collect();
        let events = EventLoop::new(timers.source().unwrap().into_iter().collect(), None).unwrap();
        (timers, events, chips)
    }

    fn run(timers: &GuestTimers) {
        timers.clock.start();
        timers.start();
    }

    fn pause(timers: &GuestTimers) {
        timers.clock.stop();
        timers.stop();
    }

    /// Turns until nothing has come for 50 ms.
    fn turn(events: &mut EventLoop) {
        loop {
            let mut fds = [PollFd::new(events, PollFlags::IN)];
            let wait = Timespec::try_from(Duration::from_millis(50)).unwrap();
            if poll(&mut fds, Some(&wait)).unwrap() == 0 && !events.is_due() {
                return;
            }
            events.turn().unwrap();
        }
    }

    fn rings(chip: &Shell<Chip>) -> usize {
        chip.with(|chip| chip.rings)
    }

    fn arm(chip: &Shell<Chip>, ns: u64) {
        chip.with(|chip| chip.timer.arm(GuestTime(ns)));
    }

    #[test]
    fn who_takes_none_costs_no_descriptor() {
        let (timers, _, _) = machine(0);
        run(&timers);
        assert!(timers.source().unwrap().is_none());
    }

    #[test]
    fn each_rings_once_and_its_chip_may_arm_it_again() {
        let (timers, mut events, chips) = machine(3);
        chips[0].with(|chip| chip.again = 5);
        arm(&chips[0], 0);
        arm(&chips[1], 2_000_000);
        arm(&chips[2], 1_000_000);
        chips[2].with(|chip| chip.timer.disarm());
        // Nothing before the machine runs, and never inline.
        turn(&mut events);
        assert_eq!([0, 1, 2].map(|at| rings(&chips[at])), [0, 0, 0]);
        run(&timers);
        turn(&mut events);
        assert_eq!([0, 1, 2].map(|at| rings(&chips[at])), [6, 1, 0]);
    }

    #[test]
    fn the_past_rings_later_and_not_inline() {
        let (timers, mut events, chips) = machine(1);
        run(&timers);
        arm(&chips[0], 0);
        assert_eq!(rings(&chips[0]), 0);
        turn(&mut events);
        assert_eq!(rings(&chips[0]), 1);
    }

    #[test]
    fn a_later_deadline_replaces_an_earlier_one() {
        let (timers, mut events, chips) = machine(1);
        run(&timers);
        arm(&chips[0], 1_000_000);
        arm(&chips[0], u64::MAX);
        turn(&mut events);
        assert_eq!(rings(&chips[0]), 0);
    }

    #[test]
    fn nothing_rings_while_paused() {
        let (timers, mut events, chips) = machine(1);
        run(&timers);
        pause(&timers);
        let soon = timers.clock.now().after_ns(1_000_000);
        arm(&chips[0], soon.0);
        turn(&mut events);
        assert_eq!((rings(&chips[0]), timers.wake()), (0, false));
        run(&timers);
        turn(&mut events);
        assert_eq!(rings(&chips[0]), 1);
        assert!(timers.clock.now() >= soon);
    }

    #[test]
    fn who_leaves_work_behind_is_woken_again() {
        let (timers, mut events, chips) = machine(1);
        chips[0].with(|chip| chip.more = true);
        run(&timers);
        arm(&chips[0], 0);
        turn(&mut events);
        assert_eq!(rings(&chips[0]), 2);
    }

    #[test]
    fn a_chip_that_is_gone_is_not_kept() {
        let (timers, mut events, mut chips) = machine(1);
        run(&timers);
        arm(&chips[0], 0);
        let chip = Arc::downgrade(&chips.remove(0));
        assert!(chip.upgrade().is_none());
        turn(&mut events);
    }
}
