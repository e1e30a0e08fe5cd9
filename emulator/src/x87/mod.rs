//! x87 control: the control, status and tag words, the environment, the whole register stack.
//!
//! Loads and stores are in [`transfer`], arithmetic is in [`arithmetic`]. Code and data selectors are stored as zero, as CPUs do that have deprecated them
//! (CPUID leaf 7, EBX bit 13).
//!
//! Source: Intel SDM volume 1, 8.1; volume 2, the pages of the instructions.

pub(crate) mod arithmetic;
mod compute;
mod exact;
pub(crate) mod extended;
pub(crate) mod transfer;

use iced_x86::{Code, Instruction, Mnemonic as N, OpKind, Register};

use crate::cpu::Cpu;
use crate::machine::{AccessKind, Machine};
use crate::outcome::Fault;
use crate::registers::cr0;
use crate::width::Width;
use crate::xsave_area::XsaveArea;

/// Bits of the status word; exceptions are masked by the same bits of the control word.
mod status {
    /// Invalid operation.
    pub(super) const IE: u16 = 1 << 0;
    /// Denormal operand.
    pub(super) const DE: u16 = 1 << 1;
    /// Division by zero.
    pub(super) const ZE: u16 = 1 << 2;
    /// Overflow.
    pub(super) const OE: u16 = 1 << 3;
    /// Underflow.
    pub(super) const UE: u16 = 1 << 4;
    /// Inexact result.
    pub(super) const PE: u16 = 1 << 5;
    /// Stack fault.
    pub(super) const SF: u16 = 1 << 6;
    /// Rounded up, or the stack overflowed.
    pub(super) const C1: u16 = 1 << 9;
    /// Less.
    pub(super) const C0: u16 = 1 << 8;
    /// With the other two: does not compare.
    pub(super) const C2: u16 = 1 << 10;
    /// Equal.
    pub(super) const C3: u16 = 1 << 14;
}

const EXCEPTIONS: u16 = 0x3f;
const STATUS_ES: u16 = 1 << 7;
const STATUS_BUSY: u16 = 1 << 15;
const STATUS_TOP: u16 = 7 << 11;
/// Exceptions, stack fault, summary, busy: what FNCLEX clears.
const STATUS_CLEARED: u16 = 0x80ff;
const CONTROL_RESET: u16 = 0x37f;
const CONTROL_WRITABLE: u16 = 0x1f7f;
/// Reads as one.
const CONTROL_FIXED: u16 = 1 << 6;

/// Eight registers of ten bytes behind the longest environment.
const LONGEST: usize = 28 + 80;

pub(crate) fn execute<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_x87()?;
    match i.mnemonic() {
        N::Fnstcw => {
            let control = cpu.vectors()?.fcw();
            store_word(cpu, i, control)
        }
        N::Fnstsw => {
            let status = cpu.vectors()?.fsw();
            store_word(cpu, i, status)
        }
        N::Fnclex => {
            let area = cpu.vectors_mut()?;
            area.set_fsw(area.fsw() & !STATUS_CLEARED);
            Ok(())
        }
        N::Fninit => {
            initialize(cpu.vectors_mut()?);
            Ok(())
        }
        N::Fldcw => {
            check_pending(cpu)?;
            let address = cpu.address(i, 2, AccessKind::Read)?;
            let control = word(cpu.load(address, Width::Word, AccessKind::Read)?);
            let area = cpu.vectors_mut()?;
            area.set_fcw(control & CONTROL_WRITABLE | CONTROL_FIXED);
            summarize(area);
            Ok(())
        }
        N::Fnstenv | N::Fnsave => store_state(cpu, i),
        N::Fldenv | N::Frstor => {
            check_pending(cpu)?;
            load_state(cpu, i)
        }
        _ => Err(Fault::Unsupported),
    }
}

/// WAIT, and every instruction that looks for pending errors first.
pub(crate) fn check_pending<M: Machine>(cpu: &mut Cpu<'_, M>) -> Result<(), Fault> {
    if cpu.system.cr0 & cr0::NE != 0 && cpu.vectors()?.fsw() & STATUS_ES != 0 {
        Err(Fault::MF)
    } else {
        Ok(())
    }
}

fn store_word<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction, value: u16) -> Result<(), Fault> {
    if i.op0_kind() == OpKind::Register {
        cpu.set_register(Register::AX, u64::from(value));
        return Ok(());
    }
    let address = cpu.address(i, 2, AccessKind::Write)?;
    cpu.store(address, Width::Word, u64::from(value))
}

/// FNINIT leaves the registers themselves.
fn initialize(area: &mut XsaveArea) {
    area.set_fcw(CONTROL_RESET);
    area.set_top(0);
    area.set_fsw(0);
    area.set_ftw(0);
    area.set_last_instruction(0, 0, 0);
}

/// ES and B follow from the exceptions that are not masked.
pub(crate) fn summarize(area: &mut XsaveArea) {
    let pending = area.fsw() & !area.fcw() & EXCEPTIONS != 0;
    let rest = area.fsw() & !(STATUS_ES | STATUS_BUSY);
    area.set_fsw(if pending {
        rest | STATUS_ES | STATUS_BUSY
    } else {
        rest
    });
}

