//! Buffered writes, carried out by the thread that serves the disk.
//!
//! Some file systems (ext4) have no buffered write that does not wait. io_uring then hands each to a thread of the
//! kernel's, which takes many times as long as the copy into the page cache, and interrupts the thread that began it. A
//! thread that may wait does better to make the call itself; when one took long, because the host is short of memory
//! or writes back, the ring gets the next ones, so that the thread can go on.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use trivisor_buses::Work;

use super::pool::Job;
use crate::sys::step::{run, write_without_waiting};

/// What has ended is told of after about as long.
const SHARE: Duration = Duration::from_micros(25);

/// A write that took longer has waited for the host; or the thread for a processor, which cannot be told from it.
const LONG: Duration = Duration::from_millis(10);

/// Writes that the ring gets after that.
const DETOUR: u32 = 64;

/// What the disk and its writer share.
struct Shared {
    state: Mutex<State>,
    /// A write has ended that somebody waits for.
    ended: Condvar,
    file: File,
    /// The thread that writes; writes that are begun on another one are not for it.
    thread: OnceLock<ThreadId>,
    /// Writes that the ring is to get, because one took long.
    detour: AtomicU32,
    /// The ring serves better: the file has writes that do not wait.
    never_waits: AtomicBool,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    ended: VecDeque<(Job, io::Result<()>)>,
    /// One is being carried out.
    busy: bool,
    /// Somebody waits for its end.
    awaited: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The disk's end.
pub(crate) struct Writes {
    shared: Arc<Shared>,
    ended: VecDeque<(Job, io::Result<()>)>,
    /// Handed over and not fetched.
    under_way: usize,
}

/// The part of a disk that writes. Where nobody [works](Work::work) it, the ring gets all writes; one thread does,
/// the same each time.
#[must_use]
pub struct Writer {
    shared: Arc<Shared>,
    /// Whether the file has writes that do not wait.
    asked: bool,
}

impl Writes {
    pub(crate) fn new(file: File) -> (Self, Writer) {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            ended: Condvar::new(),
            file,
            thread: OnceLock::new(),
            detour: AtomicU32::new(0),
            never_waits: AtomicBool::new(false),
        });
        let writes = Self {
            shared: Arc::clone(&shared),
            ended: VecDeque::new(),
            under_way: 0,
        };
        let writer = Writer {
            shared,
            asked: false,
        };
        (writes, writer)
    }

    /// Whether a write that is begun now is for the writer.
    pub(crate) fn takes(&self) -> bool {
        let shared = &*self.shared;
        if shared.never_waits.load(Ordering::Relaxed) {
            return false;
        }
        let detour = shared.detour.load(Ordering::Relaxed);
        if detour > 0 {
            shared.detour.store(detour - 1, Ordering::Relaxed);
            return false;
        }
        let writer = shared.thread.get();
        writer.is_some_and(|writer| *writer == std::thread::current().id())
    }

    /// Hands a write over.
    pub(crate) fn push(&mut self, job: Job) {
        self.under_way += 1;
        self.shared.lock().waiting.push_back(job);
    }

    /// The next write that has ended.
    pub(crate) fn next(&mut self) -> Option<(Job, io::Result<()>)> {
        if self.under_way == 0 {
            return None;
        }
        if self.ended.is_empty() {
            std::mem::swap(&mut self.ended, &mut self.shared.lock().ended);
        }
        let next = self.ended.pop_front();
        self.under_way -= usize::from(next.is_some());
        next
    }

    /// The writer took long, and there may be more for it.
    pub(crate) fn is_late(&self) -> bool {
        self.under_way > 0 && self.shared.detour.load(Ordering::Relaxed) > 0
    }

    /// A write that has not been begun.
    pub(crate) fn withdraw(&mut self) -> Option<Job> {
        let job = self.shared.lock().waiting.pop_front();
        self.under_way -= usize::from(job.is_some());
        job
    }

    /// Waits until no write is being carried out.
    pub(crate) fn wait(&self) {
        let mut state = self.shared.lock();
        while state.busy {
            state.awaited = true;
            let waited = self.shared.ended.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Writer {
    /// The write, again until it is done or has failed.
    fn carry_out(&self, (buffers, task): &mut Job) -> io::Result<()> {
        loop {
            let moved = run(&self.shared.file, task.step(), buffers);
            if let Some(end) = task.advance(buffers, moved) {
                return end;
            }
        }
    }

    /// Asks the file by the first write: where one that must not wait is understood, the ring makes such itself, many
    /// by one call. The write's end, unless it is still to be made.
    fn ask(&mut self, (buffers, task): &mut Job) -> Option<io::Result<()>> {
        self.asked = true;
        let moved = write_without_waiting(&self.shared.file, task.offset, buffers);
        let error = moved.as_ref().err().and_then(Errno::from_io_error);
        if let Some(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) = error {
            return None;
        }
        self.shared.never_waits.store(true, Ordering::Relaxed);
        task.advance(buffers, moved)
    }
}

impl Work for Writer {
    fn work(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        if shared.thread.get().is_none() {
            let _once = shared.thread.set(std::thread::current().id());
        }
        let begin = Instant::now();
        let mut last = begin;
        let mut any = false;
        let mut state = shared.lock();
        while let Some(mut job) = state.waiting.pop_front() {
            any = true;
            state.busy = true;
            drop(state);
            let asked = if self.asked { None } else { self.ask(&mut job) };
            let result = asked.unwrap_or_else(|| self.carry_out(&mut job));
            let now = Instant::now();
            if now.duration_since(last) > LONG {
                shared.detour.store(DETOUR, Ordering::Relaxed);
            }
            last = now;
            state = shared.lock();
            state.busy = false;
            state.ended.push_back((job, result));
            if std::mem::take(&mut state.awaited) {
                shared.ended.notify_all();
            }
            if now.duration_since(begin) >= SHARE {
                break;
            }
        }
        any
    }
}

impl fmt::Debug for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writes")
            .field("under_way", &self.under_way)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}
