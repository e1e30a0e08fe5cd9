//! Processor state: time stamps, XCR0, FS and GS bases, SMAP's flag, monitors, cache lines.
//!
//! Source: Intel SDM volume 2, the pages of the instructions.

use iced_x86::{Instruction, Mnemonic, Register};

use crate::cpu::Cpu;
use crate::machine::{AccessKind, Machine};
use crate::outcome::Fault;
use crate::registers::rflags::AC;
use crate::registers::{cr0, cr4};
use crate::x87::check_pending;
use crate::xsave_area::component;

const MSR_TSC: u32 = 0x10;
const MSR_TSC_AUX: u32 = 0xc000_0103;

/// WAIT: only looks for pending x87 errors.
pub(crate) fn wait<M: Machine>(cpu: &mut Cpu<'_, M>) -> Result<(), Fault> {
    const BOTH: u64 = cr0::MP | cr0::TS;
    if cpu.system.cr0 & BOTH == BOTH {
        return Err(Fault::NM);
    }
    check_pending(cpu)
}

/// CLAC, STAC.
pub(crate) fn access_flag<M: Machine>(cpu: &mut Cpu<'_, M>, value: u64) -> Result<(), Fault> {
    if cpu.cpl != 0 {
        return Err(Fault::UD);
    }
    cpu.set_flags(AC, value);
    Ok(())
}

/// RDTSC, RDTSCP.
pub(crate) fn rdtsc<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    if cpu.system.cr4 & cr4::TSD != 0 {
        cpu.check_ring0()?;
    }
    let tsc = cpu.machine.msr(MSR_TSC)?;
    if i.mnemonic() == Mnemonic::Rdtscp {
        let aux = cpu.machine.msr(MSR_TSC_AUX)?;
        cpu.set_register(Register::ECX, aux);
    }
    set_edx_eax(cpu, tsc);
    Ok(())
}

/// RDSSP: without shadow stacks a hint without effect; who looks for them finds its register as it was.
pub(crate) fn read_shadow_stack<M: Machine>(cpu: &mut Cpu<'_, M>) -> Result<(), Fault> {
    if cpu.system.cr4 & cr4::CET != 0 {
        return Err(Fault::Unsupported);
    }
    Ok(())
}

/// RDPID.
pub(crate) fn rdpid<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let aux = cpu.machine.msr(MSR_TSC_AUX)?;
    cpu.set_register(i.op_register(0), aux & 0xffff_ffff);
    Ok(())
}

/// XGETBV: register 0 is XCR0, register 1 the components in use.
pub(crate) fn xgetbv<M: Machine>(cpu: &mut Cpu<'_, M>) -> Result<(), Fault> {
    check_osxsave(cpu)?;
    let value = match cpu.register(Register::ECX) {
        0 => cpu.machine.xcr0()?,
        1 => cpu.machine.xcr0()? & cpu.vectors()?.xstate_bv(),
        _ => return Err(Fault::GP0),
    };
    set_edx_eax(cpu, value);
    Ok(())
}

/// XSETBV (Intel SDM volume 1, 13.3).
pub(crate) fn xsetbv<M: Machine>(cpu: &mut Cpu<'_, M>) -> Result<(), Fault> {
    const ALWAYS: u64 = component::X87 | component::SSE | component::AVX;
    const MPX: u64 = 3 << 3;
    const AVX_512: u64 = 7 << 5;
    const AMX: u64 = 3 << 17;
    check_osxsave(cpu)?;
    cpu.check_ring0()?;
    let value = cpu.register(Register::EDX) << 32 | cpu.register(Register::EAX);
    let [low, _, _, high] = cpu.machine.cpuid(0xd, 0);
    let known = u64::from(high) << 32 | u64::from(low);
    let known = if known == 0 { ALWAYS } else { known };
    let all_or_none = |mask: u64| value & mask == 0 || value & mask == mask;
    let legal = value & component::X87 != 0
        && value & !known == 0
        && (value & component::AVX == 0 || value & component::SSE != 0)
        && (value & AVX_512 == 0 || value & component::AVX != 0)
        && all_or_none(MPX)
        && all_or_none(AVX_512)
        && all_or_none(AMX);
    if cpu.register(Register::ECX) != 0 || !legal {
        return Err(Fault::GP0);
    }
    Ok(cpu.machine.set_xcr0(value)?)
}

pub(crate) fn check_osxsave<M: Machine>(cpu: &Cpu<'_, M>) -> Result<(), Fault> {
    if cpu.system.cr4 & cr4::OSXSAVE == 0 {
        Err(Fault::UD)
    } else {
        Ok(())
    }
}

/// RDFSBASE, RDGSBASE.
pub(crate) fn read_base<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    check_fsgsbase(cpu)?;
    let fs = i.mnemonic() == Mnemonic::Rdfsbase;
    let base = if fs {
        cpu.system.fs.base
    } else {
        cpu.system.gs.base
    };
    cpu.set_register(i.op_register(0), base);
    Ok(())
}

/// WRFSBASE, WRGSBASE.
pub(crate) fn write_base<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    check_fsgsbase(cpu)?;
    let base = cpu.register(i.op_register(0));
    if !cpu.is_canonical(base) {
        return Err(Fault::GP0);
    }
    let fs = i.mnemonic() == Mnemonic::Wrfsbase;
    if fs {
        cpu.system.fs.base = base
    } else {
        cpu.system.gs.base = base
    }
    cpu.system_changed = true;
    Ok(())
}

fn check_fsgsbase<M: Machine>(cpu: &Cpu<'_, M>) -> Result<(), Fault> {
    if cpu.bits != 64 || cpu.system.cr4 & cr4::FSGSBASE == 0 {
        Err(Fault::UD)
    } else {
        Ok(())
    }
}

/// MONITOR: the address is checked, nothing is watched.
pub(crate) fn monitor<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    if cpu.cpl != 0 {
        return Err(Fault::UD);
    }
    if cpu.register(Register::ECX) != 0 {
        return Err(Fault::GP0);
    }
    let segment = if i.segment_prefix() == Register::None {
        Register::DS
    } else {
        i.segment_prefix()
    };
    let offset = cpu.register(i.op0_register());
    cpu.linear(segment, offset, 1, AccessKind::Read)?;
    Ok(())
}

/// MWAIT: a wake-up may come at any time, so it comes at once.
pub(crate) fn mwait<M: Machine>(cpu: &mut Cpu<'_, M>) -> Result<(), Fault> {
    const BREAK_ON_INTERRUPT: u64 = 1;
    if cpu.cpl != 0 {
        return Err(Fault::UD);
    }
    if cpu.register(Register::ECX) & !BREAK_ON_INTERRUPT != 0 {
        Err(Fault::GP0)
    } else {
        Ok(())
    }
}

/// CLFLUSH, CLFLUSHOPT, CLWB, CLDEMOTE: memory is coherent here, only the segment is checked.
pub(crate) fn cache_line<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.address(i, 1, AccessKind::Read)?;
    Ok(())
}

fn set_edx_eax<M: Machine>(cpu: &mut Cpu<'_, M>, value: u64) {
    cpu.set_register(Register::EAX, value & 0xffff_ffff);
    cpu.set_register(Register::EDX, value >> 32);
}
