//! XCHG, XADD, CMPXCHG and its wide forms.
//!
//! Source: Intel SDM volume 2, the pages of the instructions.

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use crate::cpu::Cpu;
use crate::flags;
use crate::machine::{AccessKind, Machine};
use crate::outcome::Fault;
use crate::registers::rflags::{ARITHMETIC, ZF};
use crate::width::{Width, from_bytes};

/// XCHG; with memory it is always locked.
pub(crate) fn xchg<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    // Either operand may be the memory one.
    let (memory, register) = if i.op_kind(1) == OpKind::Memory {
        (1, 0)
    } else {
        (0, 1)
    };
    let target = cpu.open(i, memory)?.lock();
    let value = cpu.get(i, register)?;
    cpu.close(&target, value)?;
    cpu.put(i, register, target.old)
}

/// XADD.
pub(crate) fn xadd<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let target = cpu.open(i, 0)?;
    let addend = cpu.get(i, 1)?;
    let (sum, flags) = flags::add(target.width, target.old, addend, false);
    cpu.put(i, 1, target.old)?;
    cpu.close(&target, sum)?;
    cpu.set_flags(ARITHMETIC, flags);
    Ok(())
}

/// CMPXCHG.
pub(crate) fn cmpxchg<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let target = cpu.open(i, 0)?;
    let accumulator = match target.width {
        Width::Byte => Register::AL,
        Width::Word => Register::AX,
        Width::Dword => Register::EAX,
        Width::Qword => Register::RAX,
    };
    let source = cpu.get(i, 1)?;
    let (difference, flags) =
        flags::sub(target.width, cpu.register(accumulator), target.old, false);
    if difference == 0 {
        cpu.close(&target, source)?;
    } else {
        // Memory is written in either case; a register keeps even its upper half.
        if i.op0_kind() == OpKind::Memory {
            cpu.close(&target, target.old)?;
        }
        cpu.set_register(accumulator, target.old);
    }
    cpu.set_flags(ARITHMETIC, flags);
    Ok(())
}

/// CMPXCHG8B, CMPXCHG16B.
pub(crate) fn cmpxchg_pair<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    const PAIRS: [[Register; 4]; 2] = [
        [Register::EAX, Register::EDX, Register::EBX, Register::ECX],
        [Register::RAX, Register::RDX, Register::RBX, Register::RCX],
    ];
    let wide = i.mnemonic() == Mnemonic::Cmpxchg16b;
    let [low, high, new_low, new_high] = PAIRS[usize::from(wide)];
    let half = if wide { 8 } else { 4 };
    let address = cpu.address(i, 2 * half, AccessKind::Modify)?;
    if wide && address % 16 != 0 {
        return Err(Fault::GP0);
    }
    let mut memory = [0; 16];
    let (old, _) = memory.split_at_mut(2 * half);
    let access = cpu.access(AccessKind::Modify);
    cpu.machine.read(address, old, access)?;
    let (expected, new) = (
        pair(cpu, low, high, half),
        pair(cpu, new_low, new_high, half),
    );
    let equal = expected.starts_with(old);
    if equal {
        cpu.exchange(address, old, new.split_at(2 * half).0)?;
    } else {
        let (first, second) = old.split_at(half);
        cpu.set_register(low, from_bytes(first));
        cpu.set_register(high, from_bytes(second));
    }
    cpu.set_flags(ZF, flags::when(equal, ZF));
    Ok(())
}

/// Two registers of `half` bytes side by side.
fn pair<M: Machine>(cpu: &Cpu<'_, M>, low: Register, high: Register, half: usize) -> [u8; 16] {
    let value = u128::from(cpu.register(low)) | u128::from(cpu.register(high)) << (8 * half);
    value.to_le_bytes()
}
