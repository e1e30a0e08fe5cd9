//! The parts of a PC, from the descriptors of a plan.

use std::fs::File;
use std::io;
use std::sync::Arc;

use trivisor_backends::disk::DiscChanger;
use trivisor_buses::CharOutput;
use trivisor_devices_hvm::board::{
    DiskConfig, DriveConfig, DrivePlug, FloppyPlug, MadeDrive, MadeFloppy,
};
use trivisor_devices_hvm::vga::{self, VgaCard};
use trivisor_memory::{FileMapping, GuestRam};
use trivisor_vmm_core::PcConfig;

use super::virtio::{StoragePlug, Workers};
use crate::failure::{Failure, chain};
use crate::plan::Plan;
use crate::plan::virtio::Image;

/// Where the firmware's debug console leads. What the other side does not take at once is lost.
struct DebugOutput(File);

impl CharOutput for DebugOutput {
    fn write(&mut self, bytes: &[u8]) -> usize {
        rustix::io::write(&self.0, bytes).unwrap_or(0)
    }
}

/// The file by which SeaBIOS is told of a serial port for its screen and keyboard.
const SERIAL_SCREEN: &str = "etc/sercon-port";
/// A port, as the file has it.
const COM1: u64 = 0x3f8;

/// A disk on an IDE cable.
struct IdeDisk {
    config: DiskConfig,
    storage: StoragePlug,
}

impl DrivePlug for IdeDisk {
    fn name(&self) -> &'static str {
        "ide-disk"
    }

    fn make(self: Box<Self>, ram: &GuestRam) -> io::Result<MadeDrive> {
        // Without a writer the ring gets all writes.
        let (storage, sources, _writer) = self.storage.make(ram)?;
        let drive = DriveConfig::Disk(self.config, storage);
        Ok(MadeDrive { drive, sources })
    }
}

/// A CD-ROM drive on an IDE cable, whose disc can be changed.
struct IdeCdrom {
    disc: Option<StoragePlug>,
    workers: Workers,
}

impl DrivePlug for IdeCdrom {
    fn name(&self) -> &'static str {
        "ide-cdrom"
    }

    fn make(self: Box<Self>, ram: &GuestRam) -> io::Result<MadeDrive> {
        let (changer, event, attendant) = DiscChanger::new(ram.clone())?;
        self.workers.add_changer(changer, attendant);
        let (mut disc, mut sources) = (None, vec![event]);
        if let Some(plug) = self.disc {
            let (storage, events, _writer) = plug.make(ram)?;
            disc = Some(storage);
            sources.extend(events);
        }
        let drive = DriveConfig::Cdrom(disc);
        Ok(MadeDrive { drive, sources })
    }
}

/// A disk in a floppy drive.
struct Floppy(StoragePlug);

impl FloppyPlug for Floppy {
    fn make(self: Box<Self>, ram: &GuestRam) -> io::Result<MadeFloppy> {
        let (disk, sources, _writer) = self.0.make(ram)?;
        Ok(MadeFloppy { disk, sources })
    }
}

fn floppies(plan: &Plan, workers: &Workers) -> Result<[Option<Box<dyn FloppyPlug>>; 2], Failure> {
    let plug = |image: &Image| {
        let floppy = Floppy(StoragePlug::new(image, workers)?);
        Ok::<_, Failure>(Box::new(floppy) as Box<dyn FloppyPlug>)
    };
    let [a, b] = &plan.pc.floppies;
    Ok([
        a.as_ref().map(plug).transpose()?,
        b.as_ref().map(plug).transpose()?,
    ])
}

type Drives = [[Option<Box<dyn DrivePlug>>; 2]; 2];

fn drives(plan: &Plan, workers: &Workers) -> Result<Drives, Failure> {
    let mut drives = Drives::default();
    let images = plan.pc.disks.as_flattened().iter();
    for (drive, image) in drives.as_flattened_mut().iter_mut().zip(images) {
        if let Some(image) = image {
            let mut config = DiskConfig::default();
            if !image.serial.is_empty() {
                config.serial.clone_from(&image.serial);
            }
            let storage = StoragePlug::new(image, workers)?;
            *drive = Some(Box::new(IdeDisk { config, storage }));
        }
    }
    if let (Some(tray), [_, [master, _]]) = (&plan.pc.tray, &mut drives) {
        let disc = tray.disc();
        let disc = disc.map(|disc| StoragePlug::new(&disc, workers));
        *master = Some(Box::new(IdeCdrom {
            disc: disc.transpose()?,
            workers: workers.clone(),
        }));
    }
    Ok(drives)
}

pub(super) fn config(plan: &Plan, workers: &Workers) -> Result<PcConfig, Failure> {
    let pc = &plan.pc;
    let mut config = PcConfig {
        boot_order: pc.boot_order.clone(),
        drives: drives(plan, workers)?,
        floppies: floppies(plan, workers)?,
        ..PcConfig::default()
    };
    if pc.serial_screen {
        let port = COM1.to_le_bytes().to_vec();
        config.files.push((SERIAL_SCREEN.into(), port));
    }
    if let Some(firmware) = &pc.firmware {
        let file = firmware.file.try_clone();
        let file = file.map_err(Failure::refused("a descriptor"))?;
        let mapping = FileMapping::new(file, true).map_err(|error| {
            Failure::usage(
                format!("firmware {}: {}", firmware.path.display(), chain(&error)),
                "--firmware takes a PC's BIOS, such as SeaBIOS's bios-256k.bin",
            )
        })?;
        config.firmware = Some(Arc::new(mapping));
    }
    let memory = FileMapping::zeroed(vga::MEMORY_SIZE);
    let memory = memory.map_err(|error| {
        Failure::host(
            format!("display memory: {}", chain(&error)),
            "free some memory",
        )
    })?;
    config.cards.push(Box::new(VgaCard(Arc::new(memory))));
    if let Some(rom) = &pc.vga_rom {
        config.files.push((vga::ROM_FILE.into(), rom.clone()));
    }
    if let Some(console) = &pc.debug_console {
        let file = console.try_clone();
        let file = file.map_err(Failure::refused("a descriptor"))?;
        let nonblocking = rustix::io::ioctl_fionbio(&file, true);
        nonblocking.map_err(|error| Failure::refused("the debug console's file")(error.into()))?;
        config.debug_console = Some(Box::new(DebugOutput(file)));
    }
    Ok(config)
}
