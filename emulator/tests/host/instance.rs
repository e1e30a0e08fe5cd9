//! Random instances of an encoding: registers, a memory operand inside the arena, immediates, prefixes.

use iced_x86::{
    Code, Encoder, Instruction, MemoryOperand, Mnemonic, OpCodeOperandKind as K, OpKind, Register,
};

use crate::native::{ARENA, GPR64, SLOT};
use crate::random::Random;

/// Offset in the arena around which operands lie.
const CENTRE: usize = 512;

/// An encoded instruction and the registers that must hold certain values.
pub(crate) struct Instance {
    pub(crate) instruction: Instruction,
    pub(crate) bytes: Vec<u8>,
    /// Number of the register and its value.
    pub(crate) pinned: Vec<(usize, u64)>,
}

/// The one memory operand.
struct Memory {
    operand: MemoryOperand,
    pinned: Vec<(usize, u64)>,
}

/// Makes an instance, or nothing if the encoding has an operand that no supported form has.
pub(crate) fn instance(
    code: Code,
    base: u64,
    bitness: u32,
    random: &mut Random,
) -> Option<Instance> {
    // A high byte register beside a REX prefix is the one choice that cannot be encoded.
    (0..64).find_map(|_| attempt(code, base, bitness, random))
}

fn attempt(code: Code, base: u64, bitness: u32, random: &mut Random) -> Option<Instance> {
    let info = code.op_code();
    let mut instruction = Instruction::default();
    instruction.set_code(code);
    let mut pinned = vec![(4, base + (ARENA + CENTRE) as u64)];
    for (n, kind) in info.op_kinds().iter().enumerate() {
        let n = u32::try_from(n).ok()?;
        operand(
            &mut instruction,
            n,
            *kind,
            base,
            bitness,
            random,
            &mut pinned,
        )?;
    }
    if instruction.op1_kind() == OpKind::Register && is_bit_test(&instruction) {
        let index = instruction.op1_register().full_register();
        let used = [
            instruction.memory_base(),
            instruction.memory_index(),
            Register::RSP,
        ];
        if used
            .iter()
            .any(|register| register.full_register() == index)
        {
            return None;
        }
    }
    let memory = (0..instruction.op_count()).any(|n| instruction.op_kind(n) == OpKind::Memory);
    if info.can_use_lock_prefix() && memory && instruction.op0_kind() == OpKind::Memory {
        instruction.set_has_lock_prefix(random.coin());
    }
    if info.can_use_rep_prefix() {
        instruction.set_has_rep_prefix(random.coin());
    }
    if info.can_use_repne_prefix() && !instruction.has_rep_prefix() && is_string(&instruction) {
        instruction.set_has_repne_prefix(random.coin());
    }
    if is_state(code.mnemonic()) {
        // Components that every host has enabled.
        pinned.extend([(0, random.next() & 7), (2, 0)]);
        let used =
            [instruction.memory_base(), instruction.memory_index()].map(Register::full_register);
        if used
            .iter()
            .any(|register| matches!(register, Register::RAX | Register::RDX))
        {
            return None;
        }
    }
    if is_string(&instruction) {
        pinned.push((1, random.below(5) as u64));
    }
    let mut encoder = Encoder::new(bitness);
    encoder.encode(&instruction, base + SLOT as u64).ok()?;
    Some(Instance {
        instruction,
        bytes: encoder.take_buffer(),
        pinned,
    })
}

pub(crate) fn is_bit_test(instruction: &Instruction) -> bool {
    matches!(
        instruction.mnemonic(),
        Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc
    )
}

/// x87 instructions, all of which begin with F.
pub(crate) fn is_x87(mnemonic: Mnemonic) -> bool {
    let name = format!("{mnemonic:?}");
    name.starts_with('F') && !name.starts_with("Fx")
}

