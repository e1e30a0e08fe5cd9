//! Finishes the instruction at which KVM's emulator gave up: a vCPU as the emulator sees it.

#![expect(
    unsafe_code,
    reason = "the size of vector state depends on the process's permissions"
)]

use std::io;
use std::sync::{Mutex, PoisonError};

use kvm_bindings::{KVM_VCPUEVENT_VALID_PAYLOAD, kvm_regs, kvm_sregs, kvm_xsave};
use kvm_ioctls::VcpuFd;
use trivisor_emulator::{
    Access, AccessError, AccessKind, Changed, Event, Machine, Outcome, Registers, XsaveArea,
};
use vmm_sys_util::errno;

use crate::exit::{Io, RunError};
use crate::msr;
use crate::paging::Paging;
use crate::physical::PhysicalMemory;
use crate::registers;

/// Bytes of a page: what one translation is good for.
const PAGE: u64 = 4096;

/// Exchanges that memory cannot do at once (16 bytes, or across a line) exclude each other by this lock.
static WIDE_EXCHANGE: Mutex<()> = Mutex::new(());

/// One vCPU and all that it can reach, for the length of one instruction.
pub(crate) struct Finisher<'a, I> {
    pub(crate) fd: &'a VcpuFd,
    io: &'a mut I,
    memory: &'a PhysicalMemory,
    /// As they were read last: the parts that the emulator does not know go back unchanged.
    general: kvm_regs,
    system: kvm_sregs,
}

/// Runs one instruction and injects what it raised.
pub(crate) fn step<I: Io>(finisher: &mut Finisher<'_, I>) -> Result<(), RunError> {
    match trivisor_emulator::step(finisher)? {
        Outcome::Done => Ok(()),
        Outcome::Inject(event) => Ok(finisher.inject(event)?),
    }
}

impl<'a, I: Io> Finisher<'a, I> {
    pub(crate) fn new(fd: &'a VcpuFd, io: &'a mut I, memory: &'a PhysicalMemory) -> Self {
        Self {
            fd,
            io,
            memory,
            general: kvm_regs::default(),
            system: kvm_sregs::default(),
        }
    }

    fn inject(&mut self, event: Event) -> Result<(), errno::Error> {
        let mut events = self.fd.get_vcpu_events()?;
        if event.software {
            (
                events.interrupt.injected,
                events.interrupt.nr,
                events.interrupt.soft,
            ) = (1, event.vector, 1);
            return self.fd.set_vcpu_events(&events);
        }
        const PAGE_FAULT: u8 = 14;
        if let (PAGE_FAULT, Some(address)) = (event.vector, event.payload) {
            self.system = self.fd.get_sregs()?;
            self.system.cr2 = address;
            self.fd.set_sregs(&self.system)?;
        }
        events.flags &= !KVM_VCPUEVENT_VALID_PAYLOAD;
        events.exception.injected = 1;
        events.exception.nr = event.vector;
        events.exception.has_error_code = event.error_code.is_some().into();
        events.exception.error_code = event.error_code.unwrap_or(0);
        self.fd.set_vcpu_events(&events)
    }

    /// Translates a linear address by the registers that were read last.
    fn translate(&self, linear: u64, access: Access) -> Result<u64, AccessError> {
        let registers = Registers {
            general: registers::from_kvm_general(&self.general),
            system: registers::from_kvm_system(&self.system),
        };
        let walk = |address: u64, size: usize| {
            let mut entry = [0; 8];
            self.memory
                .read(address, entry.get_mut(..size)?)
                .then(|| u64::from_le_bytes(entry))
        };
        Paging::new(&registers, self.system.cr3)
            .translate(linear, access.kind, access.user, walk)
            .map_err(|fault| AccessError::PageFault {
                address: linear,
                error_code: fault.error_code,
            })
    }

    /// The physical places of `len` bytes: address and length of each page's part. All are translated
    /// before any is touched.
    fn parts(
        &self,
        linear: u64,
        len: usize,
        access: Access,
    ) -> Result<[(u64, usize); 2], AccessError> {
        let room = usize::try_from(PAGE - linear % PAGE).unwrap_or(len);
        let first = len.min(room);
        let second = len - first;
        let start = self.translate(linear, access)?;
        let next = if second > 0 {
            self.translate(linear.wrapping_add(first as u64), access)?
        } else {
            0
        };
        Ok([(start, first), (next, second)])
    }

    pub(crate) fn read_linear(
        &mut self,
        linear: u64,
        data: &mut [u8],
        access: Access,
    ) -> Result<(), AccessError> {
        let [(first, len), (second, _)] = self.parts(linear, data.len(), access)?;
        let (low, high) = data.split_at_mut(len);
        self.read_physical(first, low);
        self.read_physical(second, high);
        Ok(())
    }

    /// Reads RAM alone, of which no device hears; whether it is RAM.
    pub(crate) fn read_ram(&self, linear: u64, data: &mut [u8], access: Access) -> bool {
        let Ok([(first, len), (second, _)]) = self.parts(linear, data.len(), access) else {
            return false;
        };
        let (low, high) = data.split_at_mut(len);
        self.memory.read(first, low) && (high.is_empty() || self.memory.read(second, high))
    }

    /// Writes RAM alone; whether it is RAM.
    pub(crate) fn write_ram(&self, linear: u64, data: &[u8], access: Access) -> bool {
        let Ok([(first, len), (second, _)]) = self.parts(linear, data.len(), access) else {
            return false;
        };
        let (low, high) = data.split_at(len);
        self.memory.write(first, low) && (high.is_empty() || self.memory.write(second, high))
    }

