//! Moves between vector registers, general registers and memory.

use iced_x86::{Instruction, Mnemonic as N, OpKind, Register};

use super::elements::{get32, get64, make32};
use super::operand::{Lane, Vector, ZERO, from_integer, join, to_integer};
use super::packed::halves;
use crate::cpu::Cpu;
use crate::machine::{AccessKind, Machine};
use crate::outcome::Fault;
use crate::xsave_area::component;

type Operation<M> = fn(&mut Cpu<'_, M>, &Instruction) -> Result<(), Fault>;

pub(crate) fn operation<M: Machine>(i: &Instruction) -> Option<Operation<M>> {
    Some(match i.mnemonic() {
        N::Movaps
        | N::Movapd
        | N::Movups
        | N::Movupd
        | N::Movdqa
        | N::Movdqu
        | N::Lddqu
        | N::Movntps
        | N::Movntpd
        | N::Movntdq
        | N::Movntdqa
        | N::Movntq
        | N::Vmovaps
        | N::Vmovapd
        | N::Vmovups
        | N::Vmovupd
        | N::Vmovdqa
        | N::Vmovdqu
        | N::Vlddqu
        | N::Vmovntps
        | N::Vmovntpd
        | N::Vmovntdq
        | N::Vmovntdqa => whole,
        N::Movd | N::Movq | N::Vmovd | N::Vmovq | N::Movq2dq | N::Movdq2q => integer,
        N::Movss | N::Movsd | N::Vmovss | N::Vmovsd => scalar,
        N::Movlps
        | N::Movlpd
        | N::Movhps
        | N::Movhpd
        | N::Vmovlps
        | N::Vmovlpd
        | N::Vmovhps
        | N::Vmovhpd
        | N::Movhlps
        | N::Movlhps
        | N::Vmovhlps
        | N::Vmovlhps => half,
        N::Movddup | N::Movsldup | N::Movshdup | N::Vmovddup | N::Vmovsldup | N::Vmovshdup => {
            duplicate
        }
        N::Maskmovq | N::Maskmovdqu | N::Vmaskmovdqu => masked,
        N::Vzeroupper | N::Vzeroall => zero,
        N::Emms => emms,
        _ => return None,
    })
}

fn whole<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let value = cpu.vector(i, 1)?;
    cpu.set_vector(i, 0, value)
}

/// MOVD, MOVQ and the moves between MMX and XMM: the low 32 or 64 bits, the rest becomes zero.
fn integer<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let value = cpu.vector(i, 1)?;
    cpu.set_vector(i, 0, from_integer(to_integer(&value)))
}

/// MOVSS, MOVSD: between registers only the low element moves.
fn scalar<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let last = i.op_count() - 1;
    let [source, _] = cpu.vector(i, last)?;
    if i.op0_kind() == OpKind::Memory || i.op_kind(last) == OpKind::Memory {
        return cpu.set_vector(i, 0, [source, [0; 16]]);
    }
    let [upper, _] = cpu.vector(i, last - 1)?;
    let single = matches!(i.mnemonic(), N::Movss | N::Vmovss);
    let result = if single {
        let ([_, u1, u2, u3], [s0, ..]) = (get32(upper), get32(source));
        make32([s0, u1, u2, u3])
    } else {
        merge(source, upper, false)
    };
    cpu.set_vector(i, 0, [result, [0; 16]])
}

/// The low half of `low`'s and the high half of `high`'s lane; `swapped` takes the other halves.
fn merge(low: Lane, high: Lane, swapped: bool) -> Lane {
    let ([l0, l1], [h0, h1]) = (get64(low), get64(high));
    if swapped {
        halves(l1, h0)
    } else {
        halves(l0, h1)
    }
}

/// MOVLPS and its kin: one half moves, the other comes from the first source.
fn half<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let upper = matches!(
        i.mnemonic(),
        N::Movhps | N::Movhpd | N::Vmovhps | N::Vmovhpd
    );
    let last = i.op_count() - 1;
    let [source, _] = cpu.vector(i, last)?;
    if i.op0_kind() == OpKind::Memory {
        let [low, high] = get64(source);
        return cpu.set_vector(i, 0, from_integer(if upper { high } else { low }));
    }
    let [first, _] = cpu.vector(i, last - 1)?;
    let result = match i.mnemonic() {
        N::Movhlps | N::Vmovhlps => halves(get64(source)[1], get64(first)[1]),
        N::Movlhps | N::Vmovlhps => halves(get64(first)[0], get64(source)[0]),
        _ if upper => halves(get64(first)[0], get64(source)[0]),
        _ => halves(get64(source)[0], get64(first)[1]),
    };
    cpu.set_vector(i, 0, [result, [0; 16]])
}

/// MOVDDUP, MOVSLDUP, MOVSHDUP.
fn duplicate<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let mnemonic = i.mnemonic();
    let value = cpu.vector(i, 1)?.map(|lane| match mnemonic {
        N::Movddup | N::Vmovddup => halves(get64(lane)[0], get64(lane)[0]),
        N::Movsldup | N::Vmovsldup => {
            let [e0, _, e2, _] = get32(lane);
            make32([e0, e0, e2, e2])
        }
        _ => {
            let [_, e1, _, e3] = get32(lane);
            make32([e1, e1, e3, e3])
        }
    });
    cpu.set_vector(i, 0, value)
}

/// MASKMOVQ, MASKMOVDQU: the bytes whose mask has its top bit set go to DS:RDI.
fn masked<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let register = match i.op0_kind() {
        OpKind::MemorySegRDI => Register::RDI,
        OpKind::MemorySegEDI => Register::EDI,
        _ => Register::DI,
    };
    let size = if i.op1_register().is_mm() { 8 } else { 16 };
    let offset = cpu.register(register);
    let address = cpu.linear(i.memory_segment(), offset, size, AccessKind::Write)?;
    let data = join(&cpu.vector(i, 1)?);
    let mask = join(&cpu.vector(i, 2)?);
    let mut start = address;
    for (byte, mask) in data.iter().zip(mask).take(size) {
        if mask & 0x80 != 0 {
            cpu.store_bytes(start, &[*byte])?;
        }
        start = start.wrapping_add(1);
    }
    Ok(())
}

/// VZEROUPPER, VZEROALL: registers 0 to 7 outside 64-bit mode, else all sixteen.
fn zero<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_avx()?;
    let count = if cpu.bits == 64 { 16 } else { 8 };
    let all = i.mnemonic() == N::Vzeroall;
    let area = cpu.vectors_mut()?;
    let [low, high]: Vector = ZERO;
    for n in 0..count {
        area.set_ymm_high(n, high);
        if all {
            area.set_xmm(n, low);
        }
    }
    if count == 16 {
        area.set_xstate_bv(area.xstate_bv() & !component::AVX);
    }
    Ok(())
}

/// EMMS: all x87 registers are empty.
fn emms<M: Machine>(cpu: &mut Cpu<'_, M>, _i: &Instruction) -> Result<(), Fault> {
    cpu.check_mmx()?;
    cpu.enter_mmx()?;
    cpu.vectors_mut()?.set_ftw(0);
    Ok(())
}
