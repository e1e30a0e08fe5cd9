//! The controller as a value: registers, and commands that need no disk.

use super::command::Command;
use super::drive::Drive;
use super::fifo::Fifo;
use super::format::SECTOR_CODE;
use super::regs::{Configure, Dir, Dor, Dsr, Msr, Opcode, Perpendicular, St3, Tdr, Unit, st0, st1};
use super::transfer::{Id, Job, Step, What};

/// VERSION's answer.
const VERSION: u8 = 0x90;
/// Steps that RECALIBRATE makes at most.
const MOST_STEPS: u8 = 79;

/// What the FIFO is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// It takes a command.
    #[default]
    Command,
    /// It takes or gives data, or nothing while a disk is accessed.
    Execution,
    /// It gives a result.
    Result,
}

/// What CONFIGURE, SPECIFY, PERPENDICULAR MODE and LOCK set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) configure: Configure,
    pub(super) precomp_track: u8,
    pub(super) locked: bool,
    pub(super) perpendicular: Perpendicular,
    /// SRT and HUT; HLT and ND.
    pub(super) specify: [u8; 2],
    /// SC of the last FORMAT TRACK, EOT of the last read or write.
    pub(super) last: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            configure: Configure::new().with_fifo_disabled(true),
            precomp_track: 0,
            locked: false,
            perpendicular: Perpendicular::new(),
            specify: [0; 2],
            last: 0,
        }
    }
}

/// The controller with its drives.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) drives: [Option<Drive>; 2],
    pub(super) dor: Dor,
    pub(super) tdr: Tdr,
    pub(super) dsr: Dsr,
    pub(super) settings: Settings,
    pub(super) phase: Phase,
    pub(super) fifo: Fifo,
    /// PCN of each drive.
    pub(super) cylinders: [u8; 4],
    /// ST0 of each drive that SENSE INTERRUPT STATUS has to tell of.
    pub(super) pending: [Option<u8>; 4],
    /// INT, before its gate.
    pub(super) interrupt: bool,
    /// The first byte of the result ends it: it is the end of a command that moved data.
    pub(super) ended: bool,
    pub(super) job: Option<Job>,
}

impl Core {
    pub(super) fn new(drives: [Option<Drive>; 2]) -> Self {
        Self {
            drives,
            dor: Dor::new(),
            tdr: Tdr::new(),
            dsr: Dsr::new().with_rate(2),
            settings: Settings::default(),
            phase: Phase::Command,
            fifo: Fifo::default(),
            cylinders: [0; 4],
            pending: [None; 4],
            interrupt: false,
            ended: false,
            job: None,
        }
    }

    /// Pin RESET.
    pub(super) fn hard_reset(&mut self) {
        let drives = std::mem::take(&mut self.drives);
        let fresh = |Drive { kind, disk, .. }| Drive::new(kind, disk);
        *self = Self::new(drives.map(|drive| drive.map(fresh)));
    }

    /// Reset by DOR or DSR: what stood in the chip is gone, but for what LOCK keeps.
    fn soft_reset(&mut self) {
        let kept = self.settings;
        let configure = if kept.locked {
            kept.configure
        } else {
            Configure::new().with_fifo_disabled(true)
        };
        self.settings = Settings {
            configure: configure.with_implied_seek(false).with_poll_disabled(false),
            precomp_track: if kept.locked { kept.precomp_track } else { 0 },
            perpendicular: kept.perpendicular.with_gap(0),
            ..kept
        };
        self.phase = Phase::Command;
        self.fifo = Fifo::default();
        self.cylinders = [0; 4];
        self.pending = [None; 4];
        self.interrupt = false;
        self.ended = false;
        self.job = None;
    }

    /// The chip begins to run: its polling finds that all drives have become ready.
    fn begin(&mut self) {
        self.pending = [0, 1, 2, 3].map(|drive| Some(st0::POLLING | drive));
        self.interrupt = true;
    }

    pub(super) fn write_dor(&mut self, value: u8) {
        let before = std::mem::replace(&mut self.dor, Dor::from_bits(value));
        match (before.run(), self.dor.run()) {
            (true, false) => self.soft_reset(),
            (false, true) => self.begin(),
            _ => {}
        }
    }

    pub(super) fn write_dsr(&mut self, value: u8) {
        let dsr = Dsr::from_bits(value);
        self.dsr = dsr.with_reset(false);
        if dsr.reset() {
            self.soft_reset();
            if self.dor.run() {
                self.begin();
            }
        }
    }

