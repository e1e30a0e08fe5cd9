//! From mnemonic to family. `forms.txt` lists the encodings that come through here.

use iced_x86::{Code, EncodingKind, Instruction, Mnemonic as N, OpKind, Register};

use crate::cpu::Cpu;
use crate::machine::Machine;
use crate::outcome::Fault;
use crate::registers::rflags::{AC, CF, OF};
use crate::{
    alu, bits, control, descriptor_checks, exchange, fxsave, iret, multiply, shift, sse, stack,
    string, system, x87, xsave,
};

/// Executes a decoded instruction on registers that are not committed yet.
pub(crate) fn execute<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    match i.encoding() {
        EncodingKind::Legacy => legacy(cpu, i),
        EncodingKind::VEX => vex(cpu, i),
        _ => Err(Fault::Unsupported),
    }
}

fn legacy<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    match i.mnemonic() {
        N::Add | N::Adc | N::Sub | N::Sbb | N::And | N::Or | N::Xor | N::Cmp | N::Test => {
            alu::binary(cpu, i)
        }
        N::Inc | N::Dec | N::Neg | N::Not => alu::unary(cpu, i),
        N::Mov => mov(cpu, i),
        N::Movzx | N::Movnti | N::Movdiri => alu::mov(cpu, i),
        N::Movsx | N::Movsxd => alu::movsx(cpu, i),
        N::Movbe => alu::movbe(cpu, i),
        N::Bswap => alu::bswap(cpu, i),
        N::Lea => alu::lea(cpu, i),
        N::Xchg => exchange::xchg(cpu, i),
        N::Xadd => exchange::xadd(cpu, i),
        N::Cmpxchg => exchange::cmpxchg(cpu, i),
        N::Cmpxchg8b | N::Cmpxchg16b => exchange::cmpxchg_pair(cpu, i),
        N::Adcx => alu::add_with(cpu, i, CF),
        N::Adox => alu::add_with(cpu, i, OF),
        N::Mul => multiply::multiply(cpu, i),
        N::Imul if i.op_count() == 1 => multiply::multiply(cpu, i),
        N::Imul => multiply::multiply_short(cpu, i),
        N::Div | N::Idiv => multiply::divide(cpu, i),
        N::Shl | N::Sal | N::Shr | N::Sar | N::Rol | N::Ror | N::Rcl | N::Rcr => {
            shift::shift(cpu, i)
        }
        N::Shld | N::Shrd => shift::shift_double(cpu, i),
        N::Bt | N::Bts | N::Btr | N::Btc => bits::bit_test(cpu, i),
        N::Bsf | N::Bsr => bits::bit_scan(cpu, i),
        N::Popcnt | N::Lzcnt | N::Tzcnt => bits::count(cpu, i),
        N::Crc32 => bits::crc32(cpu, i),
        N::Push if is_general(i) => stack::push(cpu, i),
        N::Pop if is_general(i) => stack::pop(cpu, i),
        N::Enter => stack::enter(cpu, i),
        N::Leave => stack::leave(cpu, i),
        _ => conditional(cpu, i),
    }
}

/// SETcc and CMOVcc.
fn conditional<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    match i.mnemonic() {
        N::Seto
        | N::Setno
        | N::Setb
        | N::Setae
        | N::Sete
        | N::Setne
        | N::Setbe
        | N::Seta
        | N::Sets
        | N::Setns
        | N::Setp
        | N::Setnp
        | N::Setl
        | N::Setge
        | N::Setle
        | N::Setg => alu::setcc(cpu, i),
        N::Cmovo
        | N::Cmovno
        | N::Cmovb
        | N::Cmovae
        | N::Cmove
        | N::Cmovne
        | N::Cmovbe
        | N::Cmova
        | N::Cmovs
        | N::Cmovns
        | N::Cmovp
        | N::Cmovnp
        | N::Cmovl
        | N::Cmovge
        | N::Cmovle
        | N::Cmovg => alu::cmov(cpu, i),
        _ => strings(cpu, i),
    }
}

fn strings<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    match i.mnemonic() {
        N::Movsb
        | N::Movsw
        | N::Movsq
        | N::Stosb
        | N::Stosw
        | N::Stosd
        | N::Stosq
        | N::Lodsb
        | N::Lodsw
        | N::Lodsd
        | N::Lodsq
        | N::Cmpsb
        | N::Cmpsw
        | N::Cmpsq
        | N::Scasb
        | N::Scasw
        | N::Scasd
        | N::Scasq
        | N::Insb
        | N::Insw
        | N::Insd
        | N::Outsb
        | N::Outsw
        | N::Outsd => string::string(cpu, i),
        N::Movsd | N::Cmpsd if matches!(i.code(), Code::Movsd_m32_m32 | Code::Cmpsd_m32_m32) => {
            string::string(cpu, i)
        }
        _ => system_and_control(cpu, i),
    }
}

