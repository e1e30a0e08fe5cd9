use trivisor_buses::testing::{TestHost, check_golden, check_mmio};
use trivisor_buses::{Component, EoiTarget, Line, Msi, RestoreError, SavedState, Widths};

use super::*;

fn ioapic() -> (IoApicOnBus, Arc<TestHost>) {
    let host = TestHost::new();
    let chip = IoApic::new(0, host.clone(), host.clone());
    (
        IoApicOnBus(Shell::new("ioapic", Widths::DWORDS, chip)),
        host,
    )
}

fn check(apic: &IoApicOnBus, script: &str) {
    apic.0.with(|chip| check_mmio(chip, script));
}

/// A line to pin 4, whose entry holds `low` (vector, mode, trigger, mask) and destination 3.
fn pin_4(low: &str) -> (IoApicOnBus, Line, Arc<TestHost>) {
    let (apic, host) = ioapic();
    check(
        &apic,
        &format!("w 0 00000019\n w 10 03000000\n w 0 00000018\n w 10 {low}"),
    );
    let line = apic.wire(4).line();
    (apic, line, host)
}

const TO_3: u64 = 0xfee0_3000;

#[test]
fn registers_read_as_the_tables_say() {
    let (apic, _) = ioapic();
    check(
        &apic,
        "r 0 -> 00000000\n w 0 00000001\n r 0 -> 00000001\n r 10 -> 00170020\n w 10 00000000 -> error",
    );
    check(
        &apic,
        "w 0 00000000\n w 10 ffffffff\n r 10 -> 0f000000\n w 0 00000002\n r 10 -> 0f000000\n w 10 00000000 -> error",
    );
    check(
        &apic,
        "w 0 0000003f\n r 10 -> 00000000\n w 0 0000003e\n r 10 -> 00010000",
    );
    check(
        &apic,
        "w 0 00000040\n r 10 -> 00000000\n w 10 00000001 -> error\n r 40 -> error\n r 20 -> error\n w 20 00000000 -> error",
    );
}

#[test]
fn read_only_bits_of_an_entry_stay() {
    let (apic, _) = ioapic();
    check(
        &apic,
        "w 0 00000010\n w 10 ffffffff\n r 10 -> ffffafff\n w 0 00000011\n w 10 a5000000\n r 10 -> a5000000",
    );
}

#[test]
fn an_edge_sends_one_message() {
    let (_apic, mut line, host) = pin_4("00000031");
    line.set_level(true);
    line.set_level(false);
    line.set_level(true);
    let message = Msi {
        address: TO_3,
        data: 0x31,
    };
    assert_eq!(host.messages.take(), [message, message]);
    assert_eq!(host.routes.take(), [], "an edge has no end to report");
}

#[test]
fn an_edge_at_a_masked_pin_is_lost() {
    let (apic, mut line, host) = pin_4("00010031");
    line.set_level(true);
    check(&apic, "w 0 00000018\n w 10 00000031");
    assert_eq!(host.messages.take(), []);
    line.set_level(false);
    line.set_level(true);
    assert_eq!(host.messages.take().len(), 1);
}

#[test]
fn a_level_is_sent_again_until_it_falls() {
    let (apic, mut line, host) = pin_4("00008031");
    let message = Msi {
        address: TO_3,
        data: 0xc031,
    };
    assert_eq!(host.routes.take(), [(4, Some(message))]);
    line.set_level(true);
    assert_eq!(host.messages.take(), [message]);
    check(&apic, "w 0 00000018\n r 10 -> 0000c031");
    apic.end_of_interrupt(0x99);
    assert_eq!(host.messages.take(), [], "another vector");
    apic.end_of_interrupt(0x31);
    assert_eq!(host.messages.take(), [message], "still high");
    line.set_level(false);
    check(&apic, "w 40 00000031\n r 10 -> 00008031");
    assert_eq!(host.messages.take(), []);
}

#[test]
fn a_level_waits_while_it_is_masked() {
    let (apic, mut line, host) = pin_4("00018031");
    line.set_level(true);
    assert_eq!(host.messages.take(), []);
    check(&apic, "w 0 00000018\n w 10 00008031");
    assert_eq!(host.messages.take().len(), 1);
    check(&apic, "w 10 00018031");
    assert_eq!(host.routes.take().last(), Some(&(4, None)));
}

