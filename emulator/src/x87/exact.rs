//! A result before it is rounded to the 80-bit format.
//!
//! Source: Intel SDM volume 1, 4.8.4 (rounding), 8.5.4 to 8.5.6 (overflow, underflow, inexact result).

use super::extended::{BIAS, Extended, INTEGER_BIT, Rounding, low};
use super::status;

/// How a result is rounded, and the masks that decide on its form when it does not fit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Control {
    pub(crate) rounding: Rounding,
    /// Bits of the mantissa.
    precision: u32,
    pub(crate) masks: u16,
}

impl Control {
    pub(crate) const fn of_word(control: u16) -> Self {
        Self {
            rounding: Rounding::of_control(control),
            precision: match control >> 8 & 3 {
                0 => 24,
                2 => 53,
                _ => 64,
            },
            masks: control,
        }
    }
}

/// A magnitude that is not zero: its highest bit is bit 127, of weight two to `exponent`. The lowest bit also stands
/// for all that was lost below it.
pub(crate) struct Exact {
    sign: bool,
    exponent: i32,
    magnitude: u128,
}

const LOWEST: i32 = 1 - BIAS;
/// What unmasked overflow and underflow shift the exponent by.
const WRAP: i32 = 24576;

/// Shifts, and keeps in the lowest bit whether anything was lost.
pub(crate) fn shift_right(magnitude: u128, by: u32) -> u128 {
    match magnitude.checked_shr(by) {
        Some(kept) => kept | u128::from(kept << by != magnitude),
        None => u128::from(magnitude != 0),
    }
}

impl Exact {
    /// `exponent` is that of bit 127.
    pub(crate) fn new(sign: bool, exponent: i32, magnitude: u128) -> Self {
        let zeros = magnitude.leading_zeros();
        Self {
            sign,
            exponent: exponent - zeros.cast_signed(),
            magnitude: magnitude << zeros,
        }
    }

    /// The upper `precision` bits of `magnitude`, rounded; and PE and C1.
    fn keep(&self, magnitude: u128, control: Control) -> (u128, u16) {
        let shift = 128 - control.precision;
        let (kept, rest) = (magnitude >> shift, magnitude & ((1 << shift) - 1));
        let half = 1 << (shift - 1);
        let grows = control.rounding.away(self.sign, kept, rest, half);
        let inexact = if rest != 0 { status::PE } else { 0 };
        let up = if grows { status::C1 } else { 0 };
        (kept + u128::from(grows), inexact | up)
    }

    /// The number as a register holds it, and OE, UE, PE and C1.
    pub(crate) fn round(&self, control: Control) -> (Extended, u16) {
        let (mut kept, mut raised) = self.keep(self.magnitude, control);
        let mut exponent = self.exponent;
        if kept >> control.precision != 0 {
            kept >>= 1;
            exponent += 1;
        }
        if exponent > BIAS {
            if control.masks & status::OE != 0 {
                return self.overflow(control);
            }
            raised |= status::OE;
            exponent -= WRAP;
        } else if exponent < LOWEST {
            if control.masks & status::UE != 0 {
                return self.denormal(control);
            }
            raised |= status::UE;
            exponent += WRAP;
        }
        let mantissa = mantissa(kept, control);
        (Extended::normal(self.sign, exponent, mantissa), raised)
    }

    fn overflow(&self, control: Control) -> (Extended, u16) {
        let to_infinity = match control.rounding {
            Rounding::Nearest => true,
            Rounding::Down => self.sign,
            Rounding::Up => !self.sign,
            Rounding::Truncate => false,
        };
        if to_infinity {
            let raised = status::OE | status::PE | status::C1;
            return (Extended::infinity(self.sign), raised);
        }
        let ones = (1 << control.precision) - 1;
        let greatest = Extended::normal(self.sign, BIAS, mantissa(ones, control));
        (greatest, status::OE | status::PE)
    }

    /// A result below the lowest exponent.
    fn denormal(&self, control: Control) -> (Extended, u16) {
        let by = LOWEST.abs_diff(self.exponent);
        let (kept, raised) = self.keep(shift_right(self.magnitude, by), control);
        let mantissa = mantissa(kept, control);
        let value = Extended {
            sign: self.sign,
            exponent: u16::from(mantissa & INTEGER_BIT != 0),
            mantissa,
        };
        let tiny = if raised & status::PE != 0 {
            status::UE
        } else {
            0
        };
        (value, raised | tiny)
    }
}

/// Kept bits in their place of the format.
fn mantissa(kept: u128, control: Control) -> u64 {
    low(kept << (64 - control.precision))
}
