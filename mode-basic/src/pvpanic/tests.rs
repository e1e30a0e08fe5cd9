use trivisor_buses::testing::{TestHost, check_golden, check_ports};

use super::*;

#[test]
fn supported_events_are_told_and_others_refused() {
    let host = TestHost::new();
    let mut device = PvPanicPort::new(host.clone());
    check_ports(
        &mut device,
        "r 0 -> 01\n w 0 02 -> error\n w 0 00 -> error\n w 0 03",
    );
    assert_eq!(host.events.take(), [MachineEvent::Panicked { events: 1 }]);
}

#[test]
fn its_state_is_empty() {
    let mut device = PvPanicPort::new(TestHost::new());
    check_golden(&mut device, state::KIND, 1, "");
    device.reset();
    assert!(
        device
            .restore(&SavedState {
                kind: state::KIND,
                version: 1,
                data: vec![0]
            })
            .is_err()
    );
}
