//! x87 arithmetic: the four operations, comparisons, constants, and moves within the register stack.
//!
//! The pointers to the last instruction and operand are not updated.
//!
//! Source: Intel SDM volume 2, the pages of the instructions; volume 1, 8.5 (exceptions and their masked responses).

use std::cmp::Ordering;

use iced_x86::{Instruction, MemorySize, Mnemonic as N, OpKind};

use super::compute::{Operand, Operation, compare, compute};
use super::exact::Control;
use super::extended::{DOUBLE, Extended, INDEFINITE, Rounding, SINGLE};
use super::transfer::{push, top};
use super::{check_pending, status, summarize};
use crate::cpu::Cpu;
use crate::machine::{AccessKind, Machine};
use crate::outcome::Fault;
use crate::registers::rflags::{AF, CF, OF, PF, SF, ZF};
use crate::width::Width;
use crate::xsave_area::XsaveArea;

/// Before a computation begins, these stop it.
const STOPS: u16 = status::IE | status::DE | status::ZE;
const UNDERFLOW: u16 = status::IE | status::SF;
const CONDITIONS: u16 = status::C0 | status::C2 | status::C3;

/// Whether these are all instructions of a mnemonic. FLD, FST and FSTP have [others](is_register_move).
pub(crate) const fn has(mnemonic: N) -> bool {
    matches!(
        mnemonic,
        N::Fadd
            | N::Fiadd
            | N::Faddp
            | N::Fsub
            | N::Fisub
            | N::Fsubp
            | N::Fsubr
            | N::Fisubr
            | N::Fsubrp
            | N::Fmul
            | N::Fimul
            | N::Fmulp
            | N::Fdiv
            | N::Fidiv
            | N::Fdivp
            | N::Fdivr
            | N::Fidivr
            | N::Fdivrp
            | N::Fcom
            | N::Fcomp
            | N::Fcompp
            | N::Ficom
            | N::Ficomp
            | N::Fucom
            | N::Fucomp
            | N::Fucompp
            | N::Fcomi
            | N::Fcomip
            | N::Fucomi
            | N::Fucomip
            | N::Fxch
            | N::Fchs
            | N::Fabs
            | N::Fld1
            | N::Fldz
            | N::Fldl2t
            | N::Fldl2e
            | N::Fldpi
            | N::Fldlg2
            | N::Fldln2
    )
}

pub(crate) fn execute<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    use Operation::{Add, Divide, Multiply, Subtract};
    cpu.check_x87()?;
    check_pending(cpu)?;
    match i.mnemonic() {
        N::Fadd | N::Fiadd | N::Faddp => arithmetic(cpu, i, Add, false),
        N::Fsub | N::Fisub | N::Fsubp => arithmetic(cpu, i, Subtract, false),
        N::Fsubr | N::Fisubr | N::Fsubrp => arithmetic(cpu, i, Subtract, true),
        N::Fmul | N::Fimul | N::Fmulp => arithmetic(cpu, i, Multiply, false),
        N::Fdiv | N::Fidiv | N::Fdivp => arithmetic(cpu, i, Divide, false),
        N::Fdivr | N::Fidivr | N::Fdivrp => arithmetic(cpu, i, Divide, true),
        N::Fcom | N::Fcomp | N::Fcompp | N::Ficom | N::Ficomp => comparison(cpu, i, false),
        N::Fucom | N::Fucomp | N::Fucompp => comparison(cpu, i, true),
        N::Fcomi | N::Fcomip => comparison(cpu, i, false),
        N::Fucomi | N::Fucomip => comparison(cpu, i, true),
        N::Fld => {
            let area = cpu.vectors_mut()?;
            load_register(area, register(i, 0));
            Ok(())
        }
        N::Fst | N::Fstp => {
            let area = cpu.vectors_mut()?;
            store_register(area, register(i, 0), i.mnemonic() == N::Fstp);
            Ok(())
        }
        N::Fxch => {
            exchange(cpu.vectors_mut()?, register(i, 1));
            Ok(())
        }
        N::Fchs | N::Fabs => {
            change_sign(cpu.vectors_mut()?, i.mnemonic() == N::Fabs);
            Ok(())
        }
        _ => constant(cpu, i),
    }
}

