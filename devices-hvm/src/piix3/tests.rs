use trivisor_buses::InterruptPins;
use trivisor_buses::testing::{TestHost, check_golden, check_ports};

use super::*;
use crate::registers::{check, read};

fn lines(host: &TestHost) -> [Line; 16] {
    let mut numbers = 0..;
    [(); 16].map(|()| Wire::new(host.pin(numbers.next().unwrap())).line())
}

fn bridge(host: &TestHost) -> Piix3 {
    Piix3::new(lines(host)).unwrap()
}

#[test]
fn registers_have_their_reset_values_and_writable_bits() {
    let host = TestHost::new();
    let rows = [
        (0x00, 0x7000_8086, 0x7000_8086),
        (0x04, 0x0200_0007, 0x0200_010f),
        (0x08, 0x0601_0000, 0x0601_0000),
        // IORT, XBCS.
        (0x4c, 0x0003_004d, 0xffff_00ff),
        (0x60, 0x8080_8080, 0x8f8f_8f8f),
        // TOM, MSTAT; MBIRQ0; MBDMA; PCSC.
        (0x68, 0x0000_0200, 0xffff_ff00),
        (0x70, 0x0000_0080, 0x0000_00ff),
        (0x74, 0x0c0c_0000, 0xffff_0000),
        (0x78, 0x0000_0002, 0x0000_ffff),
        // APICBASE, DLC.
        (0x80, 0x0000_0000, 0x00ff_00ff),
        // SMICNTL, SMIEN; SEE; FTMR, SMIREQ; CTLTMR, CTHTMR.
        (0xa0, 0x0000_0008, 0xffff_00ff),
        (0xa4, 0x0000_0000, 0xffff_ffff),
        (0xa8, 0x0000_000f, 0xffff_00ff),
        (0xac, 0x0000_0000, 0x00ff_00ff),
    ];
    check(|| bridge(&host), &rows);
}

#[test]
fn a_pirq_leads_where_its_route_says() {
    let host = TestHost::new();
    let mut bridge = bridge(&host);
    let mut pirqs = [0, 1, 2, 3].map(|pirq| bridge.pirq(pirq).line());
    // Not routed yet.
    pirqs[0].set_level(true);
    assert_eq!(host.pins.take(), []);
    bridge.config_write(0x60, &[10, 10, 11, 11]);
    assert_eq!(host.pins.take(), [(10, true)]);
    // Two on one interrupt are ORed.
    pirqs[1].set_level(true);
    pirqs[0].set_level(false);
    assert_eq!(host.pins.take(), []);
    pirqs[3].set_level(true);
    pirqs[1].set_level(false);
    assert_eq!(host.pins.take(), [(11, true), (10, false)]);
    // Led elsewhere while it is high; then nowhere.
    bridge.config_write(0x63, &[5]);
    assert_eq!(host.pins.take(), [(5, true), (11, false)]);
    bridge.config_write(0x63, &[0x85]);
    assert_eq!(host.pins.take(), [(5, false)]);
    // Interrupts that are the board's.
    for irq in [0, 1, 2, 8, 13] {
        bridge.config_write(0x63, &[irq]);
        assert_eq!(host.pins.take(), [], "{irq}");
    }
    bridge.config_write(0x63, &[9]);
    bridge.reset();
    assert_eq!(host.pins.take(), [(9, true), (9, false)]);
    // One that does not exist.
    bridge.pirq(4).line().set_level(true);
    assert_eq!(host.pins.take(), []);
}

#[test]
fn firmware_is_spared_the_routes() {
    let host = TestHost::new();
    let mut bridge = bridge(&host);
    bridge.assign_routes([10, 10, 11, 11]).unwrap();
    bridge.pirq(2).line().set_level(true);
    assert_eq!(host.pins.take(), [(11, true), (11, false)]);
    bridge.config_write(0x60, &[0x80; 4]);
    bridge.reset();
    assert_eq!(read(&mut bridge, 0x60), [10, 10, 11, 11]);
}

#[test]
fn rcpu_resets_and_srst_is_kept() {
    let host = TestHost::new();
    let mut bridge = bridge(&host);
    let mut port = bridge.reset_port(host.clone());
    check_ports(
        &mut port,
        "
        r 1 -> 00
        w 1 02
        r 1 -> 02
        w 1 f9
        r 1 -> 00
        r 0 -> error
        w 0 06 -> error
        w 1 0606 -> error
        w 3 06 -> error
        ",
    );
    assert_eq!(host.events.take(), []);
    check_ports(&mut port, "w 1 06\n r 1 -> 02");
    assert_eq!(host.events.take(), [MachineEvent::Reset]);
    check_ports(&mut port, "w 1 04");
    assert_eq!(host.events.take(), [MachineEvent::Reset]);
    check_ports(&mut port, "w 1 02");
    bridge.reset();
    check_ports(&mut port, "r 1 -> 00");
}

#[test]
fn state_comes_back_without_an_edge() {
    let host = TestHost::new();
    let mut first = bridge(&host);
    let mut line = first.pirq(0).line();
    first.config_write(0x60, &[10]);
    let mut port = first.reset_port(host.clone());
    check_ports(&mut port, "w 1 02");
    line.set_level(true);
    host.pins.take();
    let saved = first.save();

    let mut second = bridge(&host);
    second.restore(&saved).unwrap();
    second.pirq(0).line().restore_level(true);
    // The line above is dropped, which is an edge; its rise was none.
    assert_eq!(host.pins.take(), [(10, false)]);
    check_ports(&mut second.reset_port(host.clone()), "r 1 -> 02");
    let golden = include_str!("golden/v1.hex");
    check_golden(&mut second, state::KIND, 1, golden);
    assert_eq!(second.save(), saved);
}

#[test]
fn impossible_states_are_refused() {
    let host = TestHost::new();
    let mut bridge = bridge(&host);
    let saved = bridge.save();
    for at in [2, 2 + 0x60, 2 + 0xb0, saved.data.len() - 1] {
        let mut broken = saved.clone();
        broken.data[at] |= 0x70;
        assert!(bridge.restore(&broken).is_err(), "{at:#x}");
    }
    assert_eq!(bridge.save(), saved);
}
