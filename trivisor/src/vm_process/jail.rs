//! The jail of a VM process: a filter of system calls a thread.

use std::io;
use std::sync::{Arc, Barrier};

use trivisor_sandbox::seccomp::{Devices, Filter, JailError, Role};

/// The jails of a process's threads.
#[derive(Debug)]
pub(super) struct Jails {
    pub(super) vcpu: Jail,
    pub(super) io: Jail,
    /// `None`: there are no workers.
    pub(super) worker: Option<Jail>,
}

/// A thread's filter, and the others' that it waits for.
#[derive(Debug, Clone)]
pub(super) struct Jail {
    filter: Filter,
    /// The guest executes nothing before every thread of the process is confined.
    all: Arc<Barrier>,
}

impl Jail {
    /// The jails of a process's vCPU threads, of which there are `cpus`, of the one that serves, and of the disks'
    /// workers.
    pub(super) fn all(cpus: u8, workers: usize, devices: Devices) -> Result<Jails, JailError> {
        let all = Arc::new(Barrier::new(usize::from(cpus) + 1 + workers));
        let jail = |role| {
            let filter = Filter::for_role(role, devices)?;
            let all = all.clone();
            Ok(Self { filter, all })
        };
        Ok(Jails {
            vcpu: jail(Role::Vcpu)?,
            io: jail(Role::Io)?,
            worker: if workers > 0 {
                Some(jail(Role::Worker)?)
            } else {
                None
            },
        })
    }

    /// Confines the calling thread, for ever; returns when all of them are.
    pub(super) fn enter(&self) -> io::Result<()> {
        let confined = self.filter.install();
        // Also after a failure, or the others would wait for ever.
        self.all.wait();
        confined
    }
}
