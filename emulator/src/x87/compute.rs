//! The four operations and comparison of 80-bit numbers.
//!
//! Source: Intel SDM volume 1, 4.8.3.5 and table 4-7 (NaNs), 4.9.1 and 8.5 (exceptions).

use std::cmp::Ordering;

use super::exact::{Control, Exact, shift_right};
use super::extended::{
    EXPONENT_MAX, Extended, Format, INDEFINITE, INTEGER_BIT, QUIET_BIT, Rounding,
};
use super::status;

/// What is done to two operands, of which the first is the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// An operand, and what it was before a load widened it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operand {
    value: Extended,
    /// A signalling NaN.
    signals: bool,
    denormal: bool,
}

impl Operand {
    pub(crate) const fn register(value: Extended) -> Self {
        Self {
            value,
            signals: value.is_nan() && value.mantissa & QUIET_BIT == 0,
            denormal: value.exponent == 0 && value.mantissa != 0,
        }
    }

    /// From memory. A denormal becomes a normal number and still counts as one.
    pub(crate) fn of_float(bits: u64, format: Format) -> Self {
        let (value, raised) = Extended::from_float(bits, format);
        Self {
            value,
            signals: raised & status::IE != 0,
            denormal: raised & status::DE != 0,
        }
    }
}

impl Extended {
    const fn is_nan(self) -> bool {
        self.exponent == EXPONENT_MAX && self.mantissa & !INTEGER_BIT != 0
    }

    const fn is_infinite(self) -> bool {
        self.exponent == EXPONENT_MAX && self.mantissa & !INTEGER_BIT == 0
    }

    const fn is_zero(self) -> bool {
        self.exponent == 0 && self.mantissa == 0
    }

    const fn zero(sign: bool) -> Self {
        Self {
            sign,
            exponent: 0,
            mantissa: 0,
        }
    }

    pub(super) const fn infinity(sign: bool) -> Self {
        Self {
            sign,
            exponent: EXPONENT_MAX,
            mantissa: INTEGER_BIT,
        }
    }
}

/// The result and the exceptions. What is raised unmasked among IE, DE and ZE has no result.
pub(crate) fn compute(
    operation: Operation,
    a: Operand,
    b: Operand,
    control: Control,
) -> (Extended, u16) {
    if a.value.is_unsupported() || b.value.is_unsupported() {
        return (INDEFINITE, status::IE);
    }
    if let Some(nan) = nan_of(a, b) {
        let signals = a.signals || b.signals;
        return (nan, if signals { status::IE } else { 0 });
    }
    let denormal = denormal_of(a, b);
    let (a, mut b) = (a.value, b.value);
    if operation == Operation::Subtract {
        b.sign = !b.sign;
    }
    let sign = a.sign != b.sign;
    let special = match operation {
        Operation::Add | Operation::Subtract => special_sum(a, b, control.rounding),
        Operation::Multiply => special_product(a, b, sign),
        Operation::Divide => special_quotient(a, b, sign),
    };
    if let Some((value, raised)) = special {
        let denormal = if raised == 0 { denormal } else { 0 };
        return (value, raised | denormal);
    }
    let exact = match operation {
        Operation::Add | Operation::Subtract => sum(a, b),
        Operation::Multiply => Some(product(a, b, sign)),
        Operation::Divide => Some(quotient(a, b, sign)),
    };
    if denormal & !control.masks != 0 {
        return (INDEFINITE, denormal);
    }
    let (value, raised) = match exact {
        Some(exact) => exact.round(control),
        None => (Extended::zero(control.rounding == Rounding::Down), 0),
    };
    (value, raised | denormal)
}

fn denormal_of(a: Operand, b: Operand) -> u16 {
    if a.denormal || b.denormal {
        status::DE
    } else {
        0
    }
}

/// The NaN that a result becomes: a quiet one before a signalling one, then the greater.
fn nan_of(a: Operand, b: Operand) -> Option<Extended> {
    let chosen = match (a.value.is_nan(), b.value.is_nan()) {
        (false, false) => return None,
        (true, false) => a,
        (false, true) => b,
        (true, true) if a.signals != b.signals => {
            if a.signals {
                b
            } else {
                a
            }
        }
        (true, true) => {
            let order = a.value.mantissa.cmp(&b.value.mantissa);
            // Of equal ones the positive.
            if order.then(b.value.sign.cmp(&a.value.sign)) == Ordering::Less {
                b
            } else {
                a
            }
        }
    };
    Some(Extended {
        mantissa: chosen.value.mantissa | QUIET_BIT,
        ..chosen.value
    })
}

