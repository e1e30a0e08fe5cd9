//! Arbitrary bytes as code and registers: no panic, no endless loop, no change by a fault.

use trivisor_emulator::registers::rflags;
use trivisor_emulator::testing::TestMachine;
use trivisor_emulator::{Outcome, step};

const BASE: u64 = 0x1_0000;
const SIZE: usize = 0x2000;

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ *state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

#[test]
fn arbitrary_code_neither_panics_nor_tears() {
    const PREFIXES: [&[u8]; 8] = [
        &[],
        &[0x0f],
        &[0x66, 0x0f],
        &[0xf3, 0x0f],
        &[0xf2, 0x0f],
        &[0xc5],
        &[0xc4],
        &[0x48],
    ];
    let mut seed = 1;
    let (mut finished, mut injected) = (0, 0);
    for round in 0..300_000_u64 {
        let random = next(&mut seed);
        let mut machine = match random % 4 {
            0 => TestMachine::real_mode(BASE, SIZE),
            1 => TestMachine::protected_mode(BASE, SIZE),
            _ => TestMachine::new(BASE, SIZE),
        };
        let prefix = PREFIXES[usize::try_from(random >> 8 & 7).unwrap()];
        let code: Vec<u8> = prefix
            .iter()
            .copied()
            .chain((0..2).flat_map(|_| next(&mut seed).to_le_bytes()))
            .collect();
        machine = machine.with_code(&code);
        let general = &mut machine.registers.general;
        for register in &mut general.gpr {
            let value = next(&mut seed);
            *register = if value & 1 == 0 {
                BASE + (value >> 8) % (SIZE as u64)
            } else {
                value
            };
        }
        general.rflags = next(&mut seed) & 0x3f_7fd5 & !rflags::VM | rflags::FIXED;
        let system = &mut machine.registers.system;
        if random.is_multiple_of(4) {
            system.cs.base = BASE;
            general.rip = 0;
        }
        system.ss.dpl = u8::try_from(random >> 16 & 3).unwrap();
        system.gdt.base = BASE;
        system.gdt.limit = 0xff;
        let before = machine.registers;
        match step(&mut machine) {
            Ok(Outcome::Done) => finished += 1,
            Ok(Outcome::Inject(event)) => {
                injected += 1;
                // A fault shows the registers of before; a trap those behind the instruction.
                let fault = ![1, 3, 4].contains(&event.vector) && !event.software;
                let repeated = machine.registers.general.rip == before.general.rip;
                assert!(!fault || repeated, "round {round}: {code:02x?} {event:?}");
            }
            Err(_) => assert_eq!(machine.registers, before),
        }
    }
    assert!(
        finished > 1000 && injected > 1000,
        "{finished} finished, {injected} injected"
    );
}
