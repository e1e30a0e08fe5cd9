//! The 80-bit format, from and to the others.
//!
//! Source: Intel SDM volume 1, 4.2.2 (formats), 4.8.4 (rounding), 4.9.1 and 8.5 (exceptions).

use super::status;

/// What an invalid operation gives: a quiet NaN.
pub(crate) const INDEFINITE: Extended = Extended {
    sign: true,
    exponent: EXPONENT_MAX,
    mantissa: 3 << 62,
};

pub(super) const EXPONENT_MAX: u16 = 0x7fff;
pub(super) const BIAS: i32 = 0x3fff;
pub(super) const INTEGER_BIT: u64 = 1 << 63;
pub(super) const QUIET_BIT: u64 = 1 << 62;

/// An 80-bit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extended {
    pub(super) sign: bool,
    pub(super) exponent: u16,
    pub(super) mantissa: u64,
}

/// A memory format: precision in bits with the leading one, and width of the exponent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    precision: u32,
    exponent_bits: u32,
}

/// 32 bits.
pub(crate) const SINGLE: Format = Format {
    precision: 24,
    exponent_bits: 8,
};
/// 64 bits.
pub(crate) const DOUBLE: Format = Format {
    precision: 53,
    exponent_bits: 11,
};

/// Direction of rounding: field RC of the control word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    Down,
    Up,
    Truncate,
}

impl Rounding {
    pub(crate) const fn of_control(control: u16) -> Self {
        match control >> 10 & 3 {
            0 => Self::Nearest,
            1 => Self::Down,
            2 => Self::Up,
            _ => Self::Truncate,
        }
    }

    /// True if a magnitude with this remainder becomes greater.
    pub(super) const fn away(self, sign: bool, kept: u128, rest: u128, half: u128) -> bool {
        match self {
            Self::Nearest => rest > half || rest == half && kept & 1 != 0,
            Self::Down => sign && rest != 0,
            Self::Up => !sign && rest != 0,
            Self::Truncate => false,
        }
    }
}

/// A result in memory's format, and the bits of the status word that go with it.
pub(crate) type Converted = (u64, u16);

impl Format {
    const fn bias(self) -> i32 {
        (1 << (self.exponent_bits - 1)) - 1
    }

    const fn fraction_bits(self) -> u32 {
        self.precision - 1
    }

    const fn exponent_ones(self) -> u64 {
        (1 << self.exponent_bits) - 1
    }

    const fn sign(self, sign: bool) -> u64 {
        if sign {
            1 << (self.fraction_bits() + self.exponent_bits)
        } else {
            0
        }
    }

    const fn infinity(self) -> u64 {
        self.exponent_ones() << self.fraction_bits()
    }

    /// Bytes in memory.
    pub(crate) const fn bytes(self) -> usize {
        ((self.precision + self.exponent_bits) / 8) as usize
    }

    /// The indefinite value of this format.
    pub(crate) const fn indefinite(self) -> u64 {
        self.sign(true) | self.infinity() | 1 << (self.fraction_bits() - 1)
    }
}

/// Magnitude shifted right by `shift`, rounded; tells whether bits were lost and whether it grew.
fn round(magnitude: u64, shift: u32, sign: bool, rounding: Rounding) -> (u128, bool, bool) {
    // Two more places keep what a long shift loses.
    let shift = shift.min(66);
    let magnitude = u128::from(magnitude);
    let kept = magnitude >> shift;
    let rest = magnitude & ((1 << shift) - 1);
    let half = if shift == 0 { 0 } else { 1 << (shift - 1) };
    let grows = rest != 0 && rounding.away(sign, kept, rest, half);
    (kept + u128::from(grows), rest != 0, grows)
}

pub(super) fn low(value: u128) -> u64 {
    (value & 0xffff_ffff_ffff_ffff) as u64
}

impl Extended {
    pub(crate) const fn from_bytes(bytes: [u8; 10]) -> Self {
        let [b0, b1, b2, b3, b4, b5, b6, b7, e0, e1] = bytes;
        let top = u16::from_le_bytes([e0, e1]);
        let mantissa = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
        Self {
            sign: top & 0x8000 != 0,
            exponent: top & EXPONENT_MAX,
            mantissa,
        }
    }

    pub(crate) const fn to_bytes(self) -> [u8; 10] {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = self.mantissa.to_le_bytes();
        let top = self.exponent | if self.sign { 0x8000 } else { 0 };
        let [e0, e1] = top.to_le_bytes();
        [b0, b1, b2, b3, b4, b5, b6, b7, e0, e1]
    }

    /// A number of which the true exponent is that of its highest bit.
    pub(super) fn normal(sign: bool, exponent: i32, mantissa: u64) -> Self {
        let exponent = u16::try_from(exponent + BIAS).unwrap_or(0);
        Self {
            sign,
            exponent,
            mantissa,
        }
    }

    pub(crate) fn from_integer(value: i64) -> Self {
        let magnitude = value.unsigned_abs();
        if magnitude == 0 {
            return Self {
                sign: false,
                exponent: 0,
                mantissa: 0,
            };
        }
        let zeros = magnitude.leading_zeros();
        Self::normal(value < 0, 63 - zeros.cast_signed(), magnitude << zeros)
    }

