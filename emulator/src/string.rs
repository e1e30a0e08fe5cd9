//! MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS, with and without a repeat prefix.
//!
//! Source: Intel SDM volume 2, the pages of the instructions and of REP; volume 1, 20.5 (I/O permission).

use iced_x86::{Instruction, Mnemonic, OpKind, Register};

use crate::cpu::Cpu;
use crate::flags;
use crate::machine::{AccessKind, Machine};
use crate::outcome::Fault;
use crate::registers::rflags::{ARITHMETIC, DF, IOPL, TF, ZF};
use crate::width::Width;

/// Elements of a repeated instruction in one step: short enough for an interrupt to wait for.
pub(crate) const ELEMENTS_PER_STEP: usize = 512;

/// The registers of a string instruction by address size.
struct Pointers {
    count: Register,
    source: Register,
    destination: Register,
}

fn pointers(i: &Instruction) -> Pointers {
    let kinds = [i.op_kind(0), i.op_kind(1)];
    if kinds
        .iter()
        .any(|kind| matches!(kind, OpKind::MemorySegRSI | OpKind::MemoryESRDI))
    {
        Pointers {
            count: Register::RCX,
            source: Register::RSI,
            destination: Register::RDI,
        }
    } else if kinds
        .iter()
        .any(|kind| matches!(kind, OpKind::MemorySegESI | OpKind::MemoryESEDI))
    {
        Pointers {
            count: Register::ECX,
            source: Register::ESI,
            destination: Register::EDI,
        }
    } else {
        Pointers {
            count: Register::CX,
            source: Register::SI,
            destination: Register::DI,
        }
    }
}

/// Any string instruction.
pub(crate) fn string<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let width = Width::from_bytes(i.memory_size().size()).ok_or(Fault::Unsupported)?;
    let pointers = pointers(i);
    if is_io(i) {
        check_port(cpu, width)?;
    }
    if !i.has_rep_prefix() && !i.has_repne_prefix() {
        return element(cpu, i, width, &pointers);
    }
    let limit = if cpu.flag(TF) { 1 } else { ELEMENTS_PER_STEP };
    for done in 0..limit {
        let count = cpu.register(pointers.count);
        if count == 0 {
            return Ok(());
        }
        let before = cpu.general;
        if let Err(fault) = element(cpu, i, width, &pointers) {
            return Err(interrupted(cpu, before, done, fault));
        }
        cpu.set_register(pointers.count, count - 1);
        if count == 1 || ends(cpu, i) {
            return Ok(());
        }
    }
    // Elements remain: the instruction is met again.
    cpu.general.rip = cpu.start;
    Ok(())
}

/// A fault after some elements leaves what they did.
fn interrupted<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    before: crate::registers::General,
    done: usize,
    fault: Fault,
) -> Fault {
    match fault {
        Fault::Event(event) if done > 0 => {
            cpu.general = before;
            cpu.general.rip = cpu.start;
            Fault::Trap(event)
        }
        other => other,
    }
}

/// REPE and REPNE look at ZF after a comparison.
fn ends<M: Machine>(cpu: &Cpu<'_, M>, i: &Instruction) -> bool {
    let compares = is_compare(i.mnemonic());
    compares && cpu.flag(ZF) == i.has_repne_prefix()
}

fn is_compare(mnemonic: Mnemonic) -> bool {
    use Mnemonic as N;
    matches!(
        mnemonic,
        N::Cmpsb | N::Cmpsw | N::Cmpsd | N::Cmpsq | N::Scasb | N::Scasw | N::Scasd | N::Scasq
    )
}

fn is_io(i: &Instruction) -> bool {
    use Mnemonic as N;
    matches!(
        i.mnemonic(),
        N::Insb | N::Insw | N::Insd | N::Outsb | N::Outsw | N::Outsd
    )
}

