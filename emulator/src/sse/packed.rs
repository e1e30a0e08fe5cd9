//! Operations on two vectors, element by element or lane by lane.

use iced_x86::{Instruction, Mnemonic as N, OpKind};

use super::elements::{
    get64, make64, map_i8, map_i16, map_i32, map_i64, map8, map16, map32, map64,
};
use super::operand::{Lane, ZERO, is_vex};
use super::rearrange::{self, saturate_i16};
use super::{aes, sha};
use crate::cpu::Cpu;
use crate::machine::Machine;
use crate::outcome::Fault;

/// Bytes of a lane that are in use: 8 for MMX, else 16.
pub(crate) type Used = usize;
/// First source (in older encodings the destination), second source, bytes in use.
pub(crate) type Binary = fn(Lane, Lane, Used) -> Lane;

/// `destination = operation(first, second)`, lane by lane.
pub(crate) fn binary<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
    operation: Binary,
) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let (first, second) = if i.op_count() == 3 { (1, 2) } else { (0, 1) };
    let used = if i.op0_register().is_mm() { 8 } else { 16 };
    // PABS has one source, so its VEX form has two operands.
    let first = if i.op_count() == 2 && is_vex(i) {
        ZERO
    } else {
        cpu.vector(i, first)?
    };
    let second = if i.op_kind(second) == OpKind::Immediate8 {
        ZERO
    } else {
        cpu.vector(i, second)?
    };
    let mut result = ZERO;
    for ((lane, a), b) in result.iter_mut().zip(first).zip(second) {
        *lane = operation(a, b, used);
    }
    cpu.set_vector(i, 0, result)
}

/// The operation behind a mnemonic of any width.
pub(crate) fn operation(mnemonic: N) -> Option<Binary> {
    logic(mnemonic)
        .or_else(|| arithmetic(mnemonic))
        .or_else(|| compare(mnemonic))
        .or_else(|| multiply(mnemonic))
        .or_else(|| rearrange::operation(mnemonic))
        .or_else(|| variable_shift(mnemonic))
        .or_else(|| aes::operation(mnemonic))
        .or_else(|| sha::operation(mnemonic))
}

fn logic(mnemonic: N) -> Option<Binary> {
    Some(match mnemonic {
        N::Pand | N::Vpand | N::Andps | N::Andpd | N::Vandps | N::Vandpd => {
            |a, b, _| map64(a, b, |x, y| x & y)
        }
        N::Pandn | N::Vpandn | N::Andnps | N::Andnpd | N::Vandnps | N::Vandnpd => {
            |a, b, _| map64(a, b, |x, y| !x & y)
        }
        N::Por | N::Vpor | N::Orps | N::Orpd | N::Vorps | N::Vorpd => {
            |a, b, _| map64(a, b, |x, y| x | y)
        }
        N::Pxor | N::Vpxor | N::Xorps | N::Xorpd | N::Vxorps | N::Vxorpd => {
            |a, b, _| map64(a, b, |x, y| x ^ y)
        }
        _ => return None,
    })
}

