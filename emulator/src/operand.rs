//! Operands: general registers, immediates, and memory with segmentation.
//!
//! Source: Intel SDM volume 1, 3.7 (addressing), volume 3, 5.3 to 5.5 (limit and type checks).

use iced_x86::{Instruction, OpKind, Register};

use crate::cpu::Cpu;
use crate::machine::{AccessKind, Machine};
use crate::outcome::Fault;
use crate::registers::cr4;
use crate::width::Width;

/// Where an integer operand lives.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Register(Register),
    /// A checked linear address.
    Memory(u64),
}

/// An operand that is read first and written afterwards.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) width: Width,
    pub(crate) old: u64,
    place: Place,
    locked: bool,
}

impl<M: Machine> Cpu<'_, M> {
    /// A general register at its own width, zero-extended.
    pub(crate) fn register(&self, register: Register) -> u64 {
        let value = |n: usize| self.general.gpr.get(n).copied().unwrap_or(0);
        match register {
            Register::AH | Register::CH | Register::DH | Register::BH => {
                value(register.number() & 3) >> 8 & 0xff
            }
            _ if register.is_gpr64() => value(register.number()),
            _ if register.is_gpr32() => value(register.number()) & 0xffff_ffff,
            _ if register.is_gpr16() => value(register.number()) & 0xffff,
            _ if register.is_gpr8() => value(gpr8_number(register)) & 0xff,
            _ if register.is_segment_register() => {
                u64::from(self.system.segment(register).selector)
            }
            _ => 0,
        }
    }

    /// Writes a general register; a 32-bit write clears the upper half.
    pub(crate) fn set_register(&mut self, register: Register, value: u64) {
        let high = matches!(
            register,
            Register::AH | Register::CH | Register::DH | Register::BH
        );
        let number = if high {
            register.number() & 3
        } else if register.is_gpr8() {
            gpr8_number(register)
        } else {
            register.number()
        };
        let Some(slot) = self.general.gpr.get_mut(number) else {
            return;
        };
        *slot = match register {
            _ if high => *slot & !0xff00 | (value & 0xff) << 8,
            _ if register.is_gpr64() => value,
            _ if register.is_gpr32() => value & 0xffff_ffff,
            _ if register.is_gpr16() => *slot & !0xffff | value & 0xffff,
            _ => *slot & !0xff | value & 0xff,
        };
    }

    /// Width of integer operand `n`.
    pub(crate) fn width(&self, i: &Instruction, n: u32) -> Result<Width, Fault> {
        let bytes = match i.op_kind(n) {
            OpKind::Register => i.op_register(n).size(),
            OpKind::Memory => i.memory_size().size(),
            _ => 0,
        };
        Width::from_bytes(bytes).ok_or(Fault::Unsupported)
    }

    /// The memory operand's offset, wrapped to the address size.
    pub(crate) fn offset(&self, i: &Instruction) -> u64 {
        self.offset_plus(i, 0)
    }

    /// The same with a displacement of the instruction's own (bit strings, XSAVE's pieces).
    pub(crate) fn offset_plus(&self, i: &Instruction, extra: u64) -> u64 {
        let base = i.memory_base();
        let displacement = i.memory_displacement64();
        let mut offset = displacement.wrapping_add(extra);
        if !matches!(base, Register::None | Register::RIP | Register::EIP) {
            offset = offset.wrapping_add(self.register(base));
        }
        let index = i.memory_index();
        if index != Register::None {
            offset = offset.wrapping_add(
                self.register(index)
                    .wrapping_mul(u64::from(i.memory_index_scale())),
            );
        }
        offset & address_width(i).mask()
    }

    /// Checks the memory operand as `size` bytes and gives its linear address.
    pub(crate) fn address(
        &self,
        i: &Instruction,
        size: usize,
        kind: AccessKind,
    ) -> Result<u64, Fault> {
        self.linear(i.memory_segment(), self.offset(i), size, kind)
    }

    /// Checks `size` bytes at an offset of a segment and gives the linear address.
    pub(crate) fn linear(
        &self,
        segment: Register,
        offset: u64,
        size: usize,
        kind: AccessKind,
    ) -> Result<u64, Fault> {
        let fault = || {
            if segment == Register::SS {
                Fault::SS0
            } else {
                Fault::GP0
            }
        };
        let last = u64::try_from(size.saturating_sub(1)).unwrap_or(0);
        let descriptor = self.system.segment(segment);
        if self.bits == 64 {
            let based = matches!(segment, Register::FS | Register::GS);
            let address = offset.wrapping_add(if based { descriptor.base } else { 0 });
            let ok = self.is_canonical(address) && self.is_canonical(address.wrapping_add(last));
            return if ok { Ok(address) } else { Err(fault()) };
        }
        let end = offset.saturating_add(last);
        if !self.is_real_mode() && !self.is_v86() && !allows(descriptor, kind) {
            return Err(fault());
        }
        let expand_down = descriptor.code_or_data && descriptor.kind & 0b1100 == 0b0100;
        let inside = if expand_down && !self.is_real_mode() && !self.is_v86() {
            let top = if descriptor.big { 0xffff_ffff } else { 0xffff };
            offset > u64::from(descriptor.limit) && end <= top
        } else {
            end <= u64::from(descriptor.limit)
        };
        if inside {
            Ok(descriptor.base.wrapping_add(offset) & 0xffff_ffff)
        } else {
            Err(fault())
        }
    }

    /// True if the bits above the linear address repeat its top bit.
    pub(crate) const fn is_canonical(&self, address: u64) -> bool {
        let unused = if self.system.cr4 & cr4::LA57 != 0 {
            7
        } else {
            16
        };
        (address.cast_signed() << unused >> unused).cast_unsigned() == address
    }

    /// Value of integer operand `n` at its width; an immediate is sign-extended as the encoding says.
    pub(crate) fn get(&mut self, i: &Instruction, n: u32) -> Result<u64, Fault> {
        match i.op_kind(n) {
            OpKind::Register => Ok(self.register(i.op_register(n))),
            OpKind::Memory => {
                let width = self.width(i, n)?;
                let address = self.address(i, width.bytes(), AccessKind::Read)?;
                self.load(address, width, AccessKind::Read)
            }
            _ => i.try_immediate(n).map_err(|_| Fault::Unsupported),
        }
    }

    /// Writes integer operand `n`.
    pub(crate) fn put(&mut self, i: &Instruction, n: u32, value: u64) -> Result<(), Fault> {
        let width = self.width(i, n)?;
        match i.op_kind(n) {
            OpKind::Register => self.set_register(i.op_register(n), value),
            _ => {
                let address = self.address(i, width.bytes(), AccessKind::Write)?;
                self.store(address, width, value)?;
            }
        }
        Ok(())
    }

    /// Reads operand `n`, which [`close`](Self::close) will write.
    pub(crate) fn open(&mut self, i: &Instruction, n: u32) -> Result<Target, Fault> {
        let width = self.width(i, n)?;
        if i.op_kind(n) == OpKind::Register {
            let register = i.op_register(n);
            let old = self.register(register);
            return Ok(Target {
                width,
                old,
                place: Place::Register(register),
                locked: false,
            });
        }
        let address = self.address(i, width.bytes(), AccessKind::Modify)?;
        self.open_at(address, width, i.has_lock_prefix())
    }

    /// The same for a linear address that has been checked.
    pub(crate) fn open_at(
        &mut self,
        address: u64,
        width: Width,
        locked: bool,
    ) -> Result<Target, Fault> {
        let old = self.load(address, width, AccessKind::Modify)?;
        Ok(Target {
            width,
            old,
            place: Place::Memory(address),
            locked,
        })
    }

    /// Writes back, in one atomic operation if the instruction is locked.
    pub(crate) fn close(&mut self, target: &Target, value: u64) -> Result<(), Fault> {
        match target.place {
            Place::Register(register) => self.set_register(register, value),
            Place::Memory(address) if target.locked => {
                let (old, new) = (target.old.to_le_bytes(), value.to_le_bytes());
                let size = target.width.bytes();
                self.exchange(address, old.split_at(size).0, new.split_at(size).0)?;
            }
            Place::Memory(address) => self.store(address, target.width, value)?,
        }
        Ok(())
    }

    /// Replaces memory that has not changed since it was read.
    pub(crate) fn exchange(&mut self, address: u64, old: &[u8], new: &[u8]) -> Result<(), Fault> {
        let access = self.access(AccessKind::Write);
        if self.machine.compare_exchange(address, old, new, access)? {
            Ok(())
        } else {
            Err(Fault::Retry)
        }
    }
}

