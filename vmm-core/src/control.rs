//! Run, pause, end: what is asked of the vCPU threads, and how they hear of it.
//!
//! Whoever asks sets the wish under the lock, then the flag, then kicks. A vCPU thread looks at the flag
//! before each entry; a kick that comes after the look makes the entry return (see `trivisor_kvm::Kicker`).

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use trivisor_buses::{EventSink, MachineEvent};
use trivisor_kvm::Kicker;

use crate::crash::CrashCause;
use crate::outcome::{HostFailure, Outcome};

thread_local! {
    /// Which vCPU this thread runs: events that devices raise are its doing.
    static VCPU: Cell<Option<u8>> = const { Cell::new(None) };
}

/// The calling thread runs vCPU `index`.
pub(crate) fn this_thread_runs(index: u8) {
    VCPU.set(Some(index));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Run,
    Pause,
    End,
}

/// Why a run ends, as far as it is known without the registers of a vCPU.
#[derive(Debug)]
enum Ending {
    Known(Outcome),
    Crash { cause: CrashCause, vcpu: Option<u8> },
}

struct State {
    wish: Wish,
    /// vCPU threads that are out of the guest and wait.
    waiting: usize,
    /// vCPU threads that have not ended.
    alive: usize,
    ending: Option<Ending>,
    on_end: Option<Box<dyn FnOnce() + Send>>,
}

/// The wishes of a machine.
pub(crate) struct Control {
    state: Mutex<State>,
    changed: Condvar,
    /// The wish is not [`Wish::Run`].
    attention: AtomicBool,
    kickers: OnceLock<Vec<Arc<Kicker>>>,
}

impl Control {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            wish: Wish::Run,
            waiting: 0,
            alive: 0,
            ending: None,
            on_end: None,
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            attention: AtomicBool::new(false),
            kickers: OnceLock::new(),
        })
    }

    /// The vCPUs are about to run, each on a thread.
    pub(crate) fn begin(&self, kickers: Vec<Arc<Kicker>>, on_end: Box<dyn FnOnce() + Send>) {
        let mut state = self.lock();
        state.alive = kickers.len();
        state.on_end = Some(on_end);
        // A machine is started once.
        let _again = self.kickers.set(kickers);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wish(&self, mut state: MutexGuard<'_, State>, wish: Wish) {
        state.wish = wish;
        self.attention.store(wish != Wish::Run, Ordering::SeqCst);
        drop(state);
        self.changed.notify_all();
        if wish != Wish::Run {
            // The calling thread, if it runs a vCPU, is out of the guest.
            let me = VCPU.get().map(usize::from);
            let all = self.kickers.get().into_iter().flatten().enumerate();
            all.filter(|(index, _)| Some(*index) != me)
                .for_each(|(_, kicker)| kicker.kick());
        }
    }

    /// Gets every vCPU out of the guest; returns when they are.
    pub(crate) fn pause(&self) {
        let state = self.lock();
        if state.wish == Wish::Run {
            self.wish(state, Wish::Pause);
        } else {
            drop(state);
        }
        let state = self.lock();
        let all_out = |state: &mut State| state.waiting < state.alive && state.wish != Wish::Run;
        drop(
            self.changed
                .wait_while(state, all_out)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Lets the vCPUs go on.
    pub(crate) fn resume(&self) {
        let state = self.lock();
        if state.wish == Wish::Pause {
            self.wish(state, Wish::Run);
        }
    }

    /// Ends the run; the first reason counts.
    pub(crate) fn end(&self, outcome: Outcome) {
        self.end_for(Ending::Known(outcome));
    }

    /// Ends the run because the guest crashed on the calling thread's vCPU.
    pub(crate) fn crash(&self, cause: CrashCause) {
        self.end_for(Ending::Crash {
            cause,
            vcpu: VCPU.get(),
        });
    }

    fn end_for(&self, ending: Ending) {
        let mut state = self.lock();
        state.ending.get_or_insert(ending);
        self.wish(state, Wish::End);
    }

    /// To be asked before each entry to the guest: false ends the thread. It waits while paused.
    pub(crate) fn may_enter(&self) -> bool {
        if !self.attention.load(Ordering::SeqCst) {
            return true;
        }
        let mut state = self.lock();
        if state.wish == Wish::Pause {
            state.waiting += 1;
            self.changed.notify_all();
            state = self
                .changed
                .wait_while(state, |state| state.wish == Wish::Pause)
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.wish == Wish::Run
    }

    /// The cause of the crash whose registers are those of vCPU `index`.
    pub(crate) fn crashed_here(&self, index: u8) -> Option<CrashCause> {
        match self.lock().ending {
            Some(Ending::Crash { cause, vcpu }) if vcpu.is_none_or(|vcpu| vcpu == index) => {
                Some(cause)
            }
            _ => None,
        }
    }

    /// The crash, now with registers.
    pub(crate) fn set_outcome(&self, outcome: Outcome) {
        self.lock().ending = Some(Ending::Known(outcome));
    }

    /// A vCPU thread ends; the last one tells who waits.
    fn thread_ends(&self) {
        let mut state = self.lock();
        state.alive = state.alive.saturating_sub(1);
        let on_end = if state.alive == 0 {
            state.on_end.take()
        } else {
            None
        };
        drop(state);
        self.changed.notify_all();
        if let Some(on_end) = on_end {
            on_end();
        }
    }

    /// Waits until no vCPU thread is in the guest or will enter it again. What the threads give back to the
    /// host after that, nobody has to wait for.
    pub(crate) fn wait_for_threads(&self) {
        let alive = |state: &mut State| state.alive > 0;
        drop(
            self.changed
                .wait_while(self.lock(), alive)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// How the run ended. A machine whose threads are gone without a reason was stopped.
    pub(crate) fn take_outcome(&self) -> Outcome {
        match self.lock().ending.take() {
            Some(Ending::Known(outcome)) => outcome,
            _ => Outcome::Stopped,
        }
    }
}

/// Dropped, it tells that a vCPU's thread has ended, or that it never was.
pub(crate) struct ThreadEnd(pub(crate) Arc<Control>);

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        // A vCPU's thread does not panic; if it did, the others have to end as well.
        if std::thread::panicking() {
            self.0.end(Outcome::Stopped);
        }
        self.0.thread_ends();
    }
}

impl EventSink for Control {
    fn event(&self, event: MachineEvent) {
        match event {
            MachineEvent::PowerOff => self.end(Outcome::PowerOff),
            MachineEvent::Reset => self.end(Outcome::Reset),
            MachineEvent::DebugExit { value } => self.end(Outcome::DebugExit(value)),
            MachineEvent::FlushFailed { index } => {
                self.end(Outcome::HostFailed(HostFailure::Flush { index }));
            }
            MachineEvent::Panicked { events } => self.crash(CrashCause::Panicked { events }),
        }
    }
}
