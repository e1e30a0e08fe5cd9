//! Addresses of sectors: by number, and by cylinder, head and sector (ATA/ATAPI-6, 6.2).

use super::super::task_file::TaskFile;

/// Sectors that 28 bits reach.
pub(super) const MAX_LBA28: u64 = 0x0fff_ffff;
/// Sectors that cylinders, heads and sectors reach at most: 16383 x 16 x 63.
pub(super) const MAX_CHS_SECTORS: u64 = 16_514_064;

/// Heads, and sectors a track; as many cylinders as there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Geometry {
    pub(in super::super) heads: u8,
    pub(in super::super) sectors: u8,
}

impl Geometry {
    /// What a disk says by itself.
    pub(in super::super) const NATIVE: Self = Self {
        heads: 16,
        sectors: 63,
    };

    pub(super) const fn per_cylinder(self) -> u64 {
        self.heads as u64 * self.sectors as u64
    }

    /// At least one, though the disk may end within it: a BIOS reads no sector of a disk without any.
    pub(super) fn cylinders(self, sectors: u64) -> u16 {
        let all = sectors.min(MAX_CHS_SECTORS) / self.per_cylinder().max(1);
        u16::try_from(all).unwrap_or(u16::MAX).clamp(1, 16383)
    }

    /// The sector that the registers name; `None`: there is none of that name.
    fn sector(self, file: &TaskFile) -> Option<u64> {
        let cylinder = u64::from(u16::from_le_bytes([file.lba_mid.now, file.lba_high.now]));
        let (head, sector) = (file.device.head(), file.lba_low.now);
        if head >= self.heads || sector == 0 || sector > self.sectors {
            return None;
        }
        let track = cylinder * u64::from(self.heads) + u64::from(head);
        Some(track * u64::from(self.sectors) + u64::from(sector) - 1)
    }
}

/// The first sector of a command, and how many there are.
pub(super) fn range(file: &TaskFile, ext: bool, geometry: Geometry) -> Option<(u64, u32)> {
    let [low, mid, high] = [file.lba_low, file.lba_mid, file.lba_high];
    if ext {
        let bytes = [
            low.now,
            mid.now,
            high.now,
            low.before,
            mid.before,
            high.before,
            0,
            0,
        ];
        let count = u16::from_le_bytes([file.count.now, file.count.before]);
        let count = if count == 0 { 0x1_0000 } else { count.into() };
        return Some((u64::from_le_bytes(bytes), count));
    }
    let count = match file.count.now {
        0 => 256,
        count => count.into(),
    };
    if file.device.lba() {
        let bytes = [low.now, mid.now, high.now, file.device.head()];
        return Some((u32::from_le_bytes(bytes).into(), count));
    }
    Some((geometry.sector(file)?, count))
}

/// The registers name sector `lba`, of a command with such addresses.
pub(super) fn name(file: &mut TaskFile, lba: u64, ext: bool, geometry: Geometry) {
    let [b0, b1, b2, b3, b4, b5, ..] = lba.to_le_bytes();
    if ext {
        (file.lba_low.now, file.lba_low.before) = (b0, b3);
        (file.lba_mid.now, file.lba_mid.before) = (b1, b4);
        (file.lba_high.now, file.lba_high.before) = (b2, b5);
    } else if file.device.lba() {
        (file.lba_low.now, file.lba_mid.now, file.lba_high.now) = (b0, b1, b2);
        file.device.set_head(b3 & 0xf);
    } else {
        let (heads, sectors) = (u64::from(geometry.heads), u64::from(geometry.sectors));
        let (track, sector) = (lba / sectors.max(1), lba % sectors.max(1) + 1);
        let (cylinder, head) = (track / heads.max(1), track % heads.max(1));
        let [low, high, ..] = cylinder.to_le_bytes();
        let [sector, ..] = sector.to_le_bytes();
        let [head, ..] = head.to_le_bytes();
        (file.lba_low.now, file.lba_mid.now, file.lba_high.now) = (sector, low, high);
        file.device.set_head(head & 0xf);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_disk_has_a_cylinder() {
        let cylinders = [1, 1007, 1008, 2016, MAX_CHS_SECTORS, 1 << 40]
            .map(|sectors| Geometry::NATIVE.cylinders(sectors));
        assert_eq!(cylinders, [1, 1, 1, 2, 16383, 16383]);
    }
}