/// XSAVE, FXSAVE and their kin.
pub(crate) fn is_state(mnemonic: Mnemonic) -> bool {
    let name = format!("{mnemonic:?}");
    name.contains("xsave")
        || name.contains("xrstor")
        || name.contains("Xsave")
        || name.contains("Xrstor")
}

pub(crate) fn is_string(instruction: &Instruction) -> bool {
    instruction.is_string_instruction()
}

fn operand(
    instruction: &mut Instruction,
    n: u32,
    kind: K,
    base: u64,
    bitness: u32,
    random: &mut Random,
    pinned: &mut Vec<(usize, u64)>,
) -> Option<()> {
    let wide = if bitness == 64 { 16 } else { 8 };
    let memory_kinds = [
        K::r8_or_mem,
        K::r16_or_mem,
        K::r32_or_mem,
        K::r64_or_mem,
        K::mm_or_mem,
        K::xmm_or_mem,
        K::ymm_or_mem,
    ];
    if kind == K::mem || memory_kinds.contains(&kind) && random.coin() {
        let memory = memory(instruction, base, bitness, random)?;
        pinned.extend(memory.pinned);
        set_memory(instruction, n, &memory.operand);
        return Some(());
    }
    let register = match kind {
        K::r8_or_mem | K::r8_reg | K::r8_opcode => byte_register(wide, random),
        K::r16_or_mem | K::r16_reg | K::r16_rm | K::r16_opcode => {
            Register::AX + index(wide, random)
        }
        K::r32_or_mem | K::r32_reg | K::r32_rm | K::r32_opcode | K::r32_vvvv => {
            Register::EAX + index(wide, random)
        }
        K::r64_or_mem | K::r64_reg | K::r64_rm | K::r64_opcode | K::r64_vvvv => {
            Register::RAX + index(wide, random)
        }
        K::mm_or_mem | K::mm_reg | K::mm_rm => Register::MM0 + index(8, random),
        K::xmm_or_mem | K::xmm_reg | K::xmm_rm | K::xmm_vvvv | K::xmm_is4 => {
            Register::XMM0 + index(wide, random)
        }
        K::ymm_or_mem | K::ymm_reg | K::ymm_rm | K::ymm_vvvv | K::ymm_is4 => {
            Register::YMM0 + index(wide, random)
        }
        K::seg_reg => Register::ES + index(6, random),
        K::al => Register::AL,
        K::cl => Register::CL,
        K::ax => Register::AX,
        K::dx => Register::DX,
        K::eax => Register::EAX,
        K::rax => Register::RAX,
        K::st0 => Register::ST0,
        K::sti_opcode => Register::ST0 + index(8, random),
        K::r32_reg_mem | K::r64_reg_mem | K::r16_reg_mem => return None,
        _ => return immediate_or_implied(instruction, n, kind, base, bitness, random, pinned),
    };
    instruction.set_op_kind(n, OpKind::Register);
    instruction.set_op_register(n, register);
    Some(())
}

fn index(limit: usize, random: &mut Random) -> u32 {
    u32::try_from(random.below(limit)).unwrap()
}

fn byte_register(wide: usize, random: &mut Random) -> Register {
    // AL to BL, AH to BH, SPL to DIL, R8L to R15L.
    let count = if wide == 16 { 20 } else { 8 };
    Register::AL + index(count, random)
}