fn system_and_control<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    match i.mnemonic() {
        N::Int | N::Int3 | N::Into => control::interrupt(cpu, i),
        N::Int1 => Err(control::icebp()),
        N::Ud0 | N::Ud1 | N::Ud2 => Err(Fault::UD),
        N::Iret | N::Iretd | N::Iretq => iret::iret(cpu, i),
        N::Sysret | N::Sysretq => control::sysret(cpu, i),
        N::Wait => system::wait(cpu),
        N::Clac => system::access_flag(cpu, 0),
        N::Stac => system::access_flag(cpu, AC),
        N::Rdtsc | N::Rdtscp => system::rdtsc(cpu, i),
        N::Rdpid => system::rdpid(cpu, i),
        N::Xgetbv => system::xgetbv(cpu),
        N::Xsetbv => system::xsetbv(cpu),
        N::Rdsspd | N::Rdsspq => system::read_shadow_stack(cpu),
        N::Rdfsbase | N::Rdgsbase => system::read_base(cpu, i),
        N::Wrfsbase | N::Wrgsbase => system::write_base(cpu, i),
        N::Monitor => system::monitor(cpu, i),
        N::Mwait => system::mwait(cpu),
        N::Clflush | N::Clflushopt | N::Clwb | N::Cldemote => system::cache_line(cpu, i),
        N::Nop
        | N::Pause
        | N::Endbr32
        | N::Endbr64
        | N::Lfence
        | N::Mfence
        | N::Sfence
        | N::Serialize
        | N::Prefetchnta
        | N::Prefetcht0
        | N::Prefetcht1
        | N::Prefetcht2
        | N::Prefetchw
        | N::Prefetchwt1
        | N::Prefetch => Ok(()),
        _ => state(cpu, i),
    }
}

/// Instructions on the x87 and vector state as a whole.
fn state<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    match i.mnemonic() {
        N::Fnstcw
        | N::Fldcw
        | N::Fnstsw
        | N::Fnclex
        | N::Fninit
        | N::Fnstenv
        | N::Fldenv
        | N::Fnsave
        | N::Frstor => x87::execute(cpu, i),
        _ if x87::arithmetic::has(i) => x87::arithmetic::execute(cpu, i),
        N::Fxsave | N::Fxsave64 => fxsave::fxsave(cpu, i),
        N::Fxrstor | N::Fxrstor64 => fxsave::fxrstor(cpu, i),
        N::Fld | N::Fild | N::Fst | N::Fstp | N::Fist | N::Fistp | N::Fisttp => {
            x87::transfer::execute(cpu, i)
        }
        N::Lar | N::Lsl | N::Verr | N::Verw => descriptor_checks::execute(cpu, i),
        N::Ldmxcsr => fxsave::ldmxcsr(cpu, i),
        N::Stmxcsr => fxsave::stmxcsr(cpu, i),
        N::Xsave | N::Xsave64 | N::Xsaveopt | N::Xsaveopt64 => xsave::save_standard(cpu, i),
        N::Xsavec | N::Xsavec64 | N::Xsaves | N::Xsaves64 => xsave::save_compacted(cpu, i),
        N::Xrstor | N::Xrstor64 | N::Xrstors | N::Xrstors64 => xsave::restore(cpu, i),
        _ => sse::execute(cpu, i),
    }
}

fn vex<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    match i.mnemonic() {
        N::Andn | N::Bextr | N::Bzhi | N::Blsi | N::Blsr | N::Blsmsk => bits::bmi(cpu, i),
        N::Pdep | N::Pext => bits::scatter(cpu, i),
        N::Rorx | N::Sarx | N::Shlx | N::Shrx => shift::shift_no_flags(cpu, i),
        N::Mulx => multiply::mulx(cpu, i),
        N::Vldmxcsr => fxsave::ldmxcsr(cpu, i),
        N::Vstmxcsr => fxsave::stmxcsr(cpu, i),
        _ => sse::execute(cpu, i),
    }
}

/// MOV between general operands, or from a segment register; those that load segments or control registers are KVM's.
fn mov<M: Machine>(cpu: &mut Cpu<'_, M>, i: &Instruction) -> Result<(), Fault> {
    let special = |n: u32| i.op_kind(n) == OpKind::Register && !is_gpr(i.op_register(n));
    if special(0) {
        return Err(Fault::Unsupported);
    }
    if !special(1) {
        return alu::mov(cpu, i);
    }
    if i.op_register(1).is_segment_register() {
        alu::mov_from_segment(cpu, i)
    } else {
        Err(Fault::Unsupported)
    }
}

/// True unless the first operand is a segment register.
fn is_general(i: &Instruction) -> bool {
    i.op_kind(0) != OpKind::Register || is_gpr(i.op_register(0))
}

fn is_gpr(register: Register) -> bool {
    register.is_gpr()
}
