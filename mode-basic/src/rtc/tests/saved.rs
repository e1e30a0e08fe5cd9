//! Saved state.

use trivisor_buses::testing::check_golden;
use trivisor_buses::{RestoreError, SavedState};

use super::*;

#[test]
fn state_comes_back_and_time_has_gone_on() {
    let (mut first, host) = rtc();
    check(
        &mut first,
        "0b = 12, 0a = 2f, 00 = 30, 40 = 77, 0a = 7f, 0a = 2f",
    );
    host.advance(ms(700));
    check(&mut first, "02 -> 46");
    let saved = first.save();
    let (mut second, host) = rtc();
    second.restore(&saved).unwrap();
    assert_eq!((&second.chip, second.save()), (&first.chip, saved));
    host.advance(ms(10_700));
    check_ports(&mut second, "r 1 -> 46");
    check(
        &mut second,
        "00 -> 41, 40 -> 77, 0b -> 12, 0a -> 2f, 0c -> d0",
    );
}

#[test]
fn impossible_state_is_refused_field_by_field() {
    let good = RtcStateV1::from(&RtcMc146818::new(START));
    let with = |change: fn(&mut RtcStateV1)| {
        let mut state = good.clone();
        change(&mut state);
        state
    };
    for (name, state) in [
        ("index", with(|state| state.index = 0x80)),
        ("a", with(|state| state.a = 0x80)),
        ("b", with(|state| state.b = 0x90)),
        ("flags", with(|state| state.flags = 0x80)),
        ("flags", with(|state| state.flags = 0x01)),
        ("phase_ns", with(|state| state.phase_ns = 1_000_000_000)),
        ("ram", with(|state| state.ram = vec![0; 113])),
        ("ram", with(|state| state.ram = vec![0; 115])),
    ] {
        let (mut rtc, _) = rtc();
        let error = rtc
            .restore(&SavedState::encode(state::KIND, 1, &state))
            .unwrap_err();
        assert!(
            matches!(error, RestoreError::Field { field, .. } if field == name),
            "{name}: {error}"
        );
        assert_eq!(rtc.chip, RtcMc146818::new(START), "{name}: untouched");
    }
}

#[test]
fn version_1_stays_loadable() {
    let (mut rtc, host) = rtc();
    check_golden(&mut rtc, state::KIND, 1, GOLDEN_V1);
    check_ports(&mut rtc, "r 1 -> 5a");
    check(&mut rtc, "0e -> a5, 0a -> 26, 0b -> 12, 0c -> d0, 00 -> 40");
    host.advance(ms(500));
    check(&mut rtc, "00 -> 41, 02 -> 46");
}

/// Index, A, B, flags, time, RAM with its length, host time, phase.
const GOLDEN_V1: &str = "\
    7f2612504000460001000109090172\
    a500000000000000000000000000000000000000000000000000000000000000000000002000\
    0000000000000000000000000000000000000000000000000000000000000000000000000000\
    000000000000000000000000000000000000000000000000000000000000000000000000005a\
    808090bbbad6adf00d80cab5ee01";
