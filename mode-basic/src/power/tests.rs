use trivisor_buses::testing::{TestHost, check_golden, check_ports};

use super::*;

fn power(host: &Arc<TestHost>) -> Power {
    Power::new(host.line(), host.clone())
}

#[test]
fn registers_answer_as_the_table_says() {
    let host = TestHost::new();
    check_ports(
        &mut power(&host),
        "
        r 0 -> 00
        r 1 -> 00
        r 2 -> error
        r 3 -> error
        r 4 -> 00000000
        # The event register is read as a whole.
        r 4 -> error
        r 5 -> error
        w 0 1c
        r 0 -> 1c
        # Reserved bits are not kept.
        w 0 c3
        r 0 -> 00
        w 1 80
        r 1 -> 00
        w 3 00 -> error
        w 4 00 -> error
        w 4 00000000 -> error
        w 0 34000000 -> error
        ",
    );
    assert_eq!(host.events.take(), []);
    assert_eq!(host.levels.take(), []);
}

#[test]
fn s5_alone_powers_off() {
    for kind in 0..8_u8 {
        let host = TestHost::new();
        let value = 1 << 5 | kind << 2;
        let powers_off = kind == 5;
        let verdict = if powers_off { "" } else { " -> error" };
        let script = format!("w 0 {value:02x}{verdict}\n r 0 -> {:02x}", kind << 2);
        check_ports(&mut power(&host), &script);
        let expected = vec![MachineEvent::PowerOff; usize::from(powers_off)];
        assert_eq!(host.events.take(), expected, "{kind}");
    }
}

#[test]
fn its_value_alone_resets() {
    let host = TestHost::new();
    let mut power = power(&host);
    check_ports(&mut power, "w 2 00 -> error\n w 2 fe -> error");
    assert_eq!(host.events.take(), []);
    check_ports(&mut power, "w 2 01");
    assert_eq!(host.events.take(), [MachineEvent::Reset]);
}

#[test]
fn each_event_pulses_the_line_and_a_read_clears_all() {
    let host = TestHost::new();
    let shell = Shell::new("power", WIDTHS, power(&host));
    let button = FrontButton(shell.clone());
    button.press();
    button.press();
    assert_eq!(host.levels.take(), [true, false, true, false]);
    shell.with(|power| {
        check_ports(power, "r 4 -> 00000001\n r 4 -> 00000000");
    });
    assert_eq!(host.events.take(), []);
}

#[test]
fn state_comes_back_without_an_edge() {
    let host = TestHost::new();
    let mut power = power(&host);
    check_golden(&mut power, state::KIND, 1, "1401");
    check_ports(&mut power, "r 0 -> 14\n r 4 -> 00000001");
    power.reset();
    check_ports(&mut power, "r 0 -> 00");
    assert_eq!(host.levels.take(), []);
}

#[test]
fn impossible_states_are_refused() {
    let mut power = power(&TestHost::new());
    check_ports(&mut power, "w 0 08");
    for (field, sleep_control, events) in [
        ("sleep_control", 0x20, 0),
        ("sleep_control", 0x01, 0),
        ("events", 0x14, 2),
    ] {
        let state = PowerStateV1 {
            sleep_control,
            events,
        };
        let state = SavedState::encode(state::KIND, state::VERSION, &state);
        let refused = power.restore(&state).unwrap_err();
        assert!(
            matches!(refused, RestoreError::Field { field: found, .. } if found == field),
            "{refused}"
        );
    }
    check_ports(&mut power, "r 0 -> 08");
}
