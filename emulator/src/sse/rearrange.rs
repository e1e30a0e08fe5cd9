//! Elements to other places: unpack, pack, shuffle by bytes, sums of neighbours.

use iced_x86::Mnemonic as N;

use super::elements::{get8, get16, get32, make8, make16, make32};
use super::operand::Lane;
use super::packed::{Binary, Used};

pub(crate) fn operation(mnemonic: N) -> Option<Binary> {
    arrange(mnemonic).or_else(|| horizontal(mnemonic))
}

fn arrange(mnemonic: N) -> Option<Binary> {
    Some(match mnemonic {
        N::Punpcklbw | N::Vpunpcklbw => |a, b, _| interleave(a, b, 0, 1),
        N::Punpcklwd | N::Vpunpcklwd => |a, b, _| interleave(a, b, 0, 2),
        N::Punpckldq | N::Vpunpckldq | N::Unpcklps | N::Vunpcklps => {
            |a, b, _| interleave(a, b, 0, 4)
        }
        N::Punpcklqdq | N::Vpunpcklqdq | N::Unpcklpd | N::Vunpcklpd => {
            |a, b, _| interleave(a, b, 0, 8)
        }
        N::Punpckhbw | N::Vpunpckhbw => |a, b, used| interleave(a, b, used / 2, 1),
        N::Punpckhwd | N::Vpunpckhwd => |a, b, used| interleave(a, b, used / 2, 2),
        N::Punpckhdq | N::Vpunpckhdq | N::Unpckhps | N::Vunpckhps => {
            |a, b, used| interleave(a, b, used / 2, 4)
        }
        N::Punpckhqdq | N::Vpunpckhqdq | N::Unpckhpd | N::Vunpckhpd => {
            |a, b, used| interleave(a, b, used / 2, 8)
        }
        N::Packsswb | N::Vpacksswb => {
            |a, b, used| pack_words(a, b, used, |x| saturate_i8(x).cast_unsigned())
        }
        N::Packuswb | N::Vpackuswb => |a, b, used| pack_words(a, b, used, saturate_u8),
        N::Packssdw | N::Vpackssdw => {
            |a, b, used| pack_dwords(a, b, used, |x| saturate_i16(x).cast_unsigned())
        }
        N::Packusdw | N::Vpackusdw => |a, b, used| pack_dwords(a, b, used, saturate_u16),
        N::Pshufb | N::Vpshufb => |a, b, used| {
            make8(get8(b).map(|index| {
                let index = usize::from(index);
                if index & 0x80 != 0 {
                    0
                } else {
                    byte(&a, index & (used - 1))
                }
            }))
        },
        _ => return None,
    })
}

fn horizontal(mnemonic: N) -> Option<Binary> {
    Some(match mnemonic {
        N::Phaddw | N::Vphaddw => |a, b, used| pairs16(a, b, used, i16::wrapping_add),
        N::Phaddsw | N::Vphaddsw => |a, b, used| pairs16(a, b, used, i16::saturating_add),
        N::Phsubw | N::Vphsubw => |a, b, used| pairs16(a, b, used, i16::wrapping_sub),
        N::Phsubsw | N::Vphsubsw => |a, b, used| pairs16(a, b, used, i16::saturating_sub),
        N::Phaddd | N::Vphaddd => |a, b, used| pairs32(a, b, used, u32::wrapping_add),
        N::Phsubd | N::Vphsubd => |a, b, used| pairs32(a, b, used, u32::wrapping_sub),
        _ => return None,
    })
}

/// Takes elements of both lanes in turn from `start`.
fn interleave(a: Lane, b: Lane, start: usize, size: usize) -> Lane {
    let mut result = [0; 16];
    let chunks = a.chunks(size).zip(b.chunks(size)).skip(start / size);
    for (place, (x, y)) in result.chunks_mut(2 * size).zip(chunks) {
        let (first, second) = place.split_at_mut(size);
        first.copy_from_slice(x);
        second.copy_from_slice(y);
    }
    result
}

fn byte(lane: &Lane, index: usize) -> u8 {
    lane.get(index).copied().unwrap_or(0)
}

fn pack_words(a: Lane, b: Lane, used: Used, convert: fn(u16) -> u8) -> Lane {
    let mut result = [0; 16];
    let count = used / 2;
    let source = get16(a)
        .into_iter()
        .take(count)
        .chain(get16(b).into_iter().take(count));
    for (place, word) in result.iter_mut().zip(source) {
        *place = convert(word);
    }
    result
}

fn pack_dwords(a: Lane, b: Lane, used: Used, convert: fn(u32) -> u16) -> Lane {
    let mut result = [0; 8];
    let count = used / 4;
    let source = get32(a)
        .into_iter()
        .take(count)
        .chain(get32(b).into_iter().take(count));
    for (place, dword) in result.iter_mut().zip(source) {
        *place = convert(dword);
    }
    make16(result)
}

fn saturate_i8(value: u16) -> i8 {
    let value = value.cast_signed();
    i8::try_from(value).unwrap_or(if value < 0 { i8::MIN } else { i8::MAX })
}

fn saturate_u8(value: u16) -> u8 {
    let value = value.cast_signed();
    u8::try_from(value).unwrap_or(if value < 0 { 0 } else { u8::MAX })
}

pub(crate) fn saturate_i16(value: u32) -> i16 {
    let value = value.cast_signed();
    i16::try_from(value).unwrap_or(if value < 0 { i16::MIN } else { i16::MAX })
}

fn saturate_u16(value: u32) -> u16 {
    let value = value.cast_signed();
    u16::try_from(value).unwrap_or(if value < 0 { 0 } else { u16::MAX })
}

/// Joins neighbours of the first, then of the second source.
fn pairs16(a: Lane, b: Lane, used: Used, join: fn(i16, i16) -> i16) -> Lane {
    let mut result = [0; 8];
    let count = used / 2;
    let (a, b) = (get16(a), get16(b));
    let sources = a
        .get(..count)
        .unwrap_or(&a)
        .chunks(2)
        .chain(b.get(..count).unwrap_or(&b).chunks(2));
    for (place, pair) in result.iter_mut().zip(sources) {
        if let [x, y] = pair {
            *place = join(x.cast_signed(), y.cast_signed()).cast_unsigned();
        }
    }
    make16(result)
}

fn pairs32(a: Lane, b: Lane, used: Used, join: fn(u32, u32) -> u32) -> Lane {
    let mut result = [0; 4];
    let count = used / 4;
    let (a, b) = (get32(a), get32(b));
    let sources = a
        .get(..count)
        .unwrap_or(&a)
        .chunks(2)
        .chain(b.get(..count).unwrap_or(&b).chunks(2));
    for (place, pair) in result.iter_mut().zip(sources) {
        if let [x, y] = pair {
            *place = join(*x, *y);
        }
    }
    make32(result)
}
