//! Saved state of the IDE interface and its drives.

use serde::{Deserialize, Serialize};
use trivisor_buses::{MAX_BUFFER, RestoreError};
use trivisor_pci::EndpointStateV1;

use super::Ide;
use super::ata::{self, Access, Disk, Geometry, MAX_MULTIPLE, SECTOR, Transfer, TransferMode};
use super::atapi::{self, Cdrom, MAX_PARAMETERS, Sense};
use super::bus_master::BusMaster;
use super::core::Channel;
use super::drive::{Drive, Front, Kind, Phase};
use super::pio::Pio;
use super::regs::{Bmic, Bmis, Control, DEVICE_ALWAYS_SET, Device, Error, Status};
use super::task_file::{Pair, TaskFile};

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

fn check(field: &'static str, value: impl Into<u64>, right: bool) -> Result<(), RestoreError> {
    RestoreError::check(KIND, field, value.into(), right)
}

impl IdeStateV1 {
    /// Puts it back; nothing changes when a part of it is impossible.
    pub(super) fn restore(&self, ide: &mut Ide) -> Result<(), RestoreError> {
        let Self { endpoint, channels } = self;
        ide.endpoint.check(KIND, endpoint)?;
        check("channels", channels.len() as u64, channels.len() == 2)?;
        let mut parts = Vec::new();
        for (state, channel) in channels.iter().zip(&ide.channels) {
            parts.push(state.parts(channel)?);
        }
        ide.endpoint.restore(KIND, endpoint)?;
        for (channel, parts) in ide.channels.iter_mut().zip(parts) {
            parts.put(channel);
        }
        Ok(())
    }
}

/// A channel's state, checked.
struct Parts {
    device: Device,
    control: Control,
    master: BusMaster,
    drives: Vec<Option<(Front, Part)>>,
}

/// What of it is a disk's or a CD-ROM drive's.
enum Part {
    Disk(DiskStateV1, ata::Job),
    Cdrom(CdromStateV1, atapi::Job),
}

impl ChannelStateV1 {
    fn parts(&self, channel: &Channel) -> Result<Parts, RestoreError> {
        let device = Device::from_bits(self.device);
        let always = self.device & DEVICE_ALWAYS_SET == DEVICE_ALWAYS_SET;
        check("device", self.device, always)?;
        check("control", self.control, self.control & !0x86 == 0)?;
        check("bmic", self.bmic, self.bmic & !0x09 == 0)?;
        let (bmic, bmis) = (Bmic::from_bits(self.bmic), Bmis::from_bits(self.bmis));
        let right = self.bmis & !0x67 == 0 && (bmic.ssbm() || !bmis.bmidea());
        check("bmis", self.bmis, right)?;
        check("bmidtp", self.bmidtp, self.bmidtp & 3 == 0)?;
        let count = self.drives.len();
        check("drives", count as u64, count == channel.drives.len())?;
        let mut drives = Vec::new();
        for (state, drive) in self.drives.iter().zip(&channel.drives) {
            let there = state.is_some() == drive.is_some();
            check("drive", state.is_some(), there)?;
            drives.push(match (state, drive) {
                (Some(state), Some(drive)) => Some(state.parts(drive, device)?),
                _ => None,
            });
        }
        Ok(Parts {
            device,
            control: Control::from_bits(self.control),
            master: BusMaster {
                bmic,
                bmis,
                bmidtp: self.bmidtp,
                more: false,
            },
            drives,
        })
    }
}

impl DriveStateV1 {
    fn parts(&self, drive: &Drive, selected: Device) -> Result<(Front, Part), RestoreError> {
        let phase = match self.phase {
            0 => Phase::Idle,
            1 => Phase::DataIn,
            2 => Phase::DataOut,
            3 => Phase::DmaWait,
            phase => return Err(wrong("phase", phase.into())),
        };
        let pio = self.pio(phase)?;
        let part = match (&self.disk, &self.cdrom, &drive.kind) {
            (Some(state), None, Kind::Disk(_)) => {
                let job = state.job(phase, &pio)?;
                Part::Disk(state.clone(), job)
            }
            (None, Some(state), Kind::Cdrom(_)) => {
                let job = state.job(phase, &pio)?;
                Part::Cdrom(state.clone(), job)
            }
            _ => return Err(wrong("kind of drive", self.disk.is_some().into())),
        };
        let file = self.file(phase, selected)?;
        let front = Front {
            file,
            intrq: self.intrq,
            phase,
            pio,
        };
        Ok((front, part))
    }

    fn pio(&self, phase: Phase) -> Result<Pio, RestoreError> {
        let len = self.buffer.len();
        check("length of buffer", len as u64, len <= MAX_BUFFER)?;
        let place = |at: u32| usize::try_from(at).unwrap_or(usize::MAX);
        let (at, end) = (place(self.at), place(self.end));
        check("end", self.end, end <= len)?;
        let right = match phase {
            Phase::DataIn | Phase::DataOut => at < end,
            _ => at == 0,
        };
        check("at", self.at, right)?;
        if phase == Phase::Idle {
            check("length of idle buffer", len as u64, len == 0)?;
        }
        Ok(Pio {
            buffer: self.buffer.clone(),
            at,
            end,
        })
    }

