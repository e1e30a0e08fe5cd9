//! Floppy disks and drives that there are.

use thiserror::Error;

/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// Their code in commands: N.
pub(super) const SECTOR_CODE: u8 = 2;

/// No floppy disk has this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "{bytes} bytes are no floppy disk's: 160, 180, 320, 360, 720, 1200, 1440, 1680 or 2880 KiB"
)]
pub struct SizeError {
    /// Bytes of the image.
    pub bytes: u64,
}

/// A drive, with its number in CMOS RAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriveKind {
    /// 5.25 inches, 360 KiB.
    Inch5Double = 1,
    /// 5.25 inches, 1200 KiB.
    Inch5High = 2,
    /// 3.5 inches, 720 KiB.
    Inch3Double = 3,
    /// 3.5 inches, 1440 KiB.
    Inch3High = 4,
    /// 3.5 inches, 2880 KiB.
    Inch3Extra = 5,
}

/// How a disk is formatted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Cylinders.
    pub cylinders: u8,
    /// Sides.
    pub heads: u8,
    /// Sectors a track.
    pub sectors: u8,
    /// The data rate at which it is read, as CCR has it.
    pub rate: u8,
    /// The drive that it belongs into.
    pub drive: DriveKind,
}

/// 500, 250 and 1000 kbit/s.
const RATES: [u8; 3] = [0, 2, 3];

const fn format(cylinders: u8, heads: u8, sectors: u8, drive: DriveKind) -> Format {
    let [high, double, extra] = RATES;
    let rate = match drive {
        DriveKind::Inch5Double | DriveKind::Inch3Double => double,
        DriveKind::Inch5High | DriveKind::Inch3High => high,
        DriveKind::Inch3Extra => extra,
    };
    Format {
        cylinders,
        heads,
        sectors,
        rate,
        drive,
    }
}

/// All of them.
const FORMATS: [Format; 9] = [
    format(40, 1, 8, DriveKind::Inch5Double),
    format(40, 1, 9, DriveKind::Inch5Double),
    format(40, 2, 8, DriveKind::Inch5Double),
    format(40, 2, 9, DriveKind::Inch5Double),
    format(80, 2, 9, DriveKind::Inch3Double),
    format(80, 2, 15, DriveKind::Inch5High),
    format(80, 2, 18, DriveKind::Inch3High),
    format(80, 2, 21, DriveKind::Inch3High),
    format(80, 2, 36, DriveKind::Inch3Extra),
];

impl Format {
    /// That of an image of so many bytes.
    ///
    /// # Errors
    /// When no disk has this size.
    pub fn of(bytes: u64) -> Result<Self, SizeError> {
        let found = FORMATS.iter().find(|format| format.bytes() == bytes);
        found.copied().ok_or(SizeError { bytes })
    }

    /// Bytes of the disk.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.cylinders as u64 * self.heads as u64 * self.sectors as u64 * SECTOR as u64
    }

    /// Where a sector is in the image; sectors count from 1.
    pub(super) fn offset(&self, cylinder: u8, head: u8, sector: u8) -> Option<u64> {
        let there =
            cylinder < self.cylinders && head < self.heads && (1..=self.sectors).contains(&sector);
        let track = u64::from(cylinder) * u64::from(self.heads) + u64::from(head);
        let before = track * u64::from(self.sectors) + u64::from(sector.saturating_sub(1));
        there.then_some(before * SECTOR as u64)
    }
}
