//! The real-time clock; neither clock goes while a script runs.

use std::sync::Arc;

use trivisor_buses::Shell;
use trivisor_mode_basic::rtc::{IrqPin, PORTS, Rtc, WIDTHS};

use crate::ours::Ours;
use crate::qemu::Qemu;
use crate::script::compare;

fn ours() -> Ours {
    Ours::new(|host, slots, _| {
        let (timer, end) = slots.host().timers.timer().unwrap();
        let irq = IrqPin {
            line: host.line(),
            clock: host.clone(),
            timer,
        };
        let chip = Rtc::new(host.clone()).with_irq(irq);
        let chip: Arc<Shell<Rtc>> = slots.pio("rtc", 0x70, PORTS, WIDTHS, chip).unwrap();
        end.wakes(&chip);
    })
}

#[test]
fn a_clock_behaves_as_qemus() {
    let time = ["-rtc", "base=2001-09-09T01:46:40,clock=vm"];
    let mut theirs = Qemu::start(&time);
    let run = compare(include_str!("rtc.txt"), &mut ours(), &mut theirs);
    assert!(run.steps >= 30, "{} steps", run.steps);
    println!(
        "a_clock_behaves_as_qemus: {} steps, {} differences",
        run.steps, run.differences
    );
}
