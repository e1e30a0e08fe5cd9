//! The state of one step: registers taken from the machine, changed here, given back when the instruction is complete.

use std::io;

use crate::machine::{Access, AccessKind, Machine};
use crate::outcome::Fault;
use crate::registers::{Changed, General, Registers, System, cr0, cr4, efer, rflags};
use crate::width::Width;
use crate::xsave_area::{XsaveArea, component};

/// A virtual CPU in the middle of an instruction.
pub(crate) struct Cpu<'m, M> {
    pub(crate) machine: &'m mut M,
    /// RIP already stands behind the instruction.
    pub(crate) general: General,
    pub(crate) system: System,
    /// RIP of the instruction itself.
    pub(crate) start: u64,
    /// Width of the code: 16, 32 or 64.
    pub(crate) bits: u32,
    pub(crate) cpl: u8,
    pub(crate) system_changed: bool,
    vectors: Option<XsaveArea>,
    vectors_changed: bool,
}

impl<'m, M: Machine> Cpu<'m, M> {
    pub(crate) fn new(machine: &'m mut M) -> io::Result<Self> {
        let Registers { general, system } = machine.registers()?;
        Ok(Self {
            machine,
            start: general.rip,
            bits: system.bitness(general.rflags),
            cpl: system.cpl(general.rflags),
            general,
            system,
            system_changed: false,
            vectors: None,
            vectors_changed: false,
        })
    }

    /// Hands the changed state to the machine.
    pub(crate) fn commit(&mut self) -> io::Result<()> {
        if let Some(area) = self.vectors.as_ref().filter(|_| self.vectors_changed) {
            self.machine.set_vectors(area)?;
        }
        let changed = if self.system_changed {
            Changed::Both
        } else {
            Changed::General
        };
        let registers = Registers {
            general: self.general,
            system: self.system,
        };
        self.machine.set_registers(&registers, changed)
    }

    /// The canonical or 32-bit form of an instruction pointer.
    pub(crate) const fn wrap_rip(&self, rip: u64) -> u64 {
        match self.bits {
            16 => rip & 0xffff,
            32 => rip & 0xffff_ffff,
            _ => rip,
        }
    }

    pub(crate) const fn flag(&self, flag: u64) -> bool {
        self.general.rflags & flag != 0
    }

    /// Replaces the flags of `mask` by those of `value`.
    pub(crate) const fn set_flags(&mut self, mask: u64, value: u64) {
        self.general.rflags = self.general.rflags & !mask | value & mask;
    }

    pub(crate) const fn is_real_mode(&self) -> bool {
        self.system.cr0 & cr0::PE == 0
    }

    pub(crate) const fn is_v86(&self) -> bool {
        self.system.cr0 & cr0::PE != 0 && self.general.rflags & rflags::VM != 0
    }

    pub(crate) const fn access(&self, kind: AccessKind) -> Access {
        Access {
            kind,
            user: self.cpl == 3,
        }
    }

    /// Reads an integer with the privilege of the code.
    pub(crate) fn load(
        &mut self,
        address: u64,
        width: Width,
        kind: AccessKind,
    ) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        let (data, _) = bytes.split_at_mut(width.bytes());
        let access = self.access(kind);
        self.machine.read(address, data, access)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes an integer with the privilege of the code.
    pub(crate) fn store(&mut self, address: u64, width: Width, value: u64) -> Result<(), Fault> {
        let bytes = value.to_le_bytes();
        let (data, _) = bytes.split_at(width.bytes());
        let access = self.access(AccessKind::Write);
        Ok(self.machine.write(address, data, access)?)
    }

    /// Reads an integer of a descriptor table, which every ring may.
    pub(crate) fn load_system(&mut self, address: u64, width: Width) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        let (data, _) = bytes.split_at_mut(width.bytes());
        let access = Access {
            kind: AccessKind::Read,
            user: false,
        };
        self.machine
            .read(self.system_address(address), data, access)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes one byte of a descriptor table.
    pub(crate) fn store_system(&mut self, address: u64, value: u8) -> Result<(), Fault> {
        let access = Access {
            kind: AccessKind::Write,
            user: false,
        };
        Ok(self
            .machine
            .write(self.system_address(address), &[value], access)?)
    }

    const fn system_address(&self, address: u64) -> u64 {
        if self.system.efer & efer::LMA != 0 {
            address
        } else {
            address & 0xffff_ffff
        }
    }

    /// Reads any number of bytes with the privilege of the code.
    pub(crate) fn load_bytes(&mut self, address: u64, data: &mut [u8]) -> Result<(), Fault> {
        let access = self.access(AccessKind::Read);
        Ok(self.machine.read(address, data, access)?)
    }

    /// Writes any number of bytes with the privilege of the code.
    pub(crate) fn store_bytes(&mut self, address: u64, data: &[u8]) -> Result<(), Fault> {
        let access = self.access(AccessKind::Write);
        Ok(self.machine.write(address, data, access)?)
    }

    /// x87 and vector state, fetched on first use.
    pub(crate) fn vectors(&mut self) -> Result<&mut XsaveArea, Fault> {
        if self.vectors.is_none() {
            let mut area = XsaveArea::default();
            self.machine.vectors(&mut area)?;
            area.fill_init();
            self.vectors = Some(area);
        }
        self.vectors.as_mut().ok_or(Fault::Unsupported)
    }

    /// The same, and it will be given back.
    pub(crate) fn vectors_mut(&mut self) -> Result<&mut XsaveArea, Fault> {
        self.vectors_changed = true;
        self.vectors()
    }

    /// The check before x87 control instructions: #NM.
    pub(crate) const fn check_x87(&self) -> Result<(), Fault> {
        if self.system.cr0 & (cr0::EM | cr0::TS) == 0 {
            Ok(())
        } else {
            Err(Fault::NM)
        }
    }

    /// The check before MMX: #UD, then #NM.
    pub(crate) const fn check_mmx(&self) -> Result<(), Fault> {
        if self.system.cr0 & cr0::EM != 0 {
            Err(Fault::UD)
        } else {
            self.check_ts()
        }
    }

    /// The check before SSE: #UD, then #NM.
    pub(crate) const fn check_sse(&self) -> Result<(), Fault> {
        if self.system.cr0 & cr0::EM != 0 || self.system.cr4 & cr4::OSFXSR == 0 {
            Err(Fault::UD)
        } else {
            self.check_ts()
        }
    }

    /// The check before AVX: protected mode and XCR0, then #NM.
    pub(crate) fn check_avx(&mut self) -> Result<(), Fault> {
        const NEEDED: u64 = component::SSE | component::AVX;
        if self.is_real_mode() || self.is_v86() || self.system.cr4 & cr4::OSXSAVE == 0 {
            return Err(Fault::UD);
        }
        if self.machine.xcr0()? & NEEDED != NEEDED {
            return Err(Fault::UD);
        }
        self.check_ts()
    }

    pub(crate) const fn check_ts(&self) -> Result<(), Fault> {
        if self.system.cr0 & cr0::TS == 0 {
            Ok(())
        } else {
            Err(Fault::NM)
        }
    }

    pub(crate) const fn check_ring0(&self) -> Result<(), Fault> {
        if self.cpl == 0 {
            Ok(())
        } else {
            Err(Fault::GP0)
        }
    }
}
