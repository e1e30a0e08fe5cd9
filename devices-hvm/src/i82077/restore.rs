//! A saved state, checked whole before it is put back.

use trivisor_buses::RestoreError;

use super::command::Command;
use super::core::{Core, Phase, Settings};
use super::fifo::{self, Fifo};
use super::regs::{Configure, Dor, Dsr, Perpendicular, Tdr, Unit, st0};
use super::state::{I82077StateV1, JobStateV1, KIND};
use super::transfer::{Id, Job, What};

/// The phase of a result whose first byte ends INT.
const ENDED: u8 = 3;

fn check(field: &'static str, value: impl Into<u64>, right: bool) -> Result<(), RestoreError> {
    RestoreError::check(KIND, field, value.into(), right)
}

fn wrong(field: &'static str, value: u64) -> RestoreError {
    let kind = KIND;
    RestoreError::Field { kind, field, value }
}

impl I82077StateV1 {
    /// Puts it back; nothing changes when a part of it is impossible.
    pub(super) fn restore(&self, core: &mut Core) -> Result<(), RestoreError> {
        let dor = Dor::from_bits(self.dor);
        check("tdr", self.tdr, self.tdr < 4)?;
        check("dsr", self.dsr, self.dsr & 0x80 == 0)?;
        check("configure", self.configure, self.configure & 0x80 == 0)?;
        let modes = self.perpendicular;
        check("perpendicular", modes, modes & 0xc0 == 0)?;
        for (number, pending) in (0..).zip(self.pending) {
            let right = pending.is_none_or(|st0| is_pending(number, st0));
            check("pending", pending.unwrap_or_default(), right)?;
        }
        let phase = match self.phase {
            0 => Phase::Command,
            1 => Phase::Execution,
            2 | ENDED => Phase::Result,
            phase => return Err(wrong("phase", phase.into())),
        };
        self.check_fifo(phase, dor)?;
        let job = self.job.as_ref().map(JobStateV1::job).transpose()?;
        let right = job.is_some() == (phase == Phase::Execution);
        check("job", job.is_some(), right)?;
        if let Some(job) = &job {
            let drive = core.drives.get(job.drive).and_then(Option::as_ref);
            check("drive of job", job.drive as u64, drive.is_some())?;
        }
        let count = self.drives.len();
        check("drives", count as u64, count == core.drives.len())?;
        for (state, drive) in self.drives.iter().zip(&core.drives) {
            check("drive", state.is_some(), state.is_some() == drive.is_some())?;
            if let (Some(state), Some(drive)) = (state, drive) {
                let right = state.cylinder <= drive.last_cylinder();
                check("cylinder", state.cylinder, right)?;
            }
        }

        for (state, drive) in self.drives.iter().zip(&mut core.drives) {
            if let (Some(state), Some(drive)) = (state, drive) {
                drive.cylinder = state.cylinder;
                drive.changed = state.changed;
            }
        }
        core.dor = dor;
        core.tdr = Tdr::from_bits(self.tdr);
        core.dsr = Dsr::from_bits(self.dsr);
        core.settings = Settings {
            configure: Configure::from_bits(self.configure),
            precomp_track: self.precomp_track,
            locked: self.locked,
            perpendicular: Perpendicular::from_bits(modes),
            specify: self.specify,
            last: self.last,
        };
        core.phase = phase;
        core.fifo = Fifo::of(&self.fifo);
        core.cylinders = self.cylinders;
        core.pending = self.pending;
        core.interrupt = self.interrupt;
        core.ended = self.phase == ENDED;
        core.job = job;
        Ok(())
    }

    /// A command that is not complete, a result that is not read, or nothing.
    fn check_fifo(&self, phase: Phase, dor: Dor) -> Result<(), RestoreError> {
        let len = self.fifo.len();
        let right = match phase {
            Phase::Command => self.fifo.first().is_none_or(|byte| {
                let command = Command::parse(*byte);
                len < command.len()
            }),
            Phase::Execution => len == 0,
            Phase::Result => (1..=fifo::SIZE).contains(&len),
        };
        check("length of fifo", len as u64, right)?;
        let idle = phase == Phase::Command && len == 0;
        check("phase in reset", self.phase, dor.run() || idle)
    }
}

/// Whether a drive's interrupt can be of this.
const fn is_pending(drive: u8, st0: u8) -> bool {
    let flags = st0 ^ drive;
    flags == st0::POLLING
        || flags == st0::SEEK_END
        || flags == st0::SEEK_END | st0::ABNORMAL | st0::EQUIPMENT
}

impl JobStateV1 {
    fn job(&self) -> Result<Job, RestoreError> {
        let what = match self.what {
            0 => What::Read,
            1 => What::Write,
            2 => What::Format,
            what => return Err(wrong("what", what.into())),
        };
        check("unit", self.unit, self.unit < 8)?;
        let mut job = Job::new(what, self.drive.into(), Unit::from_bits(self.unit));
        let (len, at) = (self.data.len(), usize::from(self.at));
        check("length of data", len as u64, len == job.portion())?;
        check("at", self.at, at < len)?;
        check("last", self.last, what != What::Format || self.last > 0)?;
        let [cylinder, head, sector, size] = self.id;
        job.multi_track = self.multi_track;
        job.id = Id {
            cylinder,
            head,
            sector,
            size,
        };
        job.last = self.last;
        job.filler = self.filler;
        job.seeked = self.seeked;
        job.terminal = self.terminal;
        job.data.clone_from(&self.data);
        job.at = at;
        Ok(job)
    }
}
