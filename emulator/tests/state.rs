//! XSAVE and XRSTOR where the host cannot show it: supervisor forms, optimized forms, components beyond AVX, 32-bit code.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use trivisor_emulator::testing::TestMachine;
use trivisor_emulator::{Event, Outcome, component, step};

const BASE: u64 = 0x1_0000;
const SIZE: usize = 0x4000;
const AREA: usize = 0x1000;
const HEADER: usize = AREA + 512;

const XSAVE64: [u8; 4] = [0x48, 0x0f, 0xae, 0x23];
const XSAVEOPT64: [u8; 4] = [0x48, 0x0f, 0xae, 0x33];
const XRSTOR64: [u8; 4] = [0x48, 0x0f, 0xae, 0x2b];
const XSAVES64: [u8; 4] = [0x48, 0x0f, 0xc7, 0x2b];
const XRSTORS64: [u8; 4] = [0x48, 0x0f, 0xc7, 0x1b];

/// Component 9 is protection keys in its usual place, component 11 a supervisor state.
fn machine(code: &[u8], mask: u64) -> TestMachine {
    let mut machine = TestMachine::new(BASE, SIZE).with_code(code);
    machine.registers.general.gpr[0] = mask & 0xffff_ffff;
    machine.registers.general.gpr[2] = mask >> 32;
    machine.registers.general.gpr[3] = BASE + AREA as u64;
    machine.cpuid = vec![[0; 4]; 12];
    machine.cpuid[9] = [8, 2688, 0, 0];
    machine.cpuid[11] = [16, 0, 1, 0];
    machine.xcr0 = 0x207;
    machine.memory[AREA..].fill(0xcc);
    machine
}

fn done(machine: &mut TestMachine) {
    assert_eq!(step(machine).unwrap(), Outcome::Done);
}

fn refused(mut machine: TestMachine) {
    let before = machine.registers;
    let event = Event {
        vector: 13,
        error_code: Some(0),
        payload: None,
        software: false,
    };
    assert_eq!(step(&mut machine).unwrap(), Outcome::Inject(event));
    assert_eq!(machine.registers, before);
}

fn word(machine: &TestMachine, offset: usize) -> u64 {
    u64::from_le_bytes(machine.memory[offset..offset + 8].try_into().unwrap())
}

fn put(machine: &mut TestMachine, offset: usize, value: u64) {
    machine.memory[offset..offset + 8].copy_from_slice(&value.to_le_bytes());
}

/// Protection keys hold a value, SSE one register, AVX and x87 nothing.
fn with_keys(mut machine: TestMachine) -> TestMachine {
    let area = machine.vectors.as_mut_bytes();
    area[2688..2692].copy_from_slice(&0x5555_5554_u32.to_le_bytes());
    area[512..520].copy_from_slice(&0x200_u64.to_le_bytes());
    machine.vectors.set_xmm(1, [0x11; 16]);
    machine
}

#[test]
fn xsaveopt_leaves_initial_components() {
    let mut save = with_keys(machine(&XSAVEOPT64, u64::MAX));
    put(&mut save, HEADER, 1 << 63 | component::AVX);
    done(&mut save);
    assert_eq!(word(&save, HEADER), 1 << 63 | 0x202);
    assert_eq!(word(&save, AREA + 176), 0x1111_1111_1111_1111);
    assert_eq!(word(&save, AREA + 2688), 0x5555_5554);
    // x87 and AVX are initial, so their places keep what they had; MXCSR does not.
    assert_eq!(word(&save, AREA), 0xcccc_cccc_cccc_cccc);
    assert_eq!(word(&save, AREA + 576), 0xcccc_cccc_cccc_cccc);
    assert_eq!(word(&save, AREA + 24) & 0xffff_ffff, 0x1f80);
    // XSAVE writes them all.
    let mut save = with_keys(machine(&XSAVE64, u64::MAX));
    put(&mut save, HEADER, component::X87);
    done(&mut save);
    assert_eq!(word(&save, HEADER), 0x202);
    assert_eq!(word(&save, AREA) & 0xffff, 0x37f);
    assert_eq!(word(&save, AREA + 576), 0);
}

