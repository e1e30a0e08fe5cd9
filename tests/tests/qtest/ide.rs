//! PIIX3 IDE: a disk on the primary channel, a CD-ROM drive on the secondary.

use std::io::Write;

use tempfile::NamedTempFile;
use trivisor_buses::testing::MemoryStorage;
use trivisor_buses::{Line, Shell};
use trivisor_devices_hvm::ide::{
    COMMAND_PORTS, CONTROL_PORTS, CommandBlock, ControlBlock, DiskConfig, DriveConfig, Ide, WIDTHS,
};
use trivisor_devices_hvm::piix3::Piix3;
use trivisor_pci::DeviceFunction;

use crate::ours::Ours;
use crate::qemu::Qemu;
use crate::script::compare;

/// Sectors of both images.
const SECTORS: u32 = 512;

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
    Ours::new(|host, slots, pci| {
        let [disk, disc] = [(); 2].map(|()| {
            let storage = MemoryStorage::new(host.memory.ram().clone(), SECTORS);
            storage.put(0, &image());
            Box::new(storage)
        });
        let disk = DriveConfig::Disk(DiskConfig::default(), disk);
        let drives = [
            [Some(disk), None],
            [Some(DriveConfig::Cdrom(Some(disc))), None],
        ];
        let lines = [host.line(), host.line()];
        let ide = Ide::new(drives, lines, host.clone()).unwrap();
        let at = |function| DeviceFunction::new(1, function).unwrap();
        let bridge = Piix3::new([(); 16].map(|()| Line::detached())).unwrap();
        pci.add_at("piix3", at(0), bridge).unwrap();
        let ide = pci.add_at("ide", at(1), ide).unwrap();
        for (channel, base, control) in [(0, 0x1f0, 0x3f6), (1, 0x170, 0x376)] {
            let block = Shell::new("ide", WIDTHS, CommandBlock::new(ide.clone(), channel));
            let ports = slots.ports();
            ports
                .attach("ide", base, COMMAND_PORTS.into(), block)
                .unwrap();
            let block = Shell::new("ide", WIDTHS, ControlBlock::new(ide.clone(), channel));
            ports
                .attach("ide", control, CONTROL_PORTS.into(), block)
                .unwrap();
        }
    })
}

fn run(test: &str, script: &str, least_steps: usize) {
    let images = [(); 2].map(|()| {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(&image()).unwrap();
        file
    });
    let [disk, disc] = images.each_ref().map(|file| {
        let path = file.path().display();
        format!("if=none,format=raw,file={path}")
    });
    let mut theirs = Qemu::start(&[
        "-drive",
        &format!("{disk},id=disk"),
        "-drive",
        &format!("{disc},id=disc,media=cdrom,readonly=on"),
        "-device",
        "ide-hd,bus=ide.0,unit=0,drive=disk",
        "-device",
        "ide-cd,bus=ide.1,unit=0,drive=disc",
    ]);
    let run = compare(script, &mut ours(), &mut theirs);
    assert!(run.steps >= least_steps, "{} steps", run.steps);
    eprintln!(
        "{test}: {} steps, {} differences",
        run.steps, run.differences
    );
}

#[test]
fn a_disk_behaves_as_qemus() {
    run("a_disk_behaves_as_qemus", include_str!("ide.txt"), 30);
}

#[test]
fn a_cdrom_drive_behaves_as_qemus() {
    run(
        "a_cdrom_drive_behaves_as_qemus",
        include_str!("atapi.txt"),
        30,
    );
}
