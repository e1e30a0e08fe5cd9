use trivisor_buses::testing::{TestHost, check_golden, check_ports};
use trivisor_buses::{InterruptPins, Widths, Wire};

use super::*;

fn chip() -> (Arc<TestHost>, KeyboardController) {
    let host = TestHost::new();
    let pins = Pins {
        keyboard: host.line(),
        auxiliary: Line::detached(),
        a20: Line::detached(),
    };
    let chip = KeyboardController::new(pins, host.clone());
    (host, chip)
}

/// All bytes that wait.
fn drain(chip: &mut KeyboardController) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let (mut status, mut byte) = ([0], [0]);
        chip.read(4, &mut status).unwrap();
        if status[0] & 1 == 0 {
            return bytes;
        }
        chip.read(0, &mut byte).unwrap();
        bytes.push(byte[0]);
        assert!(bytes.len() < 100, "it never ends: {bytes:x?}");
    }
}

fn key(chip: &mut KeyboardController, code: u16, pressed: bool) -> bool {
    let taken = chip.chip.keyboard.key(code, pressed);
    chip.refill();
    taken
}

fn mouse(chip: &mut KeyboardController, bytes: &[u8]) -> Vec<u8> {
    let mut answers = Vec::new();
    for byte in bytes {
        chip.write(4, &[0xd4]).unwrap();
        chip.write(0, &[*byte]).unwrap();
        answers.extend(drain(chip));
    }
    answers
}

fn moved(chip: &mut KeyboardController, x: i16, y: i16, wheel: i16, buttons: u8) -> Vec<u8> {
    assert!(chip.chip.mouse.report(Motion {
        x,
        y,
        wheel,
        buttons
    }));
    chip.refill();
    drain(chip)
}

#[test]
fn ports_answer_as_the_table_says() {
    let (host, mut chip) = chip();
    check_ports(
        &mut chip,
        "r 0 -> 00\n r 4 -> 10\n r 1 -> error\n w 3 00 -> error\n r 0 -> 00
         # RAM and the command byte
         w 4 60\n r 4 -> 18\n w 0 74\n r 4 -> 14\n w 4 20\n r 4 -> 1d\n r 0 -> 74\n r 4 -> 1c\n r 0 -> 74
         w 4 7f\n w 0 a5\n w 4 3f\n r 0 -> a5
         # Tests
         w 4 aa\n r 0 -> 55\n w 4 a9\n r 0 -> 00\n w 4 ab\n r 0 -> 00
         # Enables
         w 4 a8\n w 4 20\n r 0 -> 54\n w 4 a7\n w 4 20\n r 0 -> 74
         w 4 ae\n w 4 20\n r 0 -> 64\n w 4 ad\n w 4 20\n r 0 -> 74
         # Ports
         w 4 c0\n r 0 -> 80\n w 4 d0\n r 0 -> 03\n w 4 d1\n w 0 01\n w 4 d0\n r 0 -> 01
         # Buffers
         w 4 d2\n w 0 11\n r 4 -> 15\n r 0 -> 11\n w 4 d3\n w 0 22\n r 4 -> 35\n r 0 -> 22
         # Unknown
         w 4 00\n r 4 -> 1c\n w 4 b0\n r 4 -> 1c",
    );
    assert!(!chip.chip.a20());
    assert_eq!(host.events.take(), []);
}

/// The chip with its three pins on pins of the host: 1, 12, and 20 for A20.
fn wired() -> (Arc<TestHost>, KeyboardController) {
    let host = TestHost::new();
    let pin = |number| Wire::new(host.pin(number)).line();
    let pins = Pins {
        keyboard: pin(1),
        auxiliary: pin(12),
        a20: pin(20),
    };
    let chip = KeyboardController::new(pins, host.clone());
    (host, chip)
}