fn arithmetic(mnemonic: N) -> Option<Binary> {
    Some(match mnemonic {
        N::Paddb | N::Vpaddb => |a, b, _| map8(a, b, u8::wrapping_add),
        N::Paddw | N::Vpaddw => |a, b, _| map16(a, b, u16::wrapping_add),
        N::Paddd | N::Vpaddd => |a, b, _| map32(a, b, u32::wrapping_add),
        N::Paddq | N::Vpaddq => |a, b, _| map64(a, b, u64::wrapping_add),
        N::Psubb | N::Vpsubb => |a, b, _| map8(a, b, u8::wrapping_sub),
        N::Psubw | N::Vpsubw => |a, b, _| map16(a, b, u16::wrapping_sub),
        N::Psubd | N::Vpsubd => |a, b, _| map32(a, b, u32::wrapping_sub),
        N::Psubq | N::Vpsubq => |a, b, _| map64(a, b, u64::wrapping_sub),
        N::Paddsb | N::Vpaddsb => |a, b, _| map_i8(a, b, i8::saturating_add),
        N::Paddsw | N::Vpaddsw => |a, b, _| map_i16(a, b, i16::saturating_add),
        N::Psubsb | N::Vpsubsb => |a, b, _| map_i8(a, b, i8::saturating_sub),
        N::Psubsw | N::Vpsubsw => |a, b, _| map_i16(a, b, i16::saturating_sub),
        N::Paddusb | N::Vpaddusb => |a, b, _| map8(a, b, u8::saturating_add),
        N::Paddusw | N::Vpaddusw => |a, b, _| map16(a, b, u16::saturating_add),
        N::Psubusb | N::Vpsubusb => |a, b, _| map8(a, b, u8::saturating_sub),
        N::Psubusw | N::Vpsubusw => |a, b, _| map16(a, b, u16::saturating_sub),
        N::Pavgb | N::Vpavgb => |a, b, _| map8(a, b, |x, y| (x | y) - ((x ^ y) >> 1)),
        N::Pavgw | N::Vpavgw => |a, b, _| map16(a, b, |x, y| (x | y) - ((x ^ y) >> 1)),
        N::Psignb | N::Vpsignb => |a, b, _| map_i8(a, b, |x, y| x.wrapping_mul(y.signum())),
        N::Psignw | N::Vpsignw => |a, b, _| map_i16(a, b, |x, y| x.wrapping_mul(y.signum())),
        N::Psignd | N::Vpsignd => |a, b, _| map_i32(a, b, |x, y| x.wrapping_mul(y.signum())),
        N::Pabsb | N::Vpabsb => |_, b, _| map_i8(b, b, |x, _| x.wrapping_abs()),
        N::Pabsw | N::Vpabsw => |_, b, _| map_i16(b, b, |x, _| x.wrapping_abs()),
        N::Pabsd | N::Vpabsd => |_, b, _| map_i32(b, b, |x, _| x.wrapping_abs()),
        _ => return None,
    })
}

fn compare(mnemonic: N) -> Option<Binary> {
    Some(match mnemonic {
        N::Pcmpeqb | N::Vpcmpeqb => |a, b, _| map_i8(a, b, |x, y| -i8::from(x == y)),
        N::Pcmpeqw | N::Vpcmpeqw => |a, b, _| map_i16(a, b, |x, y| -i16::from(x == y)),
        N::Pcmpeqd | N::Vpcmpeqd => |a, b, _| map_i32(a, b, |x, y| -i32::from(x == y)),
        N::Pcmpeqq | N::Vpcmpeqq => |a, b, _| map_i64(a, b, |x, y| -i64::from(x == y)),
        N::Pcmpgtb | N::Vpcmpgtb => |a, b, _| map_i8(a, b, |x, y| -i8::from(x > y)),
        N::Pcmpgtw | N::Vpcmpgtw => |a, b, _| map_i16(a, b, |x, y| -i16::from(x > y)),
        N::Pcmpgtd | N::Vpcmpgtd => |a, b, _| map_i32(a, b, |x, y| -i32::from(x > y)),
        N::Pcmpgtq | N::Vpcmpgtq => |a, b, _| map_i64(a, b, |x, y| -i64::from(x > y)),
        N::Pminub | N::Vpminub => |a, b, _| map8(a, b, u8::min),
        N::Pminuw | N::Vpminuw => |a, b, _| map16(a, b, u16::min),
        N::Pminud | N::Vpminud => |a, b, _| map32(a, b, u32::min),
        N::Pminsb | N::Vpminsb => |a, b, _| map_i8(a, b, i8::min),
        N::Pminsw | N::Vpminsw => |a, b, _| map_i16(a, b, i16::min),
        N::Pminsd | N::Vpminsd => |a, b, _| map_i32(a, b, i32::min),
        N::Pmaxub | N::Vpmaxub => |a, b, _| map8(a, b, u8::max),
        N::Pmaxuw | N::Vpmaxuw => |a, b, _| map16(a, b, u16::max),
        N::Pmaxud | N::Vpmaxud => |a, b, _| map32(a, b, u32::max),
        N::Pmaxsb | N::Vpmaxsb => |a, b, _| map_i8(a, b, i8::max),
        N::Pmaxsw | N::Vpmaxsw => |a, b, _| map_i16(a, b, i16::max),
        N::Pmaxsd | N::Vpmaxsd => |a, b, _| map_i32(a, b, i32::max),
        _ => return None,
    })
}

