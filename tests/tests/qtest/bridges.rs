//! The 440FX PCIset: host bridge, ISA bridge and reset control.

use trivisor_buses::testing::TestHost;
use trivisor_buses::{Installed, Line, Shell, Slots, Widths};
use trivisor_devices_hvm::i440fx::{self, I440fx};
use trivisor_devices_hvm::piix3::Piix3;
use trivisor_pci::{DeviceFunction, PciFunction, RootBus, ports};

use crate::ours::Ours;
use crate::qemu::Qemu;
use crate::script::compare;

/// Puts a function onto the bus, where resets reach it.
fn add<F: PciFunction + 'static>(slots: &mut Slots, pci: &RootBus, device: u8, chip: F) {
    let at = DeviceFunction::new(device, 0).unwrap();
    let chip = pci.add_at("bridge", at, chip).unwrap();
    // The memory slots hear of the reset's attributes.
    chip.reset();
    slots.component("bridge", chip);
}

fn fit(host: &std::sync::Arc<TestHost>, slots: &mut Slots, pci: &RootBus) {
    let options = i440fx::Options {
        subsystem: (0x1af4, 0x1100),
        ..i440fx::Options::default()
    };
    let north = I440fx::new(options, host.clone()).unwrap();
    let writes = north.shadow_writes(host.clone());
    let (at, size) = (i440fx::AREA, i440fx::AREA_SIZE);
    slots
        .mmio("i440fx-shadow", at, size, Widths::ANY, writes)
        .unwrap();
    add(slots, pci, 0, north);

    let south = Piix3::new([(); 16].map(|()| Line::detached())).unwrap();
    let reset = Box::new(south.reset_port(host.clone()));
    let config = pci.config_ports().with_passed(reset);
    let config = Shell::new("pci-config", ports::WIDTHS, config);
    let bus = slots.ports();
    bus.detach(0xcf8);
    bus.attach("pci-config", 0xcf8, ports::PORTS.into(), config)
        .unwrap();
    add(slots, pci, 1, south);
}

#[test]
fn bridges_behave_as_qemus() {
    for (name, script) in [
        ("host bridge", include_str!("i440fx.txt")),
        ("ISA bridge", include_str!("piix3.txt")),
    ] {
        let (mut ours, mut theirs) = (Ours::new(fit), Qemu::start(&[]));
        let run = compare(script, &mut ours, &mut theirs);
        assert!(run.steps >= 30, "{name}: {} steps", run.steps);
        assert_eq!(ours.host.events.take(), []);
        eprintln!(
            "{name}: {} steps, {} differences",
            run.steps, run.differences
        );
    }
}
