//! XSAVE, XSAVEOPT, XSAVEC, XSAVES, XRSTOR, XRSTORS.
//!
//! Supervisor components (IA32_XSS) are treated as being in their initial state: saved as absent, not loaded.
//!
//! Source: Intel SDM volume 1, 13.4 to 13.12.

use iced_x86::{Instruction, Mnemonic as N, Register};

use crate::cpu::Cpu;
use crate::fxsave::{check_mxcsr, drop_selectors, load_x87, load_xmm, read_mxcsr};
use crate::machine::{AccessKind, Machine};
use crate::outcome::Fault;
use crate::system::check_osxsave;
use crate::xsave_area::{MXCSR_RESET, XsaveArea, component};
use crate::xsave_component::{
    Layout, compacted, forget, load_component, standard, store_component,
};

const COMPACTED: u64 = 1 << 63;
const MSR_XSS: u32 = 0xda0;
const HEADER: usize = 512;
const EXTENDED: usize = 576;
/// The legacy region's part with a meaning.
const LEGACY_USED: usize = 416;
const XMM0: usize = 160;

/// One instruction's view: which components, where.
struct Request {
    address: u64,
    /// The components asked for and enabled.
    mask: u64,
    /// XCR0, for the S forms with XSS.
    enabled: u64,
    /// REX.W: long pointers of x87.
    wide: bool,
}

fn request<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
    kind: AccessKind,
) -> Result<Request, Fault> {
    check_osxsave(cpu)?;
    let supervisor = matches!(
        i.mnemonic(),
        N::Xsaves | N::Xsaves64 | N::Xrstors | N::Xrstors64
    );
    if supervisor {
        cpu.check_ring0()?;
    }
    cpu.check_ts()?;
    let address = cpu.address(i, EXTENDED, kind)?;
    if address % 64 != 0 {
        return Err(Fault::GP0);
    }
    let asked = cpu.register(Register::EDX) << 32 | cpu.register(Register::EAX);
    let user = cpu.machine.xcr0()?;
    // A machine without the register has no supervisor state.
    let system = if supervisor {
        cpu.machine.msr(MSR_XSS).unwrap_or(0)
    } else {
        0
    };
    let enabled = user | system;
    let wide = matches!(
        i.mnemonic(),
        N::Xsave64 | N::Xsaveopt64 | N::Xsavec64 | N::Xsaves64 | N::Xrstor64 | N::Xrstors64
    );
    Ok(Request {
        address,
        mask: asked & enabled,
        enabled,
        wide,
    })
}

/// XSAVE, XSAVEOPT: the standard format.
pub(crate) fn save_standard<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
) -> Result<(), Fault> {
    let request = request(cpu, i, AccessKind::Write)?;
    let in_use = cpu.vectors()?.xstate_bv();
    let optimized = matches!(i.mnemonic(), N::Xsaveopt | N::Xsaveopt64);
    let written = if optimized {
        request.mask & in_use
    } else {
        request.mask
    };
    let mut header = [0; 8];
    cpu.load_bytes(request.address.wrapping_add(HEADER as u64), &mut header)?;
    let old = u64::from_le_bytes(header);
    let mxcsr = request.mask & (component::SSE | component::AVX) != 0;
    store_legacy(cpu, &request, written, mxcsr)?;
    for n in 2..63 {
        if written >> n & 1 != 0 {
            let layout = standard(cpu, n)?;
            store_component(cpu, request.address, n, layout)?;
        }
    }
    let bv = old & !request.mask | in_use & request.mask;
    cpu.store_bytes(
        request.address.wrapping_add(HEADER as u64),
        &bv.to_le_bytes(),
    )
}

/// XSAVEC, XSAVES: the compacted format, without components in their initial state.
pub(crate) fn save_compacted<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
) -> Result<(), Fault> {
    let request = request(cpu, i, AccessKind::Write)?;
    let area = cpu.vectors()?;
    let mut in_use = area.xstate_bv();
    if area.mxcsr() != MXCSR_RESET {
        in_use |= component::SSE;
    }
    let written = request.mask & in_use;
    store_legacy(cpu, &request, written, written & component::SSE != 0)?;
    let mut offset = EXTENDED;
    for n in 2..63 {
        if request.mask >> n & 1 != 0 {
            let layout = compacted(cpu, n, &mut offset)?;
            if written >> n & 1 != 0 {
                store_component(cpu, request.address, n, layout)?;
            }
        }
    }
    let mut header = [0; 16];
    let (bv, format) = header.split_at_mut(8);
    bv.copy_from_slice(&written.to_le_bytes());
    format.copy_from_slice(&(request.mask | COMPACTED).to_le_bytes());
    cpu.store_bytes(request.address.wrapping_add(HEADER as u64), &header)
}

