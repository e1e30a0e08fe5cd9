//! A back-end as the device's queue server, in the VM process: gets its connections from the control process, and
//! another one when a connection breaks.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use thiserror::Error;
use trivisor_buses::{QueueServer, ServedQueue, ServerEvent};
use trivisor_memory::GuestRam;

use super::asker::Asker;
use super::link::{Link, LinkError, MAX_DESCRIPTORS, Received};
use super::message::Attached;
use super::session::{Offer, Region, Session, Stage, Wanted};

/// What the epoll set watches; calls begin at the last.
const LINK: u64 = 0;
const ASKER: u64 = 1;
const TIMER: u64 = 2;
const FIRST_CALL: u64 = 3;

/// Changes that are looked at in one go.
const BATCH: usize = 16;

/// Seconds until an answer is missed.
const ANSWER_SECONDS: i64 = 5;

/// What a stop takes at most, beside one wait for bytes.
const PATIENCE: Duration = Duration::from_millis(500);

/// Queues of one device at most: a descriptor and a bit a queue.
pub const MAX_QUEUES: u16 = 64;

/// RAM or queues that no back-end can serve.
#[derive(Debug, Error)]
pub enum ServerError {
    /// Guest RAM is private to this process.
    #[error("guest memory is private: another process cannot map it")]
    PrivateMemory,
    /// More queues than one device has.
    #[error("{queues} queues: a device has {MAX_QUEUES} at most")]
    Queues {
        /// How many.
        queues: u16,
    },
    /// The host refuses a descriptor.
    #[error("the host refuses a descriptor for a back-end")]
    Host(#[from] io::Error),
}

impl From<rustix::io::Errno> for ServerError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Host(error.into())
    }
}

/// A back-end, whether it is there or not.
pub struct BackEndQueues {
    // Configuration.
    wanted: Wanted,
    /// What was offered at first. Another back-end has to have as much.
    offer: Offer,
    queue_size: u16,
    // Wiring.
    memory: Vec<OwnedFd>,
    regions: Vec<Region>,
    epoll: OwnedFd,
    timer: OwnedFd,
    asker: Asker,
    kicks: Vec<OwnedFd>,
    calls: Vec<OwnedFd>,
    // The connection.
    link: Option<Link>,
    session: Session,
    /// The greeting is over, of which the device has heard.
    told: bool,
    events: VecDeque<ServerEvent>,
    /// Why the last connection ended.
    failure: Option<LinkError>,
}

impl std::fmt::Debug for BackEndQueues {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackEndQueues")
            .field("link", &self.link.is_some())
            .field("stage", &self.session.stage())
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}

impl BackEndQueues {
    /// For a device of `queues` queues of at most `queue_size` descriptors, with the RAM that the back-end is to map.
    /// `asker` gets connections; the first is asked for now. The second descriptor is for the event loop.
    ///
    /// # Errors
    /// RAM is private, there are too many queues, or the host refuses descriptors.
    pub fn new(
        wanted: Wanted,
        offer: Offer,
        asker: Asker,
        ram: &GuestRam,
        (queues, queue_size): (u16, u16),
    ) -> Result<(Self, OwnedFd), ServerError> {
        if queues > MAX_QUEUES {
            return Err(ServerError::Queues { queues });
        }
        let (mut memory, mut regions) = (Vec::new(), Vec::new());
        for run in ram.shared_runs() {
            memory.push(run.file.as_fd().try_clone_to_owned()?);
            regions.push(Region {
                start: run.range.start,
                size: run.range.size,
                offset: run.offset,
            });
        }
        if memory.is_empty() || memory.len() > MAX_DESCRIPTORS {
            return Err(ServerError::PrivateMemory);
        }
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let bells = || (0..queues).map(|_| eventfd(0, flags));
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let watched = epoll.try_clone()?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let server = Self {
            wanted,
            offer,
            queue_size,
            memory,
            regions,
            epoll,
            timer: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            asker,
            kicks: bells().collect::<Result<_, _>>()?,
            calls: bells().collect::<Result<_, _>>()?,
            link: None,
            session: Session::new(wanted, true, None),
            told: false,
            events: VecDeque::new(),
            failure: None,
        };
        server.watch(server.asker.as_fd(), ASKER)?;
        server.watch(server.timer.as_fd(), TIMER)?;
        for (number, call) in (FIRST_CALL..).zip(&server.calls) {
            server.watch(call.as_fd(), number)?;
        }
        server.asker.ask();
        Ok((server, watched))
    }