impl Target {
    /// Makes the write atomic although the instruction has no LOCK prefix (XCHG).
    pub(crate) const fn lock(mut self) -> Self {
        self.locked = true;
        self
    }
}

/// Width of the addresses that the memory operand computes with.
pub(crate) fn address_width(i: &Instruction) -> Width {
    let size = match (i.memory_base(), i.memory_index()) {
        (Register::None, Register::None) => i.memory_displ_size() as usize,
        (Register::None, index) => index.size(),
        (base, _) => base.size(),
    };
    Width::from_bytes(size).unwrap_or(Width::Qword)
}

/// Number of the 64-bit register that holds a low byte register.
fn gpr8_number(register: Register) -> usize {
    register.full_register().number()
}

/// Type check of a data access in protected mode (Intel SDM volume 3, 5.5).
const fn allows(segment: &crate::registers::Segment, kind: AccessKind) -> bool {
    if segment.unusable || !segment.present || !segment.code_or_data {
        return false;
    }
    let code = segment.kind & 0b1000 != 0;
    let writable_or_readable = segment.kind & 0b0010 != 0;
    match kind {
        AccessKind::Fetch => code,
        AccessKind::Read => !code || writable_or_readable,
        AccessKind::Write | AccessKind::Modify => !code && writable_or_readable,
    }
}
