//! Saved state of the IDE interface and its drives.

use serde::{Deserialize, Serialize};
use trivisor_pci::EndpointStateV1;

use super::Ide;
use super::ata::{self, Disk, Geometry};
use super::atapi::{self, Cdrom, Sense};
use super::bus_master::BusMaster;
use super::core::Channel;
use super::drive::{Drive, Front, Kind, Phase};
use super::regs::Error;
use super::task_file::TaskFile;

/// Name of the chip in saved state.
pub(super) const KIND: &str = "piix3-ide";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1. Nothing is under way with a storage: what was is saved as aborted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdeStateV1 {
    /// The function's PCI side.
    pub endpoint: EndpointStateV1,
    /// The primary channel, and the secondary.
    pub channels: Vec<ChannelStateV1>,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelStateV1 {
    /// Device, as written last.
    pub device: u8,
    /// Device Control.
    pub control: u8,
    /// BMIC.
    pub bmic: u8,
    /// BMIS.
    pub bmis: u8,
    /// BMIDTP.
    pub bmidtp: u32,
    /// Drives 0 and 1.
    pub drives: Vec<Option<DriveStateV1>>,
}

/// A drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveStateV1 {
    /// Features, Sector Count, LBA Low, Mid and High, each with what was there before; Device, Status, Error.
    pub registers: [u8; 13],
    /// An interrupt is pending.
    pub intrq: bool,
    /// 0: no command. The host 1: reads, 2: writes the data port, 3: is to start the bus master.
    pub phase: u8,
    /// What goes through the data port.
    pub buffer: Vec<u8>,
    /// The next byte of the buffer.
    pub at: u32,
    /// The end of the block in the buffer.
    pub end: u32,
    /// Of a disk.
    pub disk: Option<DiskStateV1>,
    /// Of a CD-ROM drive.
    pub cdrom: Option<CdromStateV1>,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStateV1 {
    /// Heads of INITIALIZE DEVICE PARAMETERS.
    pub heads: u8,
    /// Sectors a track.
    pub sectors: u8,
    /// Sectors a block of READ MULTIPLE; 0: none.
    pub multiple: u8,
    /// The transfer mode.
    pub mode: u8,
    /// Writes need not be stored when they end.
    pub write_cache: bool,
    /// SRST keeps settings.
    pub keeps_settings: bool,
    /// The code of a command that moves sectors; 0: there is none under way.
    pub command: u8,
    /// Its next sector.
    pub lba: u64,
    /// Sectors from there on.
    pub left: u32,
    /// Sectors a block.
    pub block: u8,
}

/// A CD-ROM drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CdromStateV1 {
    /// The transfer mode.
    pub mode: u8,
    /// The tray is open.
    pub tray_open: bool,
    /// The tray is locked.
    pub locked: bool,
    /// Sense key and codes.
    pub sense: [u8; 3],
    /// The disc is a new one.
    pub changed: bool,
    /// The next event.
    pub event: u8,
    /// The packet's data goes by DMA.
    pub dma: bool,
    /// Bytes a block at most.
    pub limit: u16,
    /// 0: nothing, 1: IDENTIFY, 2: takes a packet, 3: answers, 4: reads blocks, 5: takes parameters.
    pub job: u8,
    /// The next block.
    pub lba: u32,
    /// Blocks from there on.
    pub left: u32,
    /// Bytes of the parameters' header.
    pub header: u8,
}

impl From<&Ide> for IdeStateV1 {
    fn from(ide: &Ide) -> Self {
        let Ide {
            dma: _,
            posted: _,
            masters: _,
            endpoint,
            channels,
        } = ide;
        Self {
            endpoint: endpoint.save(),
            channels: channels.iter().map(ChannelStateV1::from).collect(),
        }
    }
}

