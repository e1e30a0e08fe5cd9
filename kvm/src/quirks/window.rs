//! Interrupts that wait for a short window, on hosts whose KVM is backed by PVM.
//!
//! There, ring 0 runs in KVM's instruction emulator, which looks for interrupts when it is entered and not between two
//! instructions. A guest that waits with interrupts off and lets them in for a moment never gets one: SeaBIOS does
//! `sti; nop; pause; cli` while it waits for the floppy controller, and leaves KVM nowhere in between. So when that
//! raises its interrupt, the guest of real mode goes on one instruction at a time for a while: then each is an entry.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use kvm_bindings::{
    KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_SINGLESTEP, KVM_VCPUEVENT_VALID_SHADOW, kvm_guest_debug,
};
use kvm_ioctls::VcpuFd;
use vmm_sys_util::errno;

use crate::kick::Kicker;

/// The ISA interrupt of the floppy controller, the one that firmware waits for in this way.
const FLOPPY: u8 = 6;
/// Instructions at most until the guest has had the interrupt and told the controller so. All interrupts of the timer
/// that wait come first, one a window, some 400 instructions each: KVM delivers those that it could not, later.
const MOST_STEPS: u32 = 100_000;
/// CR0: protected mode.
const PE: u64 = 1;

/// The interrupt's level, and the vCPU that it goes to.
#[derive(Debug, Clone, Default)]
pub(crate) struct FloppyLine(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    high: AtomicBool,
    /// It has risen, and no window was looked for.
    risen: AtomicBool,
    vcpu: Mutex<Option<Arc<Kicker>>>,
}

impl FloppyLine {
    /// An interrupt's level is this.
    pub(crate) fn set(&self, number: u8, level: bool) {
        if number != FLOPPY || self.0.high.swap(level, Ordering::Relaxed) == level {
            return;
        }
        self.0.risen.store(level, Ordering::Relaxed);
        let vcpu = self.0.vcpu.lock().unwrap_or_else(PoisonError::into_inner);
        if let (true, Some(vcpu)) = (level, &*vcpu) {
            vcpu.kick();
        }
    }

    fn is_high(&self) -> bool {
        self.0.high.load(Ordering::Relaxed)
    }
}

/// The first vCPU's search for windows.
#[derive(Debug)]
pub(crate) struct Windows {
    line: FloppyLine,
    /// Instructions left of a search.
    steps: u32,
}

impl Windows {
    pub(crate) fn new(line: FloppyLine, vcpu: Arc<Kicker>) -> Self {
        *line.0.vcpu.lock().unwrap_or_else(PoisonError::into_inner) = Some(vcpu);
        Self { line, steps: 0 }
    }

    /// The guest has left.
    pub(crate) fn left(&mut self, fd: &mut VcpuFd) -> Result<(), errno::Error> {
        let searches = self.steps > 0;
        if !searches && !self.line.0.risen.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let on = fd.get_kvm_run().if_flag != 0;
        let real_mode = !searches && !on && fd.get_sregs()?.cr0 & PE == 0;
        let turn = self.turn(on, real_mode);
        if turn.opens {
            open(fd)?;
        }
        match turn.steps {
            Some(on) => step(fd, on),
            None => Ok(()),
        }
    }

    /// What the search does next, in a guest that has interrupts on or off.
    fn turn(&mut self, on: bool, real_mode: bool) -> Turn {
        if self.steps == 0 {
            let begins = !on && real_mode;
            if begins {
                self.steps = MOST_STEPS;
            }
            return Turn {
                opens: false,
                steps: begins.then_some(true),
            };
        }
        self.steps -= 1;
        if !self.line.is_high() {
            self.steps = 0;
        }
        Turn {
            opens: on,
            steps: (self.steps == 0).then_some(false),
        }
    }

    /// Others debug the guest from now on: a search that has begun ends.
    pub(crate) fn end(self, fd: &VcpuFd) -> Result<(), errno::Error> {
        match self.steps {
            0 => Ok(()),
            _ => step(fd, false),
        }
    }
}

/// What is to be done before the guest goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Turn {
    /// The window that is open is made long enough.
    opens: bool,
    /// Single steps are switched on or off.
    steps: Option<bool>,
}

impl Drop for Windows {
    fn drop(&mut self) {
        let vcpu = self.line.0.vcpu.lock();
        *vcpu.unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Lifts the shadow of STI, which on PVM lies on all of so short a window, and has KVM look for interrupts.
fn open(fd: &VcpuFd) -> Result<(), errno::Error> {
    let mut events = fd.get_vcpu_events()?;
    events.interrupt.shadow = 0;
    events.flags = KVM_VCPUEVENT_VALID_SHADOW;
    fd.set_vcpu_events(&events)
}

fn step(fd: &VcpuFd, on: bool) -> Result<(), errno::Error> {
    let control = if on {
        KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP
    } else {
        0
    };
    let debug = kvm_guest_debug {
        control,
        ..kvm_guest_debug::default()
    };
    fd.set_guest_debug(&debug)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_floppy_controllers_line_is_watched() {
        let line = FloppyLine::default();
        line.set(14, true);
        assert!(!line.is_high());
        line.set(6, true);
        assert!(line.is_high() && line.0.risen.swap(false, Ordering::Relaxed));
        // It has not risen again.
        line.set(6, true);
        assert!(!line.0.risen.load(Ordering::Relaxed));
        line.set(6, false);
        assert!(!line.is_high());
    }

    #[test]
    fn a_search_begins_in_real_mode_with_interrupts_off_and_ends() {
        let line = FloppyLine::default();
        let mut windows = Windows {
            line: line.clone(),
            steps: 0,
        };
        let turn = |opens, steps| Turn { opens, steps };
        line.set(6, true);
        assert_eq!(windows.turn(true, true), Turn::default());
        assert_eq!(windows.turn(false, false), Turn::default());
        assert_eq!(windows.turn(false, true), turn(false, Some(true)));
        assert_eq!(windows.turn(false, false), Turn::default());
        assert_eq!(windows.turn(true, false), turn(true, None));
        // The guest has had it.
        line.set(6, false);
        assert_eq!(windows.turn(true, false), turn(true, Some(false)));
        // A guest that never tells the controller.
        line.set(6, true);
        assert_eq!(windows.turn(false, true), turn(false, Some(true)));
        let last = (1..).find(|_| windows.turn(false, true).steps == Some(false));
        assert_eq!(last, Some(MOST_STEPS));
    }
}
