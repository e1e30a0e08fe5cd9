//! The host's KVM: is it there, may we use it, what can it do.

#![expect(unsafe_code, reason = "a raw descriptor is handed over")]

use std::fs::{File, OpenOptions};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::path::Path;
use std::sync::Arc;
use std::{fmt, io};

use kvm_ioctls::Cap;
use thiserror::Error;

use crate::beside::Errands;
use crate::quirks;

/// The device node.
const NODE: &str = "/dev/kvm";

/// The only version of KVM's interface since Linux 2.6.22 (Documentation/virt/kvm/api.rst, 4.1).
const API_VERSION: i32 = 12;

/// What every board needs.
const NEEDED: [(Cap, &str); 6] = [
    (Cap::UserMemory, "KVM_CAP_USER_MEMORY"),
    (Cap::ImmediateExit, "KVM_CAP_IMMEDIATE_EXIT"),
    (Cap::ExtCpuid, "KVM_CAP_EXT_CPUID"),
    (Cap::SplitIrqchip, "KVM_CAP_SPLIT_IRQCHIP"),
    (Cap::SignalMsi, "KVM_CAP_SIGNAL_MSI"),
    (Cap::VcpuEvents, "KVM_CAP_VCPU_EVENTS"),
];

/// A host without usable KVM.
#[derive(Debug, Error)]
pub enum KvmError {
    /// No device node.
    #[error("{NODE} does not exist")]
    Missing,
    /// The node belongs to others.
    #[error("{NODE} may not be opened by this user")]
    Permission,
    /// The node is there and cannot be opened.
    #[error("{NODE} cannot be opened")]
    Open(#[source] io::Error),
    /// Another interface than this one is written for.
    #[error("{NODE} speaks version {found} of KVM's interface, not {API_VERSION}")]
    Version {
        /// What it speaks.
        found: i32,
    },
    /// KVM lacks something.
    #[error("this host's KVM lacks {name}")]
    Capability {
        /// The capability's name in the kernel's documentation.
        name: &'static str,
    },
}

/// How a host's KVM runs guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKind {
    /// By VT-x or AMD-V: all guest code is native.
    Hardware,
    /// By PVM: ring 3 is native, ring 0 is emulated.
    Pvm,
}

impl HostKind {
    /// This host's.
    #[must_use]
    pub fn of_this_host() -> Self {
        if quirks::pvm::is_host() {
            Self::Pvm
        } else {
            Self::Hardware
        }
    }

    /// What a Linux guest does well to be told on such a host: a part of its command line.
    #[must_use]
    pub const fn linux_cmdline(self) -> &'static str {
        match self {
            Self::Hardware => "",
            Self::Pvm => quirks::pvm::LINUX_CMDLINE,
        }
    }
}

impl fmt::Display for HostKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hardware => "hardware virtualisation",
            Self::Pvm => "PVM: ring 0 of guests is emulated",
        })
    }
}

/// A handle on the host's KVM.
pub struct Kvm {
    fd: Arc<kvm_ioctls::Kvm>,
    errands: Option<Errands>,
}

impl fmt::Debug for Kvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kvm")
            .field("fd", &self.fd)
            .finish_non_exhaustive()
    }
}

impl Kvm {
    /// Opens /dev/kvm.
    ///
    /// # Errors
    /// When it is missing, forbidden, or no KVM that we can use.
    pub fn open() -> Result<Self, KvmError> {
        Self::from_file(Self::open_node(Path::new(NODE))?)
    }

    /// Opens a device node, to hand it to another process. Virtual machines belong to the process that
    /// creates them; the node does not.
    ///
    /// # Errors
    /// When it is missing or forbidden.
    pub fn open_node(node: &Path) -> Result<File, KvmError> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(node)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => KvmError::Missing,
                io::ErrorKind::PermissionDenied => KvmError::Permission,
                _ => KvmError::Open(error),
            })
    }

    /// Uses an open device node.
    ///
    /// # Errors
    /// When it is no KVM that we can use.
    pub fn from_file(node: File) -> Result<Self, KvmError> {
        // SAFETY: the descriptor is open, and ours alone from here on.
        let fd = unsafe { kvm_ioctls::Kvm::from_raw_fd(node.into_raw_fd()) };
        let found = fd.get_api_version();
        if found != API_VERSION {
            return Err(KvmError::Version { found });
        }
        Ok(Self {
            fd: Arc::new(fd),
            errands: None,
        })
    }

    /// What a VM has to wait for while it is made is given to `errands` from now on, which spares it the start of a
    /// thread of its own.
    #[must_use]
    pub fn with_errands(mut self, errands: Errands) -> Self {
        self.errands = Some(errands);
        self
    }

    /// Checks that KVM has everything that we need: a question for each capability, so a VMM that starts
    /// often asks after something has failed.
    ///
    /// # Errors
    /// The first capability that is missing.
    pub fn check_capabilities(&self) -> Result<(), KvmError> {
        let missing = NEEDED
            .iter()
            .find(|(capability, _)| !self.fd.check_extension(*capability));
        missing.map_or(Ok(()), |&(_, name)| Err(KvmError::Capability { name }))
    }

    /// The most vCPUs that a VM can have here.
    #[must_use]
    pub fn max_vcpus(&self) -> usize {
        self.fd.get_max_vcpus()
    }

    pub(crate) const fn fd(&self) -> &Arc<kvm_ioctls::Kvm> {
        &self.fd
    }

    pub(crate) const fn errands(&self) -> Option<&Errands> {
        self.errands.as_ref()
    }
}