#[test]
fn supervisor_save_and_restore() {
    let mut save = with_keys(machine(&XSAVES64, u64::MAX));
    save.msrs.push((0xda0, 1 << 11));
    done(&mut save);
    assert_eq!(word(&save, HEADER), 0x202);
    assert_eq!(word(&save, HEADER + 8), 1 << 63 | 0xa07);
    assert_eq!(word(&save, HEADER + 16), 0xcccc_cccc_cccc_cccc);
    // Compacted: protection keys come right behind AVX.
    assert_eq!(word(&save, AREA + 832), 0x5555_5554);

    let mut restore = machine(&XRSTORS64, u64::MAX);
    restore.msrs.push((0xda0, 1 << 11));
    restore.memory[AREA..].copy_from_slice(&save.memory[AREA..]);
    restore.memory[HEADER + 16..HEADER + 64].fill(0);
    restore.vectors.set_ymm_high(2, [9; 16]);
    done(&mut restore);
    assert_eq!(restore.vectors.xmm(1), [0x11; 16]);
    assert_eq!(restore.vectors.ymm_high(2), [0; 16]);
    assert_eq!(restore.vectors.xstate_bv(), 0x202);
    assert_eq!(
        restore.vectors.as_bytes()[2688..2692],
        0x5555_5554_u32.to_le_bytes()
    );

    // Without XSS the supervisor bit is unknown; the standard format is not for XRSTORS; both are for ring 0.
    let mut without = restore.clone();
    without.registers.general.rip = BASE;
    without.msrs.clear();
    refused(without);
    let mut standard = restore.clone();
    standard.registers.general.rip = BASE;
    put(&mut standard, HEADER + 8, 0);
    refused(standard);
    for code in [XSAVES64, XRSTORS64] {
        let mut user = machine(&code, 7);
        user.registers.system.ss.dpl = 3;
        refused(user);
    }
}

#[test]
fn compacted_components_may_be_aligned() {
    for (flags, place) in [(0, 576), (2, 576), (2, 640)] {
        // Component 8, of 24 bytes, may come before the keys.
        let before = place == 640;
        let mut save = with_keys(machine(&XSAVES64, u64::MAX));
        save.cpuid[8] = [24, 2560, 0, 0];
        save.cpuid[9][2] = flags;
        save.xcr0 = 0x203 | u64::from(before) << 8;
        done(&mut save);
        assert_eq!(word(&save, AREA + place), 0x5555_5554);
        let mut restore = save.clone();
        restore.registers.general.rip = BASE;
        restore.memory[..4].copy_from_slice(&XRSTORS64);
        restore.memory[HEADER + 16..HEADER + 64].fill(0);
        restore.vectors = trivisor_emulator::XsaveArea::default();
        done(&mut restore);
        assert_eq!(
            restore.vectors.as_bytes()[2688..2692],
            0x5555_5554_u32.to_le_bytes()
        );
    }
}

#[test]
fn restoring_checks_the_header() {
    let load = |bv: u64, format: u64, third: u64| {
        let mut machine = machine(&XRSTOR64, u64::MAX);
        machine.memory[AREA..].fill(0);
        put(&mut machine, HEADER, bv);
        put(&mut machine, HEADER + 8, format);
        put(&mut machine, HEADER + 16, third);
        machine
    };
    done(&mut load(0x207, 0, 0));
    done(&mut load(0x201, 1 << 63 | 0x207, 0));
    refused(load(0x8, 0, 0));
    refused(load(1, 2, 0));
    refused(load(1, 0, 1));
    refused(load(1, 1 << 63 | 1, 1));
    refused(load(2, 1 << 63 | 1, 0));
    refused(load(0, 1 << 63 | 8, 0));
    // MXCSR has no such bit.
    let mut bad = load(2, 0, 0);
    put(&mut bad, AREA + 24, 1 << 16);
    refused(bad);
}

