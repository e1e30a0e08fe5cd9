//! Single elements in and out, masks, tests, widening, and what crosses the lanes of AVX.

use iced_x86::{Instruction, Mnemonic as N};

use super::elements::map8;
use super::operand::{Lane, from_integer, join, split};
use super::sha;
use crate::cpu::Cpu;
use crate::flags::when;
use crate::machine::Machine;
use crate::outcome::Fault;
use crate::registers::rflags::{ARITHMETIC, CF, ZF};
use crate::width::from_bytes;

pub(crate) fn execute<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    match i.mnemonic() {
        N::Pmovmskb | N::Vpmovmskb => mask(cpu, i, 1),
        N::Movmskps | N::Vmovmskps => mask(cpu, i, 4),
        N::Movmskpd | N::Vmovmskpd => mask(cpu, i, 8),
        N::Ptest | N::Vptest => test(cpu, i),
        N::Pinsrb | N::Vpinsrb => insert(cpu, i, 1),
        N::Pinsrw | N::Vpinsrw => insert(cpu, i, 2),
        N::Pinsrd | N::Vpinsrd => insert(cpu, i, 4),
        N::Pinsrq | N::Vpinsrq => insert(cpu, i, 8),
        N::Pextrb | N::Vpextrb => extract(cpu, i, 1),
        N::Pextrw | N::Vpextrw => extract(cpu, i, 2),
        N::Pextrd | N::Vpextrd | N::Extractps | N::Vextractps => extract(cpu, i, 4),
        N::Pextrq | N::Vpextrq => extract(cpu, i, 8),
        N::Pblendvb => blend_by_xmm0(cpu, i),
        N::Vbroadcastss | N::Vpbroadcastd => broadcast(cpu, i, 4),
        N::Vbroadcastsd | N::Vpbroadcastq => broadcast(cpu, i, 8),
        N::Vpbroadcastb => broadcast(cpu, i, 1),
        N::Vpbroadcastw => broadcast(cpu, i, 2),
        N::Vbroadcastf128 | N::Vbroadcasti128 => broadcast(cpu, i, 16),
        N::Vinsertf128 | N::Vinserti128 => insert_lane(cpu, i),
        N::Vextractf128 | N::Vextracti128 => extract_lane(cpu, i),
        N::Vperm2f128 | N::Vperm2i128 => permute_lanes(cpu, i),
        N::Vpermq | N::Vpermpd
            if i.op_count() == 3 && i.op_kind(2) == iced_x86::OpKind::Immediate8 =>
        {
            permute_quarters(cpu, i)
        }
        N::Vpermd | N::Vpermps if i.op_count() == 3 && !i.op0_register().is_zmm() => {
            permute_dwords(cpu, i)
        }
        N::Vpblendvb => blend_by_register(cpu, i),
        N::Sha256rnds2 => sha::two_rounds(cpu, i),
        _ => widen(cpu, i),
    }
}

/// The top bits of all elements as an integer.
fn mask<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction, size: usize) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let register = i.op1_register();
    let bytes = join(&cpu.vector(i, 1)?);
    let elements = bytes.chunks(size).take(register.size() / size);
    let tops = elements.filter_map(|element| element.last());
    let result = tops
        .enumerate()
        .fold(0, |mask, (n, byte)| mask | u64::from(byte >> 7) << n);
    cpu.set_register(i.op0_register(), result);
    Ok(())
}

/// PTEST: ZF if no bit is common, CF if the second source has no bit that the first lacks.
fn test<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let (first, second) = (join(&cpu.vector(i, 0)?), join(&cpu.vector(i, 1)?));
    let common = first.iter().zip(second).any(|(a, b)| a & b != 0);
    let beyond = first.iter().zip(second).any(|(a, b)| !a & b != 0);
    cpu.set_flags(ARITHMETIC, when(!common, ZF) | when(!beyond, CF));
    Ok(())
}

fn insert<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction, size: usize) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let source = i.op_count() - 2;
    let element = join(&cpu.vector(i, source)?);
    let [mut lane, _] = cpu.vector(i, source - 1)?;
    let used = if i.op0_register().is_mm() { 8 } else { 16 };
    let index = usize::from(i.immediate8()) % (used / size);
    if let Some(place) = lane.chunks_mut(size).nth(index) {
        place.copy_from_slice(element.split_at(size).0);
    }
    cpu.set_vector(i, 0, [lane, [0; 16]])
}

fn extract<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction, size: usize) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let register = i.op1_register();
    let [lane, _] = cpu.vector(i, 1)?;
    let used = if register.is_mm() { 8 } else { 16 };
    let index = usize::from(i.immediate8()) % (used / size);
    let element = lane.chunks(size).nth(index).unwrap_or(&[]);
    cpu.set_vector(i, 0, from_integer(from_bytes(element)))
}