#[test]
fn each_pin_is_that_of_its_bit() {
    let (host, mut chip) = wired();
    assert_eq!(host.pins.take(), [(20, true)]);
    check_ports(&mut chip, "w 4 d1\n w 0 01");
    assert_eq!(host.pins.take(), [(20, false)]);
    // Either interrupt alone; what counts as the mouse's is not the keyboard's.
    check_ports(&mut chip, "w 4 60\n w 0 02\n w 4 d2\n w 0 11");
    assert_eq!(host.pins.take(), []);
    check_ports(&mut chip, "r 0 -> 11\n w 4 d3\n w 0 22");
    assert_eq!(host.pins.take(), [(12, true)]);
    // The output port shows it, and the answer waits behind it.
    check_ports(&mut chip, "w 4 d0\n r 4 -> 39\n r 0 -> 22\n r 0 -> 21");
    assert_eq!(host.pins.take(), [(12, false)]);
    check_ports(&mut chip, "w 4 60\n w 0 01\n w 4 d2\n w 0 33\n w 4 d0");
    assert_eq!(host.pins.take(), [(1, true)]);
    check_ports(&mut chip, "r 0 -> 33\n r 0 -> 11\n w 4 d4\n w 0 f2");
    assert_eq!(host.pins.take(), [(1, false), (1, true), (1, false)]);
    check_ports(&mut chip, "r 0 -> fa\n r 0 -> 00");
    assert_eq!(host.pins.take(), [], "the mouse's interrupt is off");
    // Off while a byte waits.
    check_ports(&mut chip, "w 4 d2\n w 0 44\n w 4 60\n w 0 00\n r 4 -> 11");
    assert_eq!(host.pins.take(), [(1, true), (1, false)]);
    chip.reset();
    assert_eq!(host.pins.take(), [(20, true)]);
}

#[test]
fn who_is_disabled_is_not_listened_to() {
    let (_, mut chip) = chip();
    check_ports(&mut chip, "w 4 ad");
    assert!(key(&mut chip, 30, true));
    check_ports(
        &mut chip,
        "r 4 -> 18\n w 4 ae\n r 4 -> 19\n r 0 -> 1c
         # A byte for a device lets it be heard again.
         w 4 ad\n w 0 ee\n r 0 -> ee\n w 4 20\n r 0 -> 00
         w 4 a7\n w 4 d4\n w 0 f2\n r 0 -> fa\n r 0 -> 00\n w 4 20\n r 0 -> 00",
    );
}

#[test]
fn the_reset_line_is_pulsed() {
    for (script, resets) in [
        ("w 4 fe", 1),
        ("w 4 f0", 1),
        ("w 4 ff", 0),
        ("w 4 ef", 0),
        ("w 4 d1\n w 0 02", 1),
        ("w 4 d1\n w 0 03", 0),
    ] {
        let (host, mut chip) = chip();
        check_ports(&mut chip, script);
        let events = vec![MachineEvent::Reset; resets];
        assert_eq!(host.events.take(), events, "{script}");
    }
}

#[test]
fn each_byte_is_an_edge() {
    let (host, mut chip) = chip();
    check_ports(&mut chip, "w 4 60\n w 0 41");
    assert!(key(&mut chip, 105, true));
    assert_eq!(host.levels.take(), [true]);
    check_ports(&mut chip, "r 0 -> e0");
    assert_eq!(host.levels.take(), [false, true]);
    check_ports(&mut chip, "r 0 -> 4b\n r 4 -> 10");
    assert_eq!(host.levels.take(), [false]);
}

