//! DMA, and floppy drives on its channel 2.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use trivisor_buses::{FitError, Line, Shell, Slots, Source, Storage, Widths, Woken};
use trivisor_memory::GuestRam;

use crate::cmos::Floppies;
use crate::i8237::{
    Channel, DmaPorts, FIRST_PORTS, I8237, PAGE_PORTS, Part, Requesters, SECOND_PORTS,
};
use crate::i82077::{self, DATA_RATE_PORTS, DataRatePort, DriveConfig, I82077};
use crate::map;

/// A floppy disk that waits for the board: it is opened for good when guest RAM is there.
pub trait FloppyPlug: Send {
    /// Makes what is behind the disk; its size says which drive it is in.
    ///
    /// # Errors
    /// When its storage refuses guest RAM.
    fn make(self: Box<Self>, ram: &GuestRam) -> std::io::Result<MadeFloppy>;
}

/// A disk with the descriptors that wake its drive.
pub struct MadeFloppy {
    /// The disk.
    pub disk: Box<dyn Storage>,
    /// What its storage becomes ready by.
    pub sources: Vec<OwnedFd>,
}

impl std::fmt::Debug for MadeFloppy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MadeFloppy")
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

/// Both DMA controllers, and where there is a disk the floppy controller; the kinds of its drives.
pub(super) fn fit(
    slots: &mut Slots,
    line: Line,
    floppies: [Option<Box<dyn FloppyPlug>>; 2],
    without_firmware: bool,
) -> Result<Floppies, FitError> {
    let mut dma = I8237::new(slots.host().dma.clone());
    if without_firmware {
        dma.enable_cascade();
    }
    let dma = slots.unaddressed("i8237", dma);

    let mut sources = Vec::new();
    let mut drives = [None, None];
    for (drive, plug) in drives.iter_mut().zip(floppies) {
        let Some(plug) = plug else { continue };
        let made = plug.make(&slots.host().ram);
        let made = made.map_err(FitError::chip("floppy"))?;
        sources.extend(made.sources);
        let config = DriveConfig::with(made.disk);
        *drive = Some(config.map_err(FitError::chip("floppy"))?);
    }
    let kinds = drives.each_ref().map(|drive| Some(drive.as_ref()?.kind));

    let mut requesters = Requesters::default();
    if kinds.iter().any(Option::is_some) {
        let channel = Channel::new(dma.clone(), map::FLOPPY_DMA);
        let chip = I82077::new(drives, line, Box::new(channel));
        let chip = chip.map_err(FitError::chip("i82077"))?;
        let (at, ports) = (map::FLOPPY, i82077::PORTS);
        let chip = slots.pio("i82077", at, ports, Widths::BYTES, chip)?;
        let port = Shell::new("i82077", Widths::BYTES, DataRatePort(chip.clone()));
        slots.pio_alias(map::FLOPPY_DATA_RATE, DATA_RATE_PORTS, &port)?;
        for fd in sources {
            slots.source(Source {
                fd,
                chip: chip.clone(),
                work: None,
            });
        }
        if let Some(requester) = requesters.get_mut(map::FLOPPY_DMA) {
            *requester = Some(chip as Arc<dyn Woken>);
        }
    }

    let [first, second] = map::DMA;
    for (base, size, part) in [
        (first, FIRST_PORTS, Part::First),
        (second, SECOND_PORTS, Part::Second),
        (map::DMA_PAGES, PAGE_PORTS, Part::Pages),
    ] {
        let ports = DmaPorts::new(dma.clone(), part, requesters.clone());
        slots.pio_alias(base, size, &Shell::new("dma", Widths::BYTES, ports))?;
    }
    Ok(kinds)
}
