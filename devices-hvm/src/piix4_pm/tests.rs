use std::sync::{Arc, Mutex};
use std::time::Duration;

use trivisor_buses::testing::{TestHost, check_golden, check_ports};
use trivisor_buses::{GuestTime, MachineEvent, PowerButton, Shell, Timers};

use super::*;
use crate::registers::{check, read, write};

type Places = Arc<Mutex<Vec<Option<u16>>>>;

fn function() -> (Piix4Pm, Places) {
    let places = Places::default();
    let told = places.clone();
    let place = Arc::new(move |base| told.lock().unwrap().push(base));
    (Piix4Pm::new(place).unwrap(), places)
}

fn block(host: &Arc<TestHost>) -> PmBlock {
    let (timer, _unheard) = host.timer().unwrap();
    PmBlock::new(host.line(), host.clone(), timer, host.clone())
}

/// A block that its timer wakes.
fn woken(host: &Arc<TestHost>) -> Arc<Shell<PmBlock>> {
    let (timer, end) = host.timer().unwrap();
    let block = PmBlock::new(host.line(), host.clone(), timer, host.clone());
    let block = Shell::new("piix4-pm-block", WIDTHS, block);
    end.wakes(&block);
    block
}

#[test]
fn configuration_has_its_reset_values_and_writable_bits() {
    let mut rows = vec![
        (0x00, 0x7113_8086, 0x7113_8086),
        (0x04, 0x0280_0000, 0x0280_0001),
        (0x08, 0x0680_0003, 0x0680_0003),
        (0x3c, 0x0000_0100, 0x0000_01ff),
        (0x40, 0x0000_0001, 0x0000_ffc1),
        // DEVACTB: APMC_EN cannot be cleared.
        (0x58, 0x0200_0000, 0xffff_ffff),
        (0x80, 0x0000_0000, 0x0000_0001),
        (0x90, 0x0000_0001, 0x0000_fff1),
        (0xd0, 0x0000_0000, 0xff0f_0000),
        (0xd4, 0x0000_0000, 0x0000_ffff),
    ];
    let kept = (0x44..0x80).step_by(4).filter(|at| *at != 0x58);
    rows.extend(kept.map(|at| (at, 0, 0xffff_ffff)));
    check(|| function().0, &rows);
    let (mut function, _) = function();
    write(&mut function, 0x58, &[0; 4]);
    assert_eq!(read(&mut function, 0x58), [0, 0, 0, 2]);
}

#[test]
fn the_ports_move_with_pmba_while_pmiose_is_set() {
    let (mut function, places) = function();
    let told = || std::mem::take(&mut *places.lock().unwrap());
    write(&mut function, 0x40, &[0x01, 0x06, 0, 0]);
    assert_eq!(told(), []);
    write(&mut function, 0x80, &[1]);
    assert_eq!(told(), [Some(0x600)]);
    write(&mut function, 0x41, &[0xb0]);
    write(&mut function, 0x3c, &[9]);
    assert_eq!(told(), [Some(0xb000)]);
    // At 0 they do not answer.
    write(&mut function, 0x40, &[0, 0]);
    assert_eq!(told(), [None]);
    write(&mut function, 0x40, &[0x40, 0]);
    function.reset();
    function.take_effect().unwrap()();
    assert_eq!(told(), [Some(0x40), None]);
    function.assign_base(0x600).unwrap();
    function.take_effect().unwrap()();
    write(&mut function, 0x80, &[0]);
    function.reset();
    function.take_effect().unwrap()();
    assert_eq!(told(), [Some(0x600), None, Some(0x600)]);
}

#[test]
fn ports_answer_as_the_table_says() {
    let host = TestHost::new();
    check_ports(
        &mut block(&host),
        "
        r 00 -> 0000
        r 02 -> 0000
        r 04 -> 0000
        r 08 -> 00000000
        r 0c -> 0000
        r 0e -> 0000
        r 10 -> 00000000
        r 14 -> 0000
        r 18 -> 0000
        r 1c -> 00000000
        r 20 -> 0000
        r 28 -> 00000000
        r 2c -> 00000000
        r 30 -> 00000000
        r 34 -> 7ffffbff
        # What exists is kept.
        w 02 ffff
        r 02 -> 0521
        w 03 00
        r 02 -> 0021
        w 04 1c07
        r 04 -> 1c07
        w 04 0000
        w 05 c3
        r 04 -> 0000
        w 08 ffffffff
        r 08 -> 00000000
        w 0c ffffffff
        r 0c -> 0f010000
        w 10 ffffffff
        r 10 -> 0007261e
        w 14 ffff
        r 14 -> 0000
        w 18 ffffffff
        r 18 -> 00000000
        w 1c ffffffff
        r 1c -> 00000000
        w 20 ffff
        r 20 -> 07ff
        w 28 ffffffff
        r 28 -> 0701ff26
        w 2c ffffffff
        r 2c -> 1fffffff
        w 30 ffffffff
        r 30 -> 00000000
        w 34 00000000
        r 34 -> 00000000
        r 3f -> 00
        r 40 -> error
        w 40 00 -> error
        w 3e 00000000 -> error
        ",
    );
    assert_eq!(host.events.take(), []);
}

