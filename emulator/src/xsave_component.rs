//! Components of XSAVE beyond the legacy region: where they lie, how they come and go.
//!
//! Source: Intel SDM volume 1, 13.4.3 (compacted layout); volume 2, CPUID leaf 13.

use crate::cpu::Cpu;
use crate::machine::Machine;
use crate::outcome::Fault;
use crate::xsave_area::{AVX_OFFSET, AVX_SIZE, XSAVE_AREA_SIZE, XsaveArea};

const LEAF: u32 = 0xd;

/// Where a component lies in an area, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

pub(crate) fn store_component<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    area_address: u64,
    n: u32,
    layout: Layout,
) -> Result<(), Fault> {
    let inside = standard(cpu, n)?;
    let size = visible(cpu, n, inside.size);
    let mut bytes = [0; XSAVE_AREA_SIZE];
    let copy = bytes.get_mut(..size).ok_or(Fault::Unsupported)?;
    let area = cpu.vectors()?.as_bytes();
    copy.copy_from_slice(
        area.get(inside.offset..inside.offset + size)
            .ok_or(Fault::Unsupported)?,
    );
    cpu.store_bytes(area_address.wrapping_add(layout.offset as u64), copy)
}

pub(crate) fn load_component<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    area_address: u64,
    n: u32,
    layout: Layout,
    loaded: bool,
) -> Result<(), Fault> {
    if is_supervisor(cpu, n) {
        return Ok(());
    }
    let inside = standard(cpu, n)?;
    let size = visible(cpu, n, inside.size);
    let mut bytes = [0; XSAVE_AREA_SIZE];
    let copy = bytes.get_mut(..size).ok_or(Fault::Unsupported)?;
    if loaded {
        cpu.load_bytes(area_address.wrapping_add(layout.offset as u64), copy)?;
    }
    let bits = cpu.bits;
    let area = cpu.vectors_mut()?;
    let place = area
        .as_mut_bytes()
        .get_mut(inside.offset..inside.offset + size);
    place.ok_or(Fault::Unsupported)?.copy_from_slice(copy);
    if loaded {
        area.set_xstate_bv(area.xstate_bv() | 1 << n);
    } else {
        forget(area, 1 << n, bits);
    }
    Ok(())
}

/// Outside 64-bit mode only half of the AVX registers are seen.
const fn visible<M: Machine>(cpu: &Cpu<'_, M>, n: u32, size: usize) -> usize {
    if n == 2 && cpu.bits != 64 {
        AVX_SIZE / 2
    } else {
        size
    }
}

fn is_supervisor<M: Machine>(cpu: &mut Cpu<'_, M>, n: u32) -> bool {
    let [_, _, flags, _] = cpu.machine.cpuid(LEAF, n);
    flags & 1 != 0
}

/// Place of a component in the standard format, in memory as in the machine's own area.
pub(crate) fn standard<M: Machine>(cpu: &mut Cpu<'_, M>, n: u32) -> Result<Layout, Fault> {
    if n == 2 {
        return Ok(Layout {
            offset: AVX_OFFSET,
            size: AVX_SIZE,
        });
    }
    let [size, offset, ..] = cpu.machine.cpuid(LEAF, n);
    let layout = Layout {
        offset: offset as usize,
        size: size as usize,
    };
    let fits = layout.offset >= AVX_OFFSET + AVX_SIZE
        && layout.offset.saturating_add(layout.size) <= XSAVE_AREA_SIZE;
    if fits && layout.size > 0 {
        Ok(layout)
    } else {
        Err(Fault::Unsupported)
    }
}

/// Place of the next component in the compacted format; `offset` moves behind it.
pub(crate) fn compacted<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    n: u32,
    offset: &mut usize,
) -> Result<Layout, Fault> {
    let [size, _, flags, _] = if n == 2 {
        [256, 0, 0, 0]
    } else {
        cpu.machine.cpuid(LEAF, n)
    };
    let size = size as usize;
    if size == 0 || size > XSAVE_AREA_SIZE {
        return Err(Fault::Unsupported);
    }
    let start = if flags & 2 != 0 {
        offset.next_multiple_of(64)
    } else {
        *offset
    };
    *offset = start + size;
    Ok(Layout {
        offset: start,
        size,
    })
}

/// All of a component is in its initial state; outside 64-bit mode half of the registers stay as they were.
pub(crate) fn forget(area: &mut XsaveArea, component: u64, bits: u32) {
    if bits == 64 {
        area.set_xstate_bv(area.xstate_bv() & !component);
    }
}