fn multiply(mnemonic: N) -> Option<Binary> {
    Some(match mnemonic {
        N::Pmullw | N::Vpmullw => |a, b, _| map16(a, b, u16::wrapping_mul),
        N::Pmulld | N::Vpmulld => |a, b, _| map32(a, b, u32::wrapping_mul),
        N::Pmulhw | N::Vpmulhw => {
            |a, b, _| map_i16(a, b, |x, y| high16(i32::from(x) * i32::from(y)))
        }
        N::Pmulhuw | N::Vpmulhuw => |a, b, _| {
            map_i16(a, b, |x, y| {
                let product = u32::from(x.cast_unsigned()) * u32::from(y.cast_unsigned());
                high16(product.cast_signed())
            })
        },
        N::Pmulhrsw | N::Vpmulhrsw => |a, b, _| {
            map_i16(a, b, |x, y| {
                let product = i32::from(x) * i32::from(y);
                high16(((product >> 14) + 1) << 15)
            })
        },
        N::Pmuludq | N::Vpmuludq => {
            |a, b, _| map64(a, b, |x, y| (x & 0xffff_ffff) * (y & 0xffff_ffff))
        }
        N::Pmuldq | N::Vpmuldq => |a, b, _| map_i64(a, b, |x, y| (x << 32 >> 32) * (y << 32 >> 32)),
        N::Pmaddwd | N::Vpmaddwd => |a, b, _| map32(a, b, multiply_add_words),
        N::Pmaddubsw | N::Vpmaddubsw => |a, b, _| map16(a, b, multiply_add_bytes),
        N::Psadbw | N::Vpsadbw => |a, b, _| map64(a, b, absolute_differences),
        _ => return None,
    })
}

/// AVX2: each element has its own count.
fn variable_shift(mnemonic: N) -> Option<Binary> {
    Some(match mnemonic {
        N::Vpsllvd => |a, b, _| map32(a, b, |x, n| x.checked_shl(n).unwrap_or(0)),
        N::Vpsrlvd => |a, b, _| map32(a, b, |x, n| x.checked_shr(n).unwrap_or(0)),
        N::Vpsravd => |a, b, _| map_i32(a, b, |x, n| x >> n.cast_unsigned().min(31)),
        N::Vpsllvq => |a, b, _| {
            map64(a, b, |x, n| {
                u32::try_from(n)
                    .ok()
                    .and_then(|n| x.checked_shl(n))
                    .unwrap_or(0)
            })
        },
        N::Vpsrlvq => |a, b, _| {
            map64(a, b, |x, n| {
                u32::try_from(n)
                    .ok()
                    .and_then(|n| x.checked_shr(n))
                    .unwrap_or(0)
            })
        },
        _ => return None,
    })
}

/// Bits 16 to 31.
const fn high16(product: i32) -> i16 {
    let [_, _, low, high] = product.to_le_bytes();
    i16::from_le_bytes([low, high])
}

fn multiply_add_words(x: u32, y: u32) -> u32 {
    let ([x0, x1], [y0, y1]) = (words(x), words(y));
    let product = |a: u16, b: u16| i32::from(a.cast_signed()) * i32::from(b.cast_signed());
    product(x0, y0)
        .wrapping_add(product(x1, y1))
        .cast_unsigned()
}

const fn words(value: u32) -> [u16; 2] {
    let [b0, b1, b2, b3] = value.to_le_bytes();
    [u16::from_le_bytes([b0, b1]), u16::from_le_bytes([b2, b3])]
}

fn multiply_add_bytes(x: u16, y: u16) -> u16 {
    let ([x0, x1], [y0, y1]) = (x.to_le_bytes(), y.to_le_bytes());
    let product = |a: u8, b: u8| i32::from(a) * i32::from(b.cast_signed());
    saturate_i16((product(x0, y0) + product(x1, y1)).cast_unsigned()).cast_unsigned()
}

fn absolute_differences(x: u64, y: u64) -> u64 {
    let (x, y) = (x.to_le_bytes(), y.to_le_bytes());
    x.into_iter()
        .zip(y)
        .map(|(a, b)| u64::from(a.abs_diff(b)))
        .sum()
}

/// Carry-less multiplication of one half of each lane (PCLMULQDQ).
pub(crate) fn carryless(a: Lane, b: Lane, select: u8) -> Lane {
    let [a0, a1] = get64(a);
    let [b0, b1] = get64(b);
    let x = u128::from(if select & 1 != 0 { a1 } else { a0 });
    let y = if select & 16 != 0 { b1 } else { b0 };
    let product = (0..64)
        .filter(|n| y >> n & 1 != 0)
        .fold(0, |sum, n| sum ^ x << n);
    product.to_le_bytes()
}

/// Two halves side by side.
pub(crate) fn halves(low: u64, high: u64) -> Lane {
    make64([low, high])
}