#[test]
fn thirty_two_bit_code_sees_eight_registers() {
    let prepare = |code: &[u8]| {
        let mut machine = TestMachine::protected_mode(BASE, SIZE).with_code(code);
        machine.registers.general.gpr[0] = 7;
        machine.registers.general.gpr[3] = BASE + AREA as u64;
        for n in 0..16 {
            machine.vectors.set_xmm(n, [0x11; 16]);
            machine.vectors.set_ymm_high(n, [0x22; 16]);
        }
        machine
    };
    let mut save = prepare(&[0x0f, 0xae, 0x23]);
    done(&mut save);
    assert_eq!(word(&save, HEADER), component::SSE | component::AVX);
    assert_eq!(
        (word(&save, AREA + 160 + 112), word(&save, AREA + 160 + 128)),
        (0x1111_1111_1111_1111, 0)
    );
    assert_eq!(
        (word(&save, AREA + 576 + 112), word(&save, AREA + 576 + 128)),
        (0x2222_2222_2222_2222, 0)
    );
    let mut restore = prepare(&[0x0f, 0xae, 0x2b]);
    done(&mut restore);
    assert_eq!(
        (restore.vectors.xmm(7), restore.vectors.xmm(8)),
        ([0; 16], [0x11; 16])
    );
    assert_eq!(
        (restore.vectors.ymm_high(7), restore.vectors.ymm_high(8)),
        ([0; 16], [0x22; 16])
    );
    let mut legacy = prepare(&[0x0f, 0xae, 0x03]);
    done(&mut legacy);
    assert_eq!(
        (word(&legacy, AREA + 272), word(&legacy, AREA + 288)),
        (0x1111_1111_1111_1111, 0)
    );
    let mut zero = prepare(&[0xc5, 0xfc, 0x77]);
    done(&mut zero);
    assert_eq!(
        (zero.vectors.xmm(7), zero.vectors.ymm_high(7)),
        ([0; 16], [0; 16])
    );
    assert_eq!(zero.vectors.ymm_high(8), [0x22; 16]);
}

#[test]
fn real_mode_stores_linear_pointers_of_x87() {
    // fnstenv [bx] with an instruction at 0x12345 and its operand at 0x6789a, opcode 0x123
    let mut machine = TestMachine::real_mode(BASE, SIZE).with_code(&[0xd9, 0x37]);
    machine.registers.system.cs.base = BASE;
    machine.registers.system.ds.base = BASE;
    machine.registers.general.rip = 0;
    machine.registers.general.gpr[3] = AREA as u64;
    let area = machine.vectors.as_mut_bytes();
    area[6..8].copy_from_slice(&0x123_u16.to_le_bytes());
    area[8..12].copy_from_slice(&0x1_2345_u32.to_le_bytes());
    area[16..20].copy_from_slice(&0x6_789a_u32.to_le_bytes());
    area[512] = 1;
    area[0] = 0x40;
    done(&mut machine);
    let expected = [0x0340, 0, 0xffff, 0x2345, 0x1123, 0x789a, 0x6000_u16].map(u16::to_le_bytes);
    assert_eq!(machine.memory[AREA..AREA + 14], expected.concat());
    // All exceptions are masked afterwards.
    assert_eq!(machine.vectors.as_bytes()[0], 0x7f);
    // fldenv takes it back.
    machine.registers.general.rip = 0;
    machine.memory[1] = 0x27;
    machine.vectors = trivisor_emulator::XsaveArea::default();
    done(&mut machine);
    assert_eq!(
        machine.vectors.as_bytes()[6..12],
        [0x23, 0x01, 0x45, 0x23, 0x01, 0x00]
    );
    assert_eq!(
        machine.vectors.as_bytes()[16..20],
        0x6_789a_u32.to_le_bytes()
    );
}