    pub(super) const fn write_ccr(&mut self, value: u8) {
        self.dsr.set_rate(Dsr::from_bits(value).rate());
    }

    pub(super) fn dir(&self) -> Dir {
        let changed = self.selected().is_some_and(|drive| drive.changed);
        Dir::new().with_undriven(0x7f).with_changed(changed)
    }

    /// The drive that DOR selects.
    pub(super) fn selected(&self) -> Option<&Drive> {
        self.drives.get(self.dor.drive())?.as_ref()
    }

    pub(super) fn selected_mut(&mut self) -> Option<&mut Drive> {
        self.drives.get_mut(self.dor.drive())?.as_mut()
    }

    /// ND of SPECIFY.
    pub(super) const fn is_non_dma(&self) -> bool {
        let [_, second] = self.settings.specify;
        second & 1 != 0
    }

    /// A storage has something under way.
    pub(super) fn is_busy(&self) -> bool {
        self.drives.iter().flatten().any(Drive::is_busy)
    }

    pub(super) fn msr(&self) -> Msr {
        if !self.dor.run() {
            return Msr::new();
        }
        match (self.phase, &self.job) {
            // What a reset has left: the disk is not to be accessed again before it ends.
            (Phase::Command, _) => Msr::new()
                .with_ready(!self.is_busy())
                .with_busy(!self.fifo.rest().is_empty()),
            (Phase::Result, _) => Msr::new().with_ready(true).with_read(true).with_busy(true),
            (Phase::Execution, job) => {
                let non_dma = self.is_non_dma();
                let (host, reads) = job.as_ref().map_or((false, false), |job| {
                    (job.step == Step::Host, job.what == What::Read)
                });
                Msr::new()
                    .with_busy(true)
                    .with_non_dma(non_dma)
                    .with_ready(non_dma && host)
                    .with_read(non_dma && host && reads)
            }
        }
    }

    /// Takes a byte into the FIFO; false: it does not take any now.
    pub(super) fn write_fifo(&mut self, value: u8) -> bool {
        let msr = self.msr();
        if !msr.ready() || msr.read() {
            return false;
        }
        if self.phase == Phase::Execution {
            self.put_byte(value);
            return true;
        }
        self.fifo.push(value);
        let bytes = self.fifo.rest();
        let command = Command::parse(bytes.first().copied().unwrap_or_default());
        if bytes.len() >= command.len() {
            let fifo = std::mem::take(&mut self.fifo);
            self.execute(command, fifo.rest());
        }
        true
    }

    /// Gives a byte from the FIFO, if it has one now.
    pub(super) fn read_fifo(&mut self) -> Option<u8> {
        let msr = self.msr();
        if !msr.ready() || !msr.read() {
            return None;
        }
        if self.phase == Phase::Execution {
            return self.get_byte();
        }
        if std::mem::take(&mut self.ended) {
            self.interrupt = self.seeks_to_tell();
        }
        let byte = self.fifo.pop();
        if self.fifo.rest().is_empty() {
            self.fifo = Fifo::default();
            self.phase = Phase::Command;
        }
        byte
    }

    fn execute(&mut self, command: Command, bytes: &[u8]) {
        let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
        let unit = Unit::from_bits(at(1) & 7);
        match command {
            Command::ReadData => self.begin_transfer(What::Read, bytes),
            Command::WriteData => self.begin_transfer(What::Write, bytes),
            Command::FormatTrack => self.begin_transfer(What::Format, bytes),
            Command::ReadId => self.read_id(Opcode::from_bits(at(0)), unit),
            Command::Recalibrate => self.recalibrate(unit.drive()),
            Command::Seek => self.seek(unit.drive(), at(2)),
            Command::SenseInterrupt => self.sense_interrupt(),
            Command::SenseDrive => self.answer(&[self.st3(unit).into_bits()]),
            Command::Specify => self.settings.specify = [at(1), at(2)],
            Command::Configure => {
                self.settings.configure = Configure::from_bits(at(2) & 0x7f);
                self.settings.precomp_track = at(3);
            }
            Command::Perpendicular => {
                let new = Perpendicular::from_bits(at(1) & 0xbf);
                let drives = if new.overwrite() {
                    new.drives()
                } else {
                    self.settings.perpendicular.drives()
                };
                let kept = new.with_overwrite(false).with_drives(drives);
                self.settings.perpendicular = kept;
            }
            Command::Lock => {
                self.settings.locked = at(0) & 0x80 != 0;
                self.answer(&[u8::from(self.settings.locked) << 4]);
            }
            Command::Version => self.answer(&[VERSION]),
            Command::DumpReg => self.dump(),
            Command::Invalid => self.answer(&[st0::INVALID]),
        }
    }

