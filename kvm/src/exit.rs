//! Why a vCPU came out of the guest.

use thiserror::Error;
use trivisor_emulator::EmulateError;
use vmm_sys_util::errno;

/// The devices of a machine, as a vCPU meets them.
pub trait Io {
    /// `in`: fills `data` (1, 2 or 4 bytes) from `port`.
    fn port_read(&mut self, port: u16, data: &mut [u8]);
    /// `out`: writes `data` (1, 2 or 4 bytes) to `port`.
    fn port_write(&mut self, port: u16, data: &[u8]);
    /// `rep ins`: fills `data` from `port`, elements of `width` bytes one after the other.
    fn port_read_string(&mut self, port: u16, width: usize, data: &mut [u8]) {
        let elements = data.chunks_mut(width.max(1));
        elements.for_each(|element| self.port_read(port, element));
    }
    /// `rep outs`: writes `data` to `port`, elements of `width` bytes one after the other.
    fn port_write_string(&mut self, port: u16, width: usize, data: &[u8]) {
        let elements = data.chunks(width.max(1));
        elements.for_each(|element| self.port_write(port, element));
    }
    /// Fills `data` (1 to 8 bytes) from a guest-physical address that is not RAM.
    fn mmio_read(&mut self, address: u64, data: &mut [u8]);
    /// Writes `data` (1 to 8 bytes) to a guest-physical address that is not RAM.
    fn mmio_write(&mut self, address: u64, data: &[u8]);
}

/// What is left to the caller after one stay in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Port and memory accesses, emulation and quirks are done: go on.
    Handled,
    /// A kick or a signal: look what was asked for.
    Interrupted,
    /// A HLT that no local APIC of the kernel took.
    Halted,
    /// The guest's CPU shut down: a triple fault.
    TripleFault,
    /// A local APIC saw the end of a level-triggered interrupt with this vector.
    EndOfInterrupt(u8),
}

/// A vCPU that cannot go on.
#[derive(Debug, Error)]
pub enum RunError {
    /// KVM_RUN failed.
    #[error("KVM cannot run the guest")]
    Run(#[source] errno::Error),
    /// KVM_RUN says that guest memory cannot be reached: a file behind it was truncated, or the host is
    /// out of memory.
    #[error("KVM cannot reach the guest's memory")]
    Memory,
    /// The CPU did not enter the guest.
    #[error("the CPU refused to enter the guest, reason {reason:#x}")]
    Entry {
        /// The hardware's reason.
        reason: u64,
    },
    /// KVM is at a loss.
    #[error("internal error {suberror} of KVM")]
    Internal {
        /// KVM_INTERNAL_ERROR_*.
        suberror: u32,
    },
    /// An exit that was never asked for.
    #[error("exit reason {reason} of KVM is not known")]
    Unknown {
        /// KVM_EXIT_*.
        reason: u32,
    },
    /// KVM did not take what a quirk of the host needs before the first entry.
    #[error("KVM refused a filter of MSRs")]
    Filter(#[source] errno::Error),
    /// KVM did not give or take registers.
    #[error("KVM refused the vCPU's state")]
    State(#[from] errno::Error),
    /// Neither KVM nor the emulator knows the instruction.
    #[error("the guest's instruction cannot be finished")]
    Emulate(#[from] EmulateError),
}