/// XRSTOR of both formats, XRSTORS of the compacted one.
pub(crate) fn restore<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let request = request(cpu, i, AccessKind::Read)?;
    let supervisor = matches!(i.mnemonic(), N::Xrstors | N::Xrstors64);
    let mut header = [0; 64];
    cpu.load_bytes(request.address.wrapping_add(HEADER as u64), &mut header)?;
    let mut words = header
        .as_chunks()
        .0
        .iter()
        .map(|bytes| u64::from_le_bytes(*bytes));
    let (bv, format) = (words.next().unwrap_or(0), words.next().unwrap_or(0));
    let compact = format & COMPACTED != 0;
    let reserved = header
        .iter()
        .skip(if compact { 16 } else { 8 })
        .take(if compact { 48 } else { 16 });
    let illegal = if compact {
        (format & !COMPACTED) & !request.enabled != 0 || bv & !format != 0
    } else {
        bv & !request.enabled != 0 || supervisor
    };
    if illegal || reserved.into_iter().any(|byte| *byte != 0) {
        return Err(Fault::GP0);
    }
    let loaded = request.mask & bv & if compact { format } else { u64::MAX };
    restore_legacy(cpu, &request, loaded, compact)?;
    let mut offset = EXTENDED;
    for n in 2..63 {
        let present = format >> n & 1 != 0;
        let layout = match (compact, present) {
            (true, true) => compacted(cpu, n, &mut offset)?,
            (true, false) => Layout { offset: 0, size: 0 },
            // Layouts of components that nobody asked for do not matter.
            (false, _) if request.mask >> n & 1 == 0 => continue,
            (false, _) => standard(cpu, n)?,
        };
        if request.mask >> n & 1 != 0 {
            load_component(cpu, request.address, n, layout, loaded >> n & 1 != 0)?;
        }
    }
    Ok(())
}

fn store_legacy<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    request: &Request,
    written: u64,
    mxcsr: bool,
) -> Result<(), Fault> {
    let registers = if cpu.bits == 64 { 16 } else { 8 };
    let mut image = [0; LEGACY_USED];
    image.copy_from_slice(cpu.vectors()?.as_bytes().split_at(LEGACY_USED).0);
    if !request.wide {
        drop_selectors(&mut image);
    }
    let x87 = written & component::X87 != 0;
    let sse = written & component::SSE != 0;
    let pieces = [
        (x87, 0, 24),
        (mxcsr, 24, 32),
        (x87, 32, XMM0),
        (sse, XMM0, XMM0 + 16 * registers),
    ];
    for (wanted, start, end) in pieces {
        if let Some(piece) = image.get(start..end).filter(|_| wanted) {
            cpu.store_bytes(request.address.wrapping_add(start as u64), piece)?;
        }
    }
    Ok(())
}

fn restore_legacy<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    request: &Request,
    loaded: u64,
    compact: bool,
) -> Result<(), Fault> {
    let registers = if cpu.bits == 64 { 16 } else { 8 };
    let mut image = [0; LEGACY_USED];
    cpu.load_bytes(request.address, &mut image)?;
    if !request.wide {
        drop_selectors(&mut image);
    }
    // The standard format keeps MXCSR apart from SSE's bit in XSTATE_BV.
    let (reads_mxcsr, resets_mxcsr) = if compact {
        (
            loaded & component::SSE != 0,
            request.mask & component::SSE != 0,
        )
    } else {
        (request.mask & (component::SSE | component::AVX) != 0, false)
    };
    if reads_mxcsr {
        check_mxcsr(cpu, read_mxcsr(&image))?;
    }
    let bits = cpu.bits;
    let area = cpu.vectors_mut()?;
    if loaded & component::X87 != 0 {
        load_x87(area, &image);
    } else if request.mask & component::X87 != 0 {
        area.init_x87();
        area.set_xstate_bv(area.xstate_bv() & !component::X87);
    }
    let mxcsr = read_mxcsr(&image);
    if loaded & component::SSE != 0 {
        load_xmm(area, &image, registers);
    } else if request.mask & component::SSE != 0 {
        load_xmm(area, &[0; LEGACY_USED], registers);
        forget(area, component::SSE, bits);
    }
    if reads_mxcsr {
        restore_mxcsr(area, mxcsr);
    } else if resets_mxcsr {
        restore_mxcsr(area, MXCSR_RESET);
    }
    Ok(())
}

/// A value other than the initial one keeps SSE in use.
fn restore_mxcsr(area: &mut XsaveArea, value: u32) {
    let bv = area.xstate_bv();
    area.set_mxcsr(value);
    if value == MXCSR_RESET {
        area.set_xstate_bv(bv);
    }
}