/// True for the forms of FLD, FST and FSTP that have no operand in memory.
pub(crate) fn is_register_move(i: &Instruction) -> bool {
    matches!(i.mnemonic(), N::Fld | N::Fst | N::Fstp) && i.op0_kind() == OpKind::Register
}

fn register(i: &Instruction, n: u32) -> usize {
    if i.op_kind(n) == OpKind::Register {
        i.op_register(n).number()
    } else {
        0
    }
}

fn is_empty(area: &XsaveArea, n: usize) -> bool {
    let physical = (usize::from(top(area)) + n) & 7;
    area.ftw() >> physical & 1 == 0
}

/// Marks ST(n) as in use and gives it a value.
fn set(area: &mut XsaveArea, n: usize, value: Extended) {
    let physical = (usize::from(top(area)) + n) & 7;
    area.set_ftw(area.ftw() | 1 << physical);
    area.set_st(n, value.to_bytes());
}

fn pop(area: &mut XsaveArea) {
    let top = top(area);
    area.set_ftw(area.ftw() & !(1 << top));
    area.set_top((top + 1) & 7);
}

fn value(area: &XsaveArea, n: usize) -> Extended {
    Extended::from_bytes(area.st(n))
}

/// The operand in memory, or `None` if the instruction has none.
fn memory_operand<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
) -> Result<Option<Operand>, Fault> {
    if i.op0_kind() != OpKind::Memory {
        return Ok(None);
    }
    let width = match i.memory_size() {
        MemorySize::Int16 => Width::Word,
        MemorySize::Float64 => Width::Qword,
        _ => Width::Dword,
    };
    let address = cpu.address(i, width.bytes(), AccessKind::Read)?;
    let raw = cpu.load(address, width, AccessKind::Read)?;
    let format = match i.memory_size() {
        MemorySize::Float32 => SINGLE,
        MemorySize::Float64 => DOUBLE,
        _ => {
            let value = Extended::from_integer(width.sign_extend(raw).cast_signed());
            return Ok(Some(Operand::register(value)));
        }
    };
    Ok(Some(Operand::of_float(raw, format)))
}

fn arithmetic<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
    operation: Operation,
    reversed: bool,
) -> Result<(), Fault> {
    let memory = memory_operand(cpu, i)?;
    let (destination, source) = (register(i, 0), register(i, 1));
    let pops = matches!(
        i.mnemonic(),
        N::Faddp | N::Fsubp | N::Fsubrp | N::Fmulp | N::Fdivp | N::Fdivrp
    );
    let area = cpu.vectors_mut()?;
    let empty = is_empty(area, destination) || memory.is_none() && is_empty(area, source);
    let (result, raised) = if empty {
        (INDEFINITE, UNDERFLOW)
    } else {
        let a = Operand::register(value(area, destination));
        let b = memory.unwrap_or_else(|| Operand::register(value(area, source)));
        let (a, b) = if reversed { (b, a) } else { (a, b) };
        compute(operation, a, b, Control::of_word(area.fcw()))
    };
    area.set_fsw(area.fsw() & !status::C1 | raised);
    if raised & STOPS & !area.fcw() == 0 {
        set(area, destination, result);
        if pops {
            pop(area);
        }
    }
    summarize(area);
    Ok(())
}

/// Into the condition codes, or with an I in the name into RFLAGS.
fn comparison<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction, quiet: bool) -> Result<(), Fault> {
    let memory = memory_operand(cpu, i)?;
    let pops = match i.mnemonic() {
        N::Fcompp | N::Fucompp => 2,
        N::Fcomp | N::Ficomp | N::Fucomp | N::Fcomip | N::Fucomip => 1,
        _ => 0,
    };
    let in_flags = matches!(i.mnemonic(), N::Fcomi | N::Fcomip | N::Fucomi | N::Fucomip);
    let source = if pops == 2 { 1 } else { register(i, 1) };
    let area = cpu.vectors_mut()?;
    let empty = is_empty(area, 0) || memory.is_none() && is_empty(area, source);
    let (order, raised) = if empty {
        (None, UNDERFLOW)
    } else {
        let b = memory.unwrap_or_else(|| Operand::register(value(area, source)));
        compare(Operand::register(value(area, 0)), b, quiet)
    };
    area.set_fsw(area.fsw() & !status::C1 | raised);
    let stops = raised & STOPS & !area.fcw() != 0;
    let (codes, flags) = match order {
        Some(Ordering::Greater) => (0, 0),
        Some(Ordering::Less) => (status::C0, CF),
        Some(Ordering::Equal) => (status::C3, ZF),
        None => (CONDITIONS, ZF | PF | CF),
    };
    if !stops {
        if !in_flags {
            area.set_fsw(area.fsw() & !CONDITIONS | codes);
        }
        for _ in 0..pops {
            pop(area);
        }
    }
    summarize(area);
    if in_flags && !stops {
        cpu.set_flags(ZF | PF | CF | OF | SF | AF, flags);
    }
    Ok(())
}