    fn watch(&self, fd: BorrowedFd<'_>, number: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(number);
        Ok(epoll::add(&self.epoll, fd, data, EventFlags::IN)?)
    }

    /// Why the last connection ended.
    #[must_use]
    pub const fn failure(&self) -> Option<&LinkError> {
        self.failure.as_ref()
    }

    /// Looks at what has changed, without waiting.
    fn gather(&mut self) {
        let mut changes = [epoll::Event {
            flags: EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }; BATCH];
        let count = epoll::wait(&self.epoll, &mut changes, Some(&Timespec::default()));
        for change in changes.iter().take(count.unwrap_or(0)) {
            match change.data.u64() {
                LINK => self.listen(false),
                ASKER => self.connect(),
                TIMER => self.look_at_time(),
                call => self.called(call),
            }
        }
    }

    fn called(&mut self, number: u64) {
        let index = number.checked_sub(FIRST_CALL);
        let index = index.and_then(|index| u16::try_from(index).ok());
        let call = index.and_then(|index| self.calls.get(usize::from(index)));
        if let (Some(index), Some(call)) = (index, call)
            && take_count(call)
        {
            self.events.push_back(ServerEvent::Used(index));
        }
    }

    /// Takes the connection that was asked for.
    fn connect(&mut self) {
        let Some(socket) = self.asker.answer() else {
            return;
        };
        // One that was not asked for.
        if self.link.is_some() {
            return;
        }
        let link = Link::new(socket);
        match self.watch(link.as_fd(), LINK) {
            Ok(()) => {
                self.link = Some(link);
                self.talk();
            }
            Err(error) => self.fail(LinkError::Host(error)),
        }
    }

    /// Says what is to be said until an answer is needed.
    fn talk(&mut self) {
        if let Err(error) = self.try_talk() {
            self.fail(error);
        }
    }

