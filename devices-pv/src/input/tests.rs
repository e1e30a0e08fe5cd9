use trivisor_virtio_device::Feature;
use trivisor_virtio_device::testing::{Rig, Ring};

use super::regs::{code, select};
use super::*;
use crate::golden::check_golden;

fn device(kind: InputKind) -> Input {
    Input::new(kind, "0815").unwrap()
}

fn rig(kind: InputKind, ring: Ring) -> Rig<Input> {
    Rig::new(device(kind), ring, 0)
}

/// Both rings, with notifications by flag and by index.
fn rings() -> impl Iterator<Item = (Ring, u64)> {
    let each = |ring| [(ring, 0), (ring, Feature::EventIndex.bit())];
    Ring::ALL.into_iter().flat_map(each)
}

fn fill(rig: &mut Rig<Input>, count: usize) {
    for _ in 0..count {
        rig.driver(EVENTS).add(&[], &[8]);
    }
    rig.kick(EVENTS);
}

fn events(rig: &mut Rig<Input>) -> Vec<InputEvent> {
    std::iter::from_fn(|| rig.poll(EVENTS))
        .map(|reply| InputEvent::from_bytes(reply.data.try_into().unwrap()))
        .collect()
}

/// The answer to a question.
fn ask(rig: &mut Rig<Input>, select: u8, subsel: u8) -> Vec<u8> {
    rig.write_config(0, &[select]).unwrap();
    rig.write_config(1, &[subsel]).unwrap();
    assert_eq!(rig.read_config(0, 2), [select, subsel]);
    let size = usize::from(rig.read_config(2, 1)[0]);
    assert_eq!(rig.read_config(3, 5), [0; 5]);
    let answer = rig.read_config(8, 200);
    assert!(answer[size..].iter().all(|byte| *byte == 0));
    answer[..size].to_vec()
}

fn bits(codes: impl IntoIterator<Item = u16>) -> Vec<u8> {
    let mut bits = Vec::new();
    for code in codes {
        let byte = usize::from(code / 8);
        bits.resize(bits.len().max(byte + 1), 0);
        bits[byte] |= 1 << (code % 8);
    }
    bits
}

#[test]
fn each_device_says_what_it_has() {
    use InputKind::{Keyboard, Mouse, Tablet};
    let event = |kind: u16| u8::try_from(kind).unwrap();
    let [key, rel, abs] = [event::EV_KEY, event::EV_REL, event::EV_ABS].map(event);
    let [led, rep] = [event::EV_LED, event::EV_REP].map(event);
    let range = [[0, 0, 0, 0], [0xff, 0x7f, 0, 0], [0; 4], [0; 4], [0; 4]].concat();
    let buttons = bits(0x110..=0x114);
    let answers = [
        (Keyboard, select::ID_NAME, 0, b"Trivisor keyboard".to_vec()),
        (Mouse, select::ID_NAME, 0, b"Trivisor mouse".to_vec()),
        (Tablet, select::ID_NAME, 0, b"Trivisor tablet".to_vec()),
        (Mouse, select::ID_SERIAL, 0, b"0815".to_vec()),
        (Keyboard, select::ID_DEVIDS, 0, vec![6, 0, 0, 0, 1, 0, 1, 0]),
        (Tablet, select::ID_DEVIDS, 0, vec![6, 0, 0, 0, 3, 0, 1, 0]),
        (Keyboard, select::EV_BITS, key, bits(1..=248)),
        (Keyboard, select::EV_BITS, led, vec![7]),
        (Keyboard, select::EV_BITS, rep, vec![3]),
        (Mouse, select::EV_BITS, key, buttons.clone()),
        (Mouse, select::EV_BITS, rel, bits([0, 1, 6, 8])),
        (Tablet, select::EV_BITS, key, buttons),
        (Tablet, select::EV_BITS, rel, bits([6, 8])),
        (Tablet, select::EV_BITS, abs, vec![3]),
        (Tablet, select::ABS_INFO, 0, range.clone()),
        (Tablet, select::ABS_INFO, 1, range),
    ];
    for kind in [Keyboard, Mouse, Tablet] {
        let mut rig = rig(kind, Ring::Split);
        for select in 0..=255 {
            for subsel in 0..=255 {
                let known = answers
                    .iter()
                    .find(|known| (known.0, known.1, known.2) == (kind, select, subsel));
                let answer = ask(&mut rig, select, subsel);
                let always = (select::ID_NAME..=select::ID_DEVIDS).contains(&select) && subsel == 0;
                if let Some((.., wanted)) = known {
                    assert_eq!(answer, *wanted, "{kind:?} {select:#x} {subsel:#x}");
                } else if !always {
                    assert_eq!(answer, [], "{kind:?} {select:#x} {subsel:#x}");
                }
            }
        }
    }
}

