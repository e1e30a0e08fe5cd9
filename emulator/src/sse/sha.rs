//! SHA-1 and SHA-256 rounds and message schedules.
//!
//! Source: FIPS 180-4; Intel SDM volume 2, the pages of the instructions.

use iced_x86::{Instruction, Mnemonic as N};

use super::elements::{get32, make32};
use super::operand::Lane;
use super::packed::Binary;
use crate::cpu::Cpu;
use crate::machine::Machine;
use crate::outcome::Fault;

/// Elements are named from the top: the first is bits 127 to 96.
pub(crate) fn operation(mnemonic: N) -> Option<Binary> {
    Some(match mnemonic {
        N::Sha1nexte => |a, b, _| {
            let ([.., e], [w0, w1, w2, w3]) = (get32(a), get32(b));
            make32([w0, w1, w2, w3.wrapping_add(e.rotate_left(30))])
        },
        N::Sha1msg1 => |a, b, _| {
            let ([w3, w2, w1, w0], [_, _, w5, w4]) = (get32(a), get32(b));
            make32([w5 ^ w3, w4 ^ w2, w3 ^ w1, w2 ^ w0])
        },
        N::Sha1msg2 => |a, b, _| {
            let ([a3, a2, a1, a0], [w15, w14, w13, _]) = (get32(a), get32(b));
            let w16 = (a0 ^ w13).rotate_left(1);
            let (w17, w18) = ((a1 ^ w14).rotate_left(1), (a2 ^ w15).rotate_left(1));
            make32([(a3 ^ w16).rotate_left(1), w18, w17, w16])
        },
        N::Sha256msg1 => |a, b, _| {
            let ([w0, w1, w2, w3], [w4, ..]) = (get32(a), get32(b));
            let next = |w: u32, x: u32| w.wrapping_add(sigma(x, 7, 18, 3));
            make32([next(w0, w1), next(w1, w2), next(w2, w3), next(w3, w4)])
        },
        N::Sha256msg2 => |a, b, _| {
            let ([a0, a1, a2, a3], [_, _, w14, w15]) = (get32(a), get32(b));
            let next = |w: u32, x: u32| w.wrapping_add(sigma(x, 17, 19, 10));
            let (w16, w17) = (next(a0, w14), next(a1, w15));
            make32([w16, w17, next(a2, w16), next(a3, w17)])
        },
        _ => return None,
    })
}

fn sigma(x: u32, first: u32, second: u32, shift: u32) -> u32 {
    x.rotate_right(first) ^ x.rotate_right(second) ^ x >> shift
}

fn sum(x: u32, first: u32, second: u32, third: u32) -> u32 {
    x.rotate_right(first) ^ x.rotate_right(second) ^ x.rotate_right(third)
}

fn choose(x: u32, y: u32, z: u32) -> u32 {
    x & y ^ !x & z
}

fn majority(x: u32, y: u32, z: u32) -> u32 {
    x & y ^ x & z ^ y & z
}

/// SHA1RNDS4: four rounds with the function and constant that the immediate selects.
pub(crate) fn four_rounds(state: Lane, words: Lane, select: u8) -> Lane {
    let (function, constant): (fn(u32, u32, u32) -> u32, u32) = match select & 3 {
        0 => (choose, 0x5a82_7999),
        1 => (|x, y, z| x ^ y ^ z, 0x6ed9_eba1),
        2 => (majority, 0x8f1b_bcdc),
        _ => (|x, y, z| x ^ y ^ z, 0xca62_c1d6),
    };
    let [mut d, mut c, mut b, mut a] = get32(state);
    // The first word comes with E added.
    let mut e = 0_u32;
    for word in get32(words).into_iter().rev() {
        let next = function(b, c, d)
            .wrapping_add(a.rotate_left(5))
            .wrapping_add(word)
            .wrapping_add(e)
            .wrapping_add(constant);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    make32([d, c, b, a])
}

/// SHA256RNDS2: two rounds; the words with their constants are in XMM0.
pub(crate) fn two_rounds<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let [second, _] = cpu.vector(i, 1)?;
    let [first, _] = cpu.vector(i, 0)?;
    let [k0, k1, ..] = get32(cpu.vectors()?.xmm(0));
    let ([mut h, mut g, mut d, mut c], [mut f, mut e, mut b, mut a]) =
        (get32(first), get32(second));
    for word in [k0, k1] {
        let t1 = h
            .wrapping_add(sum(e, 6, 11, 25))
            .wrapping_add(choose(e, f, g))
            .wrapping_add(word);
        let t2 = sum(a, 2, 13, 22).wrapping_add(majority(a, b, c));
        (h, g, f, e) = (g, f, e, d.wrapping_add(t1));
        (d, c, b, a) = (c, b, a, t1.wrapping_add(t2));
    }
    cpu.set_vector(i, 0, [make32([f, e, b, a]), [0; 16]])
}
