//! Interrupts and returns: INT, IRET, SYSRET; questions about selectors.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod iret;

use trivisor_emulator::registers::{cr0, efer, rflags};
use trivisor_emulator::testing::TestMachine;
use trivisor_emulator::{DescriptorTable, Event, Outcome, step};

const BASE: u64 = 0x1_0000;
const SIZE: usize = 0x4000;
const STACK: u64 = BASE + 0x1000;
const GDT: u64 = BASE + 0x2000;
const IDT: u64 = BASE + 0x3000;

const CODE64: u16 = 0x08;
const DATA0: u16 = 0x10;
const CODE64_RING3: u16 = 0x1b;
const DATA_RING3: u16 = 0x23;
const CODE32: u16 = 0x28;
const CODE32_RING3: u16 = 0x33;
const ABSENT_CODE: u16 = 0x38;
const CONFORMING: u16 = 0x40;

fn put(machine: &mut TestMachine, address: u64, bytes: &[u8]) {
    let start = usize::try_from(address - machine.base).unwrap();
    machine.memory[start..start + bytes.len()].copy_from_slice(bytes);
}

/// Code, stack and a table of descriptors, none of them accessed yet.
fn prepare(mut machine: TestMachine, code: &[u8]) -> TestMachine {
    machine = machine.with_code(code);
    machine.registers.general.gpr[4] = STACK;
    machine.registers.system.gdt = DescriptorTable {
        base: GDT,
        limit: 9 * 8 - 1,
    };
    let descriptors: [u64; 9] = [
        0,
        0x00af_9a00_0000_ffff,
        0x00cf_9200_0000_ffff,
        0x00af_fa00_0000_ffff,
        0x00cf_f200_0000_ffff,
        0x00cf_9a00_0000_ffff,
        0x00cf_fa00_0000_ffff,
        0x00cf_1a00_0000_ffff,
        0x00cf_9e00_0000_ffff,
    ];
    for (n, descriptor) in descriptors.iter().enumerate() {
        put(&mut machine, GDT + 8 * n as u64, &descriptor.to_le_bytes());
    }
    machine
}

fn long(code: &[u8]) -> TestMachine {
    prepare(TestMachine::new(BASE, SIZE), code)
}

fn protected(code: &[u8]) -> TestMachine {
    prepare(TestMachine::protected_mode(BASE, SIZE), code)
}

fn push_frame<const N: usize>(machine: &mut TestMachine, fields: [u64; N], size: usize) {
    let mut address = STACK;
    for field in fields {
        put(machine, address, &field.to_le_bytes()[..size]);
        address += size as u64;
    }
}

fn gp(code: u32) -> Outcome {
    exception(13, code)
}

fn exception(vector: u8, code: u32) -> Outcome {
    Outcome::Inject(Event {
        vector,
        error_code: Some(code),
        payload: None,
        software: false,
    })
}

fn trap(vector: u8, software: bool) -> Outcome {
    Outcome::Inject(Event {
        vector,
        error_code: None,
        payload: None,
        software,
    })
}

/// Runs one step that must fault and leave every register as it was.
fn faults(mut machine: TestMachine, expected: Outcome) {
    let before = machine.registers;
    assert_eq!(step(&mut machine).unwrap(), expected);
    assert_eq!(machine.registers, before);
}

#[test]
fn software_interrupts() {
    let mut machine = long(&[0xcc]);
    assert_eq!(step(&mut machine).unwrap(), trap(3, false));
    assert_eq!(machine.registers.general.rip, BASE + 1);

    let mut machine = long(&[0xcd, 0x80]);
    assert_eq!(step(&mut machine).unwrap(), trap(0x80, true));
    assert_eq!(machine.registers.general.rip, BASE + 2);

    let mut machine = long(&[0xf1]);
    let event = Event {
        vector: 1,
        error_code: None,
        payload: Some(0),
        software: false,
    };
    assert_eq!(step(&mut machine).unwrap(), Outcome::Inject(event));
    assert_eq!(machine.registers.general.rip, BASE + 1);
}

#[test]
fn gates_keep_ring_3_out() {
    for (dpl, expected) in [(0, gp(0x80 << 3 | 2)), (3, trap(0x80, true))] {
        let mut machine = long(&[0xcd, 0x80]);
        machine.registers.system.ss.dpl = 3;
        machine.registers.system.idt = DescriptorTable {
            base: IDT,
            limit: 0xfff,
        };
        put(&mut machine, IDT + 0x80 * 16 + 5, &[0x8e | dpl << 5]);
        assert_eq!(step(&mut machine).unwrap(), expected);
    }
    // The table ends before the vector.
    let mut machine = protected(&[0xcc]);
    machine.registers.system.ss.dpl = 3;
    machine.registers.system.idt = DescriptorTable {
        base: IDT,
        limit: 3 * 8,
    };
    faults(machine, gp(3 << 3 | 2));
}

#[test]
fn virtual_8086_mode_needs_iopl_3() {
    let mut machine = TestMachine::real_mode(BASE, SIZE).with_code(&[0xcd, 0x10]);
    machine.registers.system.cs.base = BASE;
    machine.registers.general.rip = 0;
    machine.registers.system.cr0 = cr0::PE;
    machine.registers.general.rflags |= rflags::VM;
    faults(machine, gp(0));
}

