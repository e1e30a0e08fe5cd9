//! A host that records what devices do to it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use trivisor_memory::{FileMapping, GuestRam, RamLayout, RamOptions};

use crate::dma::{Dma, DmaError};
use crate::events::{EventSink, MachineEvent};
use crate::line::{InterruptPins, Line, LineEnd, Wire};
use crate::msi::{Msi, MsiSink, PinRoutes};
use crate::pages::PageMapper;
use crate::posted::{Posted, PostedPlaces};
use crate::shadow::{ShadowMap, ShadowRun};
use crate::slots::Host;
use crate::time::{Clock, GuestTime, Timer, TimerEnd, Timers, WallClock};

/// A list that many hands append to.
#[derive(Debug)]
pub struct Recorder<T>(Mutex<Vec<T>>);

impl<T> Default for Recorder<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> Recorder<T> {
    /// Appends.
    pub fn note(&self, item: T) {
        lock(&self.0).push(item);
    }

    /// What came since the last call.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut *lock(&self.0))
    }
}

/// RAM from address 0 on.
#[derive(Debug)]
pub struct TestMemory(GuestRam);

impl TestMemory {
    /// `size` bytes of zeroes, 1 MiB at least.
    ///
    /// # Panics
    /// When the host has not as much.
    #[must_use]
    pub fn new(size: u64) -> Self {
        let layout = RamLayout::new(size).expect("a size of RAM");
        Self(GuestRam::new(layout, &RamOptions::default()).expect("the host has RAM"))
    }

    /// As back-ends get it.
    #[must_use]
    pub const fn ram(&self) -> &GuestRam {
        &self.0
    }
}

impl Dma for TestMemory {
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError> {
        let len = data.len();
        let moved = self.0.read(address, data);
        moved.then_some(()).ok_or(DmaError { address, len })
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError> {
        let len = data.len();
        let moved = self.0.write(address, data);
        moved.then_some(()).ok_or(DmaError { address, len })
    }
}

/// Everything a device may lean on, with time that only moves when told.
#[derive(Debug)]
pub struct TestHost {
    /// The levels that lines of [`line`](Self::line) changed to; a restored level is not among them.
    pub levels: Recorder<bool>,
    /// Messages sent.
    pub messages: Recorder<Msi>,
    /// Routes set.
    pub routes: Recorder<(u32, Option<Msi>)>,
    /// Levels of the pins of [`InterruptPins`], with their numbers.
    pub pins: Arc<Recorder<(u8, bool)>>,
    /// What addresses were switched to.
    pub shadows: Recorder<Vec<ShadowRun>>,
    /// Where memory of cards was shown.
    pub shown: Recorder<Option<u64>>,
    /// Places at which writes are posted, or not any more.
    pub posted: Recorder<(Posted, bool)>,
    /// Events noted.
    pub events: Recorder<MachineEvent>,
    /// Guest RAM: 1 MiB.
    pub memory: TestMemory,
    now_ns: Mutex<u64>,
    unix_time: Mutex<Duration>,
    timers: Arc<Mutex<Vec<Stepped>>>,
}

/// Most rings of timers in one [`TestHost::advance`].
const MOST_RINGS: usize = 100_000;

/// When a timer rings, and whom.
#[derive(Debug)]
struct Stepped {
    deadline: Option<GuestTime>,
    end: TimerEnd,
}

/// A timer that rings while a [`TestHost`]'s time is moved.
struct SteppedTimer {
    timers: Arc<Mutex<Vec<Stepped>>>,
    place: usize,
}

impl SteppedTimer {
    fn set(&self, deadline: Option<GuestTime>) {
        if let Some(timer) = lock(&self.timers).get_mut(self.place) {
            timer.deadline = deadline;
        }
    }
}

impl Timer for SteppedTimer {
    fn arm(&mut self, deadline: GuestTime) {
        self.set(Some(deadline));
    }

    fn disarm(&mut self) {
        self.set(None);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TestHost {
    /// A host at guest time 0 and at 2001-09-09 01:46:40 UTC (10^9 s).
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            levels: Recorder::default(),
            messages: Recorder::default(),
            routes: Recorder::default(),
            pins: Arc::default(),
            shadows: Recorder::default(),
            shown: Recorder::default(),
            posted: Recorder::default(),
            events: Recorder::default(),
            memory: TestMemory::new(1 << 20),
            now_ns: Mutex::new(0),
            unix_time: Mutex::new(Duration::from_secs(1_000_000_000)),
            timers: Arc::default(),
        })
    }

