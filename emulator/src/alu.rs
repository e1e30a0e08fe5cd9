//! Arithmetic, logic, moves and exchanges of integers.
//!
//! Source: Intel SDM volume 2, the pages of the instructions.

use iced_x86::{Instruction, Mnemonic, OpKind};

use crate::cpu::Cpu;
use crate::flags::{self, Flagged};
use crate::machine::{AccessKind, Machine};
use crate::outcome::Fault;
use crate::registers::rflags::{ARITHMETIC, CF, OF, PF, SF, ZF};
use crate::width::Width;

/// ADD, ADC, SUB, SBB, AND, OR, XOR: `destination = destination op source`; CMP and TEST drop the result.
pub(crate) fn binary<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let mnemonic = i.mnemonic();
    let source = cpu.get(i, 1)?;
    let carry = cpu.flag(CF);
    if matches!(mnemonic, Mnemonic::Cmp | Mnemonic::Test) {
        let width = cpu.width(i, 0)?;
        let old = cpu.get(i, 0)?;
        let (_, flags) = if mnemonic == Mnemonic::Cmp {
            flags::sub(width, old, source, false)
        } else {
            flags::logic(width, old & source)
        };
        cpu.set_flags(ARITHMETIC, flags);
        return Ok(());
    }
    let target = cpu.open(i, 0)?;
    let (width, old) = (target.width, target.old);
    let (result, flags): Flagged = match mnemonic {
        Mnemonic::Add => flags::add(width, old, source, false),
        Mnemonic::Adc => flags::add(width, old, source, carry),
        Mnemonic::Sub => flags::sub(width, old, source, false),
        Mnemonic::Sbb => flags::sub(width, old, source, carry),
        Mnemonic::And => flags::logic(width, old & source),
        Mnemonic::Or => flags::logic(width, old | source),
        _ => flags::logic(width, old ^ source),
    };
    cpu.close(&target, result)?;
    cpu.set_flags(ARITHMETIC, flags);
    Ok(())
}

/// INC, DEC, NEG, NOT.
pub(crate) fn unary<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let target = cpu.open(i, 0)?;
    let (width, old) = (target.width, target.old);
    let ((result, flags), mask) = match i.mnemonic() {
        Mnemonic::Inc => (flags::add(width, old, 1, false), ARITHMETIC & !CF),
        Mnemonic::Dec => (flags::sub(width, old, 1, false), ARITHMETIC & !CF),
        Mnemonic::Neg => (flags::sub(width, 0, old, false), ARITHMETIC),
        _ => ((!old, 0), 0),
    };
    cpu.close(&target, result)?;
    cpu.set_flags(mask, flags);
    Ok(())
}

/// MOV between registers, immediates and memory, MOVZX, MOVNTI, MOVDIRI.
pub(crate) fn mov<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let value = cpu.get(i, 1)?;
    cpu.put(i, 0, value)
}

/// MOV from a segment register: 16 bits to memory, zero-extended to a register.
pub(crate) fn mov_from_segment<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
) -> Result<(), Fault> {
    let value = cpu.register(i.op_register(1));
    if i.op_kind(0) == OpKind::Register {
        cpu.set_register(i.op_register(0), value);
        return Ok(());
    }
    let address = cpu.address(i, 2, AccessKind::Write)?;
    cpu.store(address, Width::Word, value)
}

/// MOVSX, MOVSXD.
pub(crate) fn movsx<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let value = cpu.width(i, 1)?.sign_extend(cpu.get(i, 1)?);
    cpu.put(i, 0, value)
}

/// MOVBE.
pub(crate) fn movbe<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let width = cpu.width(i, 0)?;
    let value = cpu.get(i, 1)?.swap_bytes() >> (64 - width.bits());
    cpu.put(i, 0, value)
}

/// BSWAP.
pub(crate) fn bswap<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let target = cpu.open(i, 0)?;
    let value = match target.width {
        // The manual leaves 16 bits undefined; CPUs clear them.
        Width::Byte | Width::Word => 0,
        width => target.old.swap_bytes() >> (64 - width.bits()),
    };
    cpu.close(&target, value)
}

/// LEA.
pub(crate) fn lea<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    cpu.set_register(i.op_register(0), cpu.offset(i));
    Ok(())
}

/// SETcc.
pub(crate) fn setcc<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let value = u64::from(condition(cpu, i));
    cpu.put(i, 0, value)
}

/// CMOVcc: memory is read even when the condition fails.
pub(crate) fn cmov<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let value = cpu.get(i, 1)?;
    let old = cpu.get(i, 0)?;
    let result = if condition(cpu, i) { value } else { old };
    cpu.put(i, 0, result)
}

fn condition<M: Machine>(cpu: &Cpu<'_, M>, i: &Instruction) -> bool {
    use iced_x86::ConditionCode as C;
    let less = cpu.flag(SF) != cpu.flag(OF);
    match i.condition_code() {
        C::o => cpu.flag(OF),
        C::no => !cpu.flag(OF),
        C::b => cpu.flag(CF),
        C::ae => !cpu.flag(CF),
        C::e => cpu.flag(ZF),
        C::ne => !cpu.flag(ZF),
        C::be => cpu.flag(CF | ZF),
        C::a => !cpu.flag(CF | ZF),
        C::s => cpu.flag(SF),
        C::ns => !cpu.flag(SF),
        C::p => cpu.flag(PF),
        C::np => !cpu.flag(PF),
        C::l => less,
        C::ge => !less,
        C::le => less || cpu.flag(ZF),
        C::g => !less && !cpu.flag(ZF),
        C::None => false,
    }
}

/// ADCX, ADOX: add with CF or OF as carry, all else untouched.
pub(crate) fn add_with<M: Machine>(
    cpu: &mut Cpu<'_, M>,
    i: &Instruction,
    flag: u64,
) -> Result<(), Fault> {
    let source = cpu.get(i, 1)?;
    let target = cpu.open(i, 0)?;
    let (sum, flags) = flags::add(target.width, target.old, source, cpu.flag(flag));
    cpu.close(&target, sum)?;
    cpu.set_flags(flag, flags::when(flags & CF != 0, flag));
    Ok(())
}
