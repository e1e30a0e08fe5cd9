//! Gets a vCPU out of the guest, from any thread, without a lost wake-up.
//!
//! A kick first sets `immediate_exit` in the vCPU's shared page and then sends a signal. A vCPU that is
//! in the guest leaves by the signal; one that is on its way there finds the flag and turns back. The
//! vCPU's thread clears the flag before it looks at what was asked of it, so a kick that comes after
//! that look makes the next entry return at once.

#![expect(
    unsafe_code,
    reason = "a page is shared with the kernel, and threads are signalled by number"
)]

use std::io;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering, fence};

use kvm_bindings::kvm_run;
use kvm_ioctls::VcpuFd;
use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

use crate::vm::VmError;

extern "C" fn nothing(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// Handles the kick signal by doing nothing: that it arrives is enough. Once a process, before the
/// first kick; the default action of the signal would end the process.
///
/// # Errors
/// When the host refuses.
pub fn install_kick_handler() -> Result<(), VmError> {
    register_signal_handler(SIGRTMIN(), nothing).map_err(VmError::Signal)
}

/// A hand on one vCPU, for other threads. It may outlive the vCPU.
#[derive(Debug)]
pub struct Kicker {
    /// A mapping of our own of the page that the vCPU shares with the kernel.
    run: NonNull<kvm_run>,
    /// The thread that runs the vCPU, 0 before it does.
    thread: AtomicI32,
}

// SAFETY: the page is shared memory that is only touched through an atomic.
unsafe impl Send for Kicker {}
// SAFETY: as above.
unsafe impl Sync for Kicker {}

impl Kicker {
    pub(crate) fn new(vcpu: &VcpuFd) -> io::Result<Self> {
        let size = size_of::<kvm_run>();
        // SAFETY: a new shared mapping of the vCPU's first page, which KVM documents (api.rst, 4.5); the
        // kernel picks the address.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                vcpu.as_raw_fd(),
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let run = NonNull::new(page.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self {
            run,
            thread: AtomicI32::new(0),
        })
    }

    fn immediate_exit(&self) -> &AtomicU8 {
        // SAFETY: the mapping lives as long as `self`; the byte is only ever touched through atomics here
        // and by the kernel.
        unsafe { AtomicU8::from_ptr(&raw mut (*self.run.as_ptr()).immediate_exit) }
    }

    /// Makes the vCPU leave the guest, or not enter it. Set what it is to do before.
    pub fn kick(&self) {
        fence(Ordering::SeqCst);
        self.immediate_exit().store(1, Ordering::SeqCst);
        let thread = self.thread.load(Ordering::SeqCst);
        if thread != 0 {
            // SAFETY: tgkill touches no memory; a thread that has gone is an error that does not matter.
            let _gone =
                unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, SIGRTMIN()) };
        }
    }

    /// The calling thread runs the vCPU from now on.
    pub(crate) fn enter_thread(&self) {
        // Not libc's function: std refers to that weakly, which a static link with LTO resolves to null.
        // SAFETY: gettid has no preconditions.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a thread number is a pid_t"
        )]
        self.thread.store(thread as i32, Ordering::SeqCst);
    }

    /// The vCPU is out; the next entry counts again. To be called before looking for what was asked.
    pub(crate) fn clear(&self) {
        self.immediate_exit().store(0, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }
}

impl Drop for Kicker {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, made in `new`, and nothing refers to it any more.
        unsafe {
            libc::munmap(self.run.as_ptr().cast(), size_of::<kvm_run>());
        }
    }
}
