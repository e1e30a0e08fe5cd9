//! A vCPU: its state, and its stays in the guest.

#![expect(
    unsafe_code,
    reason = "the data of an exit is a union beside the data that it describes"
)]

use std::sync::Arc;

use kvm_bindings::{CpuId, kvm_regs, kvm_sregs};
use kvm_ioctls::{VcpuExit, VcpuFd};
use trivisor_emulator::{General, System};
use vmm_sys_util::errno;

use crate::cpu_table::BOOT_MSRS;
use crate::exit::{Exit, Io, RunError};
use crate::finish::{self, Finisher};
use crate::kick::Kicker;
use crate::msr;
use crate::physical::PhysicalMemory;
use crate::posted::PostedWrites;
use crate::quirks::pvm::{Filter, Repair};
use crate::quirks::pvm_frame;
use crate::quirks::window::{FloppyLine, Windows};
use crate::registers;
use crate::statistics::StatisticsFile;
use crate::vm::VmError;

/// A vCPU. It runs on one thread at a time.
#[derive(Debug)]
pub struct Vcpu {
    fd: VcpuFd,
    index: u8,
    kicker: Arc<Kicker>,
    posted: Option<Arc<PostedWrites>>,
    /// What a PVM host needs; `None` elsewhere.
    repair: Option<Repair>,
    /// What must be set before a vCPU enters the guest; the first one, for which the others wait, sees to it.
    filter: Option<Filter>,
    /// And its first vCPU where the kernel has the 8259s.
    windows: Option<Windows>,
}

/// The registers in which a vCPU starts or stands still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VcpuRegisters {
    /// General registers, RIP, RFLAGS.
    pub general: General,
    /// Segments, descriptor tables, CR0, CR4, EFER.
    pub system: System,
    /// CR2: where the latest page fault was.
    pub cr2: u64,
    /// CR3: the page tables.
    pub cr3: u64,
}

impl Vcpu {
    pub(crate) fn new(
        fd: VcpuFd,
        index: u8,
        cpuid: &CpuId,
        filter: Option<Filter>,
        pvm: bool,
        line: Option<FloppyLine>,
    ) -> Result<Self, VmError> {
        let refused = |what| {
            move |source| VmError::Vcpu {
                index,
                what,
                source,
            }
        };
        fd.set_cpuid2(cpuid).map_err(refused("the CPU features"))?;
        let kicker = Kicker::new(&fd)
            .map_err(errno::Error::from)
            .map_err(refused("a mapping of the run page"))?;
        let kicker = Arc::new(kicker);
        let windows = line.map(|line| Windows::new(line, kicker.clone()));
        Ok(Self {
            fd,
            index,
            kicker,
            posted: None,
            repair: pvm.then(Repair::default),
            filter,
            windows,
        })
    }

    /// Its index and APIC identifier.
    #[must_use]
    pub const fn index(&self) -> u8 {
        self.index
    }

    /// What gets it out of the guest.
    #[must_use]
    pub const fn kicker(&self) -> &Arc<Kicker> {
        &self.kicker
    }

    pub(crate) const fn fd(&self) -> &VcpuFd {
        &self.fd
    }

    /// Writes may have been posted whenever it comes out of the guest.
    pub(crate) fn posts(&mut self, posted: Arc<PostedWrites>) {
        self.posted = Some(posted);
    }

    /// Its counters.
    ///
    /// # Errors
    /// What the host said, for example because its KVM is older than Linux 5.14.
    pub fn statistics(&self) -> std::io::Result<StatisticsFile> {
        StatisticsFile::new(&self.fd)
    }

    /// Reads its registers.
    ///
    /// # Errors
    /// What KVM answered.
    pub fn registers(&self) -> Result<VcpuRegisters, errno::Error> {
        Ok(registers::from_kvm(
            &self.fd.get_regs()?,
            &self.fd.get_sregs()?,
        ))
    }

    /// Sets its registers, and what firmware would have set up besides: the state in which a boot
    /// protocol starts the first vCPU. The others wait for a start-up IPI.
    ///
    /// # Errors
    /// What KVM refused.
    pub fn start_at(&self, boot: &VcpuRegisters) -> Result<(), VmError> {
        let refused = |what| {
            move |source| VmError::Vcpu {
                index: self.index,
                what,
                source,
            }
        };
        let mut system: kvm_sregs = self.fd.get_sregs().map_err(refused("its state"))?;
        let mut general = kvm_regs::default();
        registers::to_kvm_general(&boot.general, &mut general);
        registers::to_kvm_system(&boot.system, &mut system);
        (system.cr2, system.cr3) = (boot.cr2, boot.cr3);
        self.fd
            .set_sregs(&system)
            .map_err(refused("the boot state"))?;
        self.fd
            .set_regs(&general)
            .map_err(refused("the boot registers"))?;
        let values: Vec<_> = BOOT_MSRS
            .iter()
            .map(|(index, value, _)| (*index, *value))
            .collect();
        msr::write(&self.fd, &values).map_err(refused("the boot MSRs"))
    }

    /// The calling thread runs this vCPU from now on; kicks go to it.
    pub fn enter_thread(&self) {
        self.kicker.enter_thread();
    }

