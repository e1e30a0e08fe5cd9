//! Every form of `forms.txt` on random operands, against the CPU that runs the test.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod complete;
mod features;
mod forms;
mod instance;
mod native;
mod random;
mod undefined;

use iced_x86::{Code, Mnemonic, OpKind, Register};

use forms::{Proof, forms};
use instance::{Instance, instance, is_bit_test, is_state, is_string, is_x87};
use native::{ARENA, ARENA_SIZE, Context, Host, SIZE, SLOT, VECTOR_BYTES};
use random::Random;
use trivisor_emulator::registers::rflags;
use trivisor_emulator::testing::TestMachine;
use trivisor_emulator::{Outcome, step};

/// Random operands that each form runs on, some of which give #DE and do not count.
const RUNS: usize = 4096;
const OPERANDS_PER_INSTANCE: usize = 64;
const MOST_INSTANCES: usize = 4 * RUNS / OPERANDS_PER_INSTANCE;
/// The flags that a program in ring 3 can set without surprise.
const FLAGS: u64 = rflags::ARITHMETIC;
const MXCSR: usize = 24;

#[test]
fn forms_behave_as_on_the_host() {
    if !std::arch::is_x86_feature_detected!("avx") {
        println!("the host has no AVX, which the comparison saves state with: nothing is compared");
        return;
    }
    let mut host = Host::new();
    let selectors = selectors(&mut host);
    let (mut compared, mut skipped) = (0, Vec::new());
    let mut failures = Vec::new();
    for (code, proof) in forms() {
        if proof != Proof::Native {
            continue;
        }
        if !features::host_has(code) {
            skipped.push(code);
            continue;
        }
        if let Err(difference) = compare_form(&mut host, code, &selectors) {
            failures.push(difference);
        }
        compared += 1;
    }
    println!(
        "{compared} forms compared, {} skipped for want of a CPU feature: {skipped:?}",
        skipped.len()
    );
    assert!(
        failures.is_empty(),
        "{} forms differ\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// The host's own segment selectors, which instructions can read.
fn selectors(host: &mut Host) -> [u16; 6] {
    let mut values = [0; 6];
    for (value, modrm) in values.iter_mut().zip([0xc0, 0xc8, 0xd0, 0xd8, 0xe0, 0xe8]) {
        host.load(&[0x8c, modrm]);
        let mut context = Context {
            gpr: [host.base() + ARENA as u64; 16],
            rflags: 2,
            vectors: initial_vectors(),
            arena: [0; ARENA_SIZE],
        };
        host.run(&mut context);
        *value = u16::try_from(context.gpr[0] & 0xffff).unwrap();
    }
    values
}

fn compare_form(host: &mut Host, code: Code, selectors: &[u16; 6]) -> Result<(), String> {
    let mut random = Random::new(code as u64);
    let mut machine = TestMachine::new(host.base(), SIZE);
    set_selectors(&mut machine, selectors);
    let mut runs = 0;
    for _ in 0..MOST_INSTANCES {
        if runs >= RUNS {
            return Ok(());
        }
        let Some(instance) = instance(code, host.base(), 64, &mut random) else {
            return Err(format!("{code:?}: cannot be encoded for the comparison"));
        };
        host.load(&instance.bytes);
        machine.memory[SLOT..SLOT + instance.bytes.len()].copy_from_slice(&instance.bytes);
        let pool = random.pool();
        for _ in 0..OPERANDS_PER_INSTANCE {
            let before = operands(&instance, &pool, &mut random);
            let mut native = before.clone();
            let emulated = match emulate(&mut machine, &before) {
                Ok(emulated) => emulated,
                // What divides by zero here would kill this process there.
                Err(Outcome::Inject(event)) if event.vector == 0 && divides(code) => continue,
                Err(outcome) => {
                    return Err(format!("{code:?} [{:02x?}]: {outcome:?}", instance.bytes));
                }
            };
            host.run(&mut native);
            runs += 1;
            if let Some(difference) = difference(&instance, &before, &native, &emulated) {
                return Err(format!("{code:?} [{:02x?}]: {difference}", instance.bytes));
            }
        }
    }
    Err(format!("{code:?}: only {runs} runs"))
}

fn set_selectors(machine: &mut TestMachine, values: &[u16; 6]) {
    let system = &mut machine.registers.system;
    let segments = [
        &mut system.es,
        &mut system.cs,
        &mut system.ss,
        &mut system.ds,
        &mut system.fs,
        &mut system.gs,
    ];
    for (segment, value) in segments.into_iter().zip(values) {
        segment.selector = *value;
    }
}

fn initial_vectors() -> [u8; VECTOR_BYTES] {
    let mut vectors = [0; VECTOR_BYTES];
    vectors[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
    vectors[MXCSR..MXCSR + 4].copy_from_slice(&0x1f80_u32.to_le_bytes());
    vectors[28..32].copy_from_slice(&mxcsr_mask().to_le_bytes());
    vectors[512] = 7;
    vectors
}

/// The bits of MXCSR that the host has; FXSAVE tells.
fn mxcsr_mask() -> u32 {
    static MASK: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *MASK.get_or_init(native::mxcsr_mask)
}

fn operands(instance: &Instance, pool: &[u8], random: &mut Random) -> Context {
    let mut context = Context {
        gpr: [0; 16],
        rflags: 2,
        vectors: initial_vectors(),
        arena: [0; ARENA_SIZE],
    };
    for value in &mut context.gpr {
        *value = random.operand();
    }
    let string = is_string(&instance.instruction);
    context.rflags |= random.next() & (FLAGS | if string { rflags::DF } else { 0 });
    context.vectors[2..4].copy_from_slice(&(random.below(8) << 11).to_le_bytes()[..2]);
    context.vectors[4] = u8::try_from(random.next() & 0xff).unwrap();
    for register in 0..8 {
        random.fill(
            pool,
            &mut context.vectors[32 + 16 * register..42 + 16 * register],
        );
    }
    if is_x87(instance.instruction.mnemonic()) {
        prepare_x87(&mut context, random);
    }
    random.fill(pool, &mut context.vectors[160..416]);
    random.fill(pool, &mut context.vectors[576..832]);
    random.fill(pool, &mut context.arena);
    let i = &instance.instruction;
    if is_bit_test(i) && i.op1_kind() == OpKind::Register {
        // The bit offset may leave the operand, but not the arena.
        let near = random.below(4096).cast_signed() - 2048;
        context.gpr[i.op1_register().number()] = (near as i64).cast_unsigned();
    }
    for (number, value) in &instance.pinned {
        context.gpr[*number] = *value;
    }
    if i.mnemonic() == Mnemonic::Leave {
        context.gpr[5] = context.gpr[4];
    }
    agree(i, &mut context, random);
    context
}

/// Makes comparisons succeed often enough: CMPXCHG and its kin, and strings that are equal.
fn agree(i: &iced_x86::Instruction, context: &mut Context, random: &mut Random) {
    let pinned = |register: usize, i: &iced_x86::Instruction| {
        let used = [i.memory_base(), i.memory_index()];
        used.iter()
            .any(|r| *r != Register::None && r.is_gpr() && r.number() == register)
    };
    match i.mnemonic() {
        Mnemonic::Cmpxchg | Mnemonic::Cmpxchg8b | Mnemonic::Cmpxchg16b if random.coin() => {
            context.arena.fill(0x5a);
            for register in [0, 2] {
                if !pinned(register, i) {
                    context.gpr[register] = 0x5a5a_5a5a_5a5a_5a5a;
                }
            }
        }
        Mnemonic::Div | Mnemonic::Idiv if random.coin() && !pinned(2, i) => {
            context.gpr[2] = 0;
            context.gpr[0] &= if pinned(0, i) {
                u64::MAX
            } else {
                0x7fff_ffff_7fff_007f
            };
        }
        Mnemonic::Ldmxcsr | Mnemonic::Vldmxcsr => {
            for bytes in context.arena.chunks_mut(2).skip(1).step_by(2) {
                bytes.fill(0);
            }
        }
        mnemonic if is_state(mnemonic) => prepare_state(i, context, random),
        _ if is_string(i) && random.coin() => {
            context.arena.fill(0x11);
            context.gpr[0] = 0x1111_1111_1111_1111;
            let place = random.below(ARENA_SIZE);
            context.arena[place] = 0x12;
        }
        _ => {}
    }
}

/// Makes the area one that can be loaded.
fn prepare_state(i: &iced_x86::Instruction, context: &mut Context, random: &mut Random) {
    let start = if i.mnemonic() == Mnemonic::Fxsave || i.mnemonic() == Mnemonic::Fxrstor {
        0
    } else {
        64
    };
    let offsets = (start..=128).step_by(16);
    for offset in offsets {
        // MXCSR has 16 bits.
        context.arena[offset + 26..offset + 28].fill(0);
    }
    let header = random.next() & 7;
    let compact = random.coin();
    for area in [64, 128] {
        let place = &mut context.arena[area + 512..area + 576];
        place.fill(0);
        place[0] = header.to_le_bytes()[0];
        if compact && !matches!(i.mnemonic(), Mnemonic::Xsave | Mnemonic::Xsave64) {
            place[8] = 7;
            place[15] = 0x80;
        }
    }
}

/// Any masks, precision and rounding; numbers near those that the formats can hold.
fn prepare_x87(context: &mut Context, random: &mut Random) {
    let masks = if random.coin() {
        0x3f
    } else {
        random.next() & 0x3f
    };
    let precision = random.pick(&[0, 2, 3]) << 8;
    let control = 0x40 | precision | masks | (random.next() & 3) << 10;
    context.vectors[..2].copy_from_slice(&control.to_le_bytes()[..2]);
    context.vectors[4] |= if random.below(8) == 0 {
        0
    } else {
        1 << (context.vectors[3] >> 3 & 7)
    };
    let exponents: [u64; 13] = [
        0x3fff, 0x401e, 0x403d, 0x407e, 0x3f81, 0x3f6a, 0x43fe, 0x3c01, 0x3bcd, 0x7ffc, 0x5fff,
        0x1fff, 0x0002,
    ];
    for register in 0..8 {
        let near = random.pick(&exponents) + random.next() % 5 - 2;
        let spread = 0x3fff + random.next() % 70;
        let exponent = if random.coin() { near } else { spread };
        let sign = random.next() & 0x8000;
        let place = &mut context.vectors[32 + 16 * register..42 + 16 * register];
        if random.below(8) != 0 {
            place[8..].copy_from_slice(&(exponent | sign).to_le_bytes()[..2]);
            place[7] |= 0x80;
        }
        match random.below(16) {
            // Halfway cases.
            0..=5 => place[..4].fill(0),
            6 => place[..8].fill(0xff),
            7 => place[..8].copy_from_slice(&(1_u64 << 63).to_le_bytes()),
            // Zero, or an infinity.
            8 => place.fill(0),
            9 => place.copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x7f]),
            // Two that differ in nothing but the sign.
            10 if register > 0 => {
                let start = 32 + 16 * (register - 1);
                context.vectors.copy_within(start..start + 10, start + 16);
                context.vectors[start + 25] ^= 0x80;
            }
            _ => {}
        }
    }
}

fn divides(code: Code) -> bool {
    matches!(code.mnemonic(), Mnemonic::Div | Mnemonic::Idiv)
}

fn emulate(machine: &mut TestMachine, before: &Context) -> Result<Context, Outcome> {
    let general = &mut machine.registers.general;
    (general.gpr, general.rflags) = (before.gpr, before.rflags);
    general.rip = machine.base + SLOT as u64;
    machine.vectors.as_mut_bytes()[..VECTOR_BYTES].copy_from_slice(&before.vectors);
    machine.memory[ARENA..ARENA + ARENA_SIZE].copy_from_slice(&before.arena);
    match step(machine).expect("the form is supported") {
        Outcome::Done => {}
        outcome => return Err(outcome),
    }
    let mut after = before.clone();
    (after.gpr, after.rflags) = (
        machine.registers.general.gpr,
        machine.registers.general.rflags,
    );
    after
        .vectors
        .copy_from_slice(&machine.vectors.as_bytes()[..VECTOR_BYTES]);
    after
        .arena
        .copy_from_slice(&machine.memory[ARENA..ARENA + ARENA_SIZE]);
    Ok(after)
}

fn difference(
    instance: &Instance,
    before: &Context,
    native: &Context,
    emulated: &Context,
) -> Option<String> {
    let i = &instance.instruction;
    let undefined = undefined::undefined(i, before);
    let mask = FLAGS & !undefined;
    if (native.rflags ^ emulated.rflags) & mask != 0 {
        let (before, native, emulated) =
            (before.rflags, native.rflags & mask, emulated.rflags & mask);
        return Some(format!(
            "flags {before:#x} became {native:#x} on the host, {emulated:#x} emulated"
        ));
    }
    if undefined::undefined_result(i, before, native) {
        return None;
    }
    let registers = if native.gpr == emulated.gpr {
        0..0
    } else {
        0..16
    };
    for n in registers {
        let (was, host, ours) = (before.gpr[n], native.gpr[n], emulated.gpr[n]);
        if host != ours {
            return Some(format!(
                "register {n}: {was:#x} became {host:#x} on the host, {ours:#x} emulated"
            ));
        }
    }
    if let Some(difference) = first_difference(
        "arena",
        0..ARENA_SIZE,
        &before.arena,
        &native.arena,
        &emulated.arena,
    ) {
        return Some(difference);
    }
    let registers = (0..8).map(|n| 32 + 16 * n..42 + 16 * n);
    let mut compared = [0..5, 24..28, 160..416, 576..832]
        .into_iter()
        .chain(registers);
    compared.find_map(|range| {
        first_difference(
            "vector state",
            range,
            &before.vectors,
            &native.vectors,
            &emulated.vectors,
        )
    })
}

fn first_difference(
    what: &str,
    range: std::ops::Range<usize>,
    before: &[u8],
    native: &[u8],
    emulated: &[u8],
) -> Option<String> {
    if native[range.clone()] == emulated[range.clone()] {
        return None;
    }
    range
        .into_iter()
        .find(|n| native[*n] != emulated[*n])
        .map(|n| {
            let (was, host, ours) = (before[n], native[n], emulated[n]);
            format!("{what} {n}: {was:#x} became {host:#x} on the host, {ours:#x} emulated")
        })
}
