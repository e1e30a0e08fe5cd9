//! A disk (ATA/ATAPI-6, chapter 8).

mod commands;
mod geometry;
mod identify;
mod transfer;

use super::config::DiskConfig;
use super::drive::{Front, Unit};
use super::pio::Pio;
use super::regs::Error;
use crate::link::{Ask, Ended, Link};
pub(super) use commands::{Access, TransferMode};
use commands::{Command, feature};
pub(super) use geometry::Geometry;
pub(super) use transfer::Transfer;
use trivisor_buses::{Dma, Storage};

use super::bus_master::BusMaster;

/// Bytes of a sector.
pub(super) const SECTOR: usize = 512;
/// Sectors that a block of READ MULTIPLE and WRITE MULTIPLE has at most.
pub(super) const MAX_MULTIPLE: u8 = 16;
const FIRMWARE: &str = "1.0";

/// What a disk is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Job {
    /// Nothing, or answers that need no storage.
    #[default]
    None,
    Transfer(Transfer),
    /// Stores what was written.
    Flush,
}

/// A disk.
#[derive(Debug)]
pub(super) struct Disk {
    // Configuration.
    pub(super) config: DiskConfig,
    // Wiring.
    pub(super) link: Link,
    // Guest-visible state.
    pub(super) geometry: Geometry,
    /// Sectors a block; 0: READ MULTIPLE and WRITE MULTIPLE are not allowed.
    pub(super) multiple: u8,
    pub(super) mode: TransferMode,
    pub(super) write_cache: bool,
    /// A software reset leaves settings as they are.
    pub(super) keeps_settings: bool,
    pub(super) job: Job,
}

impl Disk {
    pub(super) fn new(config: DiskConfig, storage: Box<dyn Storage>) -> Self {
        Self {
            config,
            link: Link::new(storage),
            geometry: Geometry::NATIVE,
            multiple: 0,
            mode: TransferMode::DEFAULT,
            write_cache: true,
            keeps_settings: false,
            job: Job::None,
        }
    }

    fn sectors(&self) -> u64 {
        self.link.geometry().capacity / SECTOR as u64
    }

    fn set_features(&mut self, front: &mut Front) {
        match front.file.feature.now {
            feature::ENABLE_WRITE_CACHE => self.write_cache = true,
            feature::DISABLE_WRITE_CACHE => {
                self.write_cache = false;
                return self.flush(front);
            }
            feature::TRANSFER_MODE => match TransferMode::parse(front.file.count.now) {
                // PIO modes leave the DMA mode as it is.
                Some(mode) if mode.is_pio() => {}
                Some(mode) => self.mode = mode,
                None => return front.abort(),
            },
            feature::DISABLE_LOOK_AHEAD | feature::ENABLE_LOOK_AHEAD => {}
            feature::KEEP_SETTINGS => self.keeps_settings = true,
            feature::REVERT_SETTINGS => self.keeps_settings = false,
            _ => return front.abort(),
        }
        front.done();
    }

    pub(super) fn flush(&mut self, front: &mut Front) {
        self.job = Job::Flush;
        front.busy();
        self.link.ask(Ask::Flush);
    }

    fn native_max(&self, front: &mut Front, ext: bool) {
        let last = self.sectors().saturating_sub(1);
        if ext {
            geometry::name(&mut front.file, last, true, self.geometry);
        } else if front.file.device.lba() {
            let last = last.min(geometry::MAX_LBA28);
            geometry::name(&mut front.file, last, false, self.geometry);
        } else {
            let reached = u64::from(self.geometry.cylinders(self.sectors()));
            let last = last.min((reached * self.geometry.per_cylinder()).saturating_sub(1));
            geometry::name(&mut front.file, last, false, self.geometry);
        }
        front.done();
    }
}

impl Unit for Disk {
    fn is_packet(&self) -> bool {
        false
    }

    fn command(&mut self, front: &mut Front, code: u8) {
        self.job = Job::None;
        match Command::parse(code) {
            Command::Transfer(access) => self.begin(front, access),
            Command::Identify => front.data_in(Pio::new(self.identify(), SECTOR)),
            Command::SetMultiple => match front.file.count.now {
                count if count > MAX_MULTIPLE || count != 0 && !count.is_power_of_two() => {
                    front.abort();
                }
                count => {
                    self.multiple = count;
                    front.done();
                }
            },
            Command::InitializeParameters => match front.file.count.now {
                0 => front.abort(),
                sectors => {
                    let heads = front.file.device.head() + 1;
                    self.geometry = Geometry { heads, sectors };
                    front.done();
                }
            },
            Command::SetFeatures => self.set_features(front),
            Command::Flush => self.flush(front),
            Command::NativeMax { ext } => self.native_max(front, ext),
            Command::CheckPower => {
                front.file.count.now = 0xff; // active or idle
                front.done();
            }
            Command::Nothing => front.done(),
            Command::Unknown => front.abort(),
        }
    }

    fn block_moved(&mut self, front: &mut Front) {
        match self.job {
            Job::Transfer(transfer) => self.transfer_moved(front, transfer),
            // IDENTIFY DEVICE: its last block ends without an interrupt of its own.
            Job::None | Job::Flush => front.done_quietly(),
        }
    }

    fn start_dma(&mut self, front: &mut Front, master: &mut BusMaster, dma: &dyn Dma) {
        if let Job::Transfer(transfer) = self.job {
            self.transfer_by_dma(front, transfer, master, dma);
        }
    }

    fn ended(&mut self, front: &mut Front, master: &mut BusMaster, (result, buffer): Ended) {
        match std::mem::take(&mut self.job) {
            Job::Transfer(transfer) => {
                self.transfer_ended(front, transfer, master, (result, buffer));
            }
            Job::Flush if result.is_ok() => front.done(),
            Job::Flush => front.fail(Error::new().with_abrt(true)),
            Job::None => {}
        }
    }

    fn reset(&mut self, hardware: bool) {
        self.job = Job::None;
        if hardware || !self.keeps_settings {
            self.multiple = 0;
            self.write_cache = true;
            self.geometry = Geometry::NATIVE;
        }
        if hardware {
            self.keeps_settings = false;
            self.mode = TransferMode::DEFAULT;
        }
    }

    fn link(&mut self) -> Option<&mut Link> {
        Some(&mut self.link)
    }
}
