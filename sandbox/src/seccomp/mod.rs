//! The system calls that a thread of the VM process may make.
//!
//! An allow-list: whatever is not in it kills the process with SIGSYS, which its parent sees. Arguments
//! are checked where a call would otherwise be a way out: ioctl by request, tgkill by process, mmap and
//! mprotect by PROT_EXEC, sendto by address.

mod calls;
mod ioctls;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};
use thiserror::Error;

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Runs a vCPU.
    Vcpu,
    /// Waits for everything else: console, control process, end of the run.
    Io,
    /// Moves the data of a disk where io_uring does not.
    Worker,
}

/// What stands behind the devices that a thread runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Devices {
    /// Those that every machine has.
    #[default]
    Basic,
    /// Virtio devices, too: they move data on the thread that their driver or back-end woke.
    Virtio,
    /// These, and those of a PC: interrupt lines of the host's controllers, memory that a chipset switches.
    Pc,
}

/// A filter that cannot be made.
#[derive(Debug, Error)]
pub enum JailError {
    /// The compiler refused a rule.
    #[error("the system call filter of role {role:?} cannot be compiled")]
    Compile {
        /// Whose filter.
        role: Role,
        /// Why.
        source: seccompiler::BackendError,
    },
}

/// A compiled filter for the threads of one role, of the process that made it.
#[derive(Debug, Clone)]
pub struct Filter(Arc<BpfProgram>);

impl Filter {
    /// Compiles the filter. It holds for the calling process alone, because it lets threads signal
    /// each other and nobody else.
    ///
    /// # Errors
    /// When the compiler refuses a rule.
    pub fn for_role(role: Role, devices: Devices) -> Result<Self, JailError> {
        let compiled = calls::allowed(role, devices).and_then(|rules| {
            let filter = SeccompFilter::new(
                rules,
                SeccompAction::KillProcess,
                SeccompAction::Allow,
                TargetArch::x86_64,
            )?;
            BpfProgram::try_from(filter)
        });
        match compiled {
            Ok(program) => Ok(Self(Arc::new(program))),
            Err(source) => Err(JailError::Compile { role, source }),
        }
    }

    /// Confines the calling thread, and threads that it starts, for ever. There is no second time: a
    /// confined thread may not change its filters.
    ///
    /// # Errors
    /// When the host refuses.
    pub fn install(&self) -> io::Result<()> {
        apply_filter(&self.0).map_err(|error| match error {
            seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
            other => io::Error::other(other),
        })
    }
}
