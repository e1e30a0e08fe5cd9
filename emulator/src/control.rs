//! INT n, INT3, INTO, ICEBP, and SYSRET.
//!
//! Source: Intel SDM volume 2, the pages of the instructions.

use iced_x86::{Code, Instruction, Register};

use crate::cpu::Cpu;
use crate::machine::Machine;
use crate::outcome::{Event, Fault, vector};
use crate::registers::{Segment, efer, rflags};
use crate::width::Width;

const MSR_STAR: u32 = 0xc000_0081;

/// INT n, INT3, INTO: an event behind the instruction.
pub(crate) fn interrupt<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let (vector, software) = match i.code() {
        Code::Int3 => (vector::BP, false),
        Code::Into if !cpu.flag(rflags::OF) => return Ok(()),
        Code::Into => (vector::OF, false),
        _ => {
            if cpu.is_v86() && cpu.general.rflags & rflags::IOPL != rflags::IOPL {
                return Err(Fault::GP0);
            }
            (i.immediate8(), true)
        }
    };
    check_gate(cpu, vector)?;
    Err(Fault::Trap(Event {
        vector,
        error_code: None,
        payload: None,
        software,
    }))
}

/// ICEBP (0xf1): #DB, which no gate's privilege stops.
pub(crate) const fn icebp() -> Fault {
    Fault::Trap(Event {
        vector: vector::DB,
        error_code: None,
        payload: Some(0),
        software: false,
    })
}

/// The privilege of the gate, which only software interrupts are held to.
fn check_gate<M: Machine>(cpu: &mut Cpu<'_, M>, vector: u8) -> Result<(), Fault> {
    if cpu.cpl == 0 {
        return Ok(());
    }
    let size = if cpu.system.efer & efer::LMA != 0 {
        16
    } else {
        8
    };
    let offset = u64::from(vector) * size;
    let refused = Fault::gp(u32::from(vector) << 3 | 2);
    if offset + size - 1 > u64::from(cpu.system.idt.limit) {
        return Err(refused);
    }
    let gate = cpu.load_system(cpu.system.idt.base.wrapping_add(offset), Width::Qword)?;
    let dpl = gate >> 45 & 3;
    if dpl < u64::from(cpu.cpl) {
        Err(refused)
    } else {
        Ok(())
    }
}

/// SYSRET to 64-bit or 32-bit code of ring 3.
pub(crate) fn sysret<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    /// The flags that R11 sets (the manual's 3C7FD7H, bit 1 being fixed).
    const FLAGS: u64 = 0x003c_7fd5;
    if cpu.system.efer & (efer::SCE | efer::LMA) != efer::SCE | efer::LMA || cpu.bits != 64 {
        return Err(Fault::UD);
    }
    cpu.check_ring0()?;
    let long = i.code() == Code::Sysretq;
    let target = cpu.register(Register::RCX);
    if long && !cpu.is_canonical(target) {
        return Err(Fault::GP0);
    }
    let star = cpu.machine.msr(MSR_STAR)?;
    let base = (star >> 48 & 0xffff) as u16;
    let code = base.wrapping_add(if long { 16 } else { 0 }) | 3;
    cpu.general.rip = if long { target } else { target & 0xffff_ffff };
    cpu.general.rflags = cpu.register(Register::R11) & FLAGS | rflags::FIXED;
    cpu.system.cs = flat(code, 0b1011);
    cpu.system.cs.long = long;
    cpu.system.cs.big = !long;
    cpu.system.ss = flat(base.wrapping_add(8) | 3, 0b0011);
    cpu.system_changed = true;
    Ok(())
}

/// A flat segment of ring 3.
const fn flat(selector: u16, kind: u8) -> Segment {
    Segment {
        base: 0,
        limit: 0xffff_ffff,
        selector,
        kind,
        dpl: 3,
        present: true,
        code_or_data: true,
        big: true,
        long: false,
        granular: true,
        available: false,
        unusable: false,
    }
}
