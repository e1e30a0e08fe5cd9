//! The emulator: arbitrary bytes as code, registers and memory.

/// One step.
pub mod step {
    use std::mem;

    use trivisor_emulator::registers::rflags;
    use trivisor_emulator::testing::TestMachine;
    use trivisor_emulator::{Outcome, step};

    use crate::corpus;
    use crate::features::note;

    const BASE: u64 = 0x1_0000;
    const SIZE: usize = 0x2000;

    /// Bytes of code at the beginning of memory.
    const CODE: usize = 15;

    /// The entry point. Its input: mode, privilege, code (15 bytes), flags (4 bytes), then registers, and the same
    /// bytes again as memory behind the code.
    ///
    /// # Panics
    /// When a step panics, a fault moves RIP, or a step that was not made has changed something.
    pub fn target(data: &[u8]) {
        let [mode, privilege, rest @ ..] = data else {
            return;
        };
        let (code, rest) = rest.split_at_checked(CODE).unwrap_or((rest, &[]));
        let mut machine = machine(*mode, *privilege, code, rest);
        let (registers, memory) = (machine.registers, machine.memory.clone());
        match step(&mut machine) {
            Ok(Outcome::Done) => note((0, mode % 4, code.first_chunk::<2>())),
            Ok(Outcome::Inject(event)) => {
                // A fault shows the registers of before; a trap those behind the instruction.
                let fault = ![1, 3, 4].contains(&event.vector) && !event.software;
                let repeated = machine.registers.general.rip == registers.general.rip;
                assert!(!fault || repeated, "{event:?}");
                note((1, event.vector, code.first()));
            }
            Err(error) => {
                assert_eq!(machine.registers, registers, "{error}");
                assert!(machine.memory == memory, "{error}: memory has changed");
                note((2, mem::discriminant(&error), code.first()));
            }
        }
    }

    fn machine(mode: u8, privilege: u8, code: &[u8], rest: &[u8]) -> TestMachine {
        let mut machine = match mode % 4 {
            0 => TestMachine::real_mode(BASE, SIZE),
            1 => TestMachine::protected_mode(BASE, SIZE),
            _ => TestMachine::new(BASE, SIZE),
        }
        .with_code(code);
        let behind_code = machine.memory.iter_mut().skip(CODE);
        for (byte, value) in behind_code.zip(rest.iter().cycle()) {
            *byte = *value;
        }
        let general = &mut machine.registers.general;
        let (flags, values) = rest.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        let flags = u64::from(u32::from_le_bytes(*flags));
        general.rflags = flags & 0x3f_7fd5 & !rflags::VM | rflags::FIXED;
        let (values, _) = values.as_chunks::<8>();
        for (register, value) in general.gpr.iter_mut().zip(values) {
            // An even number is an address in memory.
            let value = u64::from_le_bytes(*value);
            *register = if value & 1 == 0 {
                BASE + (value >> 8) % (SIZE as u64)
            } else {
                value
            };
        }
        let system = &mut machine.registers.system;
        if mode.is_multiple_of(4) {
            system.cs.base = BASE;
            general.rip = 0;
        }
        let privilege = privilege & 3;
        system.ss.dpl = privilege;
        if !mode.is_multiple_of(4) {
            system.cs.dpl = privilege;
            system.cs.selector |= u16::from(privilege);
            system.ss.selector |= u16::from(privilege);
        }
        (system.gdt.base, system.gdt.limit) = (BASE, 0xff);
        (system.idt.base, system.idt.limit) = (BASE, 0xff);
        machine.msrs = vec![(0xc000_0081, 0x0023_0010_0000_0000), (0xc000_0082, BASE)];
        machine
    }

    /// What KVM is known to hand back, and one instruction of each kind beside it.
    const INSTRUCTIONS: &str = "\
        cc # int3
        9b # fwait
        0f01ca # clac
        480f07 # sysretq
        48cf # iretq
        0f01c8 # monitor
        cd80 # int 0x80
        f3480fb8c3 # popcnt rax, rbx
        f2480f38f1c3 # crc32 rax, rbx
        480fc70e # cmpxchg16b [rsi]
        f00fc10e # lock xadd [rsi], ecx
        0f01f9 # rdtscp
        0f01d0 # xgetbv
        0f01d1 # xsetbv
        660fae36 # clwb [rsi]
        c4e2f9f7c3 # shlx rax, rbx, rax
        c4e2fbf6c3 # mulx rax, rax, rbx
        d92e # fldcw [rsi]
        d9c0 # fld st(0)
        df2e # fild qword [rsi]
        0fae16 # ldmxcsr [rsi]
        480fae26 # xsave64 [rsi]
        480fae2e # xrstor64 [rsi]
        0fae0e # fxrstor [rsi]
        0f57c1 # xorps
        660ffec1 # paddd
        66480f6ec0 # movq xmm0, rax
        c5fe6f06 # vmovdqu ymm0, [rsi]
        c5fdef06 # vpxor ymm0, ymm0, [rsi]
        660f3a0fc108 # palignr
        660f38dcc1 # aesenc
        0f38cbc1 # sha256rnds2
        f348a5 # rep movsq
        f2ae # repne scasb
        f36c # rep insb
        f36e # rep outsb
        c8100001 # enter 16, 1
        c9 # leave
        60 # pusha
        8f06 # pop [rsi]
        0fa4c103 # shld
        48f7f3 # div rbx
        480fbac307 # btc
        ff2e # jmp far [rsi]
        ff1e # call far [rsi]
        0f00d8 # ltr
        0f22d8 # mov cr3, rax
        0f011e # lidt [rsi]
        8ed8 # mov ds, ax
        f390 # pause";

    /// Each instruction in each mode, with registers that are numbers and addresses.
    #[must_use]
    pub fn seeds() -> Vec<Vec<u8>> {
        let codes: Vec<_> = INSTRUCTIONS.lines().filter_map(corpus::parse).collect();
        let seed = |mode, privilege, code: &Vec<u8>| {
            let mut seed = vec![mode, privilege];
            seed.extend(code);
            seed.resize(2 + CODE, 0x90);
            seed.extend([0x02, 0x02, 0, 0]);
            let registers = (0..16_u64).map(|n| n * 0x1f01 + 0x1_0000);
            seed.extend(registers.flat_map(u64::to_le_bytes));
            seed
        };
        [(0, 0), (1, 0), (2, 0), (2, 3)]
            .into_iter()
            .flat_map(|(mode, privilege)| {
                codes
                    .iter()
                    .map(move |code| seed(mode, privilege, code))
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}
