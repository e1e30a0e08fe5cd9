//! PUSH, POP, ENTER, LEAVE.
//!
//! Source: Intel SDM volume 2, the pages of the instructions; volume 1, 6.2 (stack address size).

use iced_x86::{Code, Instruction, Register};

use crate::cpu::Cpu;
use crate::machine::{AccessKind, Machine};
use crate::outcome::Fault;
use crate::width::Width;

impl<M: Machine> Cpu<'_, M> {
    /// The register that holds the stack's offset, by the size of the stack segment.
    const fn stack_pointer(&self) -> Register {
        if self.bits == 64 {
            Register::RSP
        } else if self.system.ss.big {
            Register::ESP
        } else {
            Register::SP
        }
    }

    const fn frame_pointer(&self) -> Register {
        match self.stack_pointer() {
            Register::RSP => Register::RBP,
            Register::ESP => Register::EBP,
            _ => Register::BP,
        }
    }

    pub(crate) fn push(&mut self, width: Width, value: u64) -> Result<(), Fault> {
        let pointer = self.stack_pointer();
        let new = self.register(pointer).wrapping_sub(bytes(width)) & self.stack_mask();
        let address = self.linear(Register::SS, new, width.bytes(), AccessKind::Write)?;
        self.store(address, width, value)?;
        self.set_register(pointer, new);
        Ok(())
    }

    pub(crate) fn pop(&mut self, width: Width) -> Result<u64, Fault> {
        let pointer = self.stack_pointer();
        let old = self.register(pointer);
        let address = self.linear(Register::SS, old, width.bytes(), AccessKind::Read)?;
        let value = self.load(address, width, AccessKind::Read)?;
        self.set_register(pointer, old.wrapping_add(bytes(width)));
        Ok(value)
    }

    const fn stack_mask(&self) -> u64 {
        match self.stack_pointer() {
            Register::RSP => u64::MAX,
            Register::ESP => 0xffff_ffff,
            _ => 0xffff,
        }
    }
}

fn bytes(width: Width) -> u64 {
    u64::from(width.bits() / 8)
}

/// How many bytes a stack instruction moves.
fn stack_width(i: &Instruction) -> Result<Width, Fault> {
    let bytes = usize::try_from(i.stack_pointer_increment().unsigned_abs()).unwrap_or(0);
    Width::from_bytes(bytes).ok_or(Fault::Unsupported)
}

/// PUSH of a register, an immediate or memory.
pub(crate) fn push<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let width = stack_width(i)?;
    let value = cpu.get(i, 0)?;
    cpu.push(width, value)
}

/// POP to a register or memory; RSP in the address is the one after the pop.
pub(crate) fn pop<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let value = cpu.pop(stack_width(i)?)?;
    cpu.put(i, 0, value)
}

/// ENTER.
pub(crate) fn enter<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let width = match i.code() {
        Code::Enterw_imm16_imm8 => Width::Word,
        Code::Enterd_imm16_imm8 => Width::Dword,
        _ => Width::Qword,
    };
    let level = i.immediate8_2nd() % 32;
    let frame_register = cpu.frame_pointer();
    let mut outer = cpu.register(frame_register);
    cpu.push(width, cpu.register(Register::RBP))?;
    let frame = cpu.register(cpu.stack_pointer());
    for _ in 1..level {
        outer = outer.wrapping_sub(bytes(width)) & cpu.stack_mask();
        let address = cpu.linear(Register::SS, outer, width.bytes(), AccessKind::Read)?;
        let display = cpu.load(address, width, AccessKind::Read)?;
        cpu.push(width, display)?;
    }
    if level > 0 {
        cpu.push(width, frame)?;
    }
    let pointer = cpu.stack_pointer();
    let top = cpu
        .register(pointer)
        .wrapping_sub(u64::from(i.immediate16()))
        & cpu.stack_mask();
    // The CPU looks whether the new top can be written, so that a stack overflow faults here.
    let address = cpu.linear(Register::SS, top, width.bytes(), AccessKind::Write)?;
    cpu.load(address, width, AccessKind::Modify)?;
    cpu.set_register(pointer, top);
    let frame_target = match width {
        Width::Word => Register::BP,
        Width::Dword => Register::EBP,
        _ => Register::RBP,
    };
    cpu.set_register(frame_target, frame);
    Ok(())
}

/// LEAVE.
pub(crate) fn leave<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let (width, target) = match i.code() {
        Code::Leavew => (Width::Word, Register::BP),
        Code::Leaved => (Width::Dword, Register::EBP),
        _ => (Width::Qword, Register::RBP),
    };
    let frame = cpu.register(cpu.frame_pointer());
    cpu.set_register(cpu.stack_pointer(), frame);
    let value = cpu.pop(width)?;
    cpu.set_register(target, value);
    Ok(())
}
