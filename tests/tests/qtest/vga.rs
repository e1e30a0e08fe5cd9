//! VGA with the Bochs display interface, on PCI.

use std::sync::Arc;

use trivisor_buses::{Component, Line};
use trivisor_devices_hvm::piix3::Piix3;
use trivisor_devices_hvm::vga;
use trivisor_memory::FileMapping;
use trivisor_pci::DeviceFunction;

use crate::ours::Ours;
use crate::qemu::Qemu;
use crate::script::compare;

/// The VGA stands where QEMU puts it: behind host bridge and ISA bridge.
fn ours() -> Ours {
    Ours::new(|_, slots, pci| {
        for device in 0..2 {
            let bridge = Piix3::new([(); 16].map(|()| Line::detached())).unwrap();
            let at = DeviceFunction::new(device, 0).unwrap();
            pci.add_at("bridge", at, bridge).unwrap();
        }
        let memory = Arc::new(FileMapping::zeroed(vga::MEMORY_SIZE).unwrap());
        let chip = vga::fit(slots, pci, memory).unwrap();
        chip.with(|chip| chip.reset());
    })
}

#[test]
fn a_vga_behaves_as_qemus() {
    let mut theirs = Qemu::start(&["-device", "VGA,addr=2,romfile="]);
    let run = compare(include_str!("vga.txt"), &mut ours(), &mut theirs);
    assert!(run.steps >= 30, "{} steps", run.steps);
    println!(
        "a_vga_behaves_as_qemus: {} steps, {} differences",
        run.steps, run.differences
    );
}
