//! What IDENTIFY DEVICE says of a disk (ATA/ATAPI-6, 8.15).

use super::super::identify::Words;
use super::Disk;
use super::geometry::{MAX_CHS_SECTORS, MAX_LBA28};
use super::{FIRMWARE, MAX_MULTIPLE};

impl Disk {
    pub(super) fn identify(&self) -> Vec<u8> {
        let sectors = self.sectors();
        let physical = self.link.geometry().physical_block / 512;
        let mut words = Words::new();
        words.set(0, 0x0040); // fixed
        let native = super::geometry::Geometry::NATIVE;
        words.set(1, native.cylinders(sectors));
        words.set(3, native.heads.into());
        words.set(6, native.sectors.into());
        words.set_text(10, 10, &self.config.serial);
        words.set_text(23, 4, FIRMWARE);
        words.set_text(27, 20, &self.config.model);
        words.set(47, 0x8000 | u16::from(MAX_MULTIPLE));
        words.set(48, 0x0001); // 32-bit accesses of the data port
        words.set(49, 0x0f00); // LBA, DMA, IORDY
        words.set(50, 0x4000);
        words.set(51, 0x0200); // the cycle times of PIO mode 2, as older drivers read them
        words.set(52, 0x0200);
        words.set(53, 0x0007); // words 54 to 58, 64 to 70 and 88 count
        let current = self.geometry;
        words.set(54, current.cylinders(sectors));
        words.set(55, current.heads.into());
        words.set(56, current.sectors.into());
        let of_current = u64::from(current.cylinders(sectors)) * current.per_cylinder();
        words.set_long(57, 2, of_current.min(sectors).min(MAX_CHS_SECTORS));
        if self.multiple > 0 {
            words.set(59, 0x0100 | u16::from(self.multiple));
        }
        words.set_long(60, 2, sectors.min(MAX_LBA28));
        words.set(63, self.mode.multiword());
        words.set(64, 0x0003); // PIO modes 3 and 4
        for at in 65..=68 {
            words.set(at, 120); // nanoseconds a cycle
        }
        words.set(80, 0x007e); // ATA-1 to ATA/ATAPI-6
        let cache = u16::from(self.write_cache) << 5;
        words.set(82, 0x0028); // write cache, power management
        words.set(83, 0x7400); // FLUSH CACHE (EXT), 48-bit addresses
        words.set(84, 0x4000);
        words.set(85, 0x0008 | cache);
        words.set(86, 0x3400);
        words.set(87, 0x4000);
        words.set(88, self.mode.ultra());
        words.set(93, 0x6001); // a cable of 80 wires
        words.set_long(100, 4, sectors);
        if physical > 1 {
            #[expect(clippy::cast_possible_truncation, reason = "a logarithm is below 64")]
            let exponent = physical.ilog2() as u16;
            words.set(106, 0x6000 | exponent); // ATA/ATAPI-7: several sectors a physical one
        }
        words.bytes()
    }
}
