//! Fetch, address arithmetic, segmentation, faults, locks.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use trivisor_emulator::registers::{cr4, efer};
use trivisor_emulator::testing::TestMachine;
use trivisor_emulator::{EmulateError, Event, Outcome, Segment, step};

const BASE: u64 = 0x1_0000;
const SIZE: usize = 0x1_0000;

fn done(machine: &mut TestMachine) {
    assert_eq!(step(machine).unwrap(), Outcome::Done);
}

fn injects(mut machine: TestMachine, vector: u8, error_code: u32, payload: Option<u64>) {
    let before = machine.registers;
    let event = Event {
        vector,
        error_code: Some(error_code),
        payload,
        software: false,
    };
    assert_eq!(step(&mut machine).unwrap(), Outcome::Inject(event));
    assert_eq!(machine.registers, before);
}

/// Real mode with all segments at the start of memory.
fn real(code: &[u8]) -> TestMachine {
    let mut machine = TestMachine::real_mode(BASE, SIZE).with_code(code);
    let system = &mut machine.registers.system;
    for segment in [
        &mut system.cs,
        &mut system.ds,
        &mut system.es,
        &mut system.ss,
    ] {
        segment.base = BASE;
    }
    machine.registers.general.rip = 0;
    machine
}

#[test]
fn legacy_mode_forms() {
    let mut machine = TestMachine::protected_mode(BASE, SIZE);
    machine.registers.general.gpr[4] = BASE + 0x1000;
    machine.registers.general.gpr[5] = BASE + 0x2000;
    machine.registers.general.gpr[0] = 0xffff_ffff;
    let run = |machine: &mut TestMachine, code: &[u8]| {
        machine.registers.general.rip = BASE;
        machine.memory[..code.len()].copy_from_slice(code);
        done(machine);
        assert_eq!(machine.registers.general.rip, BASE + code.len() as u64);
    };
    // inc eax; dec eax; inc ax; dec ax
    run(&mut machine, &[0x40]);
    assert_eq!(machine.registers.general.gpr[0], 0);
    run(&mut machine, &[0x48]);
    assert_eq!(machine.registers.general.gpr[0], 0xffff_ffff);
    run(&mut machine, &[0x66, 0x40]);
    assert_eq!(machine.registers.general.gpr[0], 0xffff_0000);
    run(&mut machine, &[0x66, 0x48]);
    assert_eq!(machine.registers.general.gpr[0], 0xffff_ffff);
    // push eax; pop ecx
    run(&mut machine, &[0x50]);
    assert_eq!(machine.registers.general.gpr[4], BASE + 0xffc);
    run(&mut machine, &[0x59]);
    assert_eq!(machine.registers.general.gpr[1], 0xffff_ffff);
    // push -2; push 0x12345678; push dword [esp]; pop dword [esp + 4]
    run(&mut machine, &[0x6a, 0xfe]);
    run(&mut machine, &[0x68, 0x78, 0x56, 0x34, 0x12]);
    run(&mut machine, &[0xff, 0x34, 0x24]);
    assert_eq!(machine.registers.general.gpr[4], BASE + 0xff4);
    assert_eq!(
        machine.memory[0xff4..0x1000],
        [
            0x78, 0x56, 0x34, 0x12, 0x78, 0x56, 0x34, 0x12, 0xfe, 0xff, 0xff, 0xff
        ]
    );
    run(&mut machine, &[0x8f, 0x44, 0x24, 0x04]);
    assert_eq!(machine.memory[0xffc..0x1000], [0x78, 0x56, 0x34, 0x12]);
    // enter 16, 2; leave
    let (esp, ebp) = (
        machine.registers.general.gpr[4],
        machine.registers.general.gpr[5],
    );
    run(&mut machine, &[0xc8, 0x10, 0x00, 0x02]);
    assert_eq!(machine.registers.general.gpr[5], esp - 4);
    assert_eq!(machine.registers.general.gpr[4], esp - 12 - 16);
    run(&mut machine, &[0xc9]);
    assert_eq!(
        (
            machine.registers.general.gpr[4],
            machine.registers.general.gpr[5]
        ),
        (esp, ebp)
    );
}

#[test]
fn the_second_encoding_of_immediate_arithmetic() {
    // add, or, adc, sbb, and, sub, xor, cmp al, 0x0f under opcode 0x82
    let results = [0x42, 0x3f, 0x42, 0x24, 0x03, 0x24, 0x3c, 0x33];
    for (n, result) in (0_u8..).zip(results) {
        let mut machine =
            TestMachine::protected_mode(BASE, SIZE).with_code(&[0x82, 0xc0 | n << 3, 0x0f]);
        machine.registers.general.gpr[0] = 0x33;
        done(&mut machine);
        assert_eq!(machine.registers.general.gpr[0], result, "operation {n}");
    }
}