    /// Loads a shorter format, which is exact but for signalling NaNs.
    pub(crate) fn from_float(bits: u64, format: Format) -> (Self, u16) {
        let fraction_bits = format.fraction_bits();
        let sign = bits & format.sign(true) != 0;
        let exponent = bits >> fraction_bits & format.exponent_ones();
        let fraction = (bits & ((1 << fraction_bits) - 1)) << (63 - fraction_bits);
        if exponent == format.exponent_ones() {
            let mantissa = INTEGER_BIT | fraction;
            let signals = fraction != 0 && fraction & QUIET_BIT == 0;
            let mantissa = if signals {
                mantissa | QUIET_BIT
            } else {
                mantissa
            };
            return (
                Self {
                    sign,
                    exponent: EXPONENT_MAX,
                    mantissa,
                },
                if signals { status::IE } else { 0 },
            );
        }
        if exponent != 0 {
            let exponent = i32::try_from(exponent).unwrap_or(0) - format.bias();
            return (Self::normal(sign, exponent, INTEGER_BIT | fraction), 0);
        }
        if fraction == 0 {
            return (
                Self {
                    sign,
                    exponent: 0,
                    mantissa: 0,
                },
                0,
            );
        }
        let zeros = fraction.leading_zeros();
        let exponent = 1 - format.bias() - zeros.cast_signed();
        (Self::normal(sign, exponent, fraction << zeros), status::DE)
    }

    /// True for encodings that no longer stand for a number.
    pub(super) const fn is_unsupported(self) -> bool {
        self.exponent != 0 && self.mantissa & INTEGER_BIT == 0
    }

    /// True exponent of the highest bit, and the mantissa with that bit at the top. Zero stays zero.
    pub(super) const fn normalized(self) -> (i32, u64) {
        let zeros = self.mantissa.leading_zeros();
        let exponent = if self.exponent == 0 {
            1
        } else {
            self.exponent as i32
        };
        if self.mantissa == 0 {
            (0, 0)
        } else {
            (
                exponent - BIAS - zeros.cast_signed(),
                self.mantissa << zeros,
            )
        }
    }

    /// Rounds to a shorter format as if all exceptions were masked; `underflow_masked` decides when UE is told.
    pub(crate) fn to_float(
        self,
        format: Format,
        rounding: Rounding,
        underflow_masked: bool,
    ) -> Converted {
        let sign = format.sign(self.sign);
        if self.is_unsupported() {
            return (format.indefinite(), status::IE);
        }
        if self.exponent == EXPONENT_MAX {
            return self.special_to_float(format);
        }
        let (exponent, mantissa) = self.normalized();
        if mantissa == 0 {
            return (sign, 0);
        }
        let lowest = 1 - format.bias();
        let drop = 64 - format.precision;
        let tiny_by = u32::try_from(lowest - exponent).unwrap_or(0);
        let (kept, lost, grew) = round(mantissa, drop.saturating_add(tiny_by), self.sign, rounding);
        let mut flags = if lost { status::PE } else { 0 } | if grew { status::C1 } else { 0 };
        if tiny_by > 0 {
            // Tiny is what stays below the lowest exponent when rounded without bounds.
            let (unbounded, ..) = round(mantissa, drop, self.sign, rounding);
            let reaches = tiny_by == 1 && unbounded >> format.precision != 0;
            if !reaches && (lost || !underflow_masked) {
                flags |= status::UE;
            }
            return (sign | low(kept), flags);
        }
        // A carry out of the mantissa makes the exponent one greater by itself.
        let field = u64::try_from(exponent + format.bias() - 1).unwrap_or(0);
        let field = field.min(format.exponent_ones());
        let magnitude = (field << format.fraction_bits()).saturating_add(low(kept));
        if magnitude >= format.infinity() {
            let to_infinity = match rounding {
                Rounding::Nearest => true,
                Rounding::Down => self.sign,
                Rounding::Up => !self.sign,
                Rounding::Truncate => false,
            };
            let value = if to_infinity {
                format.infinity()
            } else {
                format.infinity() - 1
            };
            let c1 = if to_infinity { status::C1 } else { 0 };
            return (sign | value, status::OE | status::PE | c1);
        }
        (sign | magnitude, flags)
    }

    /// An infinity or a NaN, which becomes quiet.
    fn special_to_float(self, format: Format) -> Converted {
        let sign = format.sign(self.sign);
        let fraction = (self.mantissa & !INTEGER_BIT) >> (63 - format.fraction_bits());
        if self.mantissa & !INTEGER_BIT == 0 {
            return (sign | format.infinity(), 0);
        }
        let quiet = 1 << (format.fraction_bits() - 1);
        let flags = if self.mantissa & QUIET_BIT == 0 {
            status::IE
        } else {
            0
        };
        (sign | format.infinity() | fraction | quiet, flags)
    }

    /// Rounds to an integer of 16, 32 or 64 bits; what does not fit gives the most negative one.
    pub(crate) fn to_integer(self, bits: u32, rounding: Rounding) -> Converted {
        let indefinite = 1 << (bits - 1);
        let (exponent, mantissa) = self.normalized();
        if self.is_unsupported() || self.exponent == EXPONENT_MAX || exponent > 63 {
            return (indefinite, status::IE);
        }
        let shift = u32::try_from(63 - exponent).unwrap_or(u32::MAX);
        let (magnitude, lost, grew) = round(mantissa, shift, self.sign, rounding);
        let limit = u128::from(indefinite) + u128::from(self.sign);
        if magnitude >= limit {
            return (indefinite, status::IE);
        }
        let value = low(magnitude);
        let flags = if lost { status::PE } else { 0 } | if grew { status::C1 } else { 0 };
        (
            if self.sign {
                value.wrapping_neg()
            } else {
                value
            },
            flags,
        )
    }
}