/// Short formats have words, long ones dwords.
fn is_short(i: &Instruction) -> bool {
    matches!(
        i.code(),
        Code::Fnstenv_m14byte | Code::Fldenv_m14byte | Code::Fnsave_m94byte | Code::Frstor_m94byte
    )
}

fn size(i: &Instruction) -> usize {
    let environment = if is_short(i) { 14 } else { 28 };
    if matches!(i.mnemonic(), N::Fnsave | N::Frstor) {
        environment + 80
    } else {
        environment
    }
}

fn store_state<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let (short, size) = (is_short(i), size(i));
    let real = cpu.is_real_mode() || cpu.is_v86();
    let saves = i.mnemonic() == N::Fnsave;
    let address = cpu.address(i, size, AccessKind::Write)?;
    let mut bytes = [0; LONGEST];
    let area = cpu.vectors_mut()?;
    let (opcode, instruction, operand) = area.last_instruction();
    let fields = if real {
        let upper = |pointer: u32| pointer >> 16 << 12;
        [
            instruction & 0xffff,
            upper(instruction) | opcode,
            operand & 0xffff,
            upper(operand),
        ]
    } else {
        [
            instruction,
            if short { 0 } else { opcode << 16 },
            operand,
            0,
        ]
    };
    let [f0, f1, f2, f3] = fields;
    let head = [area.fcw(), area.fsw(), full_tag(area)].map(u32::from);
    let [control, status, tag] = head.map(|field| if short { field } else { field | 0xffff_0000 });
    let reserved = if short { 0 } else { 0xffff_0000 };
    let step = if short { 2 } else { 4 };
    let last = if real { f3 } else { f3 | reserved };
    let all = [control, status, tag, f0, f1, f2, last];
    for (place, field) in bytes.chunks_mut(step).zip(all) {
        place.copy_from_slice(field.to_le_bytes().split_at(step).0);
    }
    if saves {
        let registers = bytes.chunks_mut(2).skip(step * 7 / 2);
        let values = (0..8).flat_map(|n| area.st(n));
        for (place, value) in registers.flatten().zip(values) {
            *place = value;
        }
        initialize(area);
    } else {
        area.set_fcw(area.fcw() | EXCEPTIONS);
        summarize(area);
    }
    cpu.store_bytes(address, bytes.split_at(size).0)
}

fn load_state<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let (short, size) = (is_short(i), size(i));
    let real = cpu.is_real_mode() || cpu.is_v86();
    let address = cpu.address(i, size, AccessKind::Read)?;
    let mut bytes = [0; LONGEST];
    cpu.load_bytes(address, bytes.split_at_mut(size).0)?;
    let step = if short { 2 } else { 4 };
    let mut fields = [0_u32; 7];
    for (field, source) in fields.iter_mut().zip(bytes.chunks(step)) {
        *field = source
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u32::from(*byte));
    }
    let [control, status, tag, f0, f1, f2, f3] = fields;
    let (opcode, instruction, operand) = if real {
        (
            f1 & 0x7ff,
            f0 & 0xffff | f1 >> 12 << 16,
            f2 & 0xffff | f3 >> 12 << 16,
        )
    } else {
        (if short { 0 } else { f1 >> 16 & 0x7ff }, f0, f2)
    };
    let area = cpu.vectors_mut()?;
    area.set_fcw(word(control.into()) & CONTROL_WRITABLE | CONTROL_FIXED);
    let status = word(status.into());
    area.set_top(status >> 11);
    area.set_fsw(status);
    area.set_ftw(abridged_tag(word(tag.into())));
    area.set_last_instruction(opcode, instruction, operand);
    if i.mnemonic() == N::Frstor {
        let (_, registers) = bytes.split_at(step * 7);
        for (n, register) in registers.as_chunks().0.iter().take(8).enumerate() {
            area.set_st(n, *register);
        }
    }
    summarize(area);
    Ok(())
}

/// Two bits a physical register: valid, zero, special, empty.
fn full_tag(area: &XsaveArea) -> u16 {
    let top = usize::from((area.fsw() & STATUS_TOP) >> 11);
    (0..8).fold(0, |tag, physical| {
        let used = area.ftw() >> physical & 1 != 0;
        let class = if used {
            classify(area.st(physical + 8 - top))
        } else {
            3
        };
        tag | class << (2 * physical)
    })
}

fn classify(register: [u8; 10]) -> u16 {
    let [b0, b1, b2, b3, b4, b5, b6, b7, e0, e1] = register;
    let mantissa = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
    match u16::from_le_bytes([e0, e1]) & 0x7fff {
        0 if mantissa == 0 => 1,
        0 | 0x7fff => 2,
        _ if mantissa >> 63 == 0 => 2,
        _ => 0,
    }
}

fn abridged_tag(tag: u16) -> u8 {
    (0..8).fold(0, |abridged, n| {
        abridged | u8::from(tag >> (2 * n) & 3 != 3) << n
    })
}

const fn word(value: u64) -> u16 {
    (value & 0xffff) as u16
}
