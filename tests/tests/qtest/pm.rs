//! PIIX4 power management: the function, its ports, the APM ports and the general purpose events.

use std::sync::{Arc, Mutex};

use trivisor_buses::{Line, Shell, Widths};
use trivisor_devices_hvm::piix3::Piix3;
use trivisor_devices_hvm::piix4_pm::{
    APM_PORTS, Apm, GPE_PORTS, Gpe0, PM_PORTS, Piix4Pm, PmBlock, WIDTHS,
};
use trivisor_pci::DeviceFunction;

use crate::ours::Ours;
use crate::qemu::Qemu;
use crate::qemu_is_there;
use crate::script::compare;

fn ours() -> Ours {
    Ours::new(|host, slots, pci| {
        let (timer, end) = slots.host().timers.timer().unwrap();
        let block = PmBlock::new(host.line(), host.clone(), timer, host.clone());
        let block = Shell::new("block", WIDTHS, block);
        end.wakes(&block);
        let (ports, moved) = (slots.ports().clone(), block.clone());
        let now: Mutex<Option<u16>> = Mutex::default();
        let place = move |base: Option<u16>| {
            let mut now = now.lock().unwrap();
            if let Some(old) = now.take() {
                ports.detach(old.into());
            }
            if let Some(base) = base {
                let size = PM_PORTS.into();
                (ports.attach("block", base.into(), size, moved.clone())).unwrap();
            }
            *now = base;
        };
        let at = |function| DeviceFunction::new(1, function).unwrap();
        let bridge = Piix3::new([(); 16].map(|()| Line::detached())).unwrap();
        pci.add_at("piix3", at(0), bridge).unwrap();
        let function = Piix4Pm::new(Arc::new(place)).unwrap();
        pci.add_at("piix4-pm", at(3), function).unwrap();
        slots
            .pio("apm", 0xb2, APM_PORTS, Widths::BYTES, Apm::new(block))
            .unwrap();
        slots
            .pio("gpe0", 0xafe0, GPE_PORTS, WIDTHS, Gpe0::default())
            .unwrap();
    })
}

#[test]
fn power_management_behaves_as_qemus() {
    if !qemu_is_there("power_management_behaves_as_qemus") {
        return;
    }
    let run = compare(include_str!("pm.txt"), &mut ours(), &mut Qemu::start(&[]));
    assert!(run.steps >= 30, "{} steps", run.steps);
    println!(
        "power_management_behaves_as_qemus: {} steps, {} differences",
        run.steps, run.differences
    );
}
