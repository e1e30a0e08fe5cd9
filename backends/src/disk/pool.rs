//! Threads that carry requests out one by one, where a ring cannot be had or the format needs more than one step.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::event::raise;
use super::task::Task;
use crate::sys::buffers::Buffers;

/// A request with its memory.
pub(crate) type Job = (Box<Buffers>, Task);

/// Carries a request out, and waits for it.
pub(crate) trait Execute: Send + Sync {
    /// # Errors
    /// What the guest is told of only as an error.
    fn execute(&self, task: &mut Task, buffers: &mut Buffers) -> io::Result<()>;
}

/// What the disk and its workers share.
struct Shared {
    state: Mutex<State>,
    /// A worker has something to do, or is to end.
    work: Condvar,
    /// A request has ended.
    ended: Condvar,
    event: Arc<OwnedFd>,
    execute: Box<dyn Execute>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    ended: VecDeque<(Job, io::Result<()>)>,
    stop: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The disk's end.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    held: Vec<Job>,
    ended: VecDeque<(Job, io::Result<()>)>,
}

/// A thread's work for a disk.
///
/// A disk that needs threads makes none: a VM process knows best when it may have them, and with which jail.
/// Until [`run`](Self::run) runs somewhere, no request of the disk ends. At the end, drop the disk and wait for its
/// workers: who is last writes the tables of a qcow2 that no flush has written yet.
#[must_use = "without its workers a disk does nothing"]
pub struct Worker(Arc<Shared>);

impl Pool {
    /// A disk's end for `workers` threads.
    pub(crate) fn new(
        execute: Box<dyn Execute>,
        event: Arc<OwnedFd>,
        workers: usize,
    ) -> (Self, Vec<Worker>) {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            ended: Condvar::new(),
            event,
            execute,
        });
        let workers = (0..workers).map(|_| Worker(Arc::clone(&shared))).collect();
        let pool = Self {
            shared,
            held: Vec::new(),
            ended: VecDeque::new(),
        };
        (pool, workers)
    }

    /// Takes a request; [`start`](Self::start) hands it to the workers.
    pub(crate) fn push(&mut self, buffers: Box<Buffers>, task: Task) {
        self.held.push((buffers, task));
    }

    pub(crate) fn start(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let count = self.held.len();
        self.shared.lock().waiting.extend(self.held.drain(..));
        if count == 1 {
            self.shared.work.notify_one();
        } else {
            self.shared.work.notify_all();
        }
    }

    /// The next request that has ended.
    pub(crate) fn next(&mut self) -> Option<(Job, io::Result<()>)> {
        if self.ended.is_empty() {
            std::mem::swap(&mut self.ended, &mut self.shared.lock().ended);
        }
        self.ended.pop_front()
    }

    /// Waits until a request has ended that was not fetched; there has to be one under way.
    pub(crate) fn wait(&self) {
        if !self.ended.is_empty() {
            return;
        }
        let mut state = self.shared.lock();
        while state.ended.is_empty() {
            state = self
                .shared
                .ended
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.work.notify_all();
    }
}

impl Worker {
    /// Serves the disk until it is dropped and what was started has ended.
    pub fn run(self) {
        let shared = &*self.0;
        let mut state = shared.lock();
        loop {
            if let Some((mut buffers, mut task)) = state.waiting.pop_front() {
                drop(state);
                let result = shared.execute.execute(&mut task, &mut buffers);
                state = shared.lock();
                // The disk fetches all that there are when it is woken.
                if state.ended.is_empty() {
                    raise(&shared.event);
                }
                state.ended.push_back(((buffers, task), result));
                shared.ended.notify_one();
            } else if state.stop {
                return;
            } else {
                state = shared
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Runs it in a thread of its own.
    ///
    /// # Errors
    /// When the host has no more threads.
    pub fn spawn(self) -> io::Result<std::thread::JoinHandle<()>> {
        std::thread::Builder::new()
            .name("disk".to_owned())
            .spawn(|| self.run())
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}
