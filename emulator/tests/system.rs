//! Processor state: flags, time stamps, XCR0, segment bases, monitors, checks of x87, SSE and AVX.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use trivisor_emulator::registers::{cr0, cr4, rflags};
use trivisor_emulator::testing::TestMachine;
use trivisor_emulator::{EmulateError, Event, Outcome, step};

const BASE: u64 = 0x1_0000;
const SIZE: usize = 0x2000;

fn machine(code: &[u8]) -> TestMachine {
    TestMachine::new(BASE, SIZE).with_code(code)
}

fn fault(vector: u8, error_code: Option<u32>) -> Outcome {
    Outcome::Inject(Event {
        vector,
        error_code,
        payload: None,
        software: false,
    })
}

fn faults(mut machine: TestMachine, vector: u8, error_code: Option<u32>) {
    let before = machine.registers;
    assert_eq!(step(&mut machine).unwrap(), fault(vector, error_code));
    assert_eq!(machine.registers, before);
}

fn done(machine: &mut TestMachine) {
    assert_eq!(step(machine).unwrap(), Outcome::Done);
}

#[test]
fn clac_and_stac() {
    let mut stac = machine(&[0x0f, 0x01, 0xcb, 0x0f, 0x01, 0xca]);
    done(&mut stac);
    assert_eq!(stac.registers.general.rflags, rflags::AC | rflags::FIXED);
    done(&mut stac);
    assert_eq!(stac.registers.general.rflags, rflags::FIXED);
    assert_eq!(stac.registers.general.rip, BASE + 6);
    let mut user = machine(&[0x0f, 0x01, 0xcb]);
    user.registers.system.ss.dpl = 3;
    faults(user, 6, None);
}

#[test]
fn an_instruction_ends_the_resume_flag() {
    let mut wait = machine(&[0x9b]);
    wait.registers.general.rflags |= rflags::RF;
    done(&mut wait);
    assert_eq!(wait.registers.general.rflags, rflags::FIXED);
}

#[test]
fn the_shadow_stack_pointer_is_read_only_where_there_is_none() {
    // rdsspq rsi, as Xen asks whether it has one.
    let mut rdssp = machine(&[0xf3, 0x48, 0x0f, 0x1e, 0xce]);
    rdssp.registers.general.gpr[6] = 1;
    done(&mut rdssp);
    assert_eq!(rdssp.registers.general.gpr[6], 1);
    let mut with_one = machine(&[0xf3, 0x48, 0x0f, 0x1e, 0xce]);
    with_one.registers.system.cr4 |= cr4::CET;
    assert!(matches!(
        step(&mut with_one),
        Err(EmulateError::Unsupported { .. })
    ));
}

#[test]
fn time_stamps() {
    let tsc = (0x10, 0x1234_5678_9abc_def0);
    let aux = (0xc000_0103, 0xffff_ffff_0000_0007);
    let mut rdtsc = machine(&[0x0f, 0x31]);
    rdtsc.msrs = vec![tsc];
    rdtsc.registers.general.gpr[0] = u64::MAX;
    done(&mut rdtsc);
    assert_eq!(rdtsc.registers.general.gpr[0], 0x9abc_def0);
    assert_eq!(rdtsc.registers.general.gpr[2], 0x1234_5678);

    let mut rdtscp = machine(&[0x0f, 0x01, 0xf9]);
    rdtscp.msrs = vec![tsc, aux];
    done(&mut rdtscp);
    assert_eq!(rdtscp.registers.general.gpr[1], 7);
    rdtscp.registers.general.rip = BASE;
    rdtscp.registers.system.cr4 |= cr4::TSD;
    rdtscp.registers.system.ss.dpl = 3;
    faults(rdtscp, 13, Some(0));

    let mut rdpid = machine(&[0xf3, 0x0f, 0xc7, 0xfb]);
    rdpid.msrs = vec![aux];
    done(&mut rdpid);
    assert_eq!(rdpid.registers.general.gpr[3], 7);

    let mut without = machine(&[0x0f, 0x31]);
    assert!(matches!(step(&mut without), Err(EmulateError::Host(_))));
}

#[test]
fn xcr0_is_read_and_written() {
    const XGETBV: [u8; 3] = [0x0f, 0x01, 0xd0];
    const XSETBV: [u8; 3] = [0x0f, 0x01, 0xd1];
    let mut get = machine(&XGETBV);
    get.xcr0 = 0x2_0000_0007;
    done(&mut get);
    assert_eq!(
        (get.registers.general.gpr[0], get.registers.general.gpr[2]),
        (7, 2)
    );
    // Register 1: what is in use.
    let mut get = machine(&XGETBV);
    get.vectors.set_xmm(3, [1; 16]);
    get.registers.general.gpr[1] = 1;
    done(&mut get);
    assert_eq!(get.registers.general.gpr[0], 2);
    let mut get = machine(&XGETBV);
    get.registers.general.gpr[1] = 2;
    faults(get, 13, Some(0));
    let mut get = machine(&XGETBV);
    get.registers.system.cr4 &= !cr4::OSXSAVE;
    faults(get, 6, None);

    let set = |value: u64, known: u32| {
        let mut machine = machine(&XSETBV);
        machine.cpuid = vec![[known, 0, 0, 0]];
        machine.registers.general.gpr[0] = value;
        machine
    };
    for value in [1, 3, 7, 0xe7] {
        let mut machine = set(value, 0xff);
        done(&mut machine);
        assert_eq!(machine.xcr0, value);
    }
    for value in [0, 2, 5, 0xe3, 0x27, 0x0f, 0x107] {
        faults(set(value, 0xff), 13, Some(0));
    }
    faults(set(7, 3), 13, Some(0));
    let mut user = set(7, 7);
    user.registers.system.ss.dpl = 3;
    faults(user, 13, Some(0));
}

