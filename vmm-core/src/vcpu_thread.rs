//! A vCPU's thread: into the guest, out again, what next.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use trivisor_buses::EoiTarget;
use trivisor_buses::routing::{Memory, Ports, View};
use trivisor_emulator::EmulateError;
use trivisor_kvm::{Exit, Io, PhysicalMemory, RunError, Vcpu};

use crate::control::{self, Control, ThreadEnd};
use crate::crash::{CrashCause, CrashReport};
use crate::outcome::{HostFailure, Outcome};

/// All that a vCPU's thread works with.
pub(crate) struct VcpuThread {
    pub(crate) vcpu: Vcpu,
    pub(crate) io: BusIo,
    pub(crate) memory: PhysicalMemory,
    pub(crate) eoi: Option<Arc<dyn EoiTarget>>,
    pub(crate) control: Arc<Control>,
    pub(crate) stays: Arc<Stays>,
}

/// How often a vCPU was sent into the guest.
#[derive(Debug, Default)]
pub(crate) struct Stays(AtomicU64);

impl Stays {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// By the vCPU's own thread alone, so that no locked instruction is needed.
    fn add_one(&self) {
        self.0.store(self.count() + 1, Ordering::Relaxed);
    }
}

/// The buses as KVM's exits reach them.
pub(crate) struct BusIo {
    pub(crate) ports: View<Ports>,
    pub(crate) mmio: View<Memory>,
}

impl Io for BusIo {
    fn port_read(&mut self, port: u16, data: &mut [u8]) {
        self.ports.read(port.into(), data);
    }

    fn port_write(&mut self, port: u16, data: &[u8]) {
        self.ports.write(port.into(), data);
    }

    fn port_read_string(&mut self, port: u16, width: usize, data: &mut [u8]) {
        self.ports.read_string(port, width, data);
    }

    fn port_write_string(&mut self, port: u16, width: usize, data: &[u8]) {
        self.ports.write_string(port, width, data);
    }

    fn mmio_read(&mut self, address: u64, data: &mut [u8]) {
        self.mmio.read(address, data);
    }

    fn mmio_write(&mut self, address: u64, data: &[u8]) {
        self.mmio.write(address, data);
    }
}

impl VcpuThread {
    /// Runs until the machine's run ends. `first_act` comes before all else.
    pub(crate) fn run(mut self, first_act: &dyn Fn() -> std::io::Result<()>, end: ThreadEnd) {
        let index = self.vcpu.index();
        control::this_thread_runs(index);
        self.vcpu.enter_thread();
        if let Err(source) = first_act() {
            self.control.end(Outcome::HostFailed(HostFailure::Jail {
                vcpu: index,
                source,
            }));
        }
        while self.control.may_enter() {
            self.stays.add_one();
            match self.vcpu.run(&mut self.io, &self.memory) {
                Ok(Exit::Handled | Exit::Interrupted) => {}
                Ok(Exit::EndOfInterrupt(vector)) => {
                    if let Some(eoi) = &self.eoi {
                        eoi.end_of_interrupt(vector);
                    }
                }
                // Local APICs in the kernel take HLT; where there are none, nothing can wake this vCPU.
                Ok(Exit::Halted) => self.control.end(Outcome::PowerOff),
                Ok(Exit::TripleFault) => self.control.crash(CrashCause::TripleFault),
                Err(error) => self.fail(error),
            }
        }
        self.report_crash();
        // Told before this vCPU's descriptors and mappings go, which takes a while.
        drop(end);
    }

    fn fail(&self, error: RunError) {
        let vcpu = self.vcpu.index();
        match error {
            RunError::Emulate(EmulateError::Unsupported { bytes, .. }) => {
                self.control.crash(CrashCause::Instruction(bytes))
            }
            error => {
                let truncated = self.memory.truncated();
                let failure = truncated.map_or_else(
                    || HostFailure::Vcpu {
                        vcpu,
                        source: error,
                    },
                    |index| HostFailure::ImageTruncated { index },
                );
                self.control.end(Outcome::HostFailed(failure));
            }
        }
    }

    /// If the guest crashed here, adds the registers.
    fn report_crash(&self) {
        let vcpu = self.vcpu.index();
        let Some(cause) = self.control.crashed_here(vcpu) else {
            return;
        };
        let outcome = match self.vcpu.registers() {
            Ok(registers) => Outcome::Crashed(Box::new(CrashReport {
                cause,
                vcpu,
                registers,
            })),
            Err(error) => Outcome::HostFailed(HostFailure::Vcpu {
                vcpu,
                source: error.into(),
            }),
        };
        self.control.set_outcome(outcome);
    }
}
