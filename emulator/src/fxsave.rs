//! FXSAVE, FXRSTOR, LDMXCSR, STMXCSR.
//!
//! Source: Intel SDM volume 1, 10.5 and table 10-2; volume 2, the pages of the instructions.

use iced_x86::{Code, Instruction};

use crate::cpu::Cpu;
use crate::machine::{AccessKind, Machine};
use crate::outcome::Fault;
use crate::registers::efer;
use crate::width::Width;
use crate::xsave_area::{LEGACY_SIZE, XsaveArea, component};

/// The CPU neither writes nor reads what lies behind.
const USED: usize = 416;
const MXCSR: std::ops::Range<usize> = 24..32;
const POINTERS: std::ops::Range<usize> = 8..24;
const ST0: usize = 32;
const XMM0: usize = 160;

/// FXSAVE, FXSAVE64.
pub(crate) fn fxsave<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let address = checked_address(cpu, i, AccessKind::Write)?;
    let (vectors, wide) = (has_vectors(cpu), i.code() == Code::Fxsave64_m512byte);
    let registers = if cpu.bits == 64 { 16 } else { 8 };
    let area = cpu.vectors()?;
    let mut image = [0; USED];
    image.copy_from_slice(area.as_bytes().split_at(USED).0);
    if !wide {
        drop_selectors(&mut image);
    }
    let end = if vectors { XMM0 + 16 * registers } else { XMM0 };
    cpu.store_bytes(address, image.split_at(end).0)
}

/// FXRSTOR, FXRSTOR64.
pub(crate) fn fxrstor<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let address = checked_address(cpu, i, AccessKind::Read)?;
    let (vectors, wide) = (has_vectors(cpu), i.code() == Code::Fxrstor64_m512byte);
    let registers = if cpu.bits == 64 { 16 } else { 8 };
    let mut image = [0; USED];
    cpu.load_bytes(address, &mut image)?;
    check_mxcsr(cpu, read_mxcsr(&image))?;
    if !wide {
        drop_selectors(&mut image);
    }
    let area = cpu.vectors_mut()?;
    load_x87(area, &image);
    area.set_mxcsr(read_mxcsr(&image));
    if vectors {
        load_xmm(area, &image, registers);
    }
    Ok(())
}

/// LDMXCSR, VLDMXCSR.
pub(crate) fn ldmxcsr<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let address = cpu.address(i, 4, AccessKind::Read)?;
    let value = cpu.load(address, Width::Dword, AccessKind::Read)?;
    let value = (value & 0xffff_ffff) as u32;
    check_mxcsr(cpu, value)?;
    cpu.vectors_mut()?.set_mxcsr(value);
    Ok(())
}

/// STMXCSR, VSTMXCSR.
pub(crate) fn stmxcsr<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.check_vector(i)?;
    let address = cpu.address(i, 4, AccessKind::Write)?;
    let value = cpu.vectors()?.mxcsr();
    cpu.store(address, Width::Dword, u64::from(value))
}

/// Sets the x87 part of the state from a legacy region.
pub(crate) fn load_x87(area: &mut XsaveArea, image: &[u8; USED]) {
    let bytes = area.as_mut_bytes();
    // Byte 5 is reserved.
    for range in [0..5, 6..MXCSR.start] {
        copy(bytes, image, range);
    }
    // Of sixteen bytes the upper six are reserved.
    for n in 0..8 {
        copy(bytes, image, ST0 + 16 * n..ST0 + 16 * n + 10);
    }
    area.set_xstate_bv(area.xstate_bv() | component::X87);
    area.set_fcw(area.fcw() & 0x1f7f | 0x40);
    crate::x87::summarize(area);
}

/// Sets the low XMM registers from a legacy region.
pub(crate) fn load_xmm(area: &mut XsaveArea, image: &[u8; USED], registers: usize) {
    copy(area.as_mut_bytes(), image, XMM0..XMM0 + 16 * registers);
    area.set_xstate_bv(area.xstate_bv() | component::SSE);
}

fn copy(area: &mut [u8], image: &[u8; USED], range: std::ops::Range<usize>) {
    if let (Some(place), Some(source)) = (area.get_mut(range.clone()), image.get(range)) {
        place.copy_from_slice(source);
    }
}

pub(crate) fn read_mxcsr(image: &[u8; USED]) -> u32 {
    let [b0, b1, b2, b3] = image
        .get(MXCSR)
        .and_then(<[u8]>::first_chunk)
        .copied()
        .unwrap_or_default();
    u32::from_le_bytes([b0, b1, b2, b3])
}

/// A bit that the machine's CPU lacks gives #GP.
pub(crate) fn check_mxcsr<M: Machine>(cpu: &mut Cpu<'_, M>, value: u32) -> Result<(), Fault> {
    if value & !cpu.vectors()?.mxcsr_mask() == 0 {
        Ok(())
    } else {
        Err(Fault::GP0)
    }
}

/// The short pointer format: 32 bits of offset, a selector that CPUs no longer keep, 16 reserved bits.
pub(crate) fn drop_selectors(image: &mut [u8; USED]) {
    let pointers = image.get_mut(POINTERS).unwrap_or_default();
    for pointer in pointers.chunks_mut(8) {
        pointer.split_at_mut(4).1.fill(0);
    }
}

fn checked_address<M: Machine>(
    cpu: &Cpu<'_, M>,
    i: &Instruction,
    kind: AccessKind,
) -> Result<u64, Fault> {
    cpu.check_x87()?;
    let address = cpu.address(i, LEGACY_SIZE, kind)?;
    if address % 16 == 0 {
        Ok(address)
    } else {
        Err(Fault::GP0)
    }
}

/// AMD's fast form leaves the XMM registers out in ring 0 of 64-bit mode.
fn has_vectors<M: Machine>(cpu: &Cpu<'_, M>) -> bool {
    cpu.system.efer & efer::FFXSR == 0 || cpu.cpl != 0 || cpu.bits != 64
}