impl From<&Channel> for ChannelStateV1 {
    fn from(channel: &Channel) -> Self {
        let Channel {
            line: _,
            drives,
            device,
            control,
            master,
        } = channel;
        let BusMaster {
            bmic,
            bmis,
            bmidtp,
            more: _,
        } = master;
        Self {
            device: device.into_bits(),
            control: control.into_bits(),
            bmic: bmic.into_bits(),
            bmis: bmis.into_bits(),
            bmidtp: *bmidtp,
            drives: drives
                .iter()
                .map(|drive| drive.as_ref().map(DriveStateV1::from))
                .collect(),
        }
    }
}

impl From<&Drive> for DriveStateV1 {
    fn from(drive: &Drive) -> Self {
        let Drive {
            front,
            kind,
            resets: _,
        } = drive;
        let Front {
            file,
            intrq,
            phase,
            pio,
        } = front;
        let lost = *phase == Phase::Busy;
        let mut file = *file;
        if lost {
            file.set_error(Error::new().with_abrt(true));
        }
        let TaskFile {
            feature,
            count,
            lba_low,
            lba_mid,
            lba_high,
            device,
            status,
            error,
        } = file;
        let mut registers = [0; 13];
        let pairs = [feature, count, lba_low, lba_mid, lba_high];
        let bytes = pairs.iter().flat_map(|pair| [pair.now, pair.before]);
        let rest = [device.into_bits(), status.into_bits(), error];
        registers
            .iter_mut()
            .zip(bytes.chain(rest))
            .for_each(|(to, from)| *to = from);
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let (disk, cdrom) = match kind {
            Kind::Disk(disk) => (Some(disk_state(disk, lost)), None),
            Kind::Cdrom(cdrom) => (None, Some(cdrom_state(cdrom, lost))),
        };
        Self {
            registers,
            intrq: *intrq || lost,
            phase: match phase {
                Phase::Idle | Phase::Busy => 0,
                Phase::DataIn => 1,
                Phase::DataOut => 2,
                Phase::DmaWait => 3,
            },
            buffer: if lost { Vec::new() } else { pio.buffer.clone() },
            at: if lost { 0 } else { place(pio.at) },
            end: if lost { 0 } else { place(pio.end) },
            disk,
            cdrom,
        }
    }
}

fn disk_state(disk: &Disk, lost: bool) -> DiskStateV1 {
    let Disk {
        config: _,
        link: _,
        geometry: Geometry { heads, sectors },
        multiple,
        mode,
        write_cache,
        keeps_settings,
        job,
    } = disk;
    let transfer = match job {
        ata::Job::Transfer(transfer) if !lost => Some(transfer),
        _ => None,
    };
    DiskStateV1 {
        heads: *heads,
        sectors: *sectors,
        multiple: *multiple,
        mode: mode.0,
        write_cache: *write_cache,
        keeps_settings: *keeps_settings,
        command: transfer.map_or(0, |transfer| transfer.access.code()),
        lba: transfer.map_or(0, |transfer| transfer.lba),
        left: transfer.map_or(0, |transfer| transfer.left),
        block: transfer.map_or(0, |transfer| transfer.block),
    }
}

fn cdrom_state(cdrom: &Cdrom, lost: bool) -> CdromStateV1 {
    let Cdrom {
        disc: _,
        successor: _,
        mode,
        tray_open,
        locked,
        sense: Sense { key, asc, ascq },
        changed,
        event,
        dma,
        limit,
        job,
    } = cdrom;
    let (number, lba, left, header) = match job {
        _ if lost => (0, 0, 0, 0),
        atapi::Job::None => (0, 0, 0, 0),
        atapi::Job::Identify => (1, 0, 0, 0),
        atapi::Job::Packet => (2, 0, 0, 0),
        atapi::Job::Answer => (3, 0, 0, 0),
        atapi::Job::Read { lba, left } => (4, *lba, *left, 0),
        atapi::Job::Select { header } => (5, 0, 0, *header),
    };
    CdromStateV1 {
        mode: mode.0,
        tray_open: *tray_open,
        locked: *locked,
        sense: [*key, *asc, *ascq],
        changed: *changed,
        event: *event,
        dma: *dma,
        limit: *limit,
        job: number,
        lba,
        left,
        header,
    }
}