/// PBLENDVB: the top bits of XMM0's bytes choose.
fn blend_by_xmm0<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let [second, _] = cpu.vector(i, 1)?;
    let [first, _] = cpu.vector(i, 0)?;
    let chooser = cpu.vectors()?.xmm(0);
    cpu.set_vector(i, 0, [blend(first, second, chooser), [0; 16]])
}

/// VPBLENDVB: a fourth operand chooses.
fn blend_by_register<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let [b0, b1] = cpu.vector(i, 2)?;
    let [a0, a1] = cpu.vector(i, 1)?;
    let [c0, c1] = cpu.vector(i, 3)?;
    cpu.set_vector(i, 0, [blend(a0, b0, c0), blend(a1, b1, c1)])
}

fn blend(first: Lane, second: Lane, chooser: Lane) -> Lane {
    let keep = map8(
        chooser,
        chooser,
        |x, _| if x & 0x80 != 0 { 0 } else { 0xff },
    );
    let kept = map8(first, keep, |x, k| x & k);
    map8(kept, map8(second, keep, |x, k| x & !k), |x, y| x | y)
}

/// VPERMD, VPERMPS: the first source's elements are indices into the second.
fn permute_dwords<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let from = join(&cpu.vector(i, 2)?);
    let indices = join(&cpu.vector(i, 1)?);
    let mut result = [0; 32];
    for (place, index) in result.chunks_mut(4).zip(indices.iter().step_by(4)) {
        if let Some(dword) = from.chunks(4).nth(usize::from(index & 7)) {
            place.copy_from_slice(dword);
        }
    }
    cpu.set_vector(i, 0, split(&result))
}

fn broadcast<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction, size: usize) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let bytes = join(&cpu.vector(i, 1)?);
    let mut result = [0; 32];
    for place in result.chunks_mut(size) {
        place.copy_from_slice(bytes.split_at(size).0);
    }
    cpu.set_vector(i, 0, split(&result))
}

fn insert_lane<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let [lane, _] = cpu.vector(i, 2)?;
    let [low, high] = cpu.vector(i, 1)?;
    let result = if i.immediate8() & 1 == 0 {
        [lane, high]
    } else {
        [low, lane]
    };
    cpu.set_vector(i, 0, result)
}

fn extract_lane<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let [low, high] = cpu.vector(i, 1)?;
    cpu.set_vector(
        i,
        0,
        [if i.immediate8() & 1 == 0 { low } else { high }, [0; 16]],
    )
}

fn permute_lanes<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let [b0, b1] = cpu.vector(i, 2)?;
    let [a0, a1] = cpu.vector(i, 1)?;
    let pick = |selector: u8| -> Lane {
        match selector & 0b1011 {
            0 => a0,
            1 => a1,
            2 => b0,
            3 => b1,
            _ => [0; 16],
        }
    };
    let result = [pick(i.immediate8()), pick(i.immediate8() >> 4)];
    cpu.set_vector(i, 0, result)
}

fn permute_quarters<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let bytes = join(&cpu.vector(i, 1)?);
    let mut result = [0; 32];
    for (n, place) in result.chunks_mut(8).enumerate() {
        let index = usize::from(i.immediate8() >> (2 * n) & 3);
        if let Some(quarter) = bytes.chunks(8).nth(index) {
            place.copy_from_slice(quarter);
        }
    }
    cpu.set_vector(i, 0, split(&result))
}

/// PMOVZX, PMOVSX: from elements of so many bytes to so many, signed or not.
fn widen<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let (from, to, signed) = match i.mnemonic() {
        N::Pmovzxbw | N::Vpmovzxbw => (1, 2, false),
        N::Pmovzxbd | N::Vpmovzxbd => (1, 4, false),
        N::Pmovzxbq | N::Vpmovzxbq => (1, 8, false),
        N::Pmovzxwd | N::Vpmovzxwd => (2, 4, false),
        N::Pmovzxwq | N::Vpmovzxwq => (2, 8, false),
        N::Pmovzxdq | N::Vpmovzxdq => (4, 8, false),
        N::Pmovsxbw | N::Vpmovsxbw => (1, 2, true),
        N::Pmovsxbd | N::Vpmovsxbd => (1, 4, true),
        N::Pmovsxbq | N::Vpmovsxbq => (1, 8, true),
        N::Pmovsxwd | N::Vpmovsxwd => (2, 4, true),
        N::Pmovsxwq | N::Vpmovsxwq => (2, 8, true),
        N::Pmovsxdq | N::Vpmovsxdq => (4, 8, true),
        _ => return Err(Fault::Unsupported),
    };
    cpu.check_vector(i)?;
    let bytes = join(&cpu.vector(i, 1)?);
    let mut result = [0; 32];
    let elements = bytes
        .chunks(from)
        .zip(result.chunks_mut(to))
        .take(i.op0_register().size() / to);
    for (source, place) in elements {
        let negative = signed && source.last().is_some_and(|byte| byte & 0x80 != 0);
        place.fill(if negative { 0xff } else { 0 });
        place.split_at_mut(from).0.copy_from_slice(source);
    }
    cpu.set_vector(i, 0, split(&result))
}
