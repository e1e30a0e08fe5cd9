//! Flags that the manual leaves undefined (Intel SDM volume 2, "Flags affected" of each page).

use iced_x86::{Instruction, Mnemonic as N, OpKind};

use trivisor_emulator::registers::rflags::{AF, ARITHMETIC, CF, OF, PF, SF, ZF};

use crate::native::Context;

/// The undefined flags of an instruction on these operands.
pub(crate) fn undefined(i: &Instruction, before: &Context) -> u64 {
    match i.mnemonic() {
        N::And | N::Or | N::Xor | N::Test => AF,
        N::Mul | N::Imul => SF | ZF | AF | PF,
        N::Div | N::Idiv => ARITHMETIC,
        N::Bt | N::Bts | N::Btr | N::Btc => OF | SF | AF | PF,
        N::Bsf | N::Bsr => CF | OF | SF | AF | PF,
        N::Lzcnt | N::Tzcnt => OF | SF | AF | PF,
        N::Andn | N::Blsi | N::Blsr | N::Blsmsk | N::Bzhi => AF | PF,
        N::Bextr => AF | SF | PF,
        N::Shl | N::Sal | N::Shr | N::Sar => {
            let (count, bits) = count(i, 1, before);
            let overflow = if count > 1 { OF } else { 0 };
            // SAR repeats the sign however far it goes; the others have no bit left for CF.
            let carry = if count > bits && i.mnemonic() != N::Sar {
                CF
            } else {
                0
            };
            if count == 0 { 0 } else { AF | overflow | carry }
        }
        N::Rol | N::Ror | N::Rcl | N::Rcr => {
            let (count, _) = count(i, 1, before);
            if count > 1 { OF } else { 0 }
        }
        N::Shld | N::Shrd => {
            let (count, bits) = count(i, 2, before);
            match count {
                0 => 0,
                1 => AF,
                _ if count > bits => ARITHMETIC,
                _ => AF | OF,
            }
        }
        // With an unmasked exception Intel's CPUs leave them, AMD's do not.
        N::Fcomi | N::Fcomip | N::Fucomi | N::Fucomip if before.vectors[0] & 3 != 3 => ARITHMETIC,
        _ => 0,
    }
}

/// True if the result itself is undefined: a 16-bit double shift by more than 16, a BSWAP of 16 bits, a scan of zero, an
/// x87 comparison that raised an error.
pub(crate) fn undefined_result(i: &Instruction, before: &Context, after: &Context) -> bool {
    match i.mnemonic() {
        N::Shld | N::Shrd => {
            let (count, bits) = count(i, 2, before);
            count > bits
        }
        N::Bswap => i.op0_register().is_gpr16(),
        N::Bsf | N::Bsr => after.rflags & ZF != 0,
        // With an unmasked exception Intel's CPUs leave the condition codes, AMD's do not.
        N::Fcom
        | N::Fcomp
        | N::Fcompp
        | N::Ficom
        | N::Ficomp
        | N::Fucom
        | N::Fucomp
        | N::Fucompp => after.vectors[2] & 0x80 != 0,
        _ => false,
    }
}

/// The masked count of a shift and the width of what is shifted.
fn count(i: &Instruction, n: u32, before: &Context) -> (u64, u64) {
    let size = if i.op0_kind() == OpKind::Memory {
        i.memory_size().size()
    } else {
        i.op0_register().size()
    };
    let raw = if i.op_kind(n) == OpKind::Register {
        before.gpr[1]
    } else {
        i.immediate(n)
    };
    let bits = size as u64 * 8;
    (raw & 0xff & if bits == 64 { 63 } else { 31 }, bits)
}
