//! LAR, LSL, VERR, VERW: questions about a selector, answered by ZF.
//!
//! Source: Intel SDM volume 2, the pages of the instructions.

use iced_x86::{Instruction, Mnemonic as N};

use crate::cpu::Cpu;
use crate::descriptor::Descriptor;
use crate::flags::when;
use crate::machine::Machine;
use crate::outcome::Fault;
use crate::registers::{efer, rflags::ZF};

pub(crate) fn execute<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    if cpu.is_real_mode() || cpu.is_v86() {
        return Err(Fault::UD);
    }
    let mnemonic = i.mnemonic();
    let operand = if matches!(mnemonic, N::Verr | N::Verw) {
        0
    } else {
        1
    };
    let selector = (cpu.get(i, operand)? & 0xffff) as u16;
    let descriptor = match cpu.descriptor(selector) {
        _ if selector & !3 == 0 => None,
        Ok(descriptor) => Some(descriptor),
        // A selector outside its table is an answer, a page fault is not.
        Err(Fault::Event(event)) if event.payload.is_none() => None,
        Err(fault) => return Err(fault),
    };
    let descriptor = descriptor.filter(|found| is_visible(cpu, found, mnemonic));
    if let Some(found) = &descriptor {
        match mnemonic {
            N::Lar => cpu.put(i, 0, found.access_rights())?,
            N::Lsl => cpu.put(i, 0, u64::from(found.segment.limit))?,
            _ => {}
        }
    }
    cpu.set_flags(ZF, when(descriptor.is_some(), ZF));
    Ok(())
}

fn is_visible<M: Machine>(cpu: &Cpu<'_, M>, found: &Descriptor, mnemonic: N) -> bool {
    let privilege = found.is_conforming() || found.segment.dpl >= cpu.cpl.max(found.rpl());
    let known = if found.segment.code_or_data {
        match mnemonic {
            N::Verr => !found.is_code() || found.raw_kind() & 0b0010 != 0,
            N::Verw => found.is_writable_data(),
            _ => true,
        }
    } else {
        let long = cpu.system.efer & efer::LMA != 0;
        match (mnemonic, found.raw_kind()) {
            // LDT, available and busy 32-bit or 64-bit TSS; the 16-bit ones only outside long mode.
            (N::Lar | N::Lsl, 2 | 9 | 11) => true,
            (N::Lar | N::Lsl, 1 | 3) => !long,
            // Call gates for all, task gates outside long mode.
            (N::Lar, 12) => true,
            (N::Lar, 4 | 5) => !long,
            _ => false,
        }
    };
    privilege && known
}