    /// The host as a board sees it.
    #[must_use]
    pub fn as_host(self: &Arc<Self>) -> Host {
        Host {
            msi: Arc::<Self>::clone(self),
            pin_routes: Arc::<Self>::clone(self),
            doorbells: None,
            posted: Some(Arc::<Self>::clone(self)),
            pins: Some(Arc::<Self>::clone(self)),
            shadow: Arc::<Self>::clone(self),
            pages: Arc::<Self>::clone(self),
            events: Arc::<Self>::clone(self),
            dma: Arc::<Self>::clone(self),
            ram: self.memory.ram().clone(),
            clock: Arc::<Self>::clone(self),
            timers: Arc::<Self>::clone(self),
            wall_clock: Arc::<Self>::clone(self),
        }
    }

    /// A line whose edges are recorded in [`levels`](Self::levels).
    #[must_use]
    pub fn line(self: &Arc<Self>) -> Line {
        Wire::new(Arc::<Self>::clone(self)).line()
    }

    /// Guest time and the time of day go on; timers ring on the way, each at its time.
    ///
    /// # Panics
    /// When a timer rings again and again and no time passes.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let end = lock(&self.now_ns).saturating_add(by);
        for _ in 0..MOST_RINGS {
            let Some((deadline, ring)) = self.next_ring(end) else {
                self.advance_to(end);
                return;
            };
            self.advance_to(deadline.0);
            if ring.ring() {
                // What it left behind is its next turn's.
                let _more = ring.ring();
            }
        }
        panic!("{MOST_RINGS} rings of a timer");
    }

    /// When the next timer rings, if one does.
    pub fn armed(&self) -> Option<GuestTime> {
        let timers = lock(&self.timers);
        timers.iter().filter_map(|timer| timer.deadline).min()
    }

    /// The next timer that rings until `end`; it is disarmed.
    fn next_ring(&self, end: u64) -> Option<(GuestTime, TimerEnd)> {
        let mut timers = lock(&self.timers);
        let armed = timers.iter_mut().filter(|timer| timer.deadline.is_some());
        let next = armed.min_by_key(|timer| timer.deadline)?;
        let deadline = next.deadline.filter(|deadline| deadline.0 <= end)?;
        next.deadline = None;
        Some((deadline, next.end.clone()))
    }

    fn advance_to(&self, ns: u64) {
        let mut now = lock(&self.now_ns);
        let by = Duration::from_nanos(ns.saturating_sub(*now));
        *now = ns.max(*now);
        *lock(&self.unix_time) += by;
    }

    /// Sets the time of day.
    pub fn set_unix_time(&self, time: Duration) {
        *lock(&self.unix_time) = time;
    }
}

impl PostedPlaces for TestHost {
    fn post(&self, place: Posted) -> io::Result<()> {
        self.posted.note((place, true));
        Ok(())
    }

    fn unpost(&self, place: Posted) {
        self.posted.note((place, false));
    }
}

impl LineEnd for TestHost {
    fn set_level(&self, level: bool) {
        self.levels.note(level);
    }

    fn restore_level(&self, _level: bool) {}
}

impl MsiSink for TestHost {
    fn send(&self, msi: Msi) {
        self.messages.note(msi);
    }
}

impl PinRoutes for TestHost {
    fn set_route(&self, pin: u32, msi: Option<Msi>) {
        self.routes.note((pin, msi));
    }
}

/// A pin whose edges are recorded.
struct TestPin {
    number: u8,
    levels: Arc<Recorder<(u8, bool)>>,
}

impl LineEnd for TestPin {
    fn set_level(&self, level: bool) {
        self.levels.note((self.number, level));
    }

    fn restore_level(&self, _level: bool) {}
}

impl InterruptPins for TestHost {
    fn pin(&self, number: u8) -> Arc<dyn LineEnd> {
        Arc::new(TestPin {
            number,
            levels: Arc::clone(&self.pins),
        })
    }
}

impl ShadowMap for TestHost {
    fn set_shadow(&self, runs: &[ShadowRun]) {
        self.shadows.note(runs.to_vec());
    }
}

impl PageMapper for TestHost {
    fn show(&self, _pages: &Arc<FileMapping>, address: Option<u64>) {
        self.shown.note(address);
    }
}

impl EventSink for TestHost {
    fn event(&self, event: MachineEvent) {
        self.events.note(event);
    }
}

impl Dma for TestHost {
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError> {
        self.memory.read(address, data)
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError> {
        self.memory.write(address, data)
    }
}

impl Clock for TestHost {
    fn now(&self) -> GuestTime {
        GuestTime(*lock(&self.now_ns))
    }
}

impl Timers for TestHost {
    fn timer(&self) -> io::Result<(Box<dyn Timer>, TimerEnd)> {
        let end = TimerEnd::default();
        let mut timers = lock(&self.timers);
        let timer = SteppedTimer {
            timers: self.timers.clone(),
            place: timers.len(),
        };
        timers.push(Stepped {
            deadline: None,
            end: end.clone(),
        });
        Ok((Box::new(timer), end))
    }
}

impl WallClock for TestHost {
    fn now(&self) -> Duration {
        *lock(&self.unix_time)
    }
}