#[test]
fn a_serial_number_may_be_absent_or_as_long_as_an_answer() {
    let longest = "x".repeat(128);
    for serial in ["", &longest] {
        let device = Input::new(InputKind::Mouse, serial).unwrap();
        let mut rig = Rig::new(device, Ring::Split, 0);
        assert_eq!(ask(&mut rig, select::ID_SERIAL, 0), serial.as_bytes());
    }
    let longer = Input::new(InputKind::Mouse, &"x".repeat(129));
    assert_eq!(longer.err(), Some(SerialTooLong { len: 129 }));
}

#[test]
fn only_the_question_can_be_written() {
    let mut rig = rig(InputKind::Mouse, Ring::Split);
    rig.write_config(0, &[select::EV_BITS, 2]).unwrap();
    assert_eq!(rig.read_config(0, 2), [select::EV_BITS, 2]);
    for (at, data) in [
        (2, &[1][..]),
        (8, &[1]),
        (1, &[1, 2]),
        (0, &[1, 2, 3]),
        (0, &[]),
    ] {
        assert!(rig.write_config(at, data).is_err(), "{at}: {data:?}");
    }
    assert_eq!(rig.read_config(0, 2), [select::EV_BITS, 2]);
    assert_eq!(rig.read_config(usize::MAX, 4), [0; 4]);
    rig.reset();
    assert_eq!(rig.read_config(0, 3), [0; 3]);
}

#[test]
fn an_update_arrives_with_a_report_behind_it_and_one_interrupt() {
    for (ring, way) in rings() {
        let mut rig = Rig::new(device(InputKind::Tablet), ring, way);
        fill(&mut rig, 16);
        let update = [
            InputEvent::absolute(code::ABS_X, 1),
            InputEvent::absolute(code::ABS_Y, MOST_ABSOLUTE),
            InputEvent::relative(code::REL_WHEEL, -1),
            InputEvent::key(code::BTN_LEFT, true),
        ];
        assert!(rig.call(|device, io| device.inject(&update, io)));
        assert_eq!(
            events(&mut rig),
            [&update[..], &[InputEvent::REPORT]].concat()
        );
        assert_eq!(rig.take_interrupts(EVENTS), 1);
    }
}

#[test]
fn events_stand_in_guest_ram_as_the_specification_says() {
    let event = InputEvent::relative(code::REL_WHEEL, -2);
    assert_eq!(event.to_bytes(), [2, 0, 8, 0, 0xfe, 0xff, 0xff, 0xff]);
    assert_eq!(InputEvent::from_bytes(event.to_bytes()), event);
}

#[test]
fn what_has_no_buffer_waits_for_one() {
    for (ring, way) in rings() {
        let mut rig = Rig::new(device(InputKind::Keyboard), ring, way);
        let press = [InputEvent::key(30, true)];
        for _ in 0..3 {
            assert!(rig.call(|device, io| device.inject(&press, io)));
        }
        let mut found = Vec::new();
        for _ in 0..6 {
            rig.driver(EVENTS).add(&[], &[8]);
            assert!(rig.driver(EVENTS).kick(), "the device does not wait");
            rig.notify(EVENTS);
            found.extend(events(&mut rig));
        }
        assert_eq!(found, [press[0], InputEvent::REPORT].repeat(3));
    }
}

