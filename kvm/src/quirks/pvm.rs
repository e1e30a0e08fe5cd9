//! SYSCALL on hosts whose KVM is backed by PVM.
//!
//! There, SYSCALL loads RIP from LSTAR but stays in ring 3, so the guest takes a page fault at LSTAR
//! itself. A hardware breakpoint on the guest's page-fault handler, which KVM checks while it emulates
//! ring 0, shows each fault before the handler has run: a fault at LSTAR from ring 3 is turned into the
//! system call that it was, any other goes on.
//!
//! The breakpoint slows ring 0 down, so it is set no earlier than the guest has written LSTAR, which an
//! MSR filter reports.

use std::path::Path;
use std::sync::Arc;

use kvm_bindings::{
    KVM_CAP_X86_USER_SPACE_MSR, KVM_GUESTDBG_ENABLE, KVM_GUESTDBG_USE_HW_BP,
    KVM_MSR_EXIT_REASON_FILTER, kvm_guest_debug, kvm_guest_debug_arch, kvm_segment,
};
use kvm_ioctls::{MsrFilterDefaultAction, MsrFilterRange, MsrFilterRangeFlags, VmFd};
use trivisor_emulator::{Access, AccessKind};
use vmm_sys_util::errno;

use crate::beside::{Beside, Pending};
use crate::exit::{Io, RunError};
use crate::finish::{self, Finisher};
use crate::msr;
use crate::vm::{VmError, enable};

const STAR: u32 = 0xc000_0081;
const LSTAR: u32 = 0xc000_0082;
const FMASK: u32 = 0xc000_0084;

/// #PF.
const PAGE_FAULT_VECTOR: u64 = 14;

/// After this many exits the interrupt descriptor table is looked at again.
const FOLLOW_EVERY: u32 = 64;

/// A read in ring 0's name, as the CPU reads descriptor tables and stacks of ring 0.
const SYSTEM_READ: Access = Access {
    kind: AccessKind::Read,
    user: false,
};

/// CPUID cannot hide SMAP (308), SMEP (295), CMPXCHG16B (141), POPCNT (151), SSSE3 (137) and FSGSBASE there, and each
/// use of one in ring 0 is finished in user space, at some 70 us: Linux is asked to leave them alone. (With SSSE3
/// alone, the self-test of its BLAKE2s takes minutes.) But not XSAVE: user space sees AVX and uses it, and a Linux
/// with `noxsave` loses the upper halves of its registers at each change of tasks.
/// Mitigations would guard a ring 0 that speculates; this one is interpreted.
pub(crate) const LINUX_CMDLINE: &str = "mitigations=off nofsgsbase clearcpuid=308,295,141,151,137";

/// This host's KVM is backed by PVM.
pub(crate) fn is_host() -> bool {
    Path::new("/sys/module/kvm_pvm").exists()
}

/// Lets the guest's writes of STAR, LSTAR and FMASK come out, once [`set_filter`] has told which.
pub(crate) fn enable_filter(fd: &VmFd) -> Result<(), VmError> {
    enable(
        fd,
        KVM_CAP_X86_USER_SPACE_MSR,
        KVM_MSR_EXIT_REASON_FILTER.into(),
        "exits on writes of MSRs",
    )
}

/// A VM's filter of MSRs, which is set beside the making of the first vCPU: KVM waits for every reader of what it
/// replaces, and anybody who changes a memory slot meanwhile waits as well.
#[derive(Debug)]
pub(crate) struct Filter {
    fd: Arc<VmFd>,
    pending: Pending<Result<(), errno::Error>>,
    beside: Beside,
}

impl Filter {
    pub(crate) fn begin(fd: &Arc<VmFd>, beside: Beside) -> Self {
        let theirs = Arc::clone(fd);
        Self {
            fd: Arc::clone(fd),
            pending: beside.begin(move || set_filter(&theirs)),
            beside,
        }
    }

    /// Waits until it is set: no vCPU may run before.
    pub(crate) fn finish(self) -> Result<(), errno::Error> {
        let Self {
            fd,
            pending,
            beside,
        } = self;
        // A thread that went away has not done it.
        let set = pending.wait().unwrap_or_else(|| set_filter(&fd));
        // Whoever confines threads before a guest runs knows nothing of one of ours.
        drop(beside);
        set
    }
}

fn set_filter(fd: &VmFd) -> Result<(), errno::Error> {
    let filter = MsrFilterRange {
        flags: MsrFilterRangeFlags::WRITE,
        base: STAR,
        msr_count: 4,
        // A clear bit denies, and a denied write exits.
        bitmap: &[0],
    };
    fd.set_msr_filter(MsrFilterDefaultAction::ALLOW, &[filter])
}

/// One vCPU's repair of SYSCALL.
#[derive(Debug, Default)]
pub(crate) struct Repair {
    lstar: u64,
    /// STAR and FMASK; `None` when they are to be read again.
    masks: Option<(u64, u64)>,
    /// Where the breakpoint is.
    handler: Option<u64>,
    exits: u32,
}

impl Repair {
    /// The guest wrote one of the MSRs of SYSCALL.
    pub(crate) fn msr_written(&mut self, index: u32, value: u64) {
        self.masks = None;
        if index == LSTAR {
            self.lstar = value;
            self.exits = 0;
        }
    }