#[test]
fn into_depends_on_overflow() {
    let mut machine = protected(&[0xce]);
    assert_eq!(step(&mut machine).unwrap(), Outcome::Done);
    assert_eq!(machine.registers.general.rip, BASE + 1);
    let mut machine = protected(&[0xce]);
    machine.registers.general.rflags |= rflags::OF;
    assert_eq!(step(&mut machine).unwrap(), trap(4, false));
    assert_eq!(machine.registers.general.rip, BASE + 1);
}

#[test]
fn undefined_opcodes() {
    for code in [
        &[0x0f, 0x0b][..],
        &[0x0f, 0xb9, 0xc0],
        &[0x0f, 0xff, 0xc0],
        &[0x06],
        &[0xf0, 0x90],
    ] {
        faults(long(code), trap(6, false));
    }
}

#[test]
fn sysret_returns_to_ring_3() {
    for (code, selector, is_long, rip) in [
        (&[0x48, 0x0f, 0x07][..], 0x33, true, 0x7fff_1234_5678),
        (&[0x0f, 0x07], 0x23, false, 0x1234_5678),
    ] {
        let mut machine = long(code);
        machine.msrs.push((0xc000_0081, 0x0023_0010 << 32));
        machine.registers.general.gpr[1] = 0x7fff_1234_5678;
        machine.registers.general.gpr[11] = u64::MAX;
        assert_eq!(step(&mut machine).unwrap(), Outcome::Done);
        let (general, system) = (machine.registers.general, machine.registers.system);
        assert_eq!((general.rip, general.rflags), (rip, 0x3c_7fd7));
        assert_eq!((system.cs.selector, system.ss.selector), (selector, 0x2b));
        assert_eq!((system.cs.long, system.cs.big), (is_long, !is_long));
        assert_eq!(
            (system.cs.dpl, system.ss.dpl, system.cs.kind, system.ss.kind),
            (3, 3, 11, 3)
        );
    }
}

#[test]
fn sysret_refuses() {
    let mut machine = long(&[0x48, 0x0f, 0x07]);
    machine.registers.general.gpr[1] = 1 << 63;
    faults(machine, gp(0));
    let mut machine = long(&[0x48, 0x0f, 0x07]);
    machine.registers.system.ss.dpl = 3;
    faults(machine, gp(0));
    let mut machine = long(&[0x48, 0x0f, 0x07]);
    machine.registers.system.efer &= !efer::SCE;
    faults(machine, trap(6, false));
}

#[test]
fn single_step_ends_in_a_debug_exception() {
    let mut machine = long(&[0x0f, 0x01, 0xca]);
    machine.registers.general.rflags |= rflags::TF;
    let event = Event {
        vector: 1,
        error_code: None,
        payload: Some(1 << 14),
        software: false,
    };
    assert_eq!(step(&mut machine).unwrap(), Outcome::Inject(event));
    assert_eq!(machine.registers.general.rip, BASE + 3);
}

#[test]
fn questions_about_selectors() {
    // verr bx; verw bx; lar eax, ebx; lsl eax, ebx
    let ask = |code: &[u8], selector: u16, dpl: u8| {
        let mut machine = protected(code);
        machine.registers.system.ss.dpl = dpl;
        machine.registers.general.gpr[3] = selector.into();
        machine.registers.general.gpr[0] = 0x1234;
        assert_eq!(step(&mut machine).unwrap(), Outcome::Done);
        let general = machine.registers.general;
        (general.rflags & rflags::ZF != 0, general.gpr[0])
    };
    const VERR: &[u8] = &[0x0f, 0x00, 0xe3];
    const VERW: &[u8] = &[0x0f, 0x00, 0xeb];
    const LAR: &[u8] = &[0x0f, 0x02, 0xc3];
    const LSL: &[u8] = &[0x0f, 0x03, 0xc3];
    for (selector, dpl, readable, writable) in [
        (CODE32, 0, true, false),
        (DATA0, 0, true, true),
        (DATA0, 3, false, false),
        (DATA_RING3, 3, true, true),
        (CONFORMING, 3, true, false),
        (0, 0, false, false),
        (0x48, 0, false, false),
    ] {
        assert_eq!(
            ask(VERR, selector, dpl),
            (readable, 0x1234),
            "{selector:#x}"
        );
        assert_eq!(
            ask(VERW, selector, dpl),
            (writable, 0x1234),
            "{selector:#x}"
        );
        assert_eq!(ask(LAR, selector, dpl).0, readable, "{selector:#x}");
    }
    assert_eq!(ask(LAR, CODE32, 0), (true, 0x00c0_9a00));
    assert_eq!(ask(LSL, CODE32, 0), (true, 0xffff_ffff));
    assert_eq!(ask(LSL, DATA0, 3), (false, 0x1234));
    // Real mode has no descriptors.
    let mut real = TestMachine::real_mode(BASE, SIZE).with_code(VERW);
    real.registers.system.cs.base = BASE;
    real.registers.general.rip = 0;
    faults(real, trap(6, false));
}
