//! Wakes chips when what stands behind them has something.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use trivisor_buses::{Source, Woken};

/// Events taken from the host at once.
const BATCH: usize = 32;

/// The sources of a machine's chips, watched by one descriptor that is itself readable when one of them has
/// something: a VMM's own loop polls it beside what else it waits for.
pub struct EventLoop {
    epoll: OwnedFd,
    sources: Vec<Source>,
    /// Chips that left work behind.
    unfinished: Vec<Arc<dyn Woken>>,
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

impl EventLoop {
    pub(crate) fn new(sources: Vec<Source>) -> std::io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        for (index, source) in (0..).zip(&sources) {
            epoll::add(
                &epoll,
                &source.fd,
                EventData::new_u64(index),
                EventFlags::IN | EventFlags::OUT | EventFlags::ET,
            )?;
        }
        Ok(Self {
            epoll,
            sources,
            unfinished: Vec::new(),
        })
    }

    /// Whether a chip left work behind: the next [`turn`](Self::turn) is due at once, whatever the descriptor says.
    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Wakes every chip whose source has changed, once, without waiting for a change.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn turn(&mut self) -> std::io::Result<()> {
        let mut events = [Event {
            flags: EventFlags::empty(),
            data: EventData::new_u64(0),
        }; BATCH];
        let mut due = std::mem::take(&mut self.unfinished);
        let now = rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let count = epoll::wait(&self.epoll, &mut events, Some(&now))?;
        for event in events.iter().take(count) {
            let source = usize::try_from(event.data.u64()).ok();
            let chip = source.and_then(|index| self.sources.get(index));
            if let Some(source) = chip
                && !due.iter().any(|other| Arc::ptr_eq(other, &source.chip))
            {
                due.push(source.chip.clone());
            }
        }
        due.retain(|chip| chip.wake());
        self.unfinished = due;
        Ok(())
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
        let mut events = EventLoop::new(vec![source_of_first, source_of_second]).unwrap();
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
        let mut events = EventLoop::new(vec![source]).unwrap();
        events.turn().unwrap();
        assert!(events.is_due());
        events.turn().unwrap();
        assert!(events.is_due());
        events.turn().unwrap();
        assert!(!events.is_due());
        assert_eq!(wakes(&chip), 3);
    }
}
