//! String instructions: ports, repetition in pieces, faults on the way.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use trivisor_emulator::registers::{cr0, rflags};
use trivisor_emulator::testing::TestMachine;
use trivisor_emulator::{Event, Outcome, Segment, step};

const BASE: u64 = 0x1_0000;
const SIZE: usize = 0x4000;
const DATA: u64 = BASE + 0x1000;
const RCX: usize = 1;
const RDX: usize = 2;
const RSI: usize = 6;
const RDI: usize = 7;

fn machine(code: &[u8], count: u64) -> TestMachine {
    let mut machine = TestMachine::new(BASE, SIZE).with_code(code);
    machine.registers.general.gpr[RCX] = count;
    machine.registers.general.gpr[RSI] = DATA;
    machine.registers.general.gpr[RDI] = DATA + 0x800;
    machine
}

fn done(machine: &mut TestMachine) {
    assert_eq!(step(machine).unwrap(), Outcome::Done);
}

fn page_fault(address: u64, error_code: u32) -> Outcome {
    Outcome::Inject(Event {
        vector: 14,
        error_code: Some(error_code),
        payload: Some(address),
        software: false,
    })
}

#[test]
fn string_io() {
    // insb, insw, insd
    for (code, size) in [(&[0x6c][..], 1), (&[0x66, 0x6d], 2), (&[0x6d], 4)] {
        let mut insert = machine(code, 0);
        insert.registers.general.gpr[RDX] = 0xffff_03f8;
        insert.port_reads.extend([1, 2, 3, 4]);
        done(&mut insert);
        assert_eq!(
            insert.memory[0x1800..0x1804],
            [[1, 0, 0, 0], [1, 2, 0, 0], [0; 4], [1, 2, 3, 4]][size - 1]
        );
        assert_eq!(
            insert.registers.general.gpr[RDI],
            DATA + 0x800 + size as u64
        );
        assert_eq!(insert.port_reads.len(), 4 - size);
    }
    // outsb, outsw, outsd
    for (code, size) in [(&[0x6e][..], 1), (&[0x66, 0x6f], 2), (&[0x6f], 4)] {
        let mut output = machine(code, 0);
        output.registers.general.gpr[RDX] = 0x80;
        output.memory[0x1000..0x1004].copy_from_slice(&[1, 2, 3, 4]);
        done(&mut output);
        assert_eq!(output.port_writes, [(0x80, [1, 2, 3, 4][..size].to_vec())]);
        assert_eq!(output.registers.general.gpr[RSI], DATA + size as u64);
    }
}

#[test]
fn repeated_input_goes_down_under_df() {
    let mut insert = machine(&[0xf3, 0x6c], 3);
    insert.registers.general.rflags |= rflags::DF;
    insert.port_reads.extend([1, 2, 3]);
    done(&mut insert);
    assert_eq!(insert.memory[0x17fe..0x1801], [3, 2, 1]);
    assert_eq!(insert.registers.general.gpr[RDI], DATA + 0x800 - 3);
    assert_eq!(insert.registers.general.gpr[RCX], 0);
    assert_eq!(insert.registers.general.rip, BASE + 2);
}

#[test]
fn a_page_fault_comes_before_the_port_is_read() {
    let mut insert = machine(&[0x6c], 0);
    insert.registers.general.gpr[RDI] = BASE - 1;
    insert.port_reads.extend([1]);
    assert_eq!(step(&mut insert).unwrap(), page_fault(BASE - 1, 2));
    assert_eq!(insert.port_reads.len(), 1);
}

#[test]
fn long_repetitions_come_in_pieces() {
    let mut stos = machine(&[0xf3, 0xaa], 1200);
    stos.registers.general.gpr[0] = 0x55;
    for left in [688, 176] {
        done(&mut stos);
        assert_eq!(stos.registers.general.gpr[RCX], left);
        assert_eq!(stos.registers.general.gpr[RDI], DATA + 0x800 + 1200 - left);
        assert_eq!(stos.registers.general.rip, BASE);
    }
    done(&mut stos);
    assert_eq!(stos.registers.general.rip, BASE + 2);
    assert!(
        stos.memory[0x1800..0x1800 + 1200]
            .iter()
            .all(|byte| *byte == 0x55)
    );
    assert_eq!(stos.memory[0x1800 + 1200], 0);
}

