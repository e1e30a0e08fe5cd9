//! The jail of a VM process: a filter of system calls a thread.

use std::io;
use std::sync::{Arc, Barrier};

use trivisor_sandbox::seccomp::{Filter, JailError, Role};

/// A thread's filter, and the others' that it waits for.
#[derive(Debug, Clone)]
pub(super) struct Jail {
    filter: Filter,
    /// The guest executes nothing before every thread of the process is confined.
    all: Arc<Barrier>,
}

impl Jail {
    /// The jails of a process's vCPU threads, of which there are `cpus`, and of the one that serves.
    pub(super) fn both(cpus: u8) -> Result<(Self, Self), JailError> {
        let all = Arc::new(Barrier::new(usize::from(cpus) + 1));
        let jail = |role| {
            let filter = Filter::for_role(role)?;
            let all = all.clone();
            Ok(Self { filter, all })
        };
        Ok((jail(Role::Vcpu)?, jail(Role::Io)?))
    }

    /// Confines the calling thread, for ever; returns when all of them are.
    pub(super) fn enter(&self) -> io::Result<()> {
        let confined = self.filter.install();
        // Also after a failure, or the others would wait for ever.
        self.all.wait();
        confined
    }
}