    /// A result without an interrupt.
    pub(super) fn answer(&mut self, bytes: &[u8]) {
        self.ended = false;
        self.fifo = Fifo::of(bytes);
        self.phase = Phase::Result;
    }

    fn dump(&mut self) {
        let Settings {
            configure,
            precomp_track,
            locked,
            perpendicular,
            specify: [srt_hut, hlt_nd],
            last,
        } = self.settings;
        let [a, b, c, d] = self.cylinders;
        let modes = u8::from(locked) << 7 | perpendicular.into_bits();
        let bytes = [
            a,
            b,
            c,
            d,
            srt_hut,
            hlt_nd,
            last,
            modes,
            configure.into_bits(),
            precomp_track,
        ];
        self.answer(&bytes);
    }

    fn st3(&self, unit: Unit) -> St3 {
        let drive = self.selected();
        let disk = drive.and_then(|drive| drive.disk.as_ref());
        St3::new()
            .with_drive(unit.drive())
            .with_head(unit.head())
            .with_set_3(true)
            .with_set_5(true)
            .with_track_0(drive.is_some_and(|drive| drive.cylinder == 0))
            .with_protected(disk.is_some_and(|disk| disk.protected))
    }

    fn sense_interrupt(&mut self) {
        let found = self.pending.iter().position(Option::is_some);
        let taken = found.and_then(|at| self.pending.get_mut(at)?.take());
        let Some(st0) = taken else {
            return self.answer(&[st0::INVALID]);
        };
        let cylinder = found.and_then(|at| self.cylinders.get(at)).copied();
        self.interrupt = self.seeks_to_tell();
        self.answer(&[st0, cylinder.unwrap_or_default()]);
    }

    /// Whether drives hold the line: those that have ended a seek do, those that polling has found do not.
    fn seeks_to_tell(&self) -> bool {
        let mut pending = self.pending.iter().flatten();
        pending.any(|st0| st0 & st0::POLLING != st0::POLLING)
    }

    /// A drive's seek has ended.
    fn seek_ended(&mut self, drive: u8, flags: u8) {
        if let Some(pending) = self.pending.get_mut(usize::from(drive)) {
            *pending = Some(st0::SEEK_END | flags | drive);
        }
        self.interrupt = true;
    }

    fn recalibrate(&mut self, drive: u8) {
        let found = self.selected_mut().is_some_and(|drive| {
            let steps = drive.cylinder.min(MOST_STEPS);
            drive.step(-i16::from(steps));
            drive.cylinder == 0
        });
        if let Some(cylinder) = self.cylinders.get_mut(usize::from(drive)) {
            *cylinder = 0;
        }
        let flags = if found {
            0
        } else {
            st0::ABNORMAL | st0::EQUIPMENT
        };
        self.seek_ended(drive, flags);
    }

    fn seek(&mut self, drive: u8, to: u8) {
        self.step_to(drive, to);
        self.seek_ended(drive, 0);
    }

    /// Steps from where the drive is thought to be; whether there was a step.
    pub(super) fn step_to(&mut self, drive: u8, to: u8) -> bool {
        let Some(now) = self.cylinders.get_mut(usize::from(drive)) else {
            return false;
        };
        let by = i16::from(to) - i16::from(*now);
        *now = to;
        if let Some(drive) = self.selected_mut() {
            drive.step(by);
        }
        by != 0
    }

    fn read_id(&mut self, opcode: Opcode, unit: Unit) {
        let job = Job::new(What::Read, self.dor.drive(), unit);
        let found = self.track(opcode, unit);
        let id = found.map(|cylinder| Id {
            cylinder,
            head: unit.head(),
            sector: 1,
            size: SECTOR_CODE,
        });
        match id {
            Some(id) => self.finish(Job { id, ..job }, 0, [0, 0]),
            None => self.finish(job, st0::ABNORMAL, [st1::MISSING_MARK, 0]),
        }
    }
}
