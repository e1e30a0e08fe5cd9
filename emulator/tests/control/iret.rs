//! IRET in every mode.

use trivisor_emulator::registers::rflags;
use trivisor_emulator::testing::TestMachine;
use trivisor_emulator::{EmulateError, Event, Outcome, Segment, step};

use super::*;

#[test]
fn iret_in_real_mode() {
    let mut machine = TestMachine::real_mode(BASE, SIZE).with_code(&[0xcf]);
    machine.registers.system.cs.base = BASE;
    machine.registers.system.ss.base = BASE;
    machine.registers.general.rip = 0;
    machine.registers.general.gpr[4] = 0x1000;
    machine.registers.general.rflags = 2 | rflags::AC;
    push_frame(&mut machine, [0x1234, 0xf000, 0xffff], 2);
    assert_eq!(step(&mut machine).unwrap(), Outcome::Done);
    let (general, system) = (machine.registers.general, machine.registers.system);
    assert_eq!((general.rip, general.gpr[4]), (0x1234, 0x1006));
    assert_eq!(
        (system.cs.selector, system.cs.base, system.cs.limit),
        (0xf000, 0xf_0000, 0xffff)
    );
    assert_eq!(general.rflags, 0x7fd7 | rflags::AC);
}

#[test]
fn iret_in_real_mode_with_32_bits_checks_the_limit() {
    let mut machine = TestMachine::real_mode(BASE, SIZE).with_code(&[0x66, 0xcf]);
    machine.registers.system.cs.base = BASE;
    machine.registers.system.ss.base = BASE;
    machine.registers.general.rip = 0;
    machine.registers.general.gpr[4] = 0x1000;
    push_frame(&mut machine, [0x1_0000, 0, 2], 4);
    faults(machine.clone(), gp(0));
    push_frame(&mut machine, [0xffff, 0, u64::from(u32::MAX)], 4);
    assert_eq!(step(&mut machine).unwrap(), Outcome::Done);
    assert_eq!(machine.registers.general.rip, 0xffff);
    assert_eq!(machine.registers.general.rflags & rflags::VM, 0);
    assert_ne!(machine.registers.general.rflags & rflags::ID, 0);
}

#[test]
fn iret_in_protected_mode() {
    let mut machine = protected(&[0xcf]);
    machine.registers.general.rflags |= rflags::ZF;
    push_frame(
        &mut machine,
        [
            0x1234_5678,
            CODE32.into(),
            rflags::FIXED | rflags::IF | rflags::CF,
        ],
        4,
    );
    assert_eq!(step(&mut machine).unwrap(), Outcome::Done);
    let (general, system) = (machine.registers.general, machine.registers.system);
    assert_eq!((general.rip, general.gpr[4]), (0x1234_5678, STACK + 12));
    assert_eq!(general.rflags, rflags::FIXED | rflags::IF | rflags::CF);
    assert_eq!(
        (system.cs.selector, system.cs.kind, system.cs.limit),
        (CODE32, 11, u32::MAX)
    );
    assert!(system.cs.big && !system.cs.long);
    // The descriptor is marked as used.
    let access = usize::try_from(GDT - BASE).unwrap() + usize::from(CODE32) + 5;
    assert_eq!(machine.memory[access], 0x9b);
}

#[test]
fn iret_to_an_outer_ring_drops_inner_segments() {
    let mut machine = protected(&[0xcf]);
    machine.registers.system.fs = Segment {
        dpl: 3,
        selector: 0x23,
        ..machine.registers.system.ds
    };
    let flags = rflags::FIXED | rflags::IF | rflags::IOPL;
    push_frame(
        &mut machine,
        [
            0x1000,
            CODE32_RING3.into(),
            flags,
            0x8000,
            DATA_RING3.into(),
        ],
        4,
    );
    assert_eq!(step(&mut machine).unwrap(), Outcome::Done);
    let (general, system) = (machine.registers.general, machine.registers.system);
    assert_eq!(
        (general.rip, general.gpr[4], general.rflags),
        (0x1000, 0x8000, flags)
    );
    assert_eq!(system.cpl(general.rflags), 3);
    assert_eq!(
        (system.cs.selector, system.ss.selector),
        (CODE32_RING3, DATA_RING3)
    );
    assert!(system.ds.unusable && system.es.unusable && system.gs.unusable);
    assert!(!system.fs.unusable);
}

#[test]
fn iret_of_ring_3_cannot_raise_its_privilege() {
    let mut machine = protected(&[0xcf]);
    machine.registers.system.ss.dpl = 3;
    machine.registers.general.rflags = rflags::FIXED;
    push_frame(
        &mut machine,
        [
            0x1000,
            CODE32_RING3.into(),
            u64::from(u32::MAX) & !rflags::VM,
        ],
        4,
    );
    assert_eq!(step(&mut machine).unwrap(), Outcome::Done);
    let privileged = rflags::IF | rflags::IOPL | rflags::VIF | rflags::VIP;
    assert_eq!(machine.registers.general.rflags & privileged, 0);

    let mut machine = protected(&[0xcf]);
    machine.registers.system.ss.dpl = 3;
    push_frame(&mut machine, [0x1000, CODE32.into(), 2], 4);
    faults(machine, gp(CODE32.into()));
}

