//! What a PC's firmware finds in CMOS RAM: written by the board, as the set-up program of a PC would have.
//!
//! Sources: IBM, Personal Computer AT Technical Reference, "Real-Time Clock/CMOS RAM Information"; SeaBIOS,
//! src/hw/rtc.h.

use trivisor_buses::{AccessError, PortDevice};
use trivisor_memory::RamLayout;

use crate::board::Disks;
use crate::boot_order::BootDevice;
use crate::i82077::DriveKind;

/// The kinds of floppy drives A and B.
pub(crate) type Floppies = [Option<DriveKind>; 2];

/// Floppy drives: A in 7:4, B in 3:0.
const FLOPPY_DRIVES: u8 = 0x10;
/// Equipment: bit 0 floppy drives, bit 1 coprocessor, bit 2 pointing device; in 7:6 the number of drives less one.
const EQUIPMENT: u8 = 0x14;
/// KiB below 640 KiB, 16 bits.
const BASE_MEMORY: u8 = 0x15;
/// KiB above 1 MiB, at most 63 MiB, 16 bits.
const EXTENDED_MEMORY: u8 = 0x17;
/// The same.
const EXTENDED_MEMORY_2: u8 = 0x30;
/// 64 KiB above 16 MiB and below 4 GiB, 16 bits.
const MEMORY_ABOVE_16M: u8 = 0x34;
/// 64 KiB above 4 GiB, 24 bits.
const MEMORY_ABOVE_4G: u8 = 0x5b;
/// Third boot device in 7:4; bit 0: do not look for a signature on a floppy.
const BOOT_FLAG_1: u8 = 0x38;
/// How a BIOS translates cylinders, heads and sectors, two bits a disk: 0 not, 1 by LBA.
const TRANSLATION: u8 = 0x39;
/// Bytes that cylinders, heads and sectors of a BIOS reach untranslated: 1024 x 16 x 63 x 512.
const UNTRANSLATED: u64 = 528_482_304;
/// First boot device in 3:0, second in 7:4.
const BOOT_FLAG_2: u8 = 0x3d;
/// Processors beside the first.
const MORE_CPUS: u8 = 0x5f;

/// Writes RAM sizes, number of processors, boot order and floppy drives, through the clock's own ports.
pub(crate) fn set_up(
    clock: &mut impl PortDevice,
    ram: RamLayout,
    cpus: u8,
    boot: &[BootDevice],
    floppies: Floppies,
) -> Result<(), AccessError> {
    for (index, value) in contents(ram, cpus, boot, floppies) {
        clock.write(0, &[index])?;
        clock.write(1, &[value])?;
    }
    clock.write(0, &[0])
}

/// Writes how disks are translated. A small one is not: of a disk below a cylinder of 16 heads and 63 sectors, LBA
/// leaves none.
pub(crate) fn set_up_disks(clock: &mut impl PortDevice, disks: Disks) -> Result<(), AccessError> {
    clock.write(0, &[TRANSLATION])?;
    clock.write(1, &[translations(disks)])?;
    clock.write(0, &[0])
}

fn translations(disks: Disks) -> u8 {
    let by_lba = |disk: Option<u64>| u8::from(disk.is_some_and(|size| size > UNTRANSLATED));
    let disks = disks.into_iter().rev();
    disks.fold(0, |bits, disk| bits << 2 | by_lba(disk))
}

