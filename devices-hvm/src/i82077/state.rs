//! Saved state of the floppy controller and its drives.

use serde::{Deserialize, Serialize};

use super::core::{Core, Phase, Settings};
use super::drive::Drive;
use super::format::SECTOR_CODE;
use super::regs::{st0, st1};
use super::transfer::{Id, Job, Step, What};

/// Name of the chip in saved state.
pub(super) const KIND: &str = "i82077";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1. Nothing is under way with a disk: what was is saved as failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct I82077StateV1 {
    /// DOR.
    pub dor: u8,
    /// TDR.
    pub tdr: u8,
    /// DSR, with the rate that CCR has set.
    pub dsr: u8,
    /// The second byte of CONFIGURE.
    pub configure: u8,
    /// PRETRK.
    pub precomp_track: u8,
    /// LOCK.
    pub locked: bool,
    /// PERPENDICULAR MODE.
    pub perpendicular: u8,
    /// SPECIFY.
    pub specify: [u8; 2],
    /// SC or EOT of the last command that had one.
    pub last: u8,
    /// PCN of each drive.
    pub cylinders: [u8; 4],
    /// ST0 of each drive that there is an interrupt of.
    pub pending: [Option<u8>; 4],
    /// INT.
    pub interrupt: bool,
    /// 0: command, 1: execution, 2: result, 3: a result whose first byte ends INT.
    pub phase: u8,
    /// Bytes of the command so far, or of the result that are left.
    pub fifo: Vec<u8>,
    /// The command in execution.
    pub job: Option<JobStateV1>,
    /// The drives.
    pub drives: Vec<Option<DriveStateV1>>,
}

/// A drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveStateV1 {
    /// Where the head is.
    pub cylinder: u8,
    /// Disk change.
    pub changed: bool,
}

/// A command that waits for the host to move data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobStateV1 {
    /// 0: reads, 1: writes, 2: formats.
    pub what: u8,
    /// The drive that was selected.
    pub drive: u8,
    /// Drive and head of the command.
    pub unit: u8,
    /// MT.
    pub multi_track: bool,
    /// C, H, R and N.
    pub id: [u8; 4],
    /// EOT, or sectors left.
    pub last: u8,
    /// D.
    pub filler: u8,
    /// There was an implied seek.
    pub seeked: bool,
    /// Terminal count has come.
    pub terminal: bool,
    /// A sector, or an ID.
    pub data: Vec<u8>,
    /// The next byte of it.
    pub at: u16,
}

impl From<&Core> for I82077StateV1 {
    fn from(core: &Core) -> Self {
        let Core {
            drives,
            dor,
            tdr,
            dsr,
            settings,
            phase,
            fifo,
            cylinders,
            pending,
            interrupt,
            ended,
            job,
        } = core;
        let Settings {
            configure,
            precomp_track,
            locked,
            perpendicular,
            specify,
            last,
        } = *settings;
        let lost = job.as_ref().filter(|job| job.step == Step::Storage);
        let number = match phase {
            _ if lost.is_some() => 3,
            Phase::Command => 0,
            Phase::Execution => 1,
            Phase::Result if *ended => 3,
            Phase::Result => 2,
        };
        Self {
            dor: dor.into_bits(),
            tdr: tdr.into_bits(),
            dsr: dsr.into_bits(),
            configure: configure.into_bits(),
            precomp_track,
            locked,
            perpendicular: perpendicular.into_bits(),
            specify,
            last,
            cylinders: *cylinders,
            pending: *pending,
            interrupt: *interrupt || lost.is_some(),
            phase: number,
            fifo: lost.map_or_else(|| fifo.rest().to_vec(), failure),
            job: job
                .as_ref()
                .filter(|_| lost.is_none())
                .map(JobStateV1::from),
            drives: drives
                .iter()
                .map(|drive| drive.as_ref().map(DriveStateV1::from))
                .collect(),
        }
    }
}

/// The result of a command whose sector was lost.
fn failure(job: &Job) -> Vec<u8> {
    let Id {
        cylinder,
        head,
        sector,
        size: _,
    } = job.id;
    let st0 = st0::ABNORMAL | job.unit.into_bits();
    vec![st0, st1::NO_DATA, 0, cylinder, head, sector, SECTOR_CODE]
}

impl From<&Drive> for DriveStateV1 {
    fn from(drive: &Drive) -> Self {
        let Drive {
            kind: _,
            disk: _,
            cylinder,
            changed,
        } = drive;
        Self {
            cylinder: *cylinder,
            changed: *changed,
        }
    }
}

impl From<&Job> for JobStateV1 {
    fn from(job: &Job) -> Self {
        let Job {
            what,
            drive,
            unit,
            multi_track,
            id,
            last,
            filler,
            seeked,
            terminal,
            step: _,
            data,
            at,
        } = job;
        Self {
            what: match what {
                What::Read => 0,
                What::Write => 1,
                What::Format => 2,
            },
            drive: u8::try_from(*drive).unwrap_or(u8::MAX),
            unit: unit.into_bits(),
            multi_track: *multi_track,
            id: [id.cylinder, id.head, id.sector, id.size],
            last: *last,
            filler: *filler,
            seeked: *seeked,
            terminal: *terminal,
            data: data.clone(),
            at: u16::try_from(*at).unwrap_or(u16::MAX),
        }
    }
}
