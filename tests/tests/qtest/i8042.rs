//! The keyboard controller with its keyboard and its mouse.

use trivisor_buses::Widths;
use trivisor_devices_hvm::i8042::{KeyboardController, PORTS, Pins};

use crate::ours::Ours;
use crate::qemu::Qemu;
use crate::script::compare;

fn ours() -> Ours {
    Ours::new(|host, slots, _| {
        let pins = Pins {
            keyboard: host.line(),
            auxiliary: host.line(),
            a20: host.line(),
        };
        let chip = KeyboardController::new(pins, host.clone());
        slots
            .pio("i8042", 0x60, PORTS, Widths::BYTES, chip)
            .unwrap();
    })
}

#[test]
fn a_keyboard_controller_behaves_as_qemus() {
    let mut theirs = Qemu::start(&[]);
    let run = compare(include_str!("i8042.txt"), &mut ours(), &mut theirs);
    assert!(run.steps >= 30, "{} steps", run.steps);
    println!(
        "a_keyboard_controller_behaves_as_qemus: {} steps, {} differences",
        run.steps, run.differences
    );
}
