//! Shifts, rotations, bit tests, bit counts, CRC32.
//!
//! Source: Intel SDM volume 2, the pages of the instructions.

use iced_x86::{Instruction, Mnemonic, OpKind};

use crate::cpu::Cpu;
use crate::flags::{of_result, when};
use crate::machine::{AccessKind, Machine};
use crate::outcome::Fault;
use crate::registers::rflags::{AF, ARITHMETIC, CF, OF, PF, SF, ZF};
use crate::width::low_byte;

/// BT, BTS, BTR, BTC. A register as bit offset reaches memory on both sides of the operand.
pub(crate) fn bit_test<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let width = cpu.width(i, 0)?;
    let index = cpu.get(i, 1)?;
    let bit = 1 << (index & u64::from(width.bits() - 1));
    let writes = i.mnemonic() != Mnemonic::Bt;
    let kind = if writes {
        AccessKind::Modify
    } else {
        AccessKind::Read
    };
    let target = if i.op_kind(0) == OpKind::Memory {
        let words = match i.op_kind(1) {
            OpKind::Register => {
                width.sign_extend(index).cast_signed() >> width.bits().trailing_zeros()
            }
            _ => 0,
        };
        let bytes = i64::try_from(width.bytes()).unwrap_or(0);
        let offset = cpu.offset_plus(i, words.wrapping_mul(bytes).cast_unsigned());
        let address = cpu.linear(i.memory_segment(), offset, width.bytes(), kind)?;
        if !writes {
            let value = cpu.load(address, width, kind)?;
            cpu.set_flags(CF, when(value & bit != 0, CF));
            return Ok(());
        }
        cpu.open_at(address, width, i.has_lock_prefix())?
    } else {
        cpu.open(i, 0)?
    };
    let result = match i.mnemonic() {
        Mnemonic::Bts => target.old | bit,
        Mnemonic::Btr => target.old & !bit,
        Mnemonic::Btc => target.old ^ bit,
        _ => target.old,
    };
    if writes {
        cpu.close(&target, result)?;
    }
    cpu.set_flags(CF, when(target.old & bit != 0, CF));
    Ok(())
}

/// BSF, BSR: with zero the destination stays, as CPUs do and AMD documents.
pub(crate) fn bit_scan<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let value = cpu.get(i, 1)?;
    if value != 0 {
        let n = if i.mnemonic() == Mnemonic::Bsf {
            value.trailing_zeros()
        } else {
            value.ilog2()
        };
        cpu.put(i, 0, u64::from(n))?;
    }
    cpu.set_flags(ZF, when(value == 0, ZF));
    Ok(())
}

/// POPCNT, LZCNT, TZCNT.
pub(crate) fn count<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let width = cpu.width(i, 0)?;
    let value = cpu.get(i, 1)?;
    let result = match i.mnemonic() {
        Mnemonic::Popcnt => value.count_ones(),
        Mnemonic::Lzcnt => value.leading_zeros() - (64 - width.bits()),
        _ => value.trailing_zeros().min(width.bits()),
    };
    cpu.put(i, 0, u64::from(result))?;
    if i.mnemonic() == Mnemonic::Popcnt {
        cpu.set_flags(ARITHMETIC, when(value == 0, ZF));
    } else {
        cpu.set_flags(CF | ZF, when(value == 0, CF) | when(result == 0, ZF));
    }
    Ok(())
}

/// ANDN, BEXTR, BZHI, BLSI, BLSR, BLSMSK.
pub(crate) fn bmi<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let width = cpu.width(i, 0)?;
    let first = cpu.get(i, 1)?;
    let second = if i.op_count() == 3 { cpu.get(i, 2)? } else { 0 };
    let index = low_byte(second);
    let (result, carry, mask) = match i.mnemonic() {
        Mnemonic::Andn => (!first & second, false, ARITHMETIC & !(AF | PF)),
        Mnemonic::Blsi => (
            first.wrapping_neg() & first,
            first != 0,
            ARITHMETIC & !(AF | PF),
        ),
        Mnemonic::Blsr => (
            first.wrapping_sub(1) & first,
            first == 0,
            ARITHMETIC & !(AF | PF),
        ),
        Mnemonic::Blsmsk => (
            first.wrapping_sub(1) ^ first,
            first == 0,
            ARITHMETIC & !(AF | PF),
        ),
        Mnemonic::Bzhi => (
            first & low_mask(index),
            index >= width.bits(),
            ARITHMETIC & !(AF | PF),
        ),
        _ => {
            let length = low_byte(second >> 8);
            let field = first.checked_shr(index).unwrap_or(0) & low_mask(length);
            (field, false, CF | ZF | OF)
        }
    };
    let result = result & width.mask();
    cpu.put(i, 0, result)?;
    cpu.set_flags(mask, of_result(width, result) & (ZF | SF) | when(carry, CF));
    Ok(())
}

/// PDEP, PEXT.
pub(crate) fn scatter<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let source = cpu.get(i, 1)?;
    let mut mask = cpu.get(i, 2)?;
    let deposit = i.mnemonic() == Mnemonic::Pdep;
    let (mut result, mut n) = (0, 0);
    while mask != 0 {
        let place = mask & mask.wrapping_neg();
        let (from, to) = if deposit {
            (1 << n, place)
        } else {
            (place, 1 << n)
        };
        result |= when(source & from != 0, to);
        mask &= mask - 1;
        n += 1;
    }
    cpu.put(i, 0, result)
}

/// CRC32, the Castagnoli polynomial, reflected.
pub(crate) fn crc32<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    const POLYNOMIAL: u64 = 0x82f6_3b78;
    let width = cpu.width(i, 1)?;
    let data = cpu.get(i, 1)?;
    let mut crc = cpu.get(i, 0)? & 0xffff_ffff;
    for byte in data.to_le_bytes().into_iter().take(width.bytes()) {
        crc ^= u64::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ when(crc & 1 != 0, POLYNOMIAL);
        }
    }
    cpu.put(i, 0, crc)
}

/// The low `n` bits set; all of them from 64 on.
const fn low_mask(n: u32) -> u64 {
    if n >= 64 { u64::MAX } else { (1 << n) - 1 }
}
