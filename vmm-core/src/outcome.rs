//! How the run of a machine ended.

use thiserror::Error;
use trivisor_kvm::RunError;

use crate::crash::CrashReport;

/// The end of a run.
#[derive(Debug)]
pub enum Outcome {
    /// The guest switched the power off.
    PowerOff,
    /// The guest reset the machine.
    Reset,
    /// The run was stopped from outside.
    Stopped,
    /// A test guest ended it with this value.
    DebugExit(u32),
    /// The guest crashed.
    Crashed(Box<CrashReport>),
    /// The host could not go on.
    HostFailed(HostFailure),
}

/// What the host refused while the guest was running.
#[derive(Debug, Error)]
pub enum HostFailure {
    /// A file mapped into the guest has become shorter.
    #[error("the file behind persistent memory {index} was truncated")]
    ImageTruncated {
        /// Which one, in the order of the configuration.
        index: usize,
    },
    /// What the guest flushed to persistent memory could not be written to its file's storage.
    #[error("persistent memory {index} cannot be written to its storage")]
    Flush {
        /// Which one, in the order of the configuration.
        index: usize,
    },
    /// A vCPU cannot go on.
    #[error("vCPU {vcpu} cannot go on")]
    Vcpu {
        /// Which one.
        vcpu: u8,
        /// Why.
        source: RunError,
    },
    /// A thread could not be confined.
    #[error("the thread of vCPU {vcpu} could not be jailed")]
    Jail {
        /// Which one.
        vcpu: u8,
        /// Why.
        source: std::io::Error,
    },
}