#[test]
fn iret_refuses_bad_selectors() {
    let cases = [
        (0, gp(0)),
        (DATA0, gp(DATA0.into())),
        (0x48, gp(0x48)),
        (ABSENT_CODE, exception(11, ABSENT_CODE.into())),
        (CODE32 | 4, gp(u32::from(CODE32) | 4)),
        (CODE32_RING3 & !3 | 1, gp(u32::from(CODE32_RING3 & !3))),
    ];
    for (selector, expected) in cases {
        let mut machine = protected(&[0xcf]);
        machine.registers.system.ldt.unusable = true;
        push_frame(&mut machine, [0x1000, selector.into(), 2], 4);
        faults(machine, expected);
    }
    let stacks = [
        (0, gp(0)),
        (DATA0, gp(DATA0.into())),
        (CODE32_RING3, gp(u32::from(CODE32_RING3 & !3))),
    ];
    for (selector, expected) in stacks {
        let mut machine = protected(&[0xcf]);
        push_frame(
            &mut machine,
            [0x1000, CODE32_RING3.into(), 2, 0x8000, selector.into()],
            4,
        );
        faults(machine, expected);
    }
}

#[test]
fn iret_to_conforming_code_stays_in_its_ring() {
    let mut machine = protected(&[0xcf]);
    push_frame(
        &mut machine,
        [
            0x1000,
            u64::from(CONFORMING) | 3,
            2,
            0x8000,
            DATA_RING3.into(),
        ],
        4,
    );
    assert_eq!(step(&mut machine).unwrap(), Outcome::Done);
    assert_eq!(machine.registers.system.cpl(2), 3);
}

#[test]
fn iret_in_64_bit_mode() {
    // 64-bit mode takes SS and RSP from the frame even within a ring.
    let mut machine = long(&[0x48, 0xcf]);
    let rip = 0xffff_8000_0000_1000;
    push_frame(
        &mut machine,
        [
            rip,
            CODE64.into(),
            rflags::FIXED | rflags::TF,
            0xffff_9000_0000_0000,
            0,
        ],
        8,
    );
    assert_eq!(step(&mut machine).unwrap(), Outcome::Done);
    let (general, system) = (machine.registers.general, machine.registers.system);
    assert_eq!((general.rip, general.gpr[4]), (rip, 0xffff_9000_0000_0000));
    assert_eq!(general.rflags, rflags::FIXED | rflags::TF);
    assert!(system.cs.long && system.ss.unusable);
    assert_eq!(system.cpl(general.rflags), 0);
}

#[test]
fn iret_to_64_and_32_bit_user_code() {
    for (selector, is_long) in [(CODE64_RING3, true), (CODE32_RING3, false)] {
        let mut machine = long(&[0x48, 0xcf]);
        push_frame(
            &mut machine,
            [
                0x40_0000,
                selector.into(),
                0x202,
                0x7fff_0000,
                DATA_RING3.into(),
            ],
            8,
        );
        assert_eq!(step(&mut machine).unwrap(), Outcome::Done);
        let system = machine.registers.system;
        assert_eq!(system.cs.long, is_long);
        assert_eq!((system.cs.dpl, system.ss.dpl), (3, 3));
        assert_eq!(machine.registers.general.gpr[4], 0x7fff_0000);
    }
}

#[test]
fn iret_in_64_bit_mode_refuses() {
    // Not canonical.
    let mut machine = long(&[0x48, 0xcf]);
    push_frame(&mut machine, [1 << 47, CODE64.into(), 2, STACK, 0], 8);
    faults(machine, gp(0));
    // A null stack for ring 3.
    let mut machine = long(&[0x48, 0xcf]);
    push_frame(&mut machine, [0x1000, CODE64_RING3.into(), 2, STACK, 3], 8);
    faults(machine, gp(0));
    // A nested task.
    let mut machine = long(&[0x48, 0xcf]);
    machine.registers.general.rflags |= rflags::NT;
    faults(machine, gp(0));
    // The frame is not mapped.
    let mut machine = long(&[0x48, 0xcf]);
    machine.registers.general.gpr[4] = 0x5000_0000;
    let fault = Event {
        vector: 14,
        error_code: Some(0),
        payload: Some(0x5000_0000),
        software: false,
    };
    faults(machine, Outcome::Inject(fault));
}

#[test]
fn iret_to_virtual_8086_mode_or_another_task_is_not_supported() {
    let mut machine = protected(&[0xcf]);
    push_frame(&mut machine, [0, 0, rflags::FIXED | rflags::VM], 4);
    assert!(matches!(
        step(&mut machine),
        Err(EmulateError::Unsupported { rip: BASE, .. })
    ));
    let mut machine = protected(&[0xcf]);
    machine.registers.general.rflags |= rflags::NT;
    assert!(matches!(
        step(&mut machine),
        Err(EmulateError::Unsupported { .. })
    ));
}
