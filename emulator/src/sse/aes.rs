//! AES rounds, one lane each.
//!
//! Source: FIPS 197; Intel SDM volume 1, 12.13.4 (the instructions' pseudo-code).

use iced_x86::Mnemonic as N;

use super::elements::{get32, make32, map64};
use super::operand::Lane;
use super::packed::Binary;

const SBOX: [u8; 256] = substitution();
const INVERSE_SBOX: [u8; 256] = inverse(&SBOX);

/// The S-box: multiplicative inverse, then the affine map.
const fn substitution() -> [u8; 256] {
    let mut sbox = [0; 256];
    // p runs through all elements as powers of 3, q through their inverses.
    let (mut p, mut q) = (1_u8, 1_u8);
    loop {
        p ^= double(p);
        q ^= q << 1;
        q ^= q << 2;
        q ^= q << 4;
        if q & 0x80 != 0 {
            q ^= 0x09;
        }
        let map = q ^ q.rotate_left(1) ^ q.rotate_left(2) ^ q.rotate_left(3) ^ q.rotate_left(4);
        sbox[p as usize] = map ^ 0x63;
        if p == 1 {
            break;
        }
    }
    sbox[0] = 0x63;
    sbox
}

const fn inverse(sbox: &[u8; 256]) -> [u8; 256] {
    let mut result = [0; 256];
    let mut n = 0_u8;
    loop {
        result[sbox[n as usize] as usize] = n;
        if n == 255 {
            return result;
        }
        n += 1;
    }
}

/// Multiplication by x in GF(2^8).
const fn double(value: u8) -> u8 {
    value << 1 ^ if value & 0x80 != 0 { 0x1b } else { 0 }
}

/// Rounds with a key; AESIMC, which has one source, takes the second.
pub(crate) fn operation(mnemonic: N) -> Option<Binary> {
    Some(match mnemonic {
        N::Aesenc | N::Vaesenc => {
            |a, key, _| map64(mix(substitute(shift_rows(a), &SBOX)), key, |x, y| x ^ y)
        }
        N::Aesenclast | N::Vaesenclast => {
            |a, key, _| map64(substitute(shift_rows(a), &SBOX), key, |x, y| x ^ y)
        }
        N::Aesdec | N::Vaesdec => |a, key, _| {
            map64(
                mix_inverse(substitute(shift_rows_inverse(a), &INVERSE_SBOX)),
                key,
                |x, y| x ^ y,
            )
        },
        N::Aesdeclast | N::Vaesdeclast => |a, key, _| {
            map64(
                substitute(shift_rows_inverse(a), &INVERSE_SBOX),
                key,
                |x, y| x ^ y,
            )
        },
        N::Aesimc | N::Vaesimc => |_, b, _| mix_inverse(b),
        _ => return None,
    })
}

/// AESKEYGENASSIST.
pub(crate) fn key_assist(source: Lane, round_constant: u8) -> Lane {
    let [_, x1, _, x3] = get32(substitute(source, &SBOX));
    let constant = u32::from(round_constant);
    make32([
        x1,
        x1.rotate_right(8) ^ constant,
        x3,
        x3.rotate_right(8) ^ constant,
    ])
}

fn substitute(state: Lane, sbox: &[u8; 256]) -> Lane {
    state.map(|byte| sbox[usize::from(byte)])
}

/// Row r goes r columns to the left; the state lies column by column.
fn shift_rows(state: Lane) -> Lane {
    std::array::from_fn(|n| state[(n + 4 * (n % 4)) % 16])
}

fn shift_rows_inverse(state: Lane) -> Lane {
    std::array::from_fn(|n| state[(n + 12 * (n % 4)) % 16])
}

fn mix(state: Lane) -> Lane {
    let column = |[a, b, c, d]: [u8; 4]| {
        let all = a ^ b ^ c ^ d;
        [
            a ^ all ^ double(a ^ b),
            b ^ all ^ double(b ^ c),
            c ^ all ^ double(c ^ d),
            d ^ all ^ double(d ^ a),
        ]
    };
    make32(get32(state).map(|word| u32::from_le_bytes(column(word.to_le_bytes()))))
}

/// The inverse is the same after a step that makes up the difference.
fn mix_inverse(state: Lane) -> Lane {
    let column = |[a, b, c, d]: [u8; 4]| {
        let (even, odd) = (double(double(a ^ c)), double(double(b ^ d)));
        [a ^ even, b ^ odd, c ^ even, d ^ odd]
    };
    mix(make32(
        get32(state).map(|word| u32::from_le_bytes(column(word.to_le_bytes()))),
    ))
}