#[test]
fn the_timer_counts_24_bits_and_tells_of_each_half() {
    let host = TestHost::new();
    let mut block = block(&host);
    host.advance(Duration::from_secs(1));
    check_ports(&mut block, "r 08 -> 00369e99\n r 0a -> 0036\n r 00 -> 0000");
    // 8388608 / 3579545 s = 2.3435 s: bit 23 changes.
    host.advance(Duration::from_millis(1344));
    check_ports(&mut block, "r 00 -> 0001\n w 00 0001\n r 00 -> 0000");
    // Back to 0 after 4.687 s.
    host.advance(Duration::from_millis(2343));
    check_ports(&mut block, "r 08 -> 0000006f\n r 00 -> 0001");
}

#[test]
fn an_overflow_and_the_button_make_an_sci() {
    let host = TestHost::new();
    let shell = Shell::new("pm", WIDTHS, block(&host));
    let button = FrontButton(shell.clone());
    button.press();
    assert_eq!(host.levels.take(), []);
    shell.with(|block| check_ports(block, "r 00 -> 0100\n w 02 0100"));
    // Not before ACPI is enabled: until then it would be an SMI.
    assert_eq!(host.levels.take(), []);
    let mut apm = Apm::new(shell.clone());
    check_ports(
        &mut apm,
        "r 0 -> 00\n w 0 f1\n r 0 -> f1\n w 1 5a\n r 1 -> 5a\n r 2 -> error",
    );
    assert_eq!(host.levels.take(), [true]);
    shell.with(|block| check_ports(block, "r 04 -> 0001\n w 00 0100\n r 00 -> 0000"));
    assert_eq!(host.levels.take(), [false]);
    shell.with(|block| check_ports(block, "w 02 0001"));
    host.advance(Duration::from_secs(3));
    shell.with(|block| check_ports(block, "r 00 -> 0001"));
    assert_eq!(host.levels.take(), [true]);
    check_ports(&mut apm, "w 0 f0\n w 0 12");
    assert_eq!(host.levels.take(), [false]);
    shell.with(|block| check_ports(block, "r 04 -> 0000"));
    check_golden(&mut apm, state::APM_KIND, 1, "f15a");
    check_ports(&mut apm, "r 0 -> f1");
    apm.reset();
    check_ports(&mut apm, "r 0 -> 00");
}

#[test]
fn soft_off_alone_powers_off() {
    for kind in 0..8_u8 {
        let host = TestHost::new();
        let off = kind == 0;
        let verdict = if off { "" } else { " -> error" };
        let value = 0x20 | kind << 2;
        let script = format!("w 05 {value:02x}{verdict}\n r 05 -> {:02x}", kind << 2);
        check_ports(&mut block(&host), &script);
        let expected = vec![MachineEvent::PowerOff; usize::from(off)];
        assert_eq!(host.events.take(), expected, "{kind}");
    }
}

#[test]
fn general_purpose_events_are_enabled_and_never_come() {
    let mut gpe = Gpe0::default();
    check_ports(
        &mut gpe,
        "
        r 0 -> 00000000
        w 0 ffff
        r 0 -> 0000
        w 2 1234
        r 3 -> 12
        w 3 56
        r 0 -> 56340000
        r 4 -> error
        w 4 00 -> error
        ",
    );
    check_golden(&mut gpe, state::GPE_KIND, 1, "008002");
    check_ports(&mut gpe, "r 2 -> 0100");
    let set = GpeStateV1 {
        status: 1,
        enable: 0,
    };
    let set = SavedState::encode(state::GPE_KIND, 1, &set);
    assert!(gpe.restore(&set).is_err());
    gpe.reset();
    check_ports(&mut gpe, "r 2 -> 0000");
}