#[test]
fn segment_bases() {
    // rdfsbase rax; rdgsbase ecx; wrfsbase rbx; wrgsbase edx
    let code = [
        0xf3, 0x48, 0x0f, 0xae, 0xc0, 0xf3, 0x0f, 0xae, 0xc9, 0xf3, 0x48, 0x0f, 0xae, 0xd3, 0xf3,
        0x0f, 0xae, 0xda,
    ];
    let mut bases = machine(&code);
    bases.registers.system.fs.base = 0xffff_8000_0000_1111;
    bases.registers.system.gs.base = 0xffff_8000_0000_2222;
    bases.registers.general.gpr[3] = 0x7fff_0000_3333;
    bases.registers.general.gpr[2] = 0xdead_0000_4444;
    for _ in 0..4 {
        done(&mut bases);
    }
    assert_eq!(bases.registers.general.gpr[0], 0xffff_8000_0000_1111);
    assert_eq!(bases.registers.general.gpr[1], 0x2222);
    assert_eq!(bases.registers.system.fs.base, 0x7fff_0000_3333);
    assert_eq!(bases.registers.system.gs.base, 0x4444);

    let mut bad = machine(&[0xf3, 0x48, 0x0f, 0xae, 0xd3]);
    bad.registers.general.gpr[3] = 1 << 47;
    faults(bad, 13, Some(0));
    let mut off = machine(&[0xf3, 0x48, 0x0f, 0xae, 0xd3]);
    off.registers.system.cr4 &= !cr4::FSGSBASE;
    faults(off, 6, None);
}

#[test]
fn monitor_and_mwait() {
    let code = [0x0f, 0x01, 0xc8, 0x0f, 0x01, 0xc9];
    let mut both = machine(&code);
    both.registers.general.gpr[0] = BASE;
    done(&mut both);
    done(&mut both);
    assert_eq!(both.registers.general.rip, BASE + 6);
    let mut monitor = machine(&code);
    monitor.registers.general.gpr[1] = 1;
    faults(monitor, 13, Some(0));
    let mut mwait = machine(&code[3..]);
    mwait.registers.general.gpr[1] = 2;
    faults(mwait, 13, Some(0));
    let mut user = machine(&code);
    user.registers.system.ss.dpl = 3;
    faults(user, 6, None);
}

#[test]
fn wait_obeys_task_switched_and_pending_errors() {
    let mut wait = machine(&[0x9b]);
    done(&mut wait);
    let mut switched = machine(&[0x9b]);
    switched.registers.system.cr0 |= cr0::TS;
    faults(switched, 7, None);
    for code in [&[0x9b][..], &[0xd9, 0x2e], &[0x0f, 0xef, 0xc0]] {
        let mut pending = machine(code);
        pending.registers.general.gpr[6] = BASE;
        pending.vectors.as_mut_bytes()[2] = 0x81;
        pending.vectors.as_mut_bytes()[512] = 1;
        faults(pending, 16, None);
    }
}

#[test]
fn x87_sse_and_avx_can_be_off() {
    const FNSTSW: &[u8] = &[0xdf, 0xe0];
    const MMX: &[u8] = &[0x0f, 0xef, 0xc0];
    const SSE: &[u8] = &[0x66, 0x0f, 0xef, 0xc0];
    const AVX: &[u8] = &[0xc5, 0xf9, 0xef, 0xc0];
    let with = |code: &[u8], set: u64| {
        let mut machine = machine(code);
        machine.registers.system.cr0 |= set;
        machine
    };
    for code in [FNSTSW, MMX, SSE, AVX] {
        faults(with(code, cr0::TS), 7, None);
    }
    faults(with(FNSTSW, cr0::EM), 7, None);
    faults(with(MMX, cr0::EM), 6, None);
    faults(with(SSE, cr0::EM), 6, None);
    let mut old = machine(SSE);
    old.registers.system.cr4 &= !cr4::OSFXSR;
    faults(old, 6, None);
    let mut old = machine(AVX);
    old.registers.system.cr4 &= !cr4::OSXSAVE;
    faults(old, 6, None);
    let mut old = machine(AVX);
    old.xcr0 = 3;
    faults(old, 6, None);
}

/// The least normal number times one less 2^-64, which random operands do not meet.
#[test]
fn a_product_can_be_rounded_up_to_a_normal_number() {
    const ST0: usize = 32;
    let mut fmul = machine(&[0xd8, 0xc9]);
    let area = fmul.vectors.as_mut_bytes();
    area[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
    area[4] = 0xff; // all registers in use
    area[512] = 1; // and not in their initial state
    area[ST0..ST0 + 10].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0x80, 1, 0]);
    area[ST0 + 16..ST0 + 26]
        .copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0x3f]);
    done(&mut fmul);
    let area = fmul.vectors.as_bytes();
    assert_eq!(area[ST0..ST0 + 10], [0, 0, 0, 0, 0, 0, 0, 0x80, 1, 0]);
    // UE, PE and C1: without a lowest exponent it would have kept its 64 ones.
    assert_eq!(area[2..4], [0x30, 0x02]);
}