#[test]
fn sixteen_bit_addresses() {
    // mov al, [bx + si + 0x10], with BX + SI beyond 64 KiB
    let mut machine = real(&[0x8a, 0x40, 0x10]);
    machine.registers.general.gpr[3] = 0x1234_fff8;
    machine.registers.general.gpr[6] = 0x5678_0018;
    machine.memory[0x20] = 0x77;
    done(&mut machine);
    assert_eq!(machine.registers.general.gpr[0], 0x77);
    // mov al, [0x1234]
    let mut machine = real(&[0xa0, 0x34, 0x12]);
    machine.memory[0x1234] = 0x66;
    done(&mut machine);
    assert_eq!(machine.registers.general.gpr[0], 0x66);
    // mov [bp], al goes through SS; es: overrides
    for (code, place) in [
        (&[0x88, 0x46, 0x00][..], 0x500),
        (&[0x26, 0x88, 0x46, 0x00], 0x700),
    ] {
        let mut machine = real(code);
        machine.registers.general.gpr[0] = 0x99;
        machine.registers.general.gpr[5] = 0x100;
        machine.registers.system.ss.base = BASE + 0x400;
        machine.registers.system.es.base = BASE + 0x600;
        done(&mut machine);
        assert_eq!(machine.memory[place], 0x99);
    }
}

#[test]
fn segments_have_limits() {
    // mov ax, [bx] at 0xffff crosses the limit; with bp it is the stack's fault.
    let mut machine = real(&[0x8b, 0x07]);
    machine.registers.general.gpr[3] = 0xffff;
    injects(machine, 13, 0, None);
    let mut machine = real(&[0x8b, 0x46, 0x00]);
    machine.registers.general.gpr[5] = 0xffff;
    injects(machine, 12, 0, None);
    // Code beyond its own limit.
    let mut machine = real(&[0x9b]);
    machine.registers.general.rip = 0x1_0000;
    injects(machine, 13, 0, None);
}

#[test]
fn protected_segments_have_types() {
    // mov [eax], cl and mov cl, [eax]
    let with = |code: &[u8], segment: Segment| {
        let mut machine = TestMachine::protected_mode(BASE, SIZE).with_code(code);
        machine.registers.system.ds = segment;
        machine.registers.general.gpr[0] = BASE + 0x100;
        machine
    };
    const STORE: &[u8] = &[0x88, 0x08];
    const LOAD: &[u8] = &[0x8a, 0x08];
    let data = TestMachine::protected_mode(BASE, SIZE).registers.system.ds;
    let read_only = Segment { kind: 1, ..data };
    let execute_only = Segment { kind: 9, ..data };
    let unusable = Segment {
        unusable: true,
        ..data
    };
    let down = Segment {
        kind: 7,
        limit: 0x1_0100,
        ..data
    };
    injects(with(STORE, read_only), 13, 0, None);
    done(&mut with(LOAD, read_only));
    injects(with(LOAD, execute_only), 13, 0, None);
    injects(with(LOAD, unusable), 13, 0, None);
    injects(with(LOAD, down), 13, 0, None);
    done(&mut with(
        LOAD,
        Segment {
            limit: 0x1_00ff,
            ..down
        },
    ));
}

#[test]
fn fs_and_gs_have_bases_in_64_bit_mode_and_the_others_none() {
    // mov al, fs:[rbx]; mov al, es:[rbx]
    for (prefix, place) in [(0x64, 0x340), (0x26, 0x40)] {
        let mut machine = TestMachine::new(BASE, SIZE).with_code(&[prefix, 0x8a, 0x03]);
        machine.registers.system.fs.base = 0x300;
        machine.registers.system.es.base = 0x500;
        machine.registers.general.gpr[3] = BASE + 0x40;
        machine.memory[place] = 5;
        done(&mut machine);
        assert_eq!(machine.registers.general.gpr[0], 5);
    }
}

#[test]
fn addresses_are_canonical() {
    // mov al, [rbx]; mov al, [rbp]
    for (code, register, vector) in [(&[0x8a, 0x03][..], 3, 13), (&[0x8a, 0x45, 0x00], 5, 12)] {
        let mut machine = TestMachine::new(BASE, SIZE).with_code(code);
        machine.registers.general.gpr[register] = 1 << 47;
        injects(machine.clone(), vector, 0, None);
        // With five levels of paging the same address is only not there.
        machine.registers.system.cr4 |= cr4::LA57;
        injects(machine, 14, 0, Some(1 << 47));
    }
    let mut machine = TestMachine::new(BASE, SIZE);
    machine.registers.general.rip = 1 << 63;
    injects(machine, 13, 0, None);
}

#[test]
fn page_faults_tell_what_was_tried() {
    // add [rbx], al: a fault of writing at the load already.
    let mut machine = TestMachine::new(BASE, SIZE).with_code(&[0x00, 0x03]);
    machine.registers.general.gpr[3] = 0x5000;
    injects(machine, 14, 2, Some(0x5000));
    let mut machine = TestMachine::new(BASE, SIZE).with_code(&[0x8a, 0x03]);
    machine.registers.general.gpr[3] = 0x5000;
    machine.registers.system.ss.dpl = 3;
    injects(machine, 14, 4, Some(0x5000));
    let mut machine = TestMachine::new(BASE, SIZE);
    machine.registers.general.rip = 0x5000;
    injects(machine, 14, 0x10, Some(0x5000));
}

