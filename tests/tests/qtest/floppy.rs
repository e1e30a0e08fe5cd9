//! Floppy controller and DMA: a disk of 1440 KiB in drive A.

use std::io::Write;
use std::sync::Arc;

use tempfile::NamedTempFile;
use trivisor_buses::testing::MemoryStorage;
use trivisor_buses::{Shell, Widths, Woken};
use trivisor_devices_hvm::i8237::{
    Channel, DmaPorts, FIRST_PORTS, I8237, PAGE_PORTS, Part, Requesters, SECOND_PORTS,
};
use trivisor_devices_hvm::i82077::{DATA_RATE_PORTS, DataRatePort, DriveConfig, I82077, PORTS};

use crate::ours::Ours;
use crate::qemu::Qemu;
use crate::script::compare;

/// Sectors of the disk.
const SECTORS: u32 = 2880;

/// Each sector is of one byte, but for its number in front.
fn image() -> Vec<u8> {
    let sector = |number: u32| {
        let mut data = vec![u8::try_from(number % 251).unwrap(); 512];
        data[..4].copy_from_slice(&number.to_be_bytes());
        data
    };
    (0..SECTORS).flat_map(sector).collect()
}

fn ours() -> Ours {
    Ours::new(|host, slots, _| {
        let disk = MemoryStorage::new(host.memory.ram().clone(), SECTORS);
        disk.put(0, &image());
        let dma = slots.unaddressed("i8237", I8237::new(host.clone()));
        let drive = DriveConfig::with(Box::new(disk)).unwrap();
        let channel = Box::new(Channel::new(dma.clone(), 2));
        let chip = I82077::new([Some(drive), None], host.line(), channel).unwrap();
        let chip = slots
            .pio("i82077", 0x3f0, PORTS, Widths::BYTES, chip)
            .unwrap();
        let port = Shell::new("i82077", Widths::BYTES, DataRatePort(chip.clone()));
        slots.pio_alias(0x3f7, DATA_RATE_PORTS, &port).unwrap();
        let mut requesters = Requesters::default();
        requesters[2] = Some(chip as Arc<dyn Woken>);
        for (base, size, part) in [
            (0x00, FIRST_PORTS, Part::First),
            (0xc0, SECOND_PORTS, Part::Second),
            (0x80, PAGE_PORTS, Part::Pages),
        ] {
            let ports = DmaPorts::new(dma.clone(), part, requesters.clone());
            let ports = Shell::new("dma", Widths::BYTES, ports);
            slots.pio_alias(base, size, &ports).unwrap();
        }
    })
}

#[test]
fn a_floppy_controller_behaves_as_qemus() {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(&image()).unwrap();
    let drive = format!("if=floppy,format=raw,file={}", file.path().display());
    let mut theirs = Qemu::start(&["-drive", &drive]);
    let run = compare(include_str!("floppy.txt"), &mut ours(), &mut theirs);
    assert!(run.steps >= 30, "{} steps", run.steps);
    eprintln!(
        "a_floppy_controller_behaves_as_qemus: {} steps, {} differences",
        run.steps, run.differences
    );
}
