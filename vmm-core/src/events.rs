//! Wakes chips when what stands behind them has something, and looks at those that are busy without being told.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use trivisor_buses::{Look, Source, Woken, Work};

use crate::patience::Patience;

/// Events taken from the host at once.
const BATCH: usize = 32;

/// A turn that looks at busy chips takes about as long: then it is the turn of whatever else the thread waits for.
const SLICE: Duration = Duration::from_micros(50);

/// The sources of a machine's chips, watched by one descriptor that is itself readable when one of them has
/// something: a VMM's own loop polls it beside what else it waits for.
///
/// A chip whose driver rings bells is looked at for a while after it had something to do, so that a busy driver need not
/// ring. How long, `Patience` says; a machine at rest takes no time.
pub struct EventLoop {
    epoll: OwnedFd,
    /// The descriptors, each with the place of its chip.
    sources: Vec<(OwnedFd, usize)>,
    chips: Vec<Chip>,
    /// A chip is looked at: the next turn is due at once.
    looking: bool,
    patience: Patience,
    /// Carries out the writes that the guest has made until then: they were before what chips are woken for.
    posted: Option<Box<dyn FnMut() + Send>>,
}

struct Chip {
    woken: Arc<dyn Woken>,
    work: Vec<Box<dyn Work>>,
    /// It is to be woken in this turn.
    due: bool,
    /// It is looked at.
    busy: bool,
}

impl std::fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLoop")
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

impl AsFd for EventLoop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Chip {
    fn wake(&mut self) {
        self.due = self.woken.wake();
        if self.work() {
            // To take what came of it.
            self.due |= self.woken.wake();
            self.due |= self.work();
        }
    }

    /// True when there was something, or when it was not the last look: then the chip is to hear of it.
    fn look(&mut self, last: bool) -> bool {
        let look = self.woken.look(last);
        self.busy = look != Look::Told;
        self.work() || look == Look::Found
    }

    fn work(&mut self) -> bool {
        let mut any = false;
        for work in &mut self.work {
            any |= work.work();
        }
        any
    }
}

