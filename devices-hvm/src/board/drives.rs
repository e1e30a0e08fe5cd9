//! The IDE interface with what is on its cables.

use std::sync::Arc;

use trivisor_buses::{FitError, Line, Shell, Slots, Source};
use trivisor_pci::RootBus;

use super::{DrivePlug, chipset};
use crate::ide::{self, CommandBlock, ControlBlock, DriveConfig, Ide, Tray};
use crate::map;

/// Bytes of each disk on the cables, the first cable's master first.
pub(crate) type Disks = [Option<u64>; 4];

/// The IDE interface with its drives, which answers at the ports that a PC's disks always had; what its disks hold.
pub(super) fn fit(
    slots: &mut Slots,
    bus: &RootBus,
    lines: [Line; 2],
    drives: [[Option<Box<dyn DrivePlug>>; 2]; 2],
    without_firmware: bool,
) -> Result<Disks, FitError> {
    let host = slots.host().clone();
    let mut sources = Vec::new();
    let mut made: [[Option<DriveConfig>; 2]; 2] = Default::default();
    let (mut disks, mut tray): (Disks, _) = ([None; 4], None);
    let places = made.as_flattened_mut().iter_mut().enumerate();
    for ((number, place), plug) in places.zip(drives.into_iter().flatten()) {
        let Some(plug) = plug else { continue };
        let name = plug.name();
        let drive = plug.make(&host.ram).map_err(FitError::chip(name))?;
        sources.extend(drive.sources);
        match &drive.drive {
            DriveConfig::Cdrom(_) => tray = tray.or(Some((number / 2, number % 2))),
            DriveConfig::Disk(_, disk) => {
                if let Some(place) = disks.get_mut(number) {
                    *place = Some(disk.geometry().capacity);
                }
            }
        }
        *place = Some(drive.drive);
    }
    let chip = Ide::new(made, lines, host.dma).map_err(FitError::chip("ide"))?;
    let mut chip = chip.with_posted(slots.posted_places());
    if without_firmware {
        chip.enable_channels().map_err(FitError::chip("ide"))?;
    }
    let chip = chipset::add(
        slots,
        bus,
        "ide",
        (map::SOUTH_BRIDGE, map::IDE_FUNCTION),
        chip,
    )?;
    if let Some((channel, drive)) = tray {
        slots.disc_drive(Arc::new(Tray::new(chip.clone(), channel, drive)));
    }
    for fd in sources {
        let chip = chip.clone();
        slots.source(Source {
            fd,
            chip,
            work: None,
        });
    }
    let ports = slots.ports();
    let mut posted = Vec::new();
    for (channel, (command, control)) in map::IDE_PORTS.into_iter().enumerate() {
        let block = CommandBlock::new(chip.clone(), channel);
        let block = Shell::new("ide-command", ide::WIDTHS, block);
        ports.attach(
            "ide-command",
            command.into(),
            ide::COMMAND_PORTS.into(),
            block,
        )?;
        let block = ControlBlock::new(chip.clone(), channel);
        let block = Shell::new("ide-control", ide::WIDTHS, block);
        ports.attach(
            "ide-control",
            control.into(),
            ide::CONTROL_PORTS.into(),
            block,
        )?;
        posted.push(ide::posted_commands(command));
    }
    for place in posted {
        slots.posted(place);
    }
    Ok(disks)
}
