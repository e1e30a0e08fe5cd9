//! A storage that is not to do more than so much.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use trivisor_buses::{
    BufferRequest, Completion, Geometry, Segment, Storage, StorageBusy, StorageOp, StorageRequest,
};

use crate::rate_limiter::RateLimiter;

/// Holds requests back as long as a [`RateLimiter`] says, in their order.
///
/// Its timer wakes the device beside the storage's own descriptor; the device then fetches completions, and with that
/// the requests go on. [`drain`](Storage::drain) does not wait for tokens; they are paid for afterwards.
#[derive(Debug)]
pub struct Limited<S> {
    inner: S,
    limiter: RateLimiter,
    /// Requests that are held back at most.
    depth: usize,
    pub(super) held: VecDeque<Held>,
    /// How many of those may begin.
    started: usize,
    ended: VecDeque<Completion>,
    spare: Vec<Vec<Segment>>,
    timer: OwnedFd,
    since: Instant,
}

/// A request that waits.
#[derive(Debug)]
pub(super) enum Held {
    Segments(HeldSegments),
    Buffer(BufferRequest),
}

#[derive(Debug)]
pub(super) struct HeldSegments {
    id: u64,
    op: StorageOp,
    offset: u64,
    len: u64,
    segments: Vec<Segment>,
}

impl<S: Storage> Limited<S> {
    /// Puts a limiter in front of `inner`, which holds back `depth` requests at most. Beside it comes the timer, for
    /// another [`Source`](trivisor_buses::Source) of the same device.
    ///
    /// # Errors
    /// When the process has no more descriptors.
    pub fn new(inner: S, limiter: RateLimiter, depth: usize) -> io::Result<(Self, OwnedFd)> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let outer = timer.try_clone()?;
        let limited = Self {
            inner,
            limiter,
            depth,
            held: VecDeque::new(),
            started: 0,
            ended: VecDeque::new(),
            spare: Vec::new(),
            timer,
            since: Instant::now(),
        };
        Ok((limited, outer))
    }

    /// Hands on what may begin now; when something has to wait for tokens, sets the timer.
    fn release(&mut self) {
        let mut released = false;
        while self.started > 0
            && let Some(next) = self.held.front()
        {
            let bytes = next.bytes();
            if let Err(wait) = self.limiter.take(self.since.elapsed(), bytes) {
                set_timer(&self.timer, wait);
                break;
            }
            if self.submit_first().is_err() {
                // The next completion comes this way.
                self.limiter.give_back(bytes);
                break;
            }
            released = true;
        }
        if released {
            self.inner.start();
        }
    }

    /// Hands on the request that waits longest, if any.
    fn submit_first(&mut self) -> Result<(), StorageBusy> {
        match self.held.pop_front() {
            None => return Ok(()),
            Some(Held::Segments(mut held)) => {
                if self.inner.submit(&held.request()).is_err() {
                    self.held.push_front(Held::Segments(held));
                    return Err(StorageBusy);
                }
                held.segments.clear();
                self.spare.push(held.segments);
            }
            Some(Held::Buffer(request)) => {
                if let Err(request) = self.inner.submit_buffer(request) {
                    self.held.push_front(Held::Buffer(request));
                    return Err(StorageBusy);
                }
            }
        }
        self.started = self.started.saturating_sub(1);
        Ok(())
    }
}

impl Held {
    fn bytes(&self) -> u64 {
        match self {
            Self::Segments(held) => bytes(held.op, held.len),
            Self::Buffer(request) => bytes(request.op, request.buffer.len() as u64),
        }
    }
}

impl HeldSegments {
    fn request(&self) -> StorageRequest<'_> {
        StorageRequest {
            id: self.id,
            op: self.op,
            offset: self.offset,
            len: self.len,
            segments: &self.segments,
        }
    }
}

/// What an operation costs beside itself.
const fn bytes(op: StorageOp, len: u64) -> u64 {
    match op {
        StorageOp::Read | StorageOp::Write => len,
        // No data moves.
        StorageOp::Flush | StorageOp::Discard | StorageOp::WriteZeroes { .. } => 0,
    }
}

/// Wakes whoever waits for it after `wait`.
fn set_timer(timer: &OwnedFd, wait: Duration) {
    let value = Timespec {
        tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: wait.subsec_nanos().into(),
    };
    let once = Itimerspec {
        it_interval: Timespec::default(),
        it_value: value,
    };
    // It fails for invalid values alone.
    let _set = timerfd_settime(timer, TimerfdTimerFlags::empty(), &once);
}

impl<S: Storage> Storage for Limited<S> {
    fn geometry(&self) -> Geometry {
        self.inner.geometry()
    }

    fn submit(&mut self, request: &StorageRequest<'_>) -> Result<(), StorageBusy> {
        if self.held.is_empty() {
            let bytes = bytes(request.op, request.len);
            if self.limiter.take(self.since.elapsed(), bytes).is_ok() {
                return self
                    .inner
                    .submit(request)
                    .inspect_err(|StorageBusy| self.limiter.give_back(bytes));
            }
        }
        if self.held.len() >= self.depth {
            return Err(StorageBusy);
        }
        let mut segments = self.spare.pop().unwrap_or_default();
        segments.extend_from_slice(request.segments);
        self.held.push_back(Held::Segments(HeldSegments {
            id: request.id,
            op: request.op,
            offset: request.offset,
            len: request.len,
            segments,
        }));
        Ok(())
    }

    fn submit_buffer(&mut self, request: BufferRequest) -> Result<(), BufferRequest> {
        if self.held.is_empty() {
            let bytes = bytes(request.op, request.buffer.len() as u64);
            if self.limiter.take(self.since.elapsed(), bytes).is_ok() {
                return self
                    .inner
                    .submit_buffer(request)
                    .inspect_err(|_busy| self.limiter.give_back(bytes));
            }
        }
        if self.held.len() >= self.depth {
            return Err(request);
        }
        self.held.push_back(Held::Buffer(request));
        Ok(())
    }

    fn start(&mut self) {
        self.inner.start();
        self.started = self.held.len();
        self.release();
    }

    fn complete(&mut self) -> Option<Completion> {
        if let Some(completion) = self.ended.pop_front() {
            return Some(completion);
        }
        let completion = self.inner.complete();
        // There may be room now, or tokens.
        self.release();
        completion.or_else(|| self.inner.complete())
    }

    fn drain(&mut self) {
        while let Some(next) = self.held.front() {
            let bytes = next.bytes();
            if self.submit_first().is_ok() {
                self.limiter.pay(bytes);
            } else {
                self.inner.drain();
                while let Some(completion) = self.inner.complete() {
                    self.ended.push_back(completion);
                }
            }
        }
        self.inner.drain();
    }
}
