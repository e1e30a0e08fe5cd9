//! Packed shifts by one count for all elements.

use iced_x86::{Instruction, Mnemonic as N, OpKind};

use super::elements::{map_i16, map_i32, map16, map32, map64};
use super::operand::{Lane, ZERO, to_integer};
use crate::cpu::Cpu;
use crate::machine::Machine;
use crate::outcome::Fault;

/// A lane and a count, which is at most 255: more shifts everything out as well.
pub(crate) type Shift = fn(Lane, u32) -> Lane;

pub(crate) fn shift<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
    operation: Shift,
) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let last = i.op_count() - 1;
    let source = cpu.vector(i, last - 1)?;
    let count = if i.op_kind(last) == OpKind::Immediate8 {
        u64::from(i.immediate8())
    } else {
        // Of a register or memory only the low 64 bits count.
        to_integer(&cpu.vector(i, last)?)
    };
    let count = u32::try_from(count.min(255)).unwrap_or(255);
    let mut result = ZERO;
    for (place, lane) in result.iter_mut().zip(source) {
        *place = operation(lane, count);
    }
    cpu.set_vector(i, 0, result)
}

/// The operation behind a mnemonic of any width.
pub(crate) fn operation(mnemonic: N) -> Option<Shift> {
    Some(match mnemonic {
        N::Psllw | N::Vpsllw => |a, n| map16(a, a, |x, _| x.checked_shl(n).unwrap_or(0)),
        N::Pslld | N::Vpslld => |a, n| map32(a, a, |x, _| x.checked_shl(n).unwrap_or(0)),
        N::Psllq | N::Vpsllq => |a, n| map64(a, a, |x, _| x.checked_shl(n).unwrap_or(0)),
        N::Psrlw | N::Vpsrlw => |a, n| map16(a, a, |x, _| x.checked_shr(n).unwrap_or(0)),
        N::Psrld | N::Vpsrld => |a, n| map32(a, a, |x, _| x.checked_shr(n).unwrap_or(0)),
        N::Psrlq | N::Vpsrlq => |a, n| map64(a, a, |x, _| x.checked_shr(n).unwrap_or(0)),
        N::Psraw | N::Vpsraw => |a, n| map_i16(a, a, |x, _| x >> n.min(15)),
        N::Psrad | N::Vpsrad => |a, n| map_i32(a, a, |x, _| x >> n.min(31)),
        N::Pslldq | N::Vpslldq => |a, n| bytes_left(a, n),
        N::Psrldq | N::Vpsrldq => |a, n| bytes_right(a, n),
        _ => return None,
    })
}

fn bytes_left(lane: Lane, count: u32) -> Lane {
    u128::from_le_bytes(lane)
        .checked_shl(count * 8)
        .unwrap_or(0)
        .to_le_bytes()
}

fn bytes_right(lane: Lane, count: u32) -> Lane {
    u128::from_le_bytes(lane)
        .checked_shr(count * 8)
        .unwrap_or(0)
        .to_le_bytes()
}
