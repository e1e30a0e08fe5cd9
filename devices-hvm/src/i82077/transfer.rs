//! Commands that move data: READ DATA, WRITE DATA, FORMAT TRACK.

use std::io;

use trivisor_buses::StorageOp;

use super::core::{Core, Phase};
use super::dreq::Dreq;
use super::format::{SECTOR, SECTOR_CODE};
use super::regs::{Opcode, Unit, st0, st1, st2};
use crate::link::{Ask, Ended};

/// Bytes of a sector's ID that FORMAT TRACK is given.
const ID_SIZE: usize = 4;

/// What is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Sectors to the host.
    Read,
    /// Sectors from the host.
    Write,
    /// IDs of sectors from the host.
    Format,
}

/// Who has to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The host, with the rest of the data.
    Host,
    /// The storage.
    Storage,
}

/// Which sector: C, H, R and N.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Id {
    pub(super) cylinder: u8,
    pub(super) head: u8,
    pub(super) sector: u8,
    pub(super) size: u8,
}

/// A command under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) what: What,
    /// The drive that DOR selected when it began.
    pub(super) drive: usize,
    /// The drive's number and the head, as the command has them.
    pub(super) unit: Unit,
    /// MT: side 1 comes after side 0.
    pub(super) multi_track: bool,
    pub(super) id: Id,
    /// EOT; of FORMAT TRACK: sectors that are left.
    pub(super) last: u8,
    /// D of FORMAT TRACK.
    pub(super) filler: u8,
    /// An implied seek made a step.
    pub(super) seeked: bool,
    /// Terminal count has come.
    pub(super) terminal: bool,
    pub(super) step: Step,
    /// A sector, or an ID; empty while the storage has it.
    pub(super) data: Vec<u8>,
    /// The next byte of it.
    pub(super) at: usize,
}

impl Job {
    pub(super) const fn new(what: What, drive: usize, unit: Unit) -> Self {
        Self {
            what,
            drive,
            unit,
            multi_track: false,
            id: Id {
                cylinder: 0,
                head: 0,
                sector: 0,
                size: 0,
            },
            last: 0,
            filler: 0,
            seeked: false,
            terminal: false,
            step: Step::Host,
            data: Vec::new(),
            at: 0,
        }
    }

    /// Bytes that the host moves at a time.
    pub(super) const fn portion(&self) -> usize {
        match self.what {
            What::Read | What::Write => SECTOR,
            What::Format => ID_SIZE,
        }
    }

    /// The ID of the next sector, as table 5-5 has it; false: it is on no track of this command.
    fn advance(&mut self) -> bool {
        if self.id.sector != self.last {
            self.id.sector = self.id.sector.wrapping_add(1);
            return true;
        }
        self.id.sector = 1;
        let goes_on = self.multi_track && self.unit.head() == 0;
        if self.multi_track {
            self.id.head ^= 1;
        }
        if !goes_on {
            self.id.cylinder = self.id.cylinder.wrapping_add(1);
        }
        goes_on
    }
}

impl Core {
    pub(super) fn begin_transfer(&mut self, what: What, bytes: &[u8]) {
        let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
        let (opcode, unit) = (Opcode::from_bits(at(0)), Unit::from_bits(at(1) & 7));
        let mut job = Job::new(what, self.dor.drive(), unit);
        job.multi_track = opcode.multi_track();
        if what == What::Format {
            job.id.size = at(2);
            (job.last, job.filler) = (at(3), at(5));
        } else {
            job.id = Id {
                cylinder: at(2),
                head: at(3),
                sector: at(4),
                size: at(5),
            };
            job.last = at(6);
            if self.settings.configure.implied_seek() {
                job.seeked = self.step_to(unit.drive(), job.id.cylinder);
            }
        }
        self.settings.last = job.last;
        self.phase = Phase::Execution;
        let disk = self.selected().and_then(|drive| drive.disk.as_ref());
        if what != What::Read && disk.is_some_and(|disk| disk.protected) {
            return self.finish(job, st0::ABNORMAL, [st1::NOT_WRITABLE, 0]);
        }
        if self.track(opcode, unit).is_none() {
            return self.finish(job, st0::ABNORMAL, [st1::MISSING_MARK, 0]);
        }
        if what == What::Format && job.last == 0 {
            return self.finish(job, 0, [0, 0]);
        }
        self.next_portion(job);
    }

    /// The cylinder that the IDs under a head tell of, if anything can be read there.
    pub(super) fn track(&self, opcode: Opcode, unit: Unit) -> Option<u8> {
        let drive = self.selected()?;
        let format = drive.disk.as_ref()?.format;
        let motor = self.dor.motors() >> self.dor.drive() & 1 != 0;
        let found = motor
            && opcode.mfm()
            && format.rate == self.dsr.rate()
            && format.offset(drive.cylinder, unit.head(), 1).is_some();
        found.then_some(drive.cylinder)
    }