    fn read_physical(&mut self, address: u64, data: &mut [u8]) {
        if !self.memory.read(address, data) {
            (address..)
                .step_by(8)
                .zip(data.chunks_mut(8))
                .for_each(|(at, part)| self.io.mmio_read(at, part));
        }
    }

    fn write_physical(&mut self, address: u64, data: &[u8]) {
        if !self.memory.write(address, data) {
            (address..)
                .step_by(8)
                .zip(data.chunks(8))
                .for_each(|(at, part)| self.io.mmio_write(at, part));
        }
    }

    pub(crate) const fn general_mut(&mut self) -> &mut kvm_regs {
        &mut self.general
    }

    pub(crate) const fn system_mut(&mut self) -> &mut kvm_sregs {
        &mut self.system
    }

    /// Reads the registers that translation and quirks go by.
    pub(crate) fn load(&mut self) -> Result<(), errno::Error> {
        self.general = self.fd.get_regs()?;
        self.system = self.fd.get_sregs()?;
        Ok(())
    }
}

impl<I: Io> Machine for Finisher<'_, I> {
    fn registers(&mut self) -> io::Result<Registers> {
        self.load()?;
        Ok(Registers {
            general: registers::from_kvm_general(&self.general),
            system: registers::from_kvm_system(&self.system),
        })
    }

    fn set_registers(&mut self, registers: &Registers, changed: Changed) -> io::Result<()> {
        registers::to_kvm_general(&registers.general, &mut self.general);
        if changed == Changed::Both {
            registers::to_kvm_system(&registers.system, &mut self.system);
            self.fd.set_sregs(&self.system)?;
        }
        Ok(self.fd.set_regs(&self.general)?)
    }

    fn read(&mut self, address: u64, data: &mut [u8], access: Access) -> Result<(), AccessError> {
        self.read_linear(address, data, access)
    }

    fn write(&mut self, address: u64, data: &[u8], access: Access) -> Result<(), AccessError> {
        let [(first, len), (second, _)] = self.parts(address, data.len(), access)?;
        let (low, high) = data.split_at(len);
        self.write_physical(first, low);
        self.write_physical(second, high);
        Ok(())
    }

    fn compare_exchange(
        &mut self,
        address: u64,
        old: &[u8],
        new: &[u8],
        access: Access,
    ) -> Result<bool, AccessError> {
        let [(first, len), _] = self.parts(address, new.len(), access)?;
        if len == new.len()
            && let Some(written) = self.memory.compare_exchange(first, old, new)
        {
            return Ok(written);
        }
        let _alone = WIDE_EXCHANGE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = [0; 16];
        let Some(found) = found.get_mut(..new.len()) else {
            return Err(AccessError::Host(io::ErrorKind::InvalidInput.into()));
        };
        self.read_linear(
            address,
            found,
            Access {
                kind: AccessKind::Modify,
                ..access
            },
        )?;
        if found != old {
            return Ok(false);
        }
        self.write(address, new, access)?;
        Ok(true)
    }

    fn vectors(&mut self, area: &mut XsaveArea) -> io::Result<()> {
        let state = self.fd.get_xsave()?;
        for (bytes, word) in area
            .as_mut_bytes()
            .as_chunks_mut::<4>()
            .0
            .iter_mut()
            .zip(state.region)
        {
            *bytes = word.to_le_bytes();
        }
        Ok(())
    }

    fn set_vectors(&mut self, area: &XsaveArea) -> io::Result<()> {
        let mut state = kvm_xsave::default();
        for (word, bytes) in state
            .region
            .iter_mut()
            .zip(area.as_bytes().as_chunks::<4>().0)
        {
            *word = u32::from_le_bytes(*bytes);
        }
        // SAFETY: KVM reads 4,096 bytes, the size of `kvm_xsave`, as long as no larger feature (AMX) was
        // asked for by arch_prctl; nothing here does.
        let result = unsafe { self.fd.set_xsave(&state) };
        Ok(result?)
    }

    fn port_in(&mut self, port: u16, data: &mut [u8]) -> io::Result<()> {
        self.io.port_read(port, data);
        Ok(())
    }

    fn port_out(&mut self, port: u16, data: &[u8]) -> io::Result<()> {
        self.io.port_write(port, data);
        Ok(())
    }

    fn msr(&mut self, index: u32) -> io::Result<u64> {
        msr::read(self.fd, index)?.ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    fn xcr0(&mut self) -> io::Result<u64> {
        let registers = self.fd.get_xcrs()?;
        Ok(registers
            .xcrs
            .iter()
            .find(|register| register.xcr == 0)
            .map_or(1, |register| register.value))
    }

    fn set_xcr0(&mut self, value: u64) -> io::Result<()> {
        let mut registers = self.fd.get_xcrs()?;
        if let Some(xcr0) = registers.xcrs.iter_mut().find(|register| register.xcr == 0) {
            xcr0.value = value;
        }
        Ok(self.fd.set_xcrs(&registers)?)
    }

    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let Ok(cpuid) = self.fd.get_cpuid2(kvm_bindings::KVM_MAX_CPUID_ENTRIES) else {
            return [0; 4];
        };
        let wanted = cpuid
            .as_slice()
            .iter()
            .find(|entry| entry.function == leaf && entry.index == subleaf);
        wanted.map_or([0; 4], |entry| [entry.eax, entry.ebx, entry.ecx, entry.edx])
    }
}