    fn file(&self, phase: Phase, selected: Device) -> Result<TaskFile, RestoreError> {
        let [
            f0,
            f1,
            c0,
            c1,
            l0,
            l1,
            m0,
            m1,
            h0,
            h1,
            device,
            status,
            error,
        ] = self.registers;
        let pair = |now, before| Pair { now, before };
        let (bits, own) = (Status::from_bits(status), Device::from_bits(device));
        let right = match phase {
            Phase::Idle => !bits.bsy() && !bits.drq(),
            _ => bits.drq() && !bits.bsy(),
        };
        check("status", status, right)?;
        let right = device & DEVICE_ALWAYS_SET == DEVICE_ALWAYS_SET && own.dev() == selected.dev();
        check("device of a drive", device, right)?;
        Ok(TaskFile {
            feature: pair(f0, f1),
            count: pair(c0, c1),
            lba_low: pair(l0, l1),
            lba_mid: pair(m0, m1),
            lba_high: pair(h0, h1),
            device: own,
            status: bits,
            error,
        })
    }
}

fn wrong(field: &'static str, value: u64) -> RestoreError {
    let kind = KIND;
    RestoreError::Field { kind, field, value }
}

fn check_mode(mode: u8) -> Result<(), RestoreError> {
    let right = TransferMode::parse(mode).is_some_and(|mode| !mode.is_pio());
    check("mode", mode, right)
}

impl DiskStateV1 {
    fn job(&self, phase: Phase, pio: &Pio) -> Result<ata::Job, RestoreError> {
        check("heads", self.heads, (1..=16).contains(&self.heads))?;
        check("sectors", self.sectors, self.sectors > 0)?;
        let multiple = self.multiple;
        let right = multiple == 0 || multiple.is_power_of_two() && multiple <= MAX_MULTIPLE;
        check("multiple", multiple, right)?;
        check_mode(self.mode)?;
        if self.command == 0 {
            // IDENTIFY DEVICE alone gives data without sectors.
            let right = match phase {
                Phase::Idle => true,
                Phase::DataIn => pio.buffer.len() == SECTOR,
                _ => false,
            };
            check("command", self.command, right)?;
            return Ok(ata::Job::None);
        }
        let access = Access::parse(self.command);
        let access = access.ok_or_else(|| wrong("command", self.command.into()))?;
        check("lba", self.lba, self.lba < 1 << 48)?;
        check("left", self.left, self.left <= 0x1_0000)?;
        let right = (1..=MAX_MULTIPLE).contains(&self.block);
        check("block", self.block, right)?;
        let transfer = Transfer {
            access,
            lba: self.lba,
            left: self.left,
            block: self.block,
            flushing: false,
            now: 0,
        };
        check("command in phase", self.command, transfer.fits(phase, pio))?;
        Ok(ata::Job::Transfer(transfer))
    }
}

impl CdromStateV1 {
    fn job(&self, phase: Phase, pio: &Pio) -> Result<atapi::Job, RestoreError> {
        check_mode(self.mode)?;
        let [key, ..] = self.sense;
        check("sense key", key, key <= 0xf)?;
        check("event", self.event, self.event <= 3)?;
        let end = self.lba.checked_add(self.left);
        check("blocks left", self.left, end.is_some())?;
        let len = pio.buffer.len();
        let by_dma = phase == Phase::DmaWait;
        let gives = phase == Phase::DataIn && self.limit >= 2 || by_dma;
        let (job, right) = match self.job {
            0 => (atapi::Job::None, phase == Phase::Idle),
            1 => (
                atapi::Job::Identify,
                phase == Phase::DataIn && len == SECTOR,
            ),
            2 => (
                atapi::Job::Packet,
                phase == Phase::DataOut && len == atapi::PACKET_LEN,
            ),
            3 => (atapi::Job::Answer, gives && len > 0),
            4 => {
                let (lba, left) = (self.lba, self.left);
                let right = gives && (!by_dma || len == 0 && left > 0);
                (atapi::Job::Read { lba, left }, right)
            }
            5 => {
                let header = self.header;
                let right = (phase == Phase::DataOut || by_dma)
                    && (1..=MAX_PARAMETERS).contains(&len)
                    && matches!(header, 4 | 8);
                (atapi::Job::Select { header }, right)
            }
            job => return Err(wrong("job", job.into())),
        };
        check("job in phase", self.job, right)?;
        check("dma", self.dma, self.dma || !by_dma)?;
        Ok(job)
    }
}

impl Parts {
    fn put(self, channel: &mut Channel) {
        let Self {
            device,
            control,
            master,
            drives,
        } = self;
        channel.device = device;
        channel.control = control;
        channel.master = master;
        for (drive, part) in channel.drives.iter_mut().zip(drives) {
            if let (Some(drive), Some((front, part))) = (drive, part) {
                drive.front = front;
                drive.resets = false;
                part.put(&mut drive.kind);
            }
        }
        let level = channel.level();
        channel.line.restore_level(level);
    }
}

impl Part {
    fn put(self, kind: &mut Kind) {
        match (self, kind) {
            (Self::Disk(state, job), Kind::Disk(disk)) => {
                disk.geometry = Geometry {
                    heads: state.heads,
                    sectors: state.sectors,
                };
                disk.multiple = state.multiple;
                disk.mode = TransferMode(state.mode);
                disk.write_cache = state.write_cache;
                disk.keeps_settings = state.keeps_settings;
                disk.job = job;
            }
            (Self::Cdrom(state, job), Kind::Cdrom(cdrom)) => {
                let [key, asc, ascq] = state.sense;
                cdrom.mode = TransferMode(state.mode);
                cdrom.tray_open = state.tray_open;
                cdrom.locked = state.locked;
                cdrom.sense = Sense { key, asc, ascq };
                cdrom.changed = state.changed;
                cdrom.event = state.event;
                cdrom.dma = state.dma;
                cdrom.limit = state.limit;
                cdrom.job = job;
            }
            // They were checked to be of one kind.
            _ => {}
        }
    }
}
