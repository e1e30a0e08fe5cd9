//! MUL, IMUL, MULX, DIV, IDIV.
//!
//! Source: Intel SDM volume 2, the pages of the instructions.

use iced_x86::{Instruction, Mnemonic, Register};

use crate::cpu::Cpu;
use crate::flags;
use crate::machine::Machine;
use crate::outcome::Fault;
use crate::registers::rflags::{AF, CF, OF, PF, SF, ZF};
use crate::width::Width;

/// MUL and IMUL with one operand.
pub(crate) fn multiply<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let width = cpu.width(i, 0)?;
    let source = cpu.get(i, 0)?;
    let (low_register, high_register) = accumulators(width);
    let accumulator = cpu.register(low_register);
    let signed = i.mnemonic() == Mnemonic::Imul;
    let (low, high) = product(width, accumulator, source, signed);
    let overflow = high != if signed { sign_fill(width, low) } else { 0 };
    cpu.set_register(low_register, low);
    cpu.set_register(high_register, high);
    multiply_flags(cpu, overflow, width, low);
    Ok(())
}

/// IMUL with two or three operands.
pub(crate) fn multiply_short<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
) -> Result<(), Fault> {
    let width = cpu.width(i, 0)?;
    let (a, b) = if i.op_count() == 3 {
        (cpu.get(i, 1)?, cpu.get(i, 2)?)
    } else {
        (cpu.get(i, 0)?, cpu.get(i, 1)?)
    };
    let (low, high) = product(width, a, b, true);
    cpu.put(i, 0, low)?;
    multiply_flags(cpu, high != sign_fill(width, low), width, low);
    Ok(())
}

/// MULX: high half to the first operand, low half to the second, no flags.
pub(crate) fn mulx<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let width = cpu.width(i, 0)?;
    let source = cpu.get(i, 2)?;
    let (low, high) = product(width, cpu.register(Register::RDX), source, false);
    cpu.put(i, 1, low)?;
    cpu.put(i, 0, high)
}

/// DIV and IDIV.
pub(crate) fn divide<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let width = cpu.width(i, 0)?;
    let divisor = cpu.get(i, 0)?;
    let (low_register, high_register) = accumulators(width);
    let (low, high) = if width == Width::Byte {
        (cpu.register(Register::AL), cpu.register(Register::AH))
    } else {
        (cpu.register(low_register), cpu.register(high_register))
    };
    let (quotient, remainder) = if i.mnemonic() == Mnemonic::Div {
        let dividend = u128::from(high) << width.bits() | u128::from(low);
        let divisor = u128::from(divisor);
        let quotient = dividend
            .checked_div(divisor)
            .and_then(|q| u64::try_from(q).ok());
        let quotient = quotient.filter(|q| *q <= width.mask()).ok_or(Fault::DE)?;
        (quotient, low_half(dividend % divisor))
    } else {
        let high = i128::from(width.sign_extend(high).cast_signed());
        let dividend = high << width.bits() | i128::from(low);
        let divisor = i128::from(width.sign_extend(divisor).cast_signed());
        let quotient = dividend
            .checked_div(divisor)
            .and_then(|q| i64::try_from(q).ok())
            .ok_or(Fault::DE)?;
        if width.sign_extend(quotient.cast_unsigned()).cast_signed() != quotient {
            return Err(Fault::DE);
        }
        (
            quotient.cast_unsigned(),
            low_half((dividend % divisor).cast_unsigned()),
        )
    };
    cpu.set_register(low_register, quotient);
    cpu.set_register(high_register, remainder);
    Ok(())
}

const fn accumulators(width: Width) -> (Register, Register) {
    match width {
        Width::Byte => (Register::AL, Register::AH),
        Width::Word => (Register::AX, Register::DX),
        Width::Dword => (Register::EAX, Register::EDX),
        Width::Qword => (Register::RAX, Register::RDX),
    }
}

/// CF and OF tell of a lost half. SF is undefined by the manual; CPUs give the low half's sign.
fn multiply_flags<M: Machine>(cpu: &mut Cpu<'_, M>, overflow: bool, width: Width, low: u64) {
    let sign = flags::of_result(width, low) & (SF | PF);
    cpu.set_flags(
        CF | OF | SF | PF | ZF | AF,
        flags::when(overflow, CF | OF) | sign,
    );
}

const fn sign_fill(width: Width, low: u64) -> u64 {
    if low & width.sign() != 0 {
        width.mask()
    } else {
        0
    }
}

/// Both halves of a product.
fn product(width: Width, a: u64, b: u64, signed: bool) -> (u64, u64) {
    let wide = if signed {
        let (a, b) = (
            width.sign_extend(a).cast_signed(),
            width.sign_extend(b).cast_signed(),
        );
        i128::from(a).wrapping_mul(i128::from(b)).cast_unsigned()
    } else {
        u128::from(a & width.mask()) * u128::from(b & width.mask())
    };
    (
        low_half(wide) & width.mask(),
        low_half(wide >> width.bits()) & width.mask(),
    )
}

fn low_half(value: u128) -> u64 {
    const LOW: u128 = 0xffff_ffff_ffff_ffff;
    (value & LOW) as u64
}