#[test]
fn single_step_stops_after_each_element() {
    let mut stos = machine(&[0xf3, 0xaa], 2);
    stos.registers.general.rflags |= rflags::TF;
    let debug = Event {
        vector: 1,
        error_code: None,
        payload: Some(1 << 14),
        software: false,
    };
    for rip in [BASE, BASE + 2] {
        assert_eq!(step(&mut stos).unwrap(), Outcome::Inject(debug));
        assert_eq!(stos.registers.general.rip, rip);
    }
}

#[test]
fn a_fault_keeps_what_was_done() {
    let end = BASE + SIZE as u64;
    let mut movs = machine(&[0xf3, 0xa4], 10);
    movs.registers.general.gpr[RDI] = end - 4;
    movs.memory[0x1000..0x100a].fill(7);
    assert_eq!(step(&mut movs).unwrap(), page_fault(end, 2));
    let general = movs.registers.general;
    assert_eq!(
        (general.gpr[RCX], general.gpr[RSI], general.gpr[RDI]),
        (6, DATA + 4, end)
    );
    assert_eq!(general.rip, BASE);
    assert_eq!(movs.memory[SIZE - 4..], [7; 4]);
    // At the first element nothing at all has changed.
    let before = movs.registers;
    assert_eq!(step(&mut movs).unwrap(), page_fault(end, 2));
    assert_eq!(movs.registers, before);
}

#[test]
fn comparisons_end_early() {
    // repe cmpsb
    let mut compare = machine(&[0xf3, 0xa6], 100);
    compare.memory[0x1805] = 1;
    done(&mut compare);
    assert_eq!(compare.registers.general.gpr[RCX], 94);
    assert_eq!(compare.registers.general.rip, BASE + 2);
    assert_eq!(compare.registers.general.rflags & rflags::CF, rflags::CF);
    // repne scasb
    let mut scan = machine(&[0xf2, 0xae], 100);
    scan.registers.general.gpr[0] = 9;
    scan.memory[0x1809] = 9;
    done(&mut scan);
    assert_eq!(scan.registers.general.gpr[RDI], DATA + 0x80a);
    assert_eq!(scan.registers.general.rflags & rflags::ZF, rflags::ZF);
}

#[test]
fn sixteen_bit_pointers_wrap() {
    let mut stos = TestMachine::real_mode(BASE, 0x1_0000).with_code(&[0xf3, 0xaa]);
    stos.registers.system.cs.base = BASE;
    stos.registers.system.es.base = BASE;
    stos.registers.general.rip = 0;
    stos.registers.general.gpr[0] = 0xab;
    stos.registers.general.gpr[RCX] = 0xffff_0002;
    stos.registers.general.gpr[RDI] = 0x1234_ffff;
    done(&mut stos);
    assert_eq!((stos.memory[0xffff], stos.memory[0]), (0xab, 0xab));
    assert_eq!(stos.registers.general.gpr[RDI], 0x1234_0001);
    assert_eq!(stos.registers.general.gpr[RCX], 0xffff_0000);
    assert_eq!(stos.registers.general.rip, 2);
}

#[test]
fn the_bitmap_of_the_task_decides_above_iopl() {
    let tss = BASE + 0x2000;
    for (bits, allowed) in [(0b0000_0000, true), (0b0000_0100, false)] {
        let mut output = machine(&[0x6e], 0);
        output.registers.system.ss.dpl = 3;
        output.registers.system.tr = Segment {
            base: tss,
            limit: 0x80,
            ..output.registers.system.tr
        };
        output.registers.general.gpr[RDX] = 2;
        output.memory[0x2066..0x2068].copy_from_slice(&[0x68, 0]);
        output.memory[0x2068] = bits;
        let outcome = step(&mut output).unwrap();
        let refused = Event {
            vector: 13,
            error_code: Some(0),
            payload: None,
            software: false,
        };
        assert_eq!(
            outcome,
            if allowed {
                Outcome::Done
            } else {
                Outcome::Inject(refused)
            }
        );
        // With IOPL 3 nobody asks the bitmap.
        output.registers.general.rip = BASE;
        output.registers.general.rflags |= rflags::IOPL;
        done(&mut output);
        assert_eq!(output.registers.system.cr0 & cr0::PE, cr0::PE);
    }
}
