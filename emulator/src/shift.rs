//! Shifts and rotations.
//!
//! Source: Intel SDM volume 2, the pages of the instructions.

use iced_x86::{Instruction, Mnemonic};

use crate::cpu::Cpu;
use crate::flags::{of_result, when};
use crate::machine::Machine;
use crate::outcome::Fault;
use crate::registers::rflags::{ARITHMETIC, CF, OF};
use crate::width::{Width, low_byte};

/// SHL, SHR, SAR, ROL, ROR, RCL, RCR.
pub(crate) fn shift<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let count = cpu.get(i, 1)?;
    let carry = cpu.flag(CF);
    let target = cpu.open(i, 0)?;
    let (width, old) = (target.width, target.old);
    let count = low_byte(count) & if width == Width::Qword { 63 } else { 31 };
    if count == 0 {
        return cpu.close(&target, old);
    }
    let mnemonic = i.mnemonic();
    let (result, carry) = match mnemonic {
        Mnemonic::Shl | Mnemonic::Sal => shl(width, old, count),
        Mnemonic::Shr => shr(old, count),
        Mnemonic::Sar => shr_signed(width.sign_extend(old), count),
        Mnemonic::Rol => rol(width, old, count),
        Mnemonic::Ror => ror(width, old, count),
        Mnemonic::Rcl => rotate_through(width, old, carry, count % (width.bits() + 1)),
        _ => {
            let size = width.bits() + 1;
            rotate_through(width, old, carry, (size - count % size) % size)
        }
    };
    let result = result & width.mask();
    cpu.close(&target, result)?;
    let top = result & width.sign() != 0;
    let overflow = match mnemonic {
        Mnemonic::Shl | Mnemonic::Sal | Mnemonic::Rol | Mnemonic::Rcl => top != carry,
        Mnemonic::Shr => old & width.sign() != 0,
        Mnemonic::Sar => false,
        _ => top != (result & width.sign() >> 1 != 0),
    };
    let flags = when(carry, CF) | when(overflow, OF);
    match mnemonic {
        Mnemonic::Rol | Mnemonic::Ror | Mnemonic::Rcl | Mnemonic::Rcr => {
            cpu.set_flags(CF | OF, flags)
        }
        _ => cpu.set_flags(ARITHMETIC, flags | of_result(width, result)),
    }
    Ok(())
}

fn shl(width: Width, value: u64, count: u32) -> (u64, bool) {
    let wide = u128::from(value) << count;
    let result = value.checked_shl(count).unwrap_or(0);
    (result, wide >> width.bits() & 1 != 0)
}

const fn shr(value: u64, count: u32) -> (u64, bool) {
    (value >> count, value >> (count - 1) & 1 != 0)
}

const fn shr_signed(value: u64, count: u32) -> (u64, bool) {
    let value = value.cast_signed();
    (
        (value >> count).cast_unsigned(),
        value >> (count - 1) & 1 != 0,
    )
}

const fn rol(width: Width, value: u64, count: u32) -> (u64, bool) {
    let result = rotate(width, value, count % width.bits());
    (result, result & 1 != 0)
}

const fn ror(width: Width, value: u64, count: u32) -> (u64, bool) {
    let result = rotate(width, value, width.bits() - count % width.bits());
    (result, result & width.sign() != 0)
}

/// Rotates left by 0 to the width itself.
const fn rotate(width: Width, value: u64, count: u32) -> u64 {
    if count == 0 || count == width.bits() {
        return value;
    }
    (value << count | value >> (width.bits() - count)) & width.mask()
}

/// Rotates left through the carry by 0 to the width itself.
fn rotate_through(width: Width, value: u64, carry: bool, count: u32) -> (u64, bool) {
    if count == 0 {
        return (value, carry);
    }
    let size = width.bits() + 1;
    let wide = u128::from(carry) << width.bits() | u128::from(value);
    let rotated = wide << count | wide >> (size - count);
    const LOW: u128 = 0xffff_ffff_ffff_ffff;
    (
        (rotated & LOW) as u64 & width.mask(),
        rotated >> width.bits() & 1 != 0,
    )
}

/// SHLD, SHRD.
pub(crate) fn shift_double<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let fill = cpu.get(i, 1)?;
    let count = low_byte(cpu.get(i, 2)?);
    let target = cpu.open(i, 0)?;
    let (width, old) = (target.width, target.old);
    let count = count & if width == Width::Qword { 63 } else { 31 };
    if count == 0 {
        return cpu.close(&target, old);
    }
    let bits = width.bits();
    const LOW: u128 = 0xffff_ffff_ffff_ffff;
    let (wide_old, wide_fill) = (u128::from(old), u128::from(fill));
    let (result, carry) = if i.mnemonic() == Mnemonic::Shld {
        // Above 16 a 16-bit shift is undefined; CPUs go on with the destination's own bits.
        let wide = wide_old << (2 * bits.min(32))
            | wide_fill << bits.min(32)
            | if bits == 16 { wide_old } else { 0 };
        if bits == 64 {
            let wide = wide_old << 64 | wide_fill;
            (
                (wide << count >> 64 & LOW) as u64,
                old >> (64 - count) & 1 != 0,
            )
        } else {
            let wide = wide << count;
            let top = 2 * bits;
            ((wide >> top & LOW) as u64, wide >> (top + bits) & 1 != 0)
        }
    } else {
        let wide = wide_old | wide_fill << bits | if bits == 16 { wide_old << 32 } else { 0 };
        ((wide >> count & LOW) as u64, wide >> (count - 1) & 1 != 0)
    };
    let result = result & width.mask();
    cpu.close(&target, result)?;
    let overflow = (result ^ old) & width.sign() != 0;
    cpu.set_flags(
        ARITHMETIC,
        when(carry, CF) | when(overflow, OF) | of_result(width, result),
    );
    Ok(())
}

/// RORX, SARX, SHLX, SHRX: no flags.
pub(crate) fn shift_no_flags<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
) -> Result<(), Fault> {
    let width = cpu.width(i, 0)?;
    let value = cpu.get(i, 1)?;
    let count = low_byte(cpu.get(i, 2)?) & (width.bits() - 1);
    let result = match i.mnemonic() {
        Mnemonic::Rorx => rotate(width, value, width.bits() - count),
        Mnemonic::Sarx => (width.sign_extend(value).cast_signed() >> count).cast_unsigned(),
        Mnemonic::Shlx => value << count,
        _ => value >> count,
    };
    cpu.put(i, 0, result)
}