impl EventLoop {
    pub(crate) fn new(
        sources: Vec<Source>,
        posted: Option<Box<dyn FnMut() + Send>>,
    ) -> std::io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut chips: Vec<Chip> = Vec::new();
        let mut watched = Vec::new();
        for (index, source) in (0..).zip(sources) {
            let Source { fd, chip, work } = source;
            epoll::add(
                &epoll,
                &fd,
                EventData::new_u64(index),
                EventFlags::IN | EventFlags::OUT | EventFlags::ET,
            )?;
            let known = chips
                .iter()
                .position(|other| Arc::ptr_eq(&other.woken, &chip));
            let place = known.unwrap_or(chips.len());
            if known.is_none() {
                chips.push(Chip {
                    woken: chip,
                    work: Vec::new(),
                    due: false,
                    busy: false,
                });
            }
            if let Some(chip) = chips.get_mut(place) {
                chip.work.extend(work);
            }
            watched.push((fd, place));
        }
        Ok(Self {
            epoll,
            sources: watched,
            chips,
            looking: false,
            patience: Patience::new(Instant::now()),
            posted,
        })
    }

    /// Whether a chip left work behind or is busy: the next [`turn`](Self::turn) is due at once, whatever the descriptor
    /// says.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.looking || self.chips.iter().any(|chip| chip.due)
    }

    /// Wakes every chip whose source has changed, once, without waiting for a change; then looks at the busy ones.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn turn(&mut self) -> std::io::Result<()> {
        let mut events = [Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; BATCH];
        let now = rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let count = epoll::wait(&self.epoll, &mut events, Some(&now))?;
        for event in events.iter().take(count) {
            let source = usize::try_from(event.data.u64()).ok();
            let source = source.and_then(|index| self.sources.get(index));
            if let Some((_, place)) = source
                && let Some(chip) = self.chips.get_mut(*place)
            {
                chip.due = true;
            }
        }
        if let Some(posted) = &mut self.posted {
            posted();
        }
        let mut rung = false;
        for chip in self.chips.iter_mut().filter(|chip| chip.due) {
            chip.wake();
            chip.busy = chip.busy || chip.woken.is_rung();
            rung |= chip.busy;
        }
        if rung && !self.looking {
            self.patience.woken(Instant::now());
        }
        self.looking = self.patience.has_any() && self.chips.iter().any(|chip| chip.busy);
        if self.looking {
            self.look();
        } else {
            self.chips.iter_mut().for_each(|chip| chip.busy = false);
        }
        Ok(())
    }

    /// Looks at the busy chips until they have had nothing to do for a while, or the turn is over.
    fn look(&mut self) {
        let begin = Instant::now();
        loop {
            let mut found = false;
            for chip in self.chips.iter_mut().filter(|chip| chip.busy) {
                found |= chip.look(false);
            }
            let now = Instant::now();
            if found {
                self.patience.found(now);
            } else if self.patience.is_over(now) {
                let busy = self.chips.iter_mut().filter(|chip| chip.busy);
                // Each has to be told, whatever the others have found.
                if busy.fold(false, |found, chip| chip.look(true) | found) {
                    self.patience.found(now);
                } else {
                    self.patience.sleep(now);
                    self.looking = false;
                    self.chips.iter_mut().for_each(|chip| chip.busy = false);
                    return;
                }
            }
            if now.duration_since(begin) >= SLICE {
                return;
            }
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    /// A chip that wants to be woken `share` times for each event.
    #[derive(Default)]
    struct Chip {
        share: usize,
        wakes: AtomicUsize,
    }

    impl Woken for Chip {
        fn wake(&self) -> bool {
            let before = self.wakes.fetch_add(1, Ordering::SeqCst);
            !(before + 1).is_multiple_of(self.share)
        }

        fn is_rung(&self) -> bool {
            false
        }

        fn look(&self, _last: bool) -> Look {
            Look::Told
        }
    }

    fn source(share: usize) -> (OwnedFd, Arc<Chip>, Source) {
        let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
        let chip = Arc::new(Chip {
            share,
            ..Chip::default()
        });
        let source = Source {
            fd: fd.try_clone().unwrap(),
            chip: chip.clone(),
            work: None,
        };
        (fd, chip, source)
    }

    fn ring(fd: &OwnedFd) {
        rustix::io::write(fd, &1_u64.to_ne_bytes()).unwrap();
    }

    fn wakes(chip: &Chip) -> usize {
        chip.wakes.load(Ordering::SeqCst)
    }

    #[test]
    fn each_change_wakes_its_chip_once() {
        let (first, chip, source_of_first) = source(1);
        let (second, other, source_of_second) = source(1);
        let mut events = EventLoop::new(vec![source_of_first, source_of_second], None).unwrap();
        // An eventfd can be written from the start on.
        events.turn().unwrap();
        assert_eq!((wakes(&chip), wakes(&other)), (1, 1));
        events.turn().unwrap();
        assert_eq!((wakes(&chip), wakes(&other)), (1, 1));
        ring(&second);
        events.turn().unwrap();
        assert_eq!((wakes(&chip), wakes(&other)), (1, 2));
        ring(&first);
        ring(&first);
        events.turn().unwrap();
        assert_eq!((wakes(&chip), wakes(&other)), (2, 2));
    }

    #[test]
    fn a_chip_that_left_work_behind_is_due() {
        let (_, chip, source) = source(3);
        let mut events = EventLoop::new(vec![source], None).unwrap();
        events.turn().unwrap();
        assert!(events.is_due());
        events.turn().unwrap();
        assert!(events.is_due());
        events.turn().unwrap();
        assert!(!events.is_due());
        assert_eq!(wakes(&chip), 3);
    }
}
