//! What IDENTIFY PACKET DEVICE says (ATA/ATAPI-6, 8.16).

use super::super::identify::Words;
use super::Cdrom;

impl Cdrom {
    pub(super) fn identify(&self) -> Vec<u8> {
        let mut words = Words::new();
        words.set(0, 0x85c0); // a CD-ROM, removable; packets of 12 bytes, taken within 50 us
        words.set_text(10, 10, "1");
        words.set_text(23, 4, "1.0");
        words.set_text(27, 20, "Trivisor CD-ROM");
        words.set(48, 0x0001); // 32-bit accesses of the data port
        words.set(49, 0x0b00); // LBA, DMA, IORDY
        words.set(53, 0x0006); // words 64 to 70 and 88 count
        words.set(63, self.mode.multiword());
        words.set(64, 0x0003); // PIO modes 3 and 4
        for at in 65..=68 {
            words.set(at, 120); // nanoseconds a cycle
        }
        words.set(80, 0x007e); // ATA-1 to ATA/ATAPI-6
        words.set(82, 0x0210); // DEVICE RESET, PACKET
        words.set(83, 0x4000);
        words.set(84, 0x4000);
        words.set(85, 0x0210);
        words.set(87, 0x4000);
        words.set(88, self.mode.ultra());
        words.set(93, 0x6001); // a cable of 80 wires
        words.bytes()
    }
}