    fn try_talk(&mut self) -> Result<(), LinkError> {
        let Some(link) = &self.link else {
            return Ok(());
        };
        let before = self.session.stage();
        while let Some((message, acknowledge)) = self.session.next() {
            let descriptors: Vec<BorrowedFd<'_>> = match message.attached {
                Attached::Nothing => Vec::new(),
                Attached::Memory => self.memory.iter().map(AsFd::as_fd).collect(),
                Attached::Kick(queue) => bell(&self.kicks, queue),
                Attached::Call(queue) => bell(&self.calls, queue),
                Attached::Inflight => {
                    let inflight = self.session.inflight.iter();
                    inflight.map(|inflight| inflight.area.as_fd()).collect()
                }
            };
            link.send(&message.bytes(acknowledge), &descriptors)?;
        }
        let waits = self.session.is_waiting();
        set_timer(&self.timer, if waits { ANSWER_SECONDS } else { 0 });
        match (before, self.session.stage()) {
            (Stage::Greeting, Stage::Ready) => self.greeted(),
            (Stage::Starting, Stage::Serving) => {
                self.served();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The back-end has said what it offers.
    fn greeted(&mut self) -> Result<(), LinkError> {
        let offer = self.session.offer();
        if offer.features & self.offer.features != self.offer.features
            || offer.queues < self.offer.queues
        {
            // The one before may come back.
            return Err(LinkError::Less);
        }
        if offer.config != self.offer.config {
            self.offer.config.clone_from(&offer.config);
            self.events.push_back(ServerEvent::Configuration);
        }
        self.told = true;
        self.events.push_back(ServerEvent::Back);
        Ok(())
    }

    /// The queues are served from now on. What the driver rang for meanwhile, and what it has not heard of, is said now.
    fn served(&mut self) {
        let queues: Vec<u16> = self.session.started().collect();
        for queue in queues {
            self.ring(queue);
            self.events.push_back(ServerEvent::Used(queue));
        }
    }

    /// Takes answers; with `wait`, one.
    fn listen(&mut self, wait: bool) {
        if let Err(error) = self.try_listen(wait) {
            self.fail(error);
        }
    }

    fn try_listen(&mut self, wait: bool) -> Result<(), LinkError> {
        while let Some(link) = &mut self.link {
            let Some(received) = link.receive(wait)? else {
                return Ok(());
            };
            let Received {
                header,
                payload,
                descriptor,
            } = received;
            self.session.take(header, &payload, descriptor)?;
            self.try_talk()?;
            if wait {
                return Ok(());
            }
        }
        Ok(())
    }

    fn look_at_time(&mut self) {
        if take_count(&self.timer) && self.session.is_waiting() {
            self.fail(LinkError::Silent);
        }
    }

    /// Gives the connection up and asks for another.
    fn fail(&mut self, error: LinkError) {
        // Closed, it leaves the epoll set by itself.
        self.link = None;
        let inflight = self.session.inflight.take();
        self.session = Session::new(self.wanted, true, inflight);
        set_timer(&self.timer, 0);
        if std::mem::take(&mut self.told) {
            self.events.push_back(ServerEvent::Gone);
        }
        self.failure = Some(error);
        self.asker.ask();
    }

    /// Waits for answers until nothing is to be said any more.
    fn settle(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.link.is_some() && self.session.is_waiting() {
            self.listen(true);
            if Instant::now() > deadline && self.session.is_waiting() {
                self.fail(LinkError::Silent);
            }
        }
    }
}

impl QueueServer for BackEndQueues {
    fn features(&self) -> u64 {
        self.offer.features
    }

    fn queues(&self) -> u16 {
        u16::try_from(self.kicks.len()).unwrap_or(MAX_QUEUES)
    }

    fn config(&self) -> &[u8] {
        &self.offer.config
    }

    fn is_there(&self) -> bool {
        self.told
    }

    fn start(&mut self, features: u64, queues: &[ServedQueue]) {
        // What came while the device was not asked for its events.
        self.gather();
        if self.link.is_none() || self.session.stage() != Stage::Ready {
            return;
        }
        let size = (self.queues(), self.queue_size);
        self.session.start(features, &self.regions, queues, size);
        self.talk();
    }

    fn ring(&mut self, queue: u16) {
        if let Some(kick) = self.kicks.get(usize::from(queue)) {
            // Full, it rings already.
            let _full = rustix::io::write(kick, &1_u64.to_ne_bytes());
        }
    }

    fn next_event(&mut self) -> Option<ServerEvent> {
        if self.events.is_empty() {
            self.gather();
        }
        self.events.pop_front()
    }

    fn stop(&mut self) {
        if self.session.stage() == Stage::Starting {
            self.settle();
        }
        if self.session.stage() == Stage::Serving {
            self.session.stop();
            self.talk();
            self.settle();
        }
    }

    fn forget(&mut self) {
        self.session.inflight = None;
    }
}

fn bell(bells: &[OwnedFd], queue: u16) -> Vec<BorrowedFd<'_>> {
    let bell = bells.get(usize::from(queue));
    bell.map(AsFd::as_fd).into_iter().collect()
}

/// Takes the count of an eventfd or a timer; false when there is none.
fn take_count(fd: &OwnedFd) -> bool {
    let mut count = [0; 8];
    matches!(rustix::io::read(fd, &mut count), Ok(8))
}

/// Has the timer ring once after so many seconds; 0: never.
fn set_timer(timer: &OwnedFd, seconds: i64) {
    let time = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        },
    };
    // Neither the descriptor nor the time is one that the host refuses.
    let _set = timerfd_settime(timer, TimerfdTimerFlags::empty(), &time);
}