fn immediate_or_implied(
    instruction: &mut Instruction,
    n: u32,
    kind: K,
    base: u64,
    bitness: u32,
    random: &mut Random,
    pinned: &mut Vec<(usize, u64)>,
) -> Option<()> {
    let arena = base + (ARENA + CENTRE) as u64;
    let value = random.operand();
    let [b0, b1, b2, b3, ..] = value.to_le_bytes();
    let (byte, word, dword) = (
        b0,
        u16::from_le_bytes([b0, b1]),
        u32::from_le_bytes([b0, b1, b2, b3]),
    );
    match kind {
        K::imm8 if n > 0 && instruction.op_kind(0) == OpKind::Immediate16 => {
            instruction.set_op_kind(n, OpKind::Immediate8_2nd);
            instruction.set_immediate8_2nd(byte % 5);
        }
        K::imm8 | K::imm8_const_1 => {
            instruction.set_op_kind(n, OpKind::Immediate8);
            instruction.set_immediate8(if kind == K::imm8 { byte } else { 1 });
        }
        K::imm8sex16 => {
            instruction.set_op_kind(n, OpKind::Immediate8to16);
            instruction.set_immediate8to16(i16::from(byte.cast_signed()));
        }
        K::imm8sex32 => {
            instruction.set_op_kind(n, OpKind::Immediate8to32);
            instruction.set_immediate8to32(i32::from(byte.cast_signed()));
        }
        K::imm8sex64 => {
            instruction.set_op_kind(n, OpKind::Immediate8to64);
            instruction.set_immediate8to64(i64::from(byte.cast_signed()));
        }
        K::imm16 => {
            instruction.set_op_kind(n, OpKind::Immediate16);
            let enter = instruction.mnemonic() == Mnemonic::Enter;
            instruction.set_immediate16(if enter { word % 64 } else { word });
            pinned.extend(enter.then_some((5, arena + 64)));
        }
        K::imm32 => {
            instruction.set_op_kind(n, OpKind::Immediate32);
            instruction.set_immediate32(dword);
        }
        K::imm32sex64 => {
            instruction.set_op_kind(n, OpKind::Immediate32to64);
            instruction.set_immediate32to64(i64::from(dword.cast_signed()));
        }
        K::imm64 => {
            instruction.set_op_kind(n, OpKind::Immediate64);
            instruction.set_immediate64(value);
        }
        K::mem_offs => {
            let size = if bitness == 64 && random.coin() { 8 } else { 4 };
            let address = i64::try_from(arena).ok()?;
            let operand = MemoryOperand::new(
                Register::None,
                Register::None,
                1,
                address,
                size,
                false,
                Register::None,
            );
            set_memory(instruction, n, &operand);
        }
        K::seg_rSI | K::es_rDI | K::seg_rDI => {
            implied(instruction, n, kind, bitness, arena, random, pinned)
        }
        _ => return None,
    }
    Some(())
}

fn implied(
    instruction: &mut Instruction,
    n: u32,
    kind: K,
    bitness: u32,
    arena: u64,
    random: &mut Random,
    pinned: &mut Vec<(usize, u64)>,
) {
    let long = match (n, instruction.op0_kind()) {
        // Both pointers have one width.
        (1, OpKind::MemoryESEDI | OpKind::MemorySegESI) => false,
        (1, OpKind::MemoryESRDI | OpKind::MemorySegRSI) => true,
        _ => bitness == 64 && random.coin(),
    };
    instruction.set_op_kind(
        n,
        match (kind, long) {
            (K::seg_rSI, true) => OpKind::MemorySegRSI,
            (K::seg_rSI, false) => OpKind::MemorySegESI,
            (K::es_rDI, true) => OpKind::MemoryESRDI,
            (K::es_rDI, false) => OpKind::MemoryESEDI,
            (_, true) => OpKind::MemorySegRDI,
            (_, false) => OpKind::MemorySegEDI,
        },
    );
    let number = if kind == K::seg_rSI { 6 } else { 7 };
    pinned.push((number, arena + random.below(32) as u64));
}

fn set_memory(instruction: &mut Instruction, n: u32, memory: &MemoryOperand) {
    instruction.set_op_kind(n, OpKind::Memory);
    instruction.set_memory_base(memory.base);
    instruction.set_memory_index(memory.index);
    instruction.set_memory_index_scale(memory.scale);
    instruction.set_memory_displ_size(memory.displ_size);
    instruction.set_memory_displacement64(memory.displacement.cast_unsigned());
}

