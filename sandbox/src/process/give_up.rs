//! What a process gives up, and how it ends when a file under it does.

#![expect(unsafe_code, reason = "signal handlers and malloc's options are C")]

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::set_no_new_privs;
use rustix::time::{ClockId, clock_gettime};

static BUS_ERROR_STATUS: AtomicU8 = AtomicU8::new(0);
static LAST_ACT: OnceLock<fn()> = OnceLock::new();

extern "C" fn exit_now(_signal: libc::c_int) {
    if let Some(last_act) = LAST_ACT.get() {
        last_act();
    }
    let status = BUS_ERROR_STATUS.load(Ordering::SeqCst);
    // SAFETY: _exit is async-signal-safe and touches no memory.
    unsafe { libc::_exit(status.into()) }
}

/// From now on a bus error ends the process with `status`: a mapped file was truncated, and there are no
/// bytes to go on with. `last_act` runs before, in the signal handler, so it may do only what is
/// async-signal-safe: no allocation, no lock. The first one that is given stays.
///
/// # Errors
/// When the host refuses the handler.
pub fn exit_on_bus_error(status: u8, last_act: fn()) -> io::Result<()> {
    let _first = LAST_ACT.set(last_act);
    BUS_ERROR_STATUS.store(status, Ordering::SeqCst);
    // SAFETY: all zeros are a valid sigaction.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let handler: extern "C" fn(libc::c_int) = exit_now;
    action.sa_sigaction = handler as libc::sighandler_t;
    // Rust's runtime gives each thread a stack of its own for signals.
    action.sa_flags = libc::SA_ONSTACK;
    // SAFETY: `action` is whole, and its handler is async-signal-safe and lives for ever.
    let result = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives up what no VM process needs: privileges through executing files, being traced or read by the
/// user's other processes, core dumps (they would hold the guest's memory).
///
/// And malloc keeps one heap for all threads: a heap a thread costs memory, and to find how many to make
/// glibc asks the host in ways that a jail denies. A panic is told without a backtrace, for which the
/// standard library would open files. And the vDSO's clocks are looked up, which rustix puts off to the
/// first use of one.
///
/// # Errors
/// What the host refused.
pub fn harden() -> io::Result<()> {
    one_heap();
    let _found = clock_gettime(ClockId::Monotonic);
    std::panic::set_hook(Box::new(|panic| {
        // Nobody is left to hear of an error.
        let _lost = writeln!(io::stderr(), "{panic}");
    }));
    set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// malloc keeps one heap for all threads: a heap a thread costs memory and system calls, which only programs
/// that allocate a lot get back. To be called before the first thread starts.
#[cfg(target_env = "gnu")]
pub fn one_heap() {
    // SAFETY: it sets a number; there is one thread, or malloc's own lock keeps others out.
    // It refuses numbers below 1 only.
    let _accepted = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Other C libraries have one heap.
#[cfg(not(target_env = "gnu"))]
pub fn one_heap() {}