fn load_register(area: &mut XsaveArea, n: usize) {
    if is_empty(area, n) {
        push(area, INDEFINITE, UNDERFLOW);
    } else {
        push(area, value(area, n), 0);
    }
}

fn store_register(area: &mut XsaveArea, n: usize, pops: bool) {
    let (value, raised) = if is_empty(area, 0) {
        (INDEFINITE, UNDERFLOW)
    } else {
        (value(area, 0), 0)
    };
    area.set_fsw(area.fsw() & !status::C1 | raised);
    if raised & !area.fcw() & status::IE == 0 {
        set(area, n, value);
        if pops {
            pop(area);
        }
    }
    summarize(area);
}

fn exchange(area: &mut XsaveArea, n: usize) {
    let raised = if is_empty(area, 0) || is_empty(area, n) {
        UNDERFLOW
    } else {
        0
    };
    let or_indefinite = |n| {
        if is_empty(area, n) {
            INDEFINITE
        } else {
            value(area, n)
        }
    };
    let (first, other) = (or_indefinite(0), or_indefinite(n));
    area.set_fsw(area.fsw() & !status::C1 | raised);
    if raised & !area.fcw() & status::IE == 0 {
        set(area, 0, other);
        set(area, n, first);
    }
    summarize(area);
}

/// FCHS, FABS.
fn change_sign(area: &mut XsaveArea, absolute: bool) {
    let (value, raised) = if is_empty(area, 0) {
        (INDEFINITE, UNDERFLOW)
    } else {
        let mut value = value(area, 0);
        value.sign = !absolute && !value.sign;
        (value, 0)
    };
    area.set_fsw(area.fsw() & !status::C1 | raised);
    if raised & !area.fcw() & status::IE == 0 {
        set(area, 0, value);
    }
    summarize(area);
}

/// A constant: exponent, mantissa cut off, and whether the nearest is the next one.
const fn irrational(exponent: i32, mantissa: u64, above_half: bool) -> (i32, u64, bool) {
    (exponent, mantissa, above_half)
}

const LOG2_10: (i32, u64, bool) = irrational(1, 0xd49a_784b_cd1b_8afe, false);
const LOG2_E: (i32, u64, bool) = irrational(0, 0xb8aa_3b29_5c17_f0bb, true);
const PI: (i32, u64, bool) = irrational(1, 0xc90f_daa2_2168_c234, true);
const LOG10_2: (i32, u64, bool) = irrational(-2, 0x9a20_9a84_fbcf_f798, true);
const LN_2: (i32, u64, bool) = irrational(-1, 0xb172_17f7_d1cf_79ab, true);

/// FLD1, FLDZ and their kin.
fn constant<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let exact = |value| Extended::from_integer(value);
    let area = cpu.vectors_mut()?;
    let rounding = Rounding::of_control(area.fcw());
    let rounded = |(exponent, mantissa, above_half): (i32, u64, bool)| {
        let up = match rounding {
            Rounding::Nearest => above_half,
            Rounding::Up => true,
            Rounding::Down | Rounding::Truncate => false,
        };
        Extended::normal(false, exponent, mantissa + u64::from(up))
    };
    let value = match i.mnemonic() {
        N::Fld1 => exact(1),
        N::Fldz => exact(0),
        N::Fldl2t => rounded(LOG2_10),
        N::Fldl2e => rounded(LOG2_E),
        N::Fldpi => rounded(PI),
        N::Fldlg2 => rounded(LOG10_2),
        N::Fldln2 => rounded(LN_2),
        _ => return Err(Fault::Unsupported),
    };
    push(area, value, 0);
    Ok(())
}
