//! The arithmetic flags.
//!
//! Source: Intel SDM volume 1, 3.4.3.1, and appendix A.

use crate::registers::rflags::{AF, CF, OF, PF, SF, ZF};
use crate::width::Width;

/// A result and the flags that go with it.
pub(crate) type Flagged = (u64, u64);

/// `flag` if the condition holds.
pub(crate) const fn when(condition: bool, flag: u64) -> u64 {
    if condition { flag } else { 0 }
}

/// SF, ZF and PF of a result.
pub(crate) const fn of_result(width: Width, result: u64) -> u64 {
    let result = result & width.mask();
    when(result == 0, ZF)
        | when(result & width.sign() != 0, SF)
        | when((result & 0xff).count_ones() & 1 == 0, PF)
}

/// `a + b + carry`.
pub(crate) fn add(width: Width, a: u64, b: u64, carry: bool) -> Flagged {
    let (a, b) = (a & width.mask(), b & width.mask());
    let wide = u128::from(a) + u128::from(b) + u128::from(carry);
    let result = a.wrapping_add(b).wrapping_add(u64::from(carry)) & width.mask();
    let flags = of_result(width, result)
        | when(wide > u128::from(width.mask()), CF)
        | when((a ^ b ^ result) & 0x10 != 0, AF)
        | when((a ^ result) & (b ^ result) & width.sign() != 0, OF);
    (result, flags)
}

/// `a - b - borrow`.
pub(crate) fn sub(width: Width, a: u64, b: u64, borrow: bool) -> Flagged {
    let (a, b) = (a & width.mask(), b & width.mask());
    let result = a.wrapping_sub(b).wrapping_sub(u64::from(borrow)) & width.mask();
    let flags = of_result(width, result)
        | when(u128::from(a) < u128::from(b) + u128::from(borrow), CF)
        | when((a ^ b ^ result) & 0x10 != 0, AF)
        | when((a ^ b) & (a ^ result) & width.sign() != 0, OF);
    (result, flags)
}

/// A logical result: CF and OF are clear.
pub(crate) const fn logic(width: Width, result: u64) -> Flagged {
    (result & width.mask(), of_result(width, result))
}