#[test]
fn keys_have_their_codes_in_both_sets() {
    let (_, mut chip) = chip();
    let codes = |chip: &mut KeyboardController, code| {
        assert!(key(chip, code, true) && key(chip, code, false));
        drain(chip)
    };
    assert_eq!(codes(&mut chip, 30), [0x1c, 0xf0, 0x1c]);
    assert_eq!(codes(&mut chip, 65), [0x83, 0xf0, 0x83]);
    assert_eq!(codes(&mut chip, 111), [0xe0, 0x71, 0xe0, 0xf0, 0x71]);
    assert_eq!(codes(&mut chip, 119).len(), 8);
    assert_eq!(codes(&mut chip, 700), []);
    // Translated, every key's code is its code in set 1.
    for code in (1..=83).chain(86..=127).chain([142, 143]) {
        let Some((extended, set_1)) = ps2::keys::set_1(code) else {
            continue;
        };
        check_ports(&mut chip, "w 4 60\n w 0 40");
        let mut wanted = Vec::new();
        for byte in [set_1, set_1 | 0x80] {
            wanted.extend(extended.then_some(0xe0));
            wanted.push(byte);
        }
        assert_eq!(codes(&mut chip, code), wanted, "key {code}");
        // The keyboard's own set 1.
        check_ports(
            &mut chip,
            "w 4 60\n w 0 00\n w 0 f0\n r 0 -> fa\n w 0 01\n r 0 -> fa",
        );
        assert_eq!(codes(&mut chip, code), wanted, "key {code} in set 1");
        check_ports(&mut chip, "w 0 f6\n r 0 -> fa");
    }
}

#[test]
fn keyboard_takes_its_commands() {
    let (_, mut chip) = chip();
    check_ports(
        &mut chip,
        "w 0 ee\n r 0 -> ee\n w 0 f2\n r 0 -> fa\n r 0 -> ab\n r 0 -> 83
         w 0 ed\n r 0 -> fa\n w 0 05\n r 0 -> fa\n w 0 ed\n r 0 -> fa\n w 0 08\n r 0 -> fe\n w 0 07\n r 0 -> fa
         w 0 f0\n r 0 -> fa\n w 0 00\n r 0 -> fa\n r 0 -> 02\n w 0 f0\n r 0 -> fa\n w 0 03\n r 0 -> fe\n w 0 01\n r 0 -> fa
         w 0 f3\n r 0 -> fa\n w 0 80\n r 0 -> fe\n w 0 20\n r 0 -> fa\n w 0 fe\n r 0 -> fa\n w 0 01\n r 0 -> fe
         w 0 ed\n r 0 -> fa\n w 0 f5\n r 0 -> fa",
    );
    assert_eq!(chip.leds(), 7);
    assert!(key(&mut chip, 30, true));
    assert_eq!(drain(&mut chip), []);
    check_ports(&mut chip, "w 0 f4\n r 0 -> fa");
    assert!(key(&mut chip, 30, true));
    check_ports(
        &mut chip,
        "r 0 -> 1c\n w 0 ff\n r 0 -> fa\n r 0 -> aa\n r 4 -> 10",
    );
    assert_eq!(chip.leds(), 0);
}

#[test]
fn a_full_keyboard_refuses_whole_keys() {
    let (_, mut chip) = chip();
    check_ports(&mut chip, "w 4 ad");
    let taken = (0..20).filter(|_| key(&mut chip, 111, false)).count();
    assert_eq!(taken, 5);
    assert!(key(&mut chip, 30, true) && !key(&mut chip, 30, false));
    check_ports(&mut chip, "w 4 ae");
    assert_eq!(drain(&mut chip).len(), 16);
    assert!(key(&mut chip, 30, false));
    assert_eq!(drain(&mut chip), [0xf0, 0x1c]);
}