/// One element: the work, then the pointers that took part move on.
fn element<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
    width: Width,
    pointers: &Pointers,
) -> Result<(), Fault> {
    use Mnemonic as N;
    let (moves_source, moves_destination) = match i.mnemonic() {
        N::Movsb | N::Movsw | N::Movsd | N::Movsq => {
            let to = destination(cpu, width, pointers, AccessKind::Write)?;
            let value = source(cpu, i, width, pointers)?;
            cpu.store(to, width, value)?;
            (true, true)
        }
        N::Stosb | N::Stosw | N::Stosd | N::Stosq => {
            let to = destination(cpu, width, pointers, AccessKind::Write)?;
            cpu.store(to, width, cpu.register(Register::RAX))?;
            (false, true)
        }
        N::Lodsb | N::Lodsw | N::Lodsd | N::Lodsq => {
            let value = source(cpu, i, width, pointers)?;
            cpu.set_register(accumulator(width), value);
            (true, false)
        }
        N::Cmpsb | N::Cmpsw | N::Cmpsd | N::Cmpsq => {
            let first = source(cpu, i, width, pointers)?;
            compare(cpu, first, width, pointers)?;
            (true, true)
        }
        N::Scasb | N::Scasw | N::Scasd | N::Scasq => {
            compare(cpu, cpu.register(Register::RAX), width, pointers)?;
            (false, true)
        }
        N::Insb | N::Insw | N::Insd => {
            let to = destination(cpu, width, pointers, AccessKind::Write)?;
            // A page fault must come before the device has given its data away.
            cpu.load(to, width, AccessKind::Modify)?;
            let value = port_in(cpu, width)?;
            cpu.store(to, width, value)?;
            (false, true)
        }
        _ => {
            let value = source(cpu, i, width, pointers)?;
            port_out(cpu, width, value)?;
            (true, false)
        }
    };
    let distance = u64::from(width.bits() / 8);
    let distance = if cpu.flag(DF) {
        distance.wrapping_neg()
    } else {
        distance
    };
    for (register, moves) in [
        (pointers.source, moves_source),
        (pointers.destination, moves_destination),
    ] {
        if moves {
            cpu.set_register(register, cpu.register(register).wrapping_add(distance));
        }
    }
    Ok(())
}

fn destination<M: Machine>(
    cpu: &Cpu<'_, M>,
    width: Width,
    pointers: &Pointers,
    kind: AccessKind,
) -> Result<u64, Fault> {
    cpu.linear(
        Register::ES,
        cpu.register(pointers.destination),
        width.bytes(),
        kind,
    )
}

/// Compares with the element at the destination.
fn compare<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    first: u64,
    width: Width,
    pointers: &Pointers,
) -> Result<(), Fault> {
    let from = destination(cpu, width, pointers, AccessKind::Read)?;
    let second = cpu.load(from, width, AccessKind::Read)?;
    cpu.set_flags(ARITHMETIC, flags::sub(width, first, second, false).1);
    Ok(())
}

fn source<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
    width: Width,
    pointers: &Pointers,
) -> Result<u64, Fault> {
    let offset = cpu.register(pointers.source);
    let address = cpu.linear(i.memory_segment(), offset, width.bytes(), AccessKind::Read)?;
    cpu.load(address, width, AccessKind::Read)
}

const fn accumulator(width: Width) -> Register {
    match width {
        Width::Byte => Register::AL,
        Width::Word => Register::AX,
        Width::Dword => Register::EAX,
        Width::Qword => Register::RAX,
    }
}

fn port<M: Machine>(cpu: &Cpu<'_, M>) -> u16 {
    (cpu.register(Register::DX) & 0xffff) as u16
}

fn port_in<M: Machine>(cpu: &mut Cpu<'_, M>, width: Width) -> Result<u64, Fault> {
    let port = port(cpu);
    let mut bytes = [0; 8];
    cpu.machine
        .port_in(port, bytes.split_at_mut(width.bytes()).0)?;
    Ok(u64::from_le_bytes(bytes))
}

fn port_out<M: Machine>(cpu: &mut Cpu<'_, M>, width: Width, value: u64) -> Result<(), Fault> {
    let port = port(cpu);
    let bytes = value.to_le_bytes();
    Ok(cpu
        .machine
        .port_out(port, bytes.split_at(width.bytes()).0)?)
}

/// Above IOPL the bitmap of the task state segment decides.
fn check_port<M: Machine>(cpu: &mut Cpu<'_, M>, width: Width) -> Result<(), Fault> {
    const BITMAP_BASE: u64 = 0x66;
    let iopl = cpu.general.rflags & IOPL;
    if cpu.is_real_mode() || (!cpu.is_v86() && u64::from(cpu.cpl) << IOPL.trailing_zeros() <= iopl)
    {
        return Ok(());
    }
    let tr = cpu.system.tr;
    // A 16-bit task state segment (types 1 and 3) has no bitmap.
    if tr.unusable || tr.kind & 0b1000 == 0 || tr.limit < 0x67 {
        return Err(Fault::GP0);
    }
    let port = u64::from(port(cpu));
    let start = cpu.load_system(tr.base.wrapping_add(BITMAP_BASE), Width::Word)?;
    let byte = start + port / 8;
    if byte + 1 > u64::from(tr.limit) {
        return Err(Fault::GP0);
    }
    let bitmap = cpu.load_system(tr.base.wrapping_add(byte), Width::Word)?;
    let ports = (1 << width.bytes()) - 1;
    if bitmap >> (port % 8) & ports == 0 {
        Ok(())
    } else {
        Err(Fault::GP0)
    }
}