    /// One stay in the guest. What devices, emulator and quirks can deal with is dealt with.
    ///
    /// # Errors
    /// When the vCPU cannot go on.
    pub fn run(&mut self, io: &mut impl Io, memory: &PhysicalMemory) -> Result<Exit, RunError> {
        if let Some(filter) = self.filter.take() {
            filter.finish().map_err(RunError::Filter)?;
        }
        let exit = self.fd.run();
        if let Some(posted) = &self.posted {
            posted.carry_out(io);
        }
        let exit = match exit {
            Ok(exit) => exit,
            Err(error) => {
                let exit = self.not_entered(error)?;
                self.look_for_window()?;
                return Ok(exit);
            }
        };
        match exit {
            VcpuExit::IoIn(port, data) => {
                let data: *mut [u8] = data;
                let width = self.port_width();
                // SAFETY: KVM put `data` into the run page, where it stays until the next KVM_RUN.
                let data = unsafe { &mut *data };
                if data.len() == width {
                    io.port_read(port, data);
                } else {
                    io.port_read_string(port, width, data);
                }
            }
            VcpuExit::IoOut(port, data) => {
                let data: *const [u8] = data;
                let width = self.port_width();
                // SAFETY: as above.
                let data = unsafe { &*data };
                if data.len() == width {
                    io.port_write(port, data);
                } else {
                    io.port_write_string(port, width, data);
                }
            }
            VcpuExit::MmioRead(address, data) => io.mmio_read(address, data),
            VcpuExit::MmioWrite(address, data) => io.mmio_write(address, data),
            VcpuExit::Hlt => return Ok(Exit::Halted),
            VcpuExit::Shutdown => return Ok(Exit::TripleFault),
            VcpuExit::IoapicEoi(vector) => return Ok(Exit::EndOfInterrupt(vector)),
            VcpuExit::Intr | VcpuExit::IrqWindowOpen => return Ok(Exit::Interrupted),
            VcpuExit::InternalError => self.finish_instruction(io, memory)?,
            VcpuExit::X86Wrmsr(write) => {
                *write.error = 0;
                let (index, value) = (write.index, write.data);
                // Its breakpoint and single steps exclude each other, and who comes here has the I/O APIC.
                if let Some(windows) = self.windows.take() {
                    windows.end(&self.fd)?;
                }
                self.write_msr(index, value)?;
            }
            VcpuExit::Debug(debug) => {
                let finisher = &mut Finisher::new(&self.fd, io, memory);
                if let Some(repair) = &mut self.repair {
                    repair.at_breakpoint(finisher, debug.pc)?;
                }
            }
            VcpuExit::FailEntry(reason, _cpu) => return Err(RunError::Entry { reason }),
            VcpuExit::MemoryFault { .. } => return Err(RunError::Memory),
            _ => {
                return Err(RunError::Unknown {
                    reason: self.fd.get_kvm_run().exit_reason,
                });
            }
        }
        self.look_for_window()?;
        if let Some(repair) = &mut self.repair {
            repair.follow(&mut Finisher::new(&self.fd, io, memory))?;
        }
        Ok(Exit::Handled)
    }

    fn look_for_window(&mut self) -> Result<(), RunError> {
        match &mut self.windows {
            Some(windows) => Ok(windows.left(&mut self.fd)?),
            None => Ok(()),
        }
    }

    /// KVM_RUN returned an error: a kick, a signal, or something bad.
    fn not_entered(&self, error: errno::Error) -> Result<Exit, RunError> {
        match error.errno() {
            // EAGAIN: a vCPU that waits for its start-up IPI was woken.
            libc::EINTR | libc::EAGAIN => {
                self.kicker.clear();
                Ok(Exit::Interrupted)
            }
            libc::EFAULT | libc::EHWPOISON => Err(RunError::Memory),
            _ => Err(RunError::Run(error)),
        }
    }

    /// Bytes of one element of the port access that KVM_RUN returned with: `rep` makes several at once.
    fn port_width(&mut self) -> usize {
        // SAFETY: the exit is KVM_EXIT_IO, so this is the field of the union that KVM filled.
        let size = unsafe { self.fd.get_kvm_run().__bindgen_anon_1.io.size };
        usize::from(size).max(1)
    }

    fn finish_instruction(
        &mut self,
        io: &mut impl Io,
        memory: &PhysicalMemory,
    ) -> Result<(), RunError> {
        // SAFETY: the exit is KVM_EXIT_INTERNAL_ERROR, so this is the field of the union that KVM filled.
        let suberror = unsafe { self.fd.get_kvm_run().__bindgen_anon_1.internal.suberror };
        if suberror != kvm_bindings::KVM_INTERNAL_ERROR_EMULATION {
            return Err(RunError::Internal { suberror });
        }
        let finisher = &mut Finisher::new(&self.fd, io, memory);
        if self.repair.is_some() {
            pvm_frame::mend(finisher)?;
        }
        finish::step(finisher)
    }

    /// A write to an MSR that the filter of a quirk stopped.
    fn write_msr(&mut self, index: u32, value: u64) -> Result<(), RunError> {
        msr::write(&self.fd, &[(index, value)])?;
        if let Some(repair) = &mut self.repair {
            repair.msr_written(index, value);
        }
        Ok(())
    }
}