#[test]
fn too_much_is_dropped_by_whole_updates() {
    let mut rig = rig(InputKind::Keyboard, Ring::Split);
    let update = [InputEvent::key(30, true), InputEvent::key(31, true)];
    let taken = (0..1000).filter(|_| rig.call(|device, io| device.inject(&update, io)));
    assert_eq!(taken.count(), MOST_PENDING / 3);
    assert_eq!(rig.device().dropped(), 1000 - MOST_PENDING as u64 / 3);
    let mut found = Vec::new();
    for _ in 0..MOST_PENDING / 32 {
        fill(&mut rig, 32);
        found.extend(events(&mut rig));
    }
    let whole = [update[0], update[1], InputEvent::REPORT];
    assert_eq!(found, whole.repeat(MOST_PENDING / 3));
    assert!(rig.call(|device, io| device.inject(&update, io)));
    // Longer than everything that can wait.
    let endless = [update[0]; MOST_PENDING];
    assert!(!rig.call(|device, io| device.inject(&endless, io)));
}

#[test]
fn the_driver_switches_lights() {
    for (ring, way) in rings() {
        let mut rig = Rig::new(device(InputKind::Keyboard), ring, way);
        rig.driver(STATUS).cut_at(3);
        let mut set = |kind, code, value| {
            let event = InputEvent { kind, code, value };
            assert_eq!(rig.request(STATUS, &[&event.to_bytes()], 0).written, 0);
            rig.device().leds()
        };
        assert_eq!(set(event::EV_LED, code::LED_CAPSL, 1), 2);
        assert_eq!(set(event::EV_LED, code::LED_NUML, 1), 3);
        assert_eq!(set(event::EV_LED, code::LED_CAPSL, 0), 1);
        for ignored in [event::EV_REP, event::EV_SYN, event::EV_KEY, 0xffff] {
            assert_eq!(set(ignored, code::LED_SCROLLL, 1), 1);
        }
        assert_eq!(set(event::EV_LED, 3, 1), 1, "no such light");
        assert_eq!(set(event::EV_LED, 0xffff, 1), 1, "no such light");
        rig.reset();
        assert_eq!(rig.device().leds(), 0);
    }
}

#[test]
fn buffers_that_are_too_small_break_the_queue() {
    let mut rig = rig(InputKind::Keyboard, Ring::Split);
    rig.submit(STATUS, &[&[0; 7]], 0);
    assert_eq!(rig.broken().map(|(queue, _)| queue), Some(STATUS));
    rig.reset();
    rig.driver(EVENTS).add(&[], &[7]);
    rig.kick(EVENTS);
    assert_eq!(rig.broken(), None, "nothing to put there");
    rig.call(|device, io| device.inject(&[InputEvent::key(1, true)], io));
    assert_eq!(rig.broken().map(|(queue, _)| queue), Some(EVENTS));
    rig.reset();
    fill(&mut rig, 2);
    rig.call(|device, io| device.inject(&[InputEvent::key(1, false)], io));
    assert_eq!(events(&mut rig).len(), 2);
}

/// A state of version 1: a question, two lights, a key and its report.
const GOLDEN: &str = "11 01 03 02 01001e0001000000 0000000000000000";

#[test]
fn a_saved_state_comes_back() {
    let mut device = device(InputKind::Keyboard);
    check_golden(&mut device, state::KIND, 1, GOLDEN);
    assert_eq!(device.leds(), 3);
    let mut rig = Rig::new(device, Ring::Split, 0);
    fill(&mut rig, 4);
    let wanted = [InputEvent::key(30, true), InputEvent::REPORT];
    assert_eq!(events(&mut rig), wanted);
}

#[test]
fn a_wrong_state_is_refused_and_changes_nothing() {
    let mut device = device(InputKind::Keyboard);
    let before = device.save();
    let state = |pending| InputStateV1 {
        select: 1,
        subsel: 1,
        leds: 1,
        pending: vec![[0; 8]; pending],
    };
    let most = SavedState::encode(state::KIND, state::VERSION, &state(MOST_PENDING));
    let more = SavedState::encode(state::KIND, state::VERSION, &state(MOST_PENDING + 1));
    let mut wrong = [more, most.clone(), most.clone(), most.clone()];
    wrong[1].kind = "virtio-net";
    wrong[2].version = 0;
    wrong[3].data.pop();
    for state in wrong {
        assert!(device.restore(&state).is_err());
        assert_eq!(device.save(), before);
    }
    device.restore(&most).unwrap();
}