#[test]
fn mouse_takes_its_commands() {
    let (_, mut chip) = chip();
    assert_eq!(mouse(&mut chip, &[0xff]), [0xfa, 0xaa, 0x00]);
    assert_eq!(mouse(&mut chip, &[0xf2]), [0xfa, 0x00]);
    assert_eq!(mouse(&mut chip, &[0xe9]), [0xfa, 0x00, 0x02, 0x64]);
    assert_eq!(
        mouse(&mut chip, &[0xe7, 0xe8, 3, 0xf3, 40, 0xf4]),
        [0xfa; 6]
    );
    assert_eq!(mouse(&mut chip, &[0xe9]), [0xfa, 0x30, 0x03, 0x28]);
    assert_eq!(mouse(&mut chip, &[0xe8, 4, 2]), [0xfa, 0xfe, 0xfa]);
    // A rate that there is not, and a command in its place.
    assert_eq!(mouse(&mut chip, &[0xf3, 41, 60]), [0xfa, 0xfe, 0xfa]);
    assert_eq!(mouse(&mut chip, &[0xf3, 0xf2]), [0xfa, 0xfa, 0x00]);
    assert_eq!(mouse(&mut chip, &[0xe9]), [0xfa, 0x30, 0x02, 60]);
    assert_eq!(mouse(&mut chip, &[0xee, 0xf2, 0xec]), [0xfa, 0xf2, 0xfa]);
    assert_eq!(mouse(&mut chip, &[0xe1, 0xfe]), [0xfe, 0xfe]);
    assert_eq!(mouse(&mut chip, &[0xf0, 0xe6]), [0xfa, 0xfa]);
    assert_eq!(moved(&mut chip, 3, 4, 0, 1), []);
    assert_eq!(mouse(&mut chip, &[0xeb]), [0xfa, 0x29, 3, 0xfc]);
    assert_eq!(mouse(&mut chip, &[0xea, 0xf5, 0xf6]), [0xfa; 3]);
}

#[test]
fn mouse_reports_motion_wheel_and_buttons() {
    let (_, mut chip) = chip();
    assert_eq!(moved(&mut chip, 1, 1, 0, 0), []);
    mouse(&mut chip, &[0xf4]);
    assert_eq!(moved(&mut chip, -1, -2, 0, 0), [0x18, 0xff, 0x02]);
    // More than a packet holds comes in several.
    let packets = [0x08, 0xff, 0, 0x08, 0x2d, 0];
    assert_eq!(moved(&mut chip, 300, 0, 0, 0), packets);
    mouse(&mut chip, &[0xf3, 200, 0xf3, 100, 0xf3, 80]);
    assert_eq!(mouse(&mut chip, &[0xf2]), [0xfa, 3]);
    assert_eq!(moved(&mut chip, 0, 0, -1, 4), [0x0c, 0, 0, 0xff]);
    mouse(&mut chip, &[0xf3, 200, 0xf3, 200, 0xf3, 80]);
    assert_eq!(mouse(&mut chip, &[0xf2]), [0xfa, 4]);
    assert_eq!(moved(&mut chip, 0, 0, 1, 0x18), [0x08, 0, 0, 0x31]);
    // Scaling 2:1.
    mouse(&mut chip, &[0xe7]);
    assert_eq!(moved(&mut chip, 5, 10, 0, 0), [0x28, 9, 0xec, 0]);
}

#[test]
fn a_full_mouse_loses_no_click() {
    let (_, mut chip) = chip();
    mouse(&mut chip, &[0xf4]);
    check_ports(&mut chip, "w 4 a7");
    let mut click = |buttons| {
        chip.chip.mouse.report(Motion {
            buttons,
            ..Motion::default()
        })
    };
    let taken = (0..20).take_while(|n| click(1 - n % 2)).count();
    assert_eq!(taken, 5);
    check_ports(&mut chip, "w 4 a8");
    assert_eq!(drain(&mut chip).len(), 15);
}

#[test]
fn hands_reach_the_chip_on_a_bus() {
    let (host, chip) = chip();
    let shell = Shell::new("i8042", Widths::BYTES, chip);
    let hands = Hands(shell.clone());
    assert!(hands.key(28, true));
    assert!(hands.report(Motion::default()));
    shell.with(|chip| check_ports(chip, "r 4 -> 11\n r 0 -> 5a\n w 4 60\n r 4 -> 18"));
    // Reset in the middle of a command.
    shell.with(|chip| {
        chip.reset();
        check_ports(chip, "w 0 ee\n r 0 -> ee");
    });
    assert_eq!(host.events.take(), []);
}

