use trivisor_buses::testing::{TestHost, check_golden, check_ports};

use super::*;

#[test]
fn ports_answer_as_the_table_says() {
    let host = TestHost::new();
    let mut chip = ResetController::new(host.clone());
    check_ports(
        &mut chip,
        "r 0 -> 00\n r 4 -> 14\n w 4 aa\n r 4 -> 1c\n w 0 ed\n r 4 -> 14\n r 1 -> error\n w 3 00 -> error",
    );
    assert_eq!(host.events.take(), []);
}

#[test]
fn pulses_of_bit_0_reset() {
    for (command, resets) in [
        ("fe", 1),
        ("f0", 1),
        ("fc", 1),
        ("ff", 0),
        ("ef", 0),
        ("ee", 0),
        ("d1", 0),
    ] {
        let host = TestHost::new();
        let mut chip = ResetController::new(host.clone());
        check_ports(&mut chip, &format!("w 4 {command}"));
        assert_eq!(
            host.events.take(),
            vec![MachineEvent::Reset; resets],
            "{command}"
        );
    }
}

#[test]
fn state_comes_back() {
    let mut chip = ResetController::new(TestHost::new());
    check_golden(&mut chip, state::KIND, 1, "01");
    check_ports(&mut chip, "r 4 -> 1c");
    chip.reset();
    check_ports(&mut chip, "r 4 -> 14");
}