#[test]
fn state_comes_back_without_an_edge() {
    let host = TestHost::new();
    let mut first = block(&host);
    check_ports(&mut first, "w 02 0100\n w 04 0001\n w 10 00000010");
    first.press();
    assert_eq!(host.levels.take(), [true]);
    let saved = first.save();
    let mut second = block(&host);
    check_golden(
        &mut second,
        state::BLOCK_KIND,
        1,
        include_str!("golden/block_v1.hex"),
    );
    assert_eq!(second.save(), saved);
    assert_eq!(host.levels.take(), []);
    check_ports(&mut second, "r 00 -> 0100\n r 10 -> 00000010\n w 00 0100");
    assert_eq!(host.levels.take(), [false]);
    second.reset();
    check_ports(
        &mut second,
        "r 02 -> 0000\n r 10 -> 00000000\n r 34 -> 7ffffbff",
    );
    assert_eq!(host.levels.take(), []);

    let (mut function, places) = function();
    write(&mut function, 0x40, &[0x01, 0x06, 0, 0]);
    write(&mut function, 0x80, &[1]);
    let saved = function.save();
    function.reset();
    function.restore(&saved).unwrap();
    assert!(function.take_effect().is_none());
    assert_eq!(*places.lock().unwrap(), [Some(0x600)]);
    check_golden(&mut function, state::KIND, 1, include_str!("golden/v1.hex"));
    assert_eq!(function.save(), saved);
}

#[test]
fn impossible_states_are_refused() {
    let host = TestHost::new();
    let mut block = block(&host);
    let good = PmBlockStateV1::from(&PmRegisters::default());
    let broken = [
        PmBlockStateV1 {
            status: 0x10,
            ..good.clone()
        },
        PmBlockStateV1 {
            enable: 0x02,
            ..good.clone()
        },
        PmBlockStateV1 {
            control: 0x2000,
            ..good.clone()
        },
        PmBlockStateV1 {
            kept: vec![0; 63],
            ..good.clone()
        },
        PmBlockStateV1 {
            kept: vec![0xff; 64],
            ..good.clone()
        },
    ];
    for state in broken {
        let state = SavedState::encode(state::BLOCK_KIND, 1, &state);
        assert!(block.restore(&state).is_err(), "{state:?}");
    }
    let state = SavedState::encode(state::BLOCK_KIND, 1, &good);
    block.restore(&state).unwrap();
}

#[test]
fn an_overflow_makes_its_sci_at_its_time() {
    // Bit 23 changes every 2^23 ticks: 2.343485... s.
    const HALF: Duration = Duration::from_nanos(2_343_484_438);
    let host = TestHost::new();
    let block = woken(&host);
    let ports = |script: &str| block.with(|block| check_ports(block, script));
    // Without SCI_EN, or without TMROF_EN, no timer runs.
    ports("w 2 0001");
    assert_eq!(host.armed(), None);
    ports("w 4 0001\n w 2 0000");
    assert_eq!(host.armed(), None);
    ports("w 2 0001");
    assert_eq!(host.armed(), Some(GuestTime(2_343_484_438)));
    host.advance(HALF - Duration::from_nanos(1));
    assert_eq!(host.levels.take(), []);
    host.advance(Duration::from_nanos(1));
    assert_eq!(host.levels.take(), [true]);
    // It waits for the status to be cleared, and comes again.
    assert_eq!(host.armed(), None);
    ports("r 0 -> 0001\n w 0 0001\n r 0 -> 0000");
    assert_eq!(host.levels.take(), [false]);
    host.advance(HALF);
    assert_eq!(host.levels.take(), [true]);
    ports("w 0 0001\n w 2 0000");
    assert_eq!((host.levels.take(), host.armed()), (vec![false], None));
    host.advance(HALF * 3);
    assert_eq!(host.levels.take(), []);
    ports("r 0 -> 0001");
}

#[test]
fn a_restored_block_waits_for_the_overflow_and_a_reset_one_does_not() {
    let host = TestHost::new();
    let first = woken(&host);
    first.with(|block| check_ports(block, "w 2 0001\n w 4 0001"));
    let saved = first.with(|block| block.save());
    drop(first);
    let second = woken(&host);
    second.with(|block| block.restore(&saved)).unwrap();
    host.advance(Duration::from_secs(3));
    assert_eq!(host.levels.take(), [true]);
    second.with(|block| check_ports(block, "w 0 0001"));
    second.with(PmBlock::reset);
    assert_eq!(host.levels.take(), [false]);
    host.advance(Duration::from_secs(3));
    assert_eq!(host.levels.take(), []);
}
