//! IRET in real, virtual-8086, protected and 64-bit mode, to the same or an outer ring.
//!
//! Returns into virtual-8086 mode and to another task are not supported.
//!
//! Source: Intel SDM volume 2, IRET/IRETD/IRETQ.

use iced_x86::{Code, Instruction, Register};

use crate::cpu::Cpu;
use crate::descriptor::{Descriptor, code};
use crate::machine::Machine;
use crate::outcome::Fault;
use crate::registers::rflags::{AC, ARITHMETIC, DF, ID, IF, IOPL, NT, RF, TF, VIF, VIP, VM};
use crate::registers::{Segment, efer};
use crate::width::Width;

/// What the handler's frame holds.
struct Frame {
    rip: u64,
    cs: u16,
    flags: u64,
    width: Width,
}

/// IRETW, IRETD, IRETQ.
pub(crate) fn iret<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let width = match i.code() {
        Code::Iretw => Width::Word,
        Code::Iretd => Width::Dword,
        _ => Width::Qword,
    };
    let v86 = cpu.is_v86();
    if v86 && cpu.general.rflags & IOPL != IOPL {
        return Err(Fault::GP0);
    }
    let long = cpu.system.efer & efer::LMA != 0;
    if !cpu.is_real_mode() && !v86 && cpu.flag(NT) {
        return Err(if long { Fault::GP0 } else { Fault::Unsupported });
    }
    let rip = cpu.pop(width)?;
    let cs = selector(cpu.pop(width)?);
    let flags = cpu.pop(width)?;
    let frame = Frame {
        rip,
        cs,
        flags,
        width,
    };
    if cpu.is_real_mode() || v86 {
        return to_real(cpu, &frame);
    }
    if flags & VM != 0 && cpu.cpl == 0 && !long && width != Width::Word {
        return Err(Fault::Unsupported);
    }
    to_protected(cpu, &frame)
}

fn to_real<M: Machine>(cpu: &mut Cpu<'_, M>, frame: &Frame) -> Result<(), Fault> {
    if frame.rip > u64::from(cpu.system.cs.limit) {
        return Err(Fault::GP0);
    }
    let mut mask = ARITHMETIC | TF | IF | DF | NT | IOPL;
    if frame.width != Width::Word {
        mask |= RF | AC | ID;
    }
    if cpu.is_v86() {
        mask &= !IOPL;
    }
    cpu.set_flags(mask, frame.flags);
    cpu.general.rip = frame.rip;
    cpu.system.cs.selector = frame.cs;
    cpu.system.cs.base = u64::from(frame.cs) << 4;
    cpu.system_changed = true;
    Ok(())
}

fn to_protected<M: Machine>(cpu: &mut Cpu<'_, M>, frame: &Frame) -> Result<(), Fault> {
    let target = code_segment(cpu, frame.cs)?;
    let rpl = ring(frame.cs);
    let outer = rpl > cpu.cpl;
    let long_target = cpu.system.efer & efer::LMA != 0 && target.segment.long;
    let inside = if long_target {
        cpu.is_canonical(frame.rip)
    } else {
        frame.rip <= u64::from(target.segment.limit)
    };
    if !inside {
        return Err(Fault::GP0);
    }
    if outer || cpu.bits == 64 {
        let pointer = cpu.pop(frame.width)?;
        let ss = selector(cpu.pop(frame.width)?);
        let stack = stack_segment(cpu, ss, rpl, long_target)?;
        set_stack_pointer(cpu, pointer, &stack, frame.width);
        cpu.system.ss = stack;
    }
    cpu.set_accessed(&target)?;
    set_protected_flags(cpu, frame);
    cpu.general.rip = frame.rip;
    cpu.system.cs = target.segment;
    cpu.system.ss.dpl = rpl;
    cpu.system_changed = true;
    if outer {
        drop_inner_segments(cpu, rpl);
    }
    Ok(())
}

fn code_segment<M: Machine>(cpu: &mut Cpu<'_, M>, cs: u16) -> Result<Descriptor, Fault> {
    if cs & !3 == 0 {
        return Err(Fault::GP0);
    }
    let target = cpu.descriptor(cs)?;
    let (rpl, dpl) = (ring(cs), target.segment.dpl);
    let privilege = if target.is_conforming() {
        dpl <= rpl
    } else {
        dpl == rpl
    };
    let both_sizes = cpu.system.efer & efer::LMA != 0 && target.segment.long && target.segment.big;
    if !target.is_code() || rpl < cpu.cpl || !privilege || both_sizes {
        return Err(Fault::gp(code(cs)));
    }
    if target.segment.present {
        Ok(target)
    } else {
        Err(Fault::np(code(cs)))
    }
}

fn stack_segment<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    ss: u16,
    rpl: u8,
    long_target: bool,
) -> Result<Segment, Fault> {
    if ss & !3 == 0 {
        if !long_target || rpl == 3 || ring(ss) != rpl {
            return Err(Fault::GP0);
        }
        return Ok(Segment {
            selector: ss,
            dpl: rpl,
            unusable: true,
            big: true,
            ..Segment::default()
        });
    }
    let stack = cpu.descriptor(ss)?;
    if ring(ss) != rpl || stack.segment.dpl != rpl || !stack.is_writable_data() {
        return Err(Fault::gp(code(ss)));
    }
    if !stack.segment.present {
        return Err(Fault::ss(code(ss)));
    }
    cpu.set_accessed(&stack)?;
    Ok(stack.segment)
}

fn set_stack_pointer<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    pointer: u64,
    stack: &Segment,
    width: Width,
) {
    let register = if cpu.bits == 64 || width == Width::Qword {
        Register::RSP
    } else if stack.big {
        Register::ESP
    } else {
        Register::SP
    };
    cpu.set_register(register, pointer);
}

fn set_protected_flags<M: Machine>(cpu: &mut Cpu<'_, M>, frame: &Frame) {
    let mut mask = ARITHMETIC | TF | DF | NT;
    let wide = frame.width != Width::Word;
    if wide {
        mask |= RF | AC | ID;
    }
    let iopl = cpu.general.rflags >> IOPL.trailing_zeros() & 3;
    if u64::from(cpu.cpl) <= iopl {
        mask |= IF;
    }
    if cpu.cpl == 0 {
        mask |= IOPL;
        if wide {
            mask |= VIF | VIP;
        }
    }
    cpu.set_flags(mask, frame.flags);
}

/// Data segments of a more privileged ring do not survive the return.
fn drop_inner_segments<M: Machine>(cpu: &mut Cpu<'_, M>, rpl: u8) {
    let system = &mut cpu.system;
    for segment in [
        &mut system.ds,
        &mut system.es,
        &mut system.fs,
        &mut system.gs,
    ] {
        let conforming = segment.kind & 0b1100 == 0b1100;
        if !segment.unusable && segment.dpl < rpl && !conforming {
            segment.selector = 0;
            segment.unusable = true;
        }
    }
}

const fn ring(selector: u16) -> u8 {
    (selector & 3) as u8
}

const fn selector(value: u64) -> u16 {
    (value & 0xffff) as u16
}