    /// Where the sector is in the image, or the bits of ST1 and ST2 that say why it is not found.
    fn find(&self, job: &Job) -> Result<u64, [u8; 2]> {
        let drive = self.drives.get(job.drive).and_then(Option::as_ref);
        let format = drive.and_then(|drive| Some((drive, drive.disk.as_ref()?.format)));
        let (drive, format) = format.ok_or([st1::MISSING_MARK, 0])?;
        let (Id { sector, .. }, head) = (job.id, job.unit.head());
        if format.offset(drive.cylinder, head, 1).is_none() {
            return Err([st1::MISSING_MARK, 0]);
        }
        if job.id.cylinder != drive.cylinder {
            return Err([st1::NO_DATA, st2::WRONG_CYLINDER]);
        }
        let offset = format.offset(drive.cylinder, head, sector);
        let right = job.id.head == head && job.id.size == SECTOR_CODE;
        offset.filter(|_| right).ok_or([st1::NO_DATA, 0])
    }

    /// Begins with a sector or an ID.
    fn next_portion(&mut self, mut job: Job) {
        job.at = 0;
        match job.what {
            What::Read => match self.find(&job) {
                Ok(offset) => self.ask(job, StorageOp::Read, offset),
                Err(bits) => self.finish(job, st0::ABNORMAL, bits),
            },
            What::Write => match self.find(&job) {
                Ok(_) => self.want(job),
                Err(bits) => self.finish(job, st0::ABNORMAL, bits),
            },
            What::Format => self.want(job),
        }
    }

    /// The host is to give a portion.
    fn want(&mut self, mut job: Job) {
        job.data.clear();
        job.data.resize(job.portion(), 0);
        job.step = Step::Host;
        self.interrupt |= self.is_non_dma();
        self.job = Some(job);
    }

    /// The storage is to move a sector.
    fn ask(&mut self, mut job: Job, op: StorageOp, offset: u64) {
        let mut buffer = std::mem::take(&mut job.data);
        buffer.resize(SECTOR, 0);
        job.step = Step::Storage;
        let drive = self.drives.get_mut(job.drive).and_then(Option::as_mut);
        if let Some(disk) = drive.and_then(|drive| drive.disk.as_mut()) {
            disk.link.ask(Ask::Buffer { op, offset, buffer });
        }
        self.job = Some(job);
    }

    /// The host has moved a portion, or as much of it as it wanted to.
    fn moved(&mut self, mut job: Job) {
        match job.what {
            What::Read => self.portion_done(job),
            What::Write => {
                // What is missing to a sector is written as zeros.
                if let Some(rest) = job.data.get_mut(job.at..) {
                    rest.fill(0);
                }
                match self.find(&job) {
                    Ok(offset) => self.ask(job, StorageOp::Write, offset),
                    Err(bits) => self.finish(job, st0::ABNORMAL, bits),
                }
            }
            What::Format => {
                let size = job.id.size;
                if let (ID_SIZE, [cylinder, head, sector, _]) = (job.at, &job.data[..]) {
                    job.id = Id {
                        cylinder: *cylinder,
                        head: *head,
                        sector: *sector,
                        size,
                    };
                    if let Ok(offset) = self.find(&job) {
                        job.data = vec![job.filler; SECTOR];
                        return self.ask(job, StorageOp::Write, offset);
                    }
                }
                // An ID that the image cannot keep.
                self.portion_done(job);
            }
        }
    }

    /// A sector is done with.
    fn portion_done(&mut self, mut job: Job) {
        if job.what == What::Format {
            job.last = job.last.saturating_sub(1);
            return if job.terminal || job.last == 0 {
                self.finish(job, 0, [0, 0])
            } else {
                self.next_portion(job)
            };
        }
        let head = job.id.head;
        let more = job.advance();
        if job.terminal {
            self.finish(job, 0, [0, 0]);
        } else if more {
            if job.multi_track {
                // Side 1 comes after side 0.
                job.unit
                    .set_head(job.unit.head() | (job.id.head ^ head) & 1);
            }
            self.next_portion(job);
        } else {
            self.finish(job, st0::ABNORMAL, [st1::END, 0]);
        }
    }

