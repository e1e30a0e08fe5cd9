use trivisor_buses::testing::{TestHost, check_golden, check_ports};

use super::*;

#[test]
fn every_width_ends_the_run_with_its_value() {
    let host = TestHost::new();
    let mut device = DebugExit::new(host.clone());
    check_ports(
        &mut device,
        "r 0 -> 00\n w 0 21\n w 0 1234\n w 0 89abcdef\n w 1 00 -> error",
    );
    let values = [0x21, 0x1234, 0x89ab_cdef].map(|value| MachineEvent::DebugExit { value });
    assert_eq!(host.events.take(), values);
    assert!(PortDevice::write(&mut device, 0, &[0; 3]).is_err());
}

#[test]
fn its_state_is_empty() {
    let mut device = DebugExit::new(TestHost::new());
    check_golden(&mut device, state::KIND, 1, "");
    device.reset();
}
