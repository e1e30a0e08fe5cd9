//! x87 loads and stores of memory: FLD, FILD, FST, FSTP, FIST, FISTP, FISTTP.
//!
//! The pointers to the last instruction and operand are not updated.
//!
//! Source: Intel SDM volume 2, the pages of the instructions; volume 1, 8.5 (exceptions and their masked responses).

use iced_x86::{Code, Instruction};

use super::extended::{DOUBLE, Extended, Format, INDEFINITE, Rounding, SINGLE};
use super::{check_pending, status, summarize};
use crate::cpu::Cpu;
use crate::machine::{AccessKind, Machine};
use crate::outcome::Fault;
use crate::width::Width;
use crate::xsave_area::XsaveArea;

/// What is in memory.
#[derive(Clone, Copy)]
enum Kind {
    Float(Format),
    Integer(Width),
    Extended,
}

/// One instruction.
struct Transfer {
    kind: Kind,
    pops: bool,
    truncates: bool,
}

/// Executes a load or store, or says that it is neither.
pub(crate) fn execute<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    use Kind::{Extended as E, Float, Integer};
    let load = |cpu, kind| load(cpu, i, kind);
    let truncate = |cpu, kind| {
        store(
            cpu,
            i,
            &Transfer {
                kind,
                pops: true,
                truncates: true,
            },
        )
    };
    let store = |cpu, kind, pops| {
        store(
            cpu,
            i,
            &Transfer {
                kind,
                pops,
                truncates: false,
            },
        )
    };
    match i.code() {
        Code::Fld_m32fp => load(cpu, Float(SINGLE)),
        Code::Fld_m64fp => load(cpu, Float(DOUBLE)),
        Code::Fld_m80fp => load(cpu, E),
        Code::Fild_m16int => load(cpu, Integer(Width::Word)),
        Code::Fild_m32int => load(cpu, Integer(Width::Dword)),
        Code::Fild_m64int => load(cpu, Integer(Width::Qword)),
        Code::Fst_m32fp => store(cpu, Float(SINGLE), false),
        Code::Fst_m64fp => store(cpu, Float(DOUBLE), false),
        Code::Fstp_m32fp => store(cpu, Float(SINGLE), true),
        Code::Fstp_m64fp => store(cpu, Float(DOUBLE), true),
        Code::Fstp_m80fp => store(cpu, E, true),
        Code::Fist_m16int => store(cpu, Integer(Width::Word), false),
        Code::Fist_m32int => store(cpu, Integer(Width::Dword), false),
        Code::Fistp_m16int => store(cpu, Integer(Width::Word), true),
        Code::Fistp_m32int => store(cpu, Integer(Width::Dword), true),
        Code::Fistp_m64int => store(cpu, Integer(Width::Qword), true),
        Code::Fisttp_m16int => truncate(cpu, Integer(Width::Word)),
        Code::Fisttp_m32int => truncate(cpu, Integer(Width::Dword)),
        Code::Fisttp_m64int => truncate(cpu, Integer(Width::Qword)),
        _ => Err(Fault::Unsupported),
    }
}

fn size(kind: Kind) -> usize {
    match kind {
        Kind::Float(format) => format.bytes(),
        Kind::Integer(width) => width.bytes(),
        Kind::Extended => 10,
    }
}

pub(super) fn top(area: &XsaveArea) -> u16 {
    area.fsw() >> 11 & 7
}

fn load<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction, kind: Kind) -> Result<(), Fault> {
    cpu.check_x87()?;
    check_pending(cpu)?;
    let size = size(kind);
    let address = cpu.address(i, size, AccessKind::Read)?;
    let mut bytes = [0; 10];
    cpu.load_bytes(address, bytes.split_at_mut(size).0)?;
    let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = bytes;
    let raw = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
    let (value, raised) = match kind {
        Kind::Extended => (Extended::from_bytes(bytes), 0),
        Kind::Float(format) => Extended::from_float(raw, format),
        Kind::Integer(width) => (
            Extended::from_integer(width.sign_extend(raw).cast_signed()),
            0,
        ),
    };
    push(cpu.vectors_mut()?, value, raised);
    Ok(())
}

/// Pushes unless an invalid operation that is not masked forbids it; a denormal does not.
pub(super) fn push(area: &mut XsaveArea, value: Extended, raised: u16) {
    let new = (top(area) + 7) & 7;
    let overflows = area.ftw() >> new & 1 != 0;
    // Where the value would have come from an empty register, that is the fault.
    let (value, raised) = if overflows && raised & status::SF == 0 {
        (INDEFINITE, status::IE | status::SF | status::C1)
    } else {
        (value, raised)
    };
    area.set_fsw(area.fsw() & !status::C1 | raised);
    if raised & !area.fcw() & status::IE == 0 {
        area.set_top(new);
        area.set_ftw(area.ftw() | 1 << new);
        area.set_st(0, value.to_bytes());
    }
    summarize(area);
}

fn store<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
    transfer: &Transfer,
) -> Result<(), Fault> {
    cpu.check_x87()?;
    check_pending(cpu)?;
    let size = size(transfer.kind);
    let address = cpu.address(i, size, AccessKind::Write)?;
    let area = cpu.vectors_mut()?;
    let (bytes, raised) = convert(area, transfer);
    let stops = raised & !area.fcw() & (status::IE | status::OE | status::UE) != 0;
    // Without a result nothing is known to be inexact.
    let raised = if stops {
        raised & !(status::PE | status::C1)
    } else {
        raised
    };
    area.set_fsw(area.fsw() & !status::C1 | raised);
    if !stops && transfer.pops {
        let top = top(area);
        area.set_ftw(area.ftw() & !(1 << top));
        area.set_top((top + 1) & 7);
    }
    summarize(area);
    if stops {
        Ok(())
    } else {
        cpu.store_bytes(address, bytes.split_at(size).0)
    }
}

/// The bytes for memory, and the exceptions on the way.
fn convert(area: &XsaveArea, transfer: &Transfer) -> ([u8; 10], u16) {
    let (control, empty) = (area.fcw(), area.ftw() >> top(area) & 1 == 0);
    let value = Extended::from_bytes(area.st(0));
    let rounding = if transfer.truncates {
        Rounding::Truncate
    } else {
        Rounding::of_control(control)
    };
    let (raw, raised) = match transfer.kind {
        Kind::Extended if empty => return (INDEFINITE.to_bytes(), status::IE | status::SF),
        Kind::Extended => return (value.to_bytes(), 0),
        Kind::Float(format) if empty => (format.indefinite(), status::IE | status::SF),
        Kind::Integer(width) if empty => (width.sign(), status::IE | status::SF),
        Kind::Float(format) => value.to_float(format, rounding, control & status::UE != 0),
        Kind::Integer(width) => value.to_integer(width.bits(), rounding),
    };
    let mut bytes = [0; 10];
    bytes.split_at_mut(8).0.copy_from_slice(&raw.to_le_bytes());
    (bytes, raised)
}