/// Bytes that the operand must be aligned to, or that it is aligned to now and then.
fn alignment(code: Code, random: &mut Random) -> usize {
    let info = code.op_code();
    let size = info.memory_size().size().max(1);
    let name = format!("{:?}", code.mnemonic()).to_lowercase();
    let unaligned = [
        "movups", "movupd", "movdqu", "lddqu", "pcmpestr", "pcmpistr",
    ];
    let aligned_vex = [
        "movaps", "movapd", "movdqa", "movntdq", "movntps", "movntpd", "movntdqa",
    ];
    let vex = format!("{code:?}").starts_with("VEX_");
    let must = if name.contains("save") || name.contains("rstor") {
        return 64;
    } else if vex {
        aligned_vex.iter().any(|known| name.contains(known))
    } else {
        size >= 16 && !unaligned.iter().any(|known| name.contains(known))
    };
    let must = must || name.contains("mxcsr");
    if must || random.coin() {
        size.next_power_of_two().min(64)
    } else {
        1
    }
}

fn memory(
    instruction: &Instruction,
    base: u64,
    bitness: u32,
    random: &mut Random,
) -> Option<Memory> {
    let align = alignment(instruction.code(), random);
    // The largest areas need most of the arena.
    let first = if is_state(instruction.mnemonic()) {
        64
    } else {
        CENTRE - 32
    };
    let offset = (first + random.below(64)) / align * align;
    let target = base + (ARENA + offset) as u64;
    let pushes = matches!(instruction.mnemonic(), Mnemonic::Push | Mnemonic::Pop);
    let wide = if bitness == 64 { 16 } else { 8 };
    let number = random.below(wide);
    if pushes && number == 4 {
        return None;
    }
    let long = bitness == 64 && random.coin();
    let first = if long { Register::RAX } else { Register::EAX };
    let mut displacement = i64::from(i8::from_le_bytes(
        [u8::try_from(random.next() & 0xff).ok()?],
    ));
    if random.coin() {
        displacement *= 1000;
    }
    if random.below(8) == 0 {
        // No register at all: an absolute or RIP-relative address.
        let rip = if long { Register::RIP } else { Register::EIP };
        let register = if random.coin() && bitness == 64 {
            rip
        } else {
            Register::None
        };
        let size = if long { 8 } else { 4 };
        let address = i64::try_from(target).ok()?;
        let operand = MemoryOperand::new(
            register,
            Register::None,
            1,
            address,
            size,
            false,
            Register::None,
        );
        return Some(Memory {
            operand,
            pinned: Vec::new(),
        });
    }
    let mut pinned = Vec::new();
    let mut rest = target.wrapping_sub(displacement.cast_unsigned());
    let index_number = random.below(wide);
    let indexed = random.coin() && index_number != 4 && index_number != number;
    let scale = random.pick(&[1, 2, 4, 8]);
    if indexed {
        let value = random.next() & 0xffff;
        pinned.push((index_number, value));
        rest = rest.wrapping_sub(value * u64::from(scale));
    }
    let garbage = if long { 0 } else { random.next() << 32 };
    let rest = if long { rest } else { rest & 0xffff_ffff };
    pinned.push((number, rest | garbage));
    let index_register = if indexed {
        first + u32::try_from(index_number).ok()?
    } else {
        Register::None
    };
    let base_register = first + u32::try_from(number).ok()?;
    let scale = if indexed { scale } else { 1 };
    let operand = MemoryOperand::new(
        base_register,
        index_register,
        scale,
        displacement,
        1,
        false,
        Register::None,
    );
    let displ_size = if let Ok(_small) = i8::try_from(displacement) {
        1
    } else if long {
        8
    } else {
        4
    };
    let operand = MemoryOperand {
        displ_size,
        ..operand
    };
    debug_assert_eq!(GPR64.len(), 16);
    Some(Memory { operand, pinned })
}