#[test]
fn a_change_to_edge_forgets_an_unended_level() {
    let (apic, mut line, _) = pin_4("00008031");
    line.set_level(true);
    check(
        &apic,
        "w 0 00000018\n r 10 -> 0000c031\n w 10 00010031\n r 10 -> 00010031",
    );
}

#[test]
fn modes_are_in_the_message() {
    for (low, address, data) in [
        ("00000931", 0xfee0_300c, 0x131), // logical, lowest priority
        ("00000431", TO_3, 0x431),        // NMI
        ("00002031", TO_3, 0x31),         // active low
    ] {
        let (_apic, mut line, host) = pin_4(low);
        line.set_level(true);
        assert_eq!(host.messages.take(), [Msi { address, data }], "{low}");
    }
}

#[test]
fn a_pin_that_is_not_there_does_nothing() {
    let (apic, host) = ioapic();
    for pin in [24, 31, 32, 255] {
        apic.wire(pin).line().set_level(true);
    }
    assert_eq!(host.messages.take(), []);
}

#[test]
fn reset_masks_all_and_keeps_levels() {
    let (apic, mut line, host) = pin_4("00008031");
    line.set_level(true);
    host.routes.take();
    apic.0.with(Component::reset);
    check(&apic, "w 0 00000018\n r 10 -> 00010000");
    assert_eq!(host.routes.take().len(), PINS);
    host.messages.take();
    check(&apic, "w 10 00008031");
    assert_eq!(host.messages.take().len(), 1, "the line is still high");
}

#[test]
fn state_comes_back_with_its_routes() {
    let (apic, mut line, _) = pin_4("00008031");
    line.set_level(true);
    let saved = apic.0.with(|chip| chip.save());
    let (second, host) = ioapic();
    second.0.with(|chip| chip.restore(&saved)).unwrap();
    assert_eq!(second.0.with(|chip| chip.save()), saved);
    assert_eq!(host.messages.take(), [], "no edge");
    assert_eq!(
        host.routes
            .take()
            .into_iter()
            .filter(|(_, msi)| msi.is_some())
            .count(),
        1
    );
    second.end_of_interrupt(0x31);
    assert_eq!(host.messages.take().len(), 1);
}

#[test]
fn impossible_state_is_refused_field_by_field() {
    let good = IoApicStateV1::from(&IoApic82093::default());
    let entry = |entry| {
        let mut redirection = good.redirection;
        redirection[5] = entry;
        IoApicStateV1 {
            redirection,
            ..good.clone()
        }
    };
    for (name, state) in [
        (
            "id",
            IoApicStateV1 {
                id: 1,
                ..good.clone()
            },
        ),
        (
            "levels",
            IoApicStateV1 {
                levels: 1 << 24,
                ..good.clone()
            },
        ),
        ("redirection", entry(1 << 12)),
        ("redirection", entry(1 << 14)),
    ] {
        let (apic, _) = ioapic();
        let error = apic
            .0
            .with(|chip| chip.restore(&SavedState::encode(state::KIND, 1, &state)))
            .unwrap_err();
        assert!(
            matches!(error, RestoreError::Field { field, .. } if field == name),
            "{name}: {error}"
        );
    }
}

#[test]
fn version_1_stays_loadable() {
    let (apic, host) = ioapic();
    apic.0
        .with(|chip| check_golden(chip, state::KIND, 1, GOLDEN_V1));
    check(
        &apic,
        "r 0 -> 00000018\n r 10 -> 0000c131\n w 0 00000019\n r 10 -> 03000000\n w 0 00000000\n r 10 -> 05000000",
    );
    check(&apic, "w 0 00000016\n r 10 -> 00010000");
    apic.end_of_interrupt(0x31);
    assert_eq!(host.messages.take().len(), 1, "pin 4 is still high");
}

/// Identification and index, pins 0 to 3, pin 4 (a level that was accepted and has not ended), the others
/// masked, levels.
const GOLDEN_V1: &str = "\
    8080802818808004808004808004808004\
    b18283808080808003\
    808004808004808004808004808004808004808004808004808004\
    80800480800480800480800480800480800480800480800480800480800410";