#[test]
fn the_second_page_is_fetched_only_if_needed() {
    // nop at the very end of memory, then an instruction that goes on beyond it.
    let end = BASE + SIZE as u64;
    let mut machine = TestMachine::new(BASE, SIZE);
    machine.memory[SIZE - 1] = 0x9b;
    machine.registers.general.rip = end - 1;
    done(&mut machine);
    assert_eq!(machine.registers.general.rip, end);
    machine.memory[SIZE - 1] = 0x0f;
    machine.registers.general.rip = end - 1;
    injects(machine, 14, 0x10, Some(end));
    // Over a page boundary inside memory.
    let mut machine = TestMachine::new(BASE, SIZE);
    machine.memory[0xffe..0x1002].copy_from_slice(&[0xf3, 0x0f, 0xb8, 0xc1]);
    machine.registers.general.rip = BASE + 0xffe;
    machine.registers.general.gpr[1] = 3;
    done(&mut machine);
    assert_eq!(machine.registers.general.gpr[0], 2);
}

#[test]
fn fifteen_bytes_are_the_limit() {
    let machine = TestMachine::new(BASE, SIZE).with_code(&[0x66; 16]);
    injects(machine, 13, 0, None);
}

#[test]
fn rip_wraps_in_16_bit_code() {
    let mut machine = real(&[]);
    machine.registers.general.rip = 0xffff;
    machine.memory[0xffff] = 0x9b;
    done(&mut machine);
    assert_eq!(machine.registers.general.rip, 0);
}

#[test]
fn locked_instructions_try_again() {
    // lock add [rbx], eax; xchg [rbx], eax; lock cmpxchg16b [rbx]
    for code in [
        &[0xf0, 0x01, 0x03][..],
        &[0x87, 0x03],
        &[0xf0, 0x48, 0x0f, 0xc7, 0x0b],
    ] {
        let mut machine = TestMachine::new(BASE, SIZE).with_code(code);
        machine.registers.general.gpr[3] = BASE + 0x100;
        machine.lost_races = 3;
        done(&mut machine);
        assert_eq!(machine.lost_races, 0);
        assert_eq!(machine.registers.general.rip, BASE + code.len() as u64);
        // Somebody who always wins: the guest itself meets the instruction again.
        machine.registers.general.rip = BASE;
        machine.registers.general.gpr[0] = 0;
        machine.memory[0x100..0x110].fill(0);
        machine.lost_races = 1000;
        let before = machine.registers;
        done(&mut machine);
        assert_eq!(machine.registers, before);
        assert!(machine.lost_races > 900);
    }
}

#[test]
fn alignment_is_checked_where_the_manual_says() {
    // cmpxchg16b, movaps, pxor with memory, fxsave, xsave at an odd address
    const CODES: [&[u8]; 5] = [
        &[0x48, 0x0f, 0xc7, 0x0b],
        &[0x0f, 0x28, 0x03],
        &[0x66, 0x0f, 0xef, 0x03],
        &[0x0f, 0xae, 0x03],
        &[0x0f, 0xae, 0x23],
    ];
    for code in CODES {
        let mut machine = TestMachine::new(BASE, SIZE).with_code(code);
        machine.registers.general.gpr[3] = BASE + 0x108;
        injects(machine, 13, 0, None);
    }
    // movups and the AVX forms of arithmetic do not care.
    for code in [&[0x0f, 0x10, 0x03][..], &[0xc5, 0xf9, 0xef, 0x03]] {
        let mut machine = TestMachine::new(BASE, SIZE).with_code(code);
        machine.registers.general.gpr[3] = BASE + 0x101;
        done(&mut machine);
    }
}

#[test]
fn division_faults() {
    // div cl; idiv ecx
    let mut machine = TestMachine::new(BASE, SIZE).with_code(&[0xf6, 0xf1]);
    machine.registers.general.gpr[0] = 0x1000;
    machine.registers.general.gpr[1] = 0x10;
    let event = Event {
        vector: 0,
        error_code: None,
        payload: None,
        software: false,
    };
    assert_eq!(step(&mut machine).unwrap(), Outcome::Inject(event));
    let mut machine = TestMachine::new(BASE, SIZE).with_code(&[0xf7, 0xf9]);
    machine.registers.general.gpr[0] = 0x8000_0000;
    machine.registers.general.gpr[2] = 0xffff_ffff;
    machine.registers.general.gpr[1] = 0xffff_ffff;
    assert_eq!(step(&mut machine).unwrap(), Outcome::Inject(event));
}

#[test]
fn what_is_missing_is_named() {
    // vpaddd zmm0, zmm0, zmm0
    let mut machine = TestMachine::new(BASE, SIZE).with_code(&[0x62, 0xf1, 0x7d, 0x48, 0xfe, 0xc0]);
    let error = step(&mut machine).unwrap_err();
    assert_eq!(
        error.to_string(),
        "instruction 62 f1 7d 48 fe c0 at 0x10000 is not supported"
    );
    let EmulateError::Unsupported { bytes, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(bytes.as_slice().len(), 6);
    assert_eq!(machine.registers.system.efer & efer::LMA, efer::LMA);
}
