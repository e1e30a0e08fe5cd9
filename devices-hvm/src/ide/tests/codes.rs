//! Commands of a disk that have several codes.

use trivisor_buses::StorageOp;

use super::*;

/// Device, LBA mode.
const LBA: u8 = 0xe0;

#[test]
fn sectors_are_moved_by_each_code_through_the_port() {
    let mut rig = Rig::new();
    for code in [0x20, 0x21] {
        rig.command([2, code, 0, 0, LBA], code);
        assert_eq!(rig.read_words(512), sectors(code.into(), 2), "{code:x}");
        assert_eq!(rig.status(), 0x50);
    }
    for code in [0x30, 0x31, 0x3c] {
        rig.command([1, 9, 0, 0, LBA], code);
        rig.write_words(&[code; 512]);
        assert_eq!((rig.status(), rig.disk.sector(9)), (0x50, Some(code)));
    }
    let _before = rig.disk.take_seen();
    for code in [0x40, 0x41] {
        rig.command([3, 9, 0, 0, LBA], code);
        assert_eq!(rig.status(), 0x50, "{code:x}");
        assert_eq!(rig.disk.take_seen(), [(StorageOp::Read, 9 * 512, 3 * 512)]);
    }
}

#[test]
fn sectors_are_moved_by_each_code_of_dma() {
    let mut rig = Rig::new();
    for code in [0xc8, 0xc9] {
        rig.table(&[(0x8000, 0x400)]);
        rig.command([2, code, 0, 0, LBA], code);
        rig.put(BMIBA_AT, 9);
        assert_eq!(rig.status(), 0x50, "{code:x}");
        assert_eq!(rig.memory(0x8000, 0x400), sectors(code.into(), 2));
        rig.put(BMIBA_AT, 0);
    }
    for code in [0xca, 0xcb] {
        rig.host.memory.write(0x8000, &[code; 512]).unwrap();
        rig.table(&[(0x8000, 0x200)]);
        rig.command([1, 9, 0, 0, LBA], code);
        rig.put(BMIBA_AT, 1);
        assert_eq!((rig.status(), rig.disk.sector(9)), (0x50, Some(code)));
        rig.put(BMIBA_AT, 0);
    }
}

/// RECALIBRATE and SEEK, whose lower four bits once were a rate; power modes.
#[test]
fn what_moves_nothing_ends_well_by_each_code() {
    let mut rig = Rig::new();
    let powers = [0x94, 0x95, 0x96, 0x97, 0x99, 0xe0, 0xe1, 0xe2, 0xe3, 0xe6];
    for code in (0x10..=0x1f).chain(0x70..=0x7f).chain(powers) {
        rig.command([1, 1, 0, 0, LBA], code);
        assert_eq!((rig.status(), rig.get(0x1f1)), (0x50, 0), "{code:x}");
    }
    assert_eq!(rig.disk.take_seen(), []);
}
