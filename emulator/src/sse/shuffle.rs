//! Operations that an immediate byte steers.

use iced_x86::{Instruction, Mnemonic as N};

use super::aes::key_assist;
use super::elements::{get16, get32, get64, make16, make32};
use super::operand::{Lane, ZERO};
use super::packed::{Used, carryless, halves};
use super::sha::four_rounds;
use crate::cpu::Cpu;
use crate::machine::Machine;
use crate::outcome::Fault;

/// First source, last source, immediate, bytes in use.
pub(crate) type Shuffle = fn(Lane, Lane, u8, Used) -> Lane;

pub(crate) fn shuffle<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
    operation: Shuffle,
) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let used = if i.op0_register().is_mm() { 8 } else { 16 };
    // The immediate is the last operand, the source before it.
    let source = i.op_count() - 2;
    let second = cpu.vector(i, source)?;
    let first = cpu.vector(i, source - 1)?;
    let immediate = i.immediate8();
    let mut result = ZERO;
    for (n, ((lane, a), b)) in result.iter_mut().zip(first).zip(second).enumerate() {
        let selector = per_lane(i.mnemonic(), immediate, n);
        *lane = operation(a, b, selector, used);
    }
    cpu.set_vector(i, 0, result)
}

/// Some 256-bit forms give each lane its own bits of the immediate.
const fn per_lane(mnemonic: N, immediate: u8, lane: usize) -> u8 {
    match mnemonic {
        N::Vshufpd if lane == 1 => immediate >> 2,
        N::Vpblendd | N::Vblendps if lane == 1 => immediate >> 4,
        N::Vblendpd if lane == 1 => immediate >> 2,
        _ => immediate,
    }
}

/// The operation behind a mnemonic of any width.
pub(crate) fn operation(mnemonic: N) -> Option<Shuffle> {
    Some(match mnemonic {
        N::Pshufd | N::Vpshufd => |_, b, s, _| make32(pick4(get32(b), get32(b), s)),
        N::Shufps | N::Vshufps => |a, b, s, _| make32(pick4(get32(a), get32(b), s)),
        N::Shufpd | N::Vshufpd => |a, b, s, _| {
            let ([a0, a1], [b0, b1]) = (get64(a), get64(b));
            halves(
                if s & 1 != 0 { a1 } else { a0 },
                if s & 2 != 0 { b1 } else { b0 },
            )
        },
        N::Pshufw => |_, b, s, _| {
            let [w0, w1, w2, w3, ..] = get16(b);
            let [p0, p1, p2, p3] = pick4([w0, w1, w2, w3], [w0, w1, w2, w3], s);
            make16([p0, p1, p2, p3, 0, 0, 0, 0])
        },
        N::Pshuflw | N::Vpshuflw => |_, b, s, _| {
            let [w0, w1, w2, w3, h0, h1, h2, h3] = get16(b);
            let [p0, p1, p2, p3] = pick4([w0, w1, w2, w3], [w0, w1, w2, w3], s);
            make16([p0, p1, p2, p3, h0, h1, h2, h3])
        },
        N::Pshufhw | N::Vpshufhw => |_, b, s, _| {
            let [l0, l1, l2, l3, w0, w1, w2, w3] = get16(b);
            let [p0, p1, p2, p3] = pick4([w0, w1, w2, w3], [w0, w1, w2, w3], s);
            make16([l0, l1, l2, l3, p0, p1, p2, p3])
        },
        N::Palignr | N::Vpalignr => align,
        N::Pblendw | N::Vpblendw => |a, b, s, _| blend(a, b, s, 2),
        N::Vpblendd | N::Blendps | N::Vblendps => |a, b, s, _| blend(a, b, s, 4),
        N::Blendpd | N::Vblendpd => |a, b, s, _| blend(a, b, s, 8),
        N::Aeskeygenassist | N::Vaeskeygenassist => |_, b, s, _| key_assist(b, s),
        N::Sha1rnds4 => |a, b, s, _| four_rounds(a, b, s),
        N::Pclmulqdq | N::Vpclmulqdq => |a, b, s, _| carryless(a, b, s),
        _ => return None,
    })
}

/// Two elements of the first source, two of the second, two bits of the selector each.
fn pick4<T: Copy>(a: [T; 4], b: [T; 4], selector: u8) -> [T; 4] {
    let pick = |from: [T; 4], shift: u32| {
        let [e0, e1, e2, e3] = from;
        match selector >> shift & 3 {
            0 => e0,
            1 => e1,
            2 => e2,
            _ => e3,
        }
    };
    [pick(a, 0), pick(a, 2), pick(b, 4), pick(b, 6)]
}

/// PALIGNR: bytes of both sources, the first one above, moved down.
fn align(a: Lane, b: Lane, count: u8, used: Used) -> Lane {
    let mut both = [0; 32];
    for (place, byte) in both
        .iter_mut()
        .zip(b.into_iter().take(used).chain(a.into_iter().take(used)))
    {
        *place = byte;
    }
    let mut result = [0; 16];
    let moved = both.into_iter().skip(usize::from(count));
    for (place, byte) in result.iter_mut().take(used).zip(moved) {
        *place = byte;
    }
    result
}

/// Elements of the second source where the selector has a bit, else of the first.
fn blend(a: Lane, b: Lane, selector: u8, size: usize) -> Lane {
    let mut result = a;
    for (n, (place, from)) in result.chunks_mut(size).zip(b.chunks(size)).enumerate() {
        if selector >> n & 1 != 0 {
            place.copy_from_slice(from);
        }
    }
    result
}