fn special_sum(a: Extended, b: Extended, rounding: Rounding) -> Option<(Extended, u16)> {
    match (a.is_infinite(), b.is_infinite()) {
        (true, true) if a.sign != b.sign => Some((INDEFINITE, status::IE)),
        (true, _) => Some((Extended::infinity(a.sign), 0)),
        (_, true) => Some((Extended::infinity(b.sign), 0)),
        _ if a.is_zero() && b.is_zero() => {
            let sign = if a.sign == b.sign {
                a.sign
            } else {
                rounding == Rounding::Down
            };
            Some((Extended::zero(sign), 0))
        }
        _ => None,
    }
}

fn special_product(a: Extended, b: Extended, sign: bool) -> Option<(Extended, u16)> {
    let (infinite, zero) = (
        a.is_infinite() || b.is_infinite(),
        a.is_zero() || b.is_zero(),
    );
    match (infinite, zero) {
        (true, true) => Some((INDEFINITE, status::IE)),
        (true, false) => Some((Extended::infinity(sign), 0)),
        (false, true) => Some((Extended::zero(sign), 0)),
        (false, false) => None,
    }
}

fn special_quotient(a: Extended, b: Extended, sign: bool) -> Option<(Extended, u16)> {
    if a.is_infinite() && b.is_infinite() || a.is_zero() && b.is_zero() {
        return Some((INDEFINITE, status::IE));
    }
    if a.is_infinite() {
        return Some((Extended::infinity(sign), 0));
    }
    if a.is_zero() || b.is_infinite() {
        return Some((Extended::zero(sign), 0));
    }
    b.is_zero().then(|| (Extended::infinity(sign), status::ZE))
}

/// A sum of finite numbers that are not both zero; `None` if it is zero.
fn sum(a: Extended, b: Extended) -> Option<Exact> {
    // One place stays free for the carry.
    let place = |number: Extended| {
        let (exponent, mantissa) = number.normalized();
        // Zero has no exponent of its own: below all others.
        let exponent = if mantissa == 0 {
            i32::MIN / 2
        } else {
            exponent
        };
        (exponent, u128::from(mantissa) << 63)
    };
    let ((a_exponent, a_magnitude), (b_exponent, b_magnitude)) = (place(a), place(b));
    let exponent = a_exponent.max(b_exponent);
    let a_magnitude = shift_right(a_magnitude, exponent.abs_diff(a_exponent));
    let b_magnitude = shift_right(b_magnitude, exponent.abs_diff(b_exponent));
    let (sign, magnitude) = if a.sign == b.sign {
        (a.sign, a_magnitude + b_magnitude)
    } else if a_magnitude >= b_magnitude {
        (a.sign, a_magnitude - b_magnitude)
    } else {
        (b.sign, b_magnitude - a_magnitude)
    };
    (magnitude != 0).then(|| Exact::new(sign, exponent + 1, magnitude))
}

fn product(a: Extended, b: Extended, sign: bool) -> Exact {
    let ((a_exponent, a_mantissa), (b_exponent, b_mantissa)) = (a.normalized(), b.normalized());
    let magnitude = u128::from(a_mantissa) * u128::from(b_mantissa);
    Exact::new(sign, a_exponent + b_exponent + 1, magnitude)
}

fn quotient(a: Extended, b: Extended, sign: bool) -> Exact {
    let ((a_exponent, a_mantissa), (b_exponent, b_mantissa)) = (a.normalized(), b.normalized());
    // Both have their highest bit set, so the quotient is below 2^65, and 62 more bits fit.
    let divisor = u128::from(b_mantissa).max(1);
    let dividend = u128::from(a_mantissa) << 64;
    let (high, rest) = (dividend / divisor, dividend % divisor);
    let (low, rest) = ((rest << 62) / divisor, (rest << 62) % divisor);
    let magnitude = high << 62 | low | u128::from(rest != 0);
    Exact::new(sign, a_exponent - b_exponent + 1, magnitude)
}

/// How two numbers compare, `None` if they do not; and the exceptions. `quiet` spares quiet NaNs.
pub(crate) fn compare(a: Operand, b: Operand, quiet: bool) -> (Option<Ordering>, u16) {
    if a.value.is_unsupported() || b.value.is_unsupported() {
        return (None, status::IE);
    }
    if a.value.is_nan() || b.value.is_nan() {
        let invalid = !quiet || a.signals || b.signals;
        return (None, if invalid { status::IE } else { 0 });
    }
    let raised = denormal_of(a, b);
    let (a, b) = (a.value, b.value);
    if a.is_zero() && b.is_zero() {
        return (Some(Ordering::Equal), raised);
    }
    // A denormal has the exponent of the least normal numbers.
    let magnitude = |number: Extended| {
        let exponent = number.exponent.max(u16::from(number.mantissa != 0));
        (exponent, number.mantissa)
    };
    let order = match (a.sign, b.sign) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => magnitude(a).cmp(&magnitude(b)),
        (true, true) => magnitude(b).cmp(&magnitude(a)),
    };
    (Some(order), raised)
}