    /// The command ends with a result.
    pub(super) fn finish(&mut self, job: Job, flags: u8, [st1, st2]: [u8; 2]) {
        let seek = if job.seeked { st0::SEEK_END } else { 0 };
        let st0 = flags | seek | job.unit.into_bits();
        let Id {
            cylinder,
            head,
            sector,
            size,
        } = job.id;
        self.job = None;
        self.answer(&[st0, st1, st2, cylinder, head, sector, size]);
        self.ended = true;
        self.interrupt = true;
    }

    /// The storage has done what it was asked for, or has failed.
    pub(super) fn stored(&mut self, (result, buffer): Ended) {
        let Some(mut job) = self.job.take_if(|job| job.step == Step::Storage) else {
            return;
        };
        match (result, job.what) {
            (Err(error), what) => self.failed(job, what, &error),
            (Ok(()), What::Read) => {
                job.data = buffer;
                job.data.resize(SECTOR, 0);
                job.step = Step::Host;
                self.interrupt |= self.is_non_dma();
                self.job = Some(job);
            }
            (Ok(()), What::Write | What::Format) => self.portion_done(job),
        }
    }

    fn failed(&mut self, job: Job, what: What, error: &io::Error) {
        let bits = match (what, error.kind()) {
            (What::Read, _) => [st1::DATA_ERROR, st2::DATA_ERROR],
            // Another program has taken the right to write.
            (_, io::ErrorKind::PermissionDenied) => [st1::NOT_WRITABLE, 0],
            _ => [st1::NO_DATA, 0],
        };
        self.finish(job, st0::ABNORMAL, bits);
    }

    /// A byte of the host's, without DMA.
    pub(super) fn put_byte(&mut self, value: u8) {
        if let Some(mut job) = self.job.take() {
            if let Some(place) = job.data.get_mut(job.at) {
                *place = value;
                job.at += 1;
            }
            self.moved_byte(job);
        }
    }

    /// A byte for the host, without DMA.
    pub(super) fn get_byte(&mut self) -> Option<u8> {
        let mut job = self.job.take()?;
        let byte = job.data.get(job.at).copied();
        job.at += 1;
        self.moved_byte(job);
        byte
    }

    fn moved_byte(&mut self, job: Job) {
        if job.at < job.data.len() {
            self.job = Some(job);
        } else {
            self.interrupt = false;
            self.moved(job);
        }
    }

    /// The channel is asked to move data.
    pub(super) fn wants_dma(&self) -> bool {
        let host = self.job.as_ref().is_some_and(|job| job.step == Step::Host);
        host && !self.is_non_dma() && self.dor.gate() && self.dor.run()
    }

    /// Goes as far as storage and channel let it. There is an end: no command has more sectors than a cylinder.
    pub(super) fn go_on(&mut self, dreq: &mut Dreq) {
        loop {
            self.fetch();
            let wanted = self.wants_dma();
            dreq.set(wanted);
            let Some(mut job) = self.job.take_if(|_| wanted) else {
                return;
            };
            let rest = job.data.get_mut(job.at..).unwrap_or_default();
            let moved = match job.what {
                What::Read => dreq.channel.write_memory(rest),
                What::Write | What::Format => dreq.channel.read_memory(rest),
            };
            job.at = (job.at + moved.bytes).min(job.data.len());
            job.terminal |= moved.terminal_count;
            if job.at < job.data.len() && !job.terminal {
                // The channel is closed; who opens it wakes the chip.
                self.job = Some(job);
                return;
            }
            self.moved(job);
        }
    }

    /// What storages have done.
    fn fetch(&mut self) {
        for index in 0..self.drives.len() {
            let drive = self.drives.get_mut(index).and_then(Option::as_mut);
            let disk = drive.and_then(|drive| drive.disk.as_mut());
            if let Some(ended) = disk.and_then(|disk| disk.link.poll()) {
                self.ended(index, ended);
            }
        }
    }

    /// Waits for what storages have under way.
    pub(super) fn settle(&mut self) {
        for index in 0..self.drives.len() {
            let drive = self.drives.get_mut(index).and_then(Option::as_mut);
            let disk = drive.and_then(|drive| drive.disk.as_mut());
            if let Some(ended) = disk.and_then(|disk| disk.link.drain()) {
                self.ended(index, ended);
            }
        }
    }

    /// What ends at another drive than the selected one, or after a reset, belongs to no command any more.
    fn ended(&mut self, index: usize, ended: Ended) {
        let job = self.job.as_ref();
        if job.is_some_and(|job| job.drive == index) {
            self.stored(ended);
        }
    }

    /// A drive's disk is another one, or none: what is under way there fails.
    pub(super) fn disk_gone(&mut self, drive: usize) {
        if let Some(job) = self.job.take_if(|job| job.drive == drive) {
            self.finish(job, st0::ABNORMAL, [st1::MISSING_MARK, 0]);
        }
    }
}