#[test]
fn state_comes_back() {
    let (_, mut chip) = chip();
    check_ports(&mut chip, "w 4 60\n w 0 01\n w 0 ed");
    assert!(key(&mut chip, 30, true));
    let saved = chip.save();
    let (host, mut other) = self::chip();
    other.restore(&saved).unwrap();
    assert_eq!(host.levels.take(), []);
    check_ports(&mut other, "r 0 -> fa\n r 0 -> 1c\n w 0 02\n r 0 -> fa");
    assert_eq!(other.leds(), 2);

    let mut wrong: Vec<I8042StateV1> = Vec::new();
    let right = I8042StateV1::from(&other.chip);
    let mut spoilt = |spoil: fn(&mut I8042StateV1)| {
        let mut state = right.clone();
        spoil(&mut state);
        wrong.push(state);
    };
    spoilt(|state| state.ram.push(0));
    spoilt(|state| state.awaits = 1);
    spoilt(|state| state.keyboard.set = 3);
    spoilt(|state| state.keyboard.leds = 8);
    spoilt(|state| state.keyboard.awaits = 1);
    spoilt(|state| state.keyboard.output.reports = vec![0; 17]);
    spoilt(|state| state.mouse.output.answers = vec![0; 6]);
    spoilt(|state| state.mouse.id = 1);
    spoilt(|state| state.mouse.modes = 16);
    spoilt(|state| state.mouse.resolution = 4);
    spoilt(|state| state.mouse.buttons = 32);
    spoilt(|state| state.mouse.awaits = 1);
    for state in wrong {
        let saved = SavedState::encode(state::KIND, state::VERSION, &state);
        assert!(other.restore(&saved).is_err(), "{state:?} was taken");
    }
    check_golden(&mut other, state::KIND, 1, GOLDEN);
}

const GOLDEN: &str = "2001000000000000000000000000000000000000000000000000000000000000000100000000fa000000fa000102020000000000020000640000000000";

#[test]
fn the_layout_has_every_printable_character_of_ascii() {
    use ps2::layout::{LayoutError, character, chord};
    let mut keys = std::collections::BTreeSet::new();
    for byte in b' '..=b'~' {
        let key = character(byte.into()).unwrap();
        assert!(keys.insert(key), "{key:?} makes two characters");
        assert!(ps2::keys::set_1(key.0).is_some());
    }
    assert_eq!(character('Z'), Ok((44, true)));
    assert_eq!(character('`'), Ok((41, false)));
    assert_eq!(character('/'), Ok((53, false)));
    assert_eq!(character('\u{e9}'), Err(LayoutError::Character('\u{e9}')));
    assert_eq!(chord("ctrl-alt-del"), Ok(vec![29, 56, 111]));
    assert_eq!(chord("Shift-a"), Ok(vec![42, 30]));
    assert_eq!(chord("KEY_LEFTCTRL+KEY_C"), Ok(vec![29, 46]));
    assert_eq!(chord("ctrl-"), Err(LayoutError::Name(String::new())));
    assert_eq!(chord("a-hyper"), Err(LayoutError::Name("hyper".into())));
    assert_eq!(chord(&"a-".repeat(8)), Err(LayoutError::TooMany(9)));
}

#[test]
fn each_name_is_of_one_key_that_the_keyboard_has() {
    use ps2::layout::{chord, names};
    let mut known = std::collections::BTreeSet::new();
    for name in names() {
        assert!(known.insert(name), "{name} is two keys");
        let keys = chord(name).unwrap();
        let [code] = keys[..] else {
            panic!("{name} is {keys:?}");
        };
        assert!(
            ps2::keys::set_1(code).is_some() || code == ps2::keys::PAUSE,
            "{name}"
        );
    }
}