    /// Sets the breakpoint, or moves it where the handler went. Called after each exit.
    pub(crate) fn follow<I: Io>(&mut self, vcpu: &mut Finisher<'_, I>) -> Result<(), RunError> {
        if self.lstar == 0 {
            return Ok(());
        }
        let due = self.exits.is_multiple_of(FOLLOW_EVERY);
        self.exits = self.exits.wrapping_add(1);
        if due {
            vcpu.load()?;
            if let Some(handler) = page_fault_handler(vcpu)
                && self.handler != Some(handler)
            {
                set_breakpoint(vcpu, handler)?;
                self.handler = Some(handler);
            }
        }
        Ok(())
    }

    /// The breakpoint at `pc` was hit: a system call, or a page fault that goes on.
    pub(crate) fn at_breakpoint<I: Io>(
        &mut self,
        vcpu: &mut Finisher<'_, I>,
        pc: u64,
    ) -> Result<(), RunError> {
        if self.handler != Some(pc) {
            return Ok(());
        }
        vcpu.load()?;
        match self.interrupted_syscall(vcpu)? {
            Some(call) => enter_ring_0(vcpu, &call),
            // A debug breakpoint does not honour RF: the handler's first instruction is executed here.
            None => finish::step(vcpu),
        }
    }

    /// The system call that this page fault was, if it was one.
    fn interrupted_syscall<I: Io>(
        &mut self,
        vcpu: &mut Finisher<'_, I>,
    ) -> Result<Option<SystemCall>, RunError> {
        let mut frame = [0; 48];
        let stack = vcpu.general_mut().rsp;
        if vcpu.read_linear(stack, &mut frame, SYSTEM_READ).is_err() {
            return Ok(None);
        }
        let word = |index: usize| {
            frame
                .as_chunks::<8>()
                .0
                .get(index)
                .map_or(0, |word| u64::from_le_bytes(*word))
        };
        let (rip, cs, rflags, rsp) = (word(1), word(2), word(3), word(4));
        if rip != self.lstar || cs & 3 != 3 {
            return Ok(None);
        }
        let (star, fmask) = match self.masks {
            Some(masks) => masks,
            None => {
                let read = |index| msr::read(vcpu.fd, index).map(Option::unwrap_or_default);
                *self.masks.insert((read(STAR)?, read(FMASK)?))
            }
        };
        Ok(Some(SystemCall {
            rip,
            rsp,
            rflags: rflags & !fmask & !RF | FIXED,
            star,
        }))
    }
}

/// RFLAGS.RF, which SYSCALL clears, and bit 1, which is always set.
const RF: u64 = 1 << 16;
const FIXED: u64 = 1 << 1;

/// What SYSCALL would have left behind.
struct SystemCall {
    rip: u64,
    rsp: u64,
    rflags: u64,
    star: u64,
}

/// Loads the registers as SYSCALL does (Intel SDM volume 2, SYSCALL); RCX and R11 are right already.
fn enter_ring_0<I: Io>(vcpu: &mut Finisher<'_, I>, call: &SystemCall) -> Result<(), RunError> {
    let general = vcpu.general_mut();
    (general.rip, general.rsp, general.rflags) = (call.rip, call.rsp, call.rflags);
    let general = *general;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "STAR 47:32 is the selector"
    )]
    let selector = (call.star >> 32) as u16 & !3;
    let system = vcpu.system_mut();
    let flat = kvm_segment {
        base: 0,
        limit: !0,
        present: 1,
        s: 1,
        g: 1,
        ..kvm_segment::default()
    };
    system.cs = kvm_segment {
        selector,
        type_: 0xb,
        l: 1,
        ..flat
    };
    system.ss = kvm_segment {
        selector: selector + 8,
        type_: 3,
        db: 1,
        ..flat
    };
    let system = *system;
    vcpu.fd.set_sregs(&system)?;
    vcpu.fd.set_regs(&general)?;
    Ok(())
}

/// The address in gate 14 of the 64-bit interrupt descriptor table (Intel SDM volume 3, 6.14.1).
fn page_fault_handler<I: Io>(vcpu: &mut Finisher<'_, I>) -> Option<u64> {
    const GATE_SIZE: u64 = 16;
    const PRESENT: u64 = 1 << 47;
    let mut gate = [0; 16];
    let address = vcpu
        .system_mut()
        .idt
        .base
        .wrapping_add(PAGE_FAULT_VECTOR * GATE_SIZE);
    vcpu.read_linear(address, &mut gate, SYSTEM_READ).ok()?;
    let [low, high] = *gate.as_chunks::<8>().0 else {
        return None;
    };
    let (low, high) = (u64::from_le_bytes(low), u64::from_le_bytes(high));
    (low & PRESENT != 0).then_some(low & 0xffff | (low >> 32) & 0xffff_0000 | high << 32)
}

fn set_breakpoint<I: Io>(vcpu: &Finisher<'_, I>, address: u64) -> Result<(), RunError> {
    // DR7: breakpoint 0 enabled, on execution; bit 10 is always set.
    let debugreg = [address, 0, 0, 0, 0, 0, 0, 0x403];
    let debug = kvm_guest_debug {
        control: KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
        arch: kvm_guest_debug_arch { debugreg },
        ..kvm_guest_debug::default()
    };
    Ok(vcpu.fd.set_guest_debug(&debug)?)
}