fn contents(ram: RamLayout, cpus: u8, boot: &[BootDevice], floppies: Floppies) -> Vec<(u8, u8)> {
    let low = ram.low().size;
    let high = ram.high().map_or(0, |high| high.size);
    let above = |start: u64, unit: u64| low.saturating_sub(start) / unit;
    let word = |value: u64| u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes();
    let [a, b] = floppies.map(|kind| kind.map_or(0, |kind| kind as u8));
    let equipment = match floppies.iter().flatten().count() {
        0 => 0x06,
        1 => 0x07,
        _ => 0x47,
    };
    let mut bytes = vec![(EQUIPMENT, equipment), (FLOPPY_DRIVES, a << 4 | b)];
    let mut put = |index: u8, value: &[u8]| bytes.extend((index..).zip(value.iter().copied()));
    put(BASE_MEMORY, &word(640));
    let extended = word(above(1 << 20, 1 << 10).min(63 << 10));
    put(EXTENDED_MEMORY, &extended);
    put(EXTENDED_MEMORY_2, &extended);
    put(MEMORY_ABOVE_16M, &word(above(16 << 20, 64 << 10)));
    let blocks = (high / (64 << 10)).min(0xff_ffff).to_le_bytes();
    put(MEMORY_ABOVE_4G, blocks.get(..3).unwrap_or_default());
    let order = |at: usize| boot.get(at).map_or(0, |device| *device as u8);
    put(BOOT_FLAG_1, &[order(2) << 4]);
    put(BOOT_FLAG_2, &[order(1) << 4 | order(0)]);
    put(MORE_CPUS, &[cpus.saturating_sub(1)]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn byte(bytes: &[(u8, u8)], index: u8) -> u8 {
        let found = bytes.iter().find(|(at, _)| *at == index);
        found.unwrap_or_else(|| panic!("{index:#x}")).1
    }

    #[test]
    fn sizes_are_those_of_the_ram() {
        let bytes = contents(RamLayout::new(16 << 20).unwrap(), 1, &[], [None; 2]);
        let at = |index| byte(&bytes, index);
        assert_eq!([at(0x15), at(0x16)], [0x80, 0x02]);
        assert_eq!([at(0x17), at(0x18)], [0x00, 0x3c]);
        assert_eq!([at(0x30), at(0x31)], [0x00, 0x3c]);
        assert_eq!([at(0x34), at(0x35)], [0, 0]);
        assert_eq!([at(0x5b), at(0x5c), at(0x5d)], [0, 0, 0]);
        assert_eq!([at(0x38), at(0x3d), at(0x5f)], [0, 0, 0]);

        let bytes = contents(RamLayout::new(4 << 30).unwrap(), 3, &[], [None; 2]);
        let at = |index| byte(&bytes, index);
        assert_eq!([at(0x17), at(0x18)], [0x00, 0xfc]);
        assert_eq!([at(0x34), at(0x35)], [0x00, 0xbf]);
        assert_eq!([at(0x5b), at(0x5c), at(0x5d)], [0x00, 0x40, 0x00]);
        assert_eq!(at(0x5f), 2);
    }

    #[test]
    fn large_disks_are_translated() {
        let (small, large) = (Some(UNTRANSLATED), Some(UNTRANSLATED + 512));
        assert_eq!(translations([None; 4]), 0);
        assert_eq!(translations([small, large, None, large]), 0x44);
        assert_eq!(translations([large, small, large, None]), 0x11);
    }

    #[test]
    fn the_boot_order_is_in_three_places() {
        let order = [BootDevice::Cdrom, BootDevice::Disk, BootDevice::Floppy];
        let bytes = contents(RamLayout::new(16 << 20).unwrap(), 1, &order, [None; 2]);
        assert_eq!((byte(&bytes, 0x3d), byte(&bytes, 0x38)), (0x23, 0x10));
    }

    #[test]
    fn floppy_drives_are_counted() {
        let ram = RamLayout::new(16 << 20).unwrap();
        let (low, high) = (DriveKind::Inch5Double, DriveKind::Inch3High);
        for (floppies, drives, equipment) in [
            ([None, None], 0x00, 0x06),
            ([Some(high), None], 0x40, 0x07),
            ([Some(high), Some(low)], 0x41, 0x47),
        ] {
            let bytes = contents(ram, 1, &[], floppies);
            assert_eq!(byte(&bytes, 0x10), drives);
            assert_eq!(byte(&bytes, 0x14), equipment);
        }
    }
}
