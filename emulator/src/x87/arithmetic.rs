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

/// A kind of instruction.
#[derive(Clone, Copy)]
enum Kind {
    /// The destination is the second operand where it is reversed.
    Arithmetic {
        operation: Operation,
        reversed: bool,
    },
    /// Quiet NaNs do not compare either, but are no error where it is quiet.
    Comparison {
        quiet: bool,
    },
    LoadRegister,
    StoreRegister {
        pops: bool,
    },
    Exchange,
    ChangeSign {
        absolute: bool,
    },
    Integer(i64),
    Constant(Constant),
}

/// A constant: exponent, mantissa cut off, and what is known of the rest.
#[derive(Clone, Copy)]
struct Constant {
    exponent: i32,
    mantissa: u64,
    rest: Rest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    BelowHalf,
    AboveHalf,
}

impl Constant {
    const fn new(exponent: i32, mantissa: u64, rest: Rest) -> Self {
        Self {
            exponent,
            mantissa,
            rest,
        }
    }

    fn rounded(self, rounding: Rounding) -> Extended {
        let up = match rounding {
            Rounding::Nearest => self.rest == Rest::AboveHalf,
            Rounding::Up => true,
            Rounding::Down | Rounding::Truncate => false,
        };
        Extended::normal(false, self.exponent, self.mantissa + u64::from(up))
    }
}

const LOG2_10: Constant = Constant::new(1, 0xd49a_784b_cd1b_8afe, Rest::BelowHalf);
const LOG2_E: Constant = Constant::new(0, 0xb8aa_3b29_5c17_f0bb, Rest::AboveHalf);
const PI: Constant = Constant::new(1, 0xc90f_daa2_2168_c234, Rest::AboveHalf);
const LOG10_2: Constant = Constant::new(-2, 0x9a20_9a84_fbcf_f798, Rest::AboveHalf);
const LN_2: Constant = Constant::new(-1, 0xb172_17f7_d1cf_79ab, Rest::AboveHalf);

fn kind(i: &Instruction) -> Option<Kind> {
    use Operation::{Add, Divide, Multiply, Subtract};
    let arithmetic = |operation, reversed| Kind::Arithmetic {
        operation,
        reversed,
    };
    let in_registers = i.op0_kind() == OpKind::Register;
    Some(match i.mnemonic() {
        N::Fadd | N::Fiadd | N::Faddp => arithmetic(Add, false),
        N::Fsub | N::Fisub | N::Fsubp => arithmetic(Subtract, false),
        N::Fsubr | N::Fisubr | N::Fsubrp => arithmetic(Subtract, true),
        N::Fmul | N::Fimul | N::Fmulp => arithmetic(Multiply, false),
        N::Fdiv | N::Fidiv | N::Fdivp => arithmetic(Divide, false),
        N::Fdivr | N::Fidivr | N::Fdivrp => arithmetic(Divide, true),
        N::Fcom | N::Fcomp | N::Fcompp | N::Ficom | N::Ficomp | N::Fcomi | N::Fcomip => {
            Kind::Comparison { quiet: false }
        }
        N::Fucom | N::Fucomp | N::Fucompp | N::Fucomi | N::Fucomip => {
            Kind::Comparison { quiet: true }
        }
        N::Fld if in_registers => Kind::LoadRegister,
        N::Fst if in_registers => Kind::StoreRegister { pops: false },
        N::Fstp if in_registers => Kind::StoreRegister { pops: true },
        N::Fxch => Kind::Exchange,
        N::Fchs => Kind::ChangeSign { absolute: false },
        N::Fabs => Kind::ChangeSign { absolute: true },
        N::Fld1 => Kind::Integer(1),
        N::Fldz => Kind::Integer(0),
        N::Fldl2t => Kind::Constant(LOG2_10),
        N::Fldl2e => Kind::Constant(LOG2_E),
        N::Fldpi => Kind::Constant(PI),
        N::Fldlg2 => Kind::Constant(LOG10_2),
        N::Fldln2 => Kind::Constant(LN_2),
        _ => return None,
    })
}

/// Whether an instruction is one of these.
pub(crate) fn has(i: &Instruction) -> bool {
    kind(i).is_some()
}

pub(crate) fn execute<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let kind = kind(i).ok_or(Fault::Unsupported)?;
    cpu.check_x87()?;
    check_pending(cpu)?;
    match kind {
        Kind::Arithmetic {
            operation,
            reversed,
        } => return arithmetic(cpu, i, operation, reversed),
        Kind::Comparison { quiet } => return comparison(cpu, i, quiet),
        _ => {}
    }
    let area = cpu.vectors_mut()?;
    match kind {
        Kind::LoadRegister => load_register(area, register(i, 0)),
        Kind::StoreRegister { pops } => store_register(area, register(i, 0), pops),
        Kind::Exchange => exchange(area, register(i, 1)),
        Kind::ChangeSign { absolute } => change_sign(area, absolute),
        Kind::Integer(value) => push(area, Extended::from_integer(value), 0),
        Kind::Constant(constant) => {
            let value = constant.rounded(Rounding::of_control(area.fcw()));
            push(area, value, 0);
        }
        Kind::Arithmetic { .. } | Kind::Comparison { .. } => {}
    }
    Ok(())
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
