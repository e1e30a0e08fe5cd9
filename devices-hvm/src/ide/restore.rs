//! A saved state, checked whole before it is put back.

use trivisor_buses::{MAX_BUFFER, RestoreError};

use super::Ide;
use super::ata::{self, Access, Geometry, MAX_MULTIPLE, SECTOR, Transfer, TransferMode};
use super::atapi::{self, MAX_PARAMETERS, Sense};
use super::bus_master::BusMaster;
use super::core::Channel;
use super::drive::{Drive, Front, Kind, Phase};
use super::pio::Pio;
use super::regs::{Bmic, Bmis, Control, DEVICE_ALWAYS_SET, Device, Status};
use super::state::{CdromStateV1, ChannelStateV1, DiskStateV1, DriveStateV1, IdeStateV1, KIND};
use super::task_file::{Pair, TaskFile};

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
