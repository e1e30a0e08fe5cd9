//! Each command of a disk, by its registers.

use std::io::ErrorKind;

use trivisor_buses::StorageOp;

use super::*;

/// Device, LBA mode.
const LBA: u8 = 0xe0;

fn word(identify: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([identify[at * 2], identify[at * 2 + 1]])
}

fn identify(rig: &mut Rig) -> Vec<u8> {
    rig.command([0, 0, 0, 0, LBA], 0xec);
    let data = rig.read_words(256);
    assert_eq!(rig.status(), 0x50);
    data
}

#[test]
fn identify_tells_size_modes_and_names() {
    let mut rig = Rig::new();
    let data = identify(&mut rig);
    let text = |first: usize, words: usize| -> String {
        let words = (first..first + words).map(|at| word(&data, at).to_be_bytes());
        words.flatten().map(char::from).collect()
    };
    assert_eq!(text(10, 10), "TRV-0042            ");
    assert_eq!(text(27, 20).trim_end(), "Trivisor disk");
    for (at, value) in [
        (0, 0x0040),
        (1, 1),
        (3, 16),
        (6, 63),
        (47, 0x8010),
        (49, 0x0f00),
        (53, 7),
        (54, 1),
        (57, 1008),
        (59, 0),
        (60, 1024),
        (61, 0),
        (63, 0x0007),
        (80, 0x007e),
        (82, 0x0028),
        (83, 0x7400),
        (85, 0x0028),
        (88, 0x203f),
        (100, 1024),
        (101, 0),
        (106, 0),
    ] {
        assert_eq!(word(&data, at), value, "word {at}");
    }
    rig.disk.change(|geometry| geometry.physical_block = 4096);
    assert_eq!(word(&identify(&mut rig), 106), 0x6003);
    // What 28 bits do not reach.
    rig.disk.change(|geometry| geometry.capacity = 1 << 40);
    let data = identify(&mut rig);
    assert_eq!((word(&data, 60), word(&data, 61)), (0xffff, 0x0fff));
    assert_eq!((word(&data, 101), word(&data, 1)), (0x8000, 16383));
}

#[test]
fn sectors_are_named_in_three_ways() {
    let mut rig = Rig::new();
    for (registers, code, first, count) in [
        ([2, 0x10, 0, 0, LBA], 0x20, 0x10, 2),
        ([2, 0x10, 1, 0, LBA], 0x21, 0x110, 2),
        ([1, 63, 0, 0, 0xaf], 0x20, 16 * 63 - 1, 1),
        ([1, 2, 0, 0, 0xa1], 0x20, 64, 1),
        ([0, 0, 0, 0, LBA], 0x20, 0, 256),
    ] {
        rig.command(registers, code);
        assert_eq!(rig.read_words(count as usize * 256), sectors(first, count));
        assert_eq!(rig.status(), 0x50, "{registers:x?}");
    }
    rig.command_ext(0x123, 3, 0x24);
    assert_eq!(rig.read_words(768), sectors(0x123, 3));
    assert_eq!(rig.status(), 0x50);
    // No sector 0, no head 16, nothing behind the end.
    for (registers, code) in [
        ([1, 0, 0, 0, 0xa0], 0x20),
        ([1, 64, 0, 0, 0xa0], 0x20),
        ([2, 0xff, 3, 0, LBA], 0x20),
        ([1, 0, 4, 0, LBA], 0x30),
        ([1, 0xff, 0xff, 0xff, 0xef], 0xc8),
        ([1, 0, 4, 0, LBA], 0x40),
    ] {
        rig.command(registers, code);
        assert_eq!(
            (rig.status(), rig.get(0x1f1)),
            (0x41, 0x10),
            "{registers:x?}"
        );
    }
    rig.command_ext(u64::MAX >> 16, 0, 0x25);
    assert_eq!((rig.status(), rig.get(0x1f1)), (0x41, 0x10));
    // Another translation.
    rig.command([32, 0, 0, 0, 0xa7], 0x91);
    rig.command([1, 1, 1, 0, 0xa0], 0x20);
    assert_eq!(rig.read_words(256), sectors(8 * 32, 1));
    rig.command([0, 0, 0, 0, 0xa7], 0x91);
    assert_eq!((rig.status(), rig.get(0x1f1)), (0x41, 4));
}

#[test]
fn long_reads_and_writes_go_through_in_pieces() {
    let mut rig = Rig::new();
    rig.command_ext(0, 600, 0x24);
    for sector in 0..600 {
        assert_eq!(rig.get(0x3f6), 0x58, "{sector}");
        assert_eq!(rig.read_words(256), sectors(sector, 1));
    }
    assert_eq!(rig.status(), 0x50);
    let pieces = [(0, 131_072), (131_072, 131_072), (262_144, 45_056)];
    let reads = pieces.map(|(at, len)| (StorageOp::Read, at, len));
    assert_eq!(rig.disk.take_seen(), reads);
    rig.command_ext(10, 600, 0x34);
    let data = sectors(300, 600);
    for sector in data.chunks(512) {
        assert_eq!(rig.status(), 0x58);
        rig.write_words(sector);
    }
    assert_eq!(rig.status(), 0x50);
    let writes = pieces.map(|(at, len)| (StorageOp::Write, at + 5120, len));
    assert_eq!(rig.disk.take_seen(), writes);
    rig.command_ext(609, 1, 0x24);
    assert_eq!(rig.read_words(256), sectors(899, 1));
    // In halves, in bytes, and 32 bits at a time.
    rig.command([1, 5, 0, 0, LBA], 0x20);
    let mut data = rig.read_words(100);
    let mut rest = [0; 200];
    rig.view.read_string(0x1f0, 4, &mut rest);
    data.extend(rest);
    data.push(rig.get(0x1f0));
    assert_eq!(data[..], sectors(5, 1)[..401]);
    assert_eq!(
        rig.read_words(100)[110..],
        [0; 90],
        "nothing behind the block"
    );
}

#[test]
fn each_block_has_its_interrupt() {
    let mut rig = Rig::new();
    rig.put(0x3f6, 0);
    rig.command([4, 0, 0, 0, LBA], 0xc6);
    assert_eq!((rig.edges(), rig.status()), (vec![true], 0x50));
    assert_eq!(word(&identify(&mut rig), 59), 0x0104);
    rig.edges();
    rig.command([6, 0, 0, 0, LBA], 0xc4);
    for words in [1024, 512] {
        assert_eq!(rig.edges(), [true]);
        assert_eq!((rig.status(), rig.edges()), (0x58, vec![false]));
        rig.read_words(words);
    }
    assert_eq!((rig.status(), rig.edges()), (0x50, vec![]));
    rig.command([6, 0, 0, 0, LBA], 0xc5);
    assert_eq!((rig.edges(), rig.status()), (vec![], 0x58));
    rig.write_words(&[1; 2048]);
    assert_eq!((rig.edges(), rig.status()), (vec![true], 0x58));
    rig.edges();
    rig.write_words(&[2; 1024]);
    assert_eq!((rig.edges(), rig.status()), (vec![true], 0x50));
    rig.edges();
    assert_eq!(
        [0, 3, 4, 5].map(|at| rig.disk.sector(at)),
        [1, 1, 2, 2].map(Some)
    );
    for (code, ext) in [(0x29, true), (0x39, true)] {
        assert!(ext);
        rig.command_ext(0, 4, code);
        assert_eq!(rig.status(), 0x58);
        rig.put(0x3f6, 4);
        rig.put(0x3f6, 0);
        rig.command([4, 0, 0, 0, LBA], 0xc6);
    }
    for count in [3, 32] {
        rig.command([count, 0, 0, 0, LBA], 0xc6);
        assert_eq!((rig.status(), rig.get(0x1f1)), (0x41, 4), "{count} sectors");
    }
    rig.command([0, 0, 0, 0, LBA], 0xc6);
    for code in [0xc4, 0xc5, 0x29, 0x39] {
        rig.command([1, 0, 0, 0, LBA], code);
        assert_eq!((rig.status(), rig.get(0x1f1)), (0x41, 4), "{code:x}");
    }
}

#[test]
fn commands_without_data_end_at_once() {
    let mut rig = Rig::new();
    for code in [
        0x10, 0x1f, 0x70, 0x94, 0x95, 0x96, 0x97, 0x99, 0xe0, 0xe1, 0xe2, 0xe3, 0xe6, 0xe7, 0xea,
        0x90,
    ] {
        rig.command([1, 1, 0, 0, LBA], code);
        assert_eq!(rig.status(), 0x50, "{code:x}");
    }
    for code in [0x98, 0xe5] {
        rig.command([1, 1, 0, 0, LBA], code);
        assert_eq!((rig.status(), rig.get(0x1f2)), (0x50, 0xff));
    }
    for code in [0x00, 0x08, 0xa0, 0xa1, 0xb0, 0xe4, 0xf1, 0xf9, 0xff] {
        rig.command([1, 1, 0, 0, LBA], code);
        assert_eq!((rig.status(), rig.get(0x1f1)), (0x41, 4), "{code:x}");
    }
    rig.command([2, 0, 0, 0, LBA], 0x40);
    assert_eq!(rig.status(), 0x50);
    rig.command_ext(0, 300, 0x42);
    assert_eq!(rig.status(), 0x50);
    // The last sector.
    rig.command([0, 0, 0, 0, LBA], 0xf8);
    assert_eq!(
        (rig.get(0x1f3), rig.get(0x1f4), rig.get(0x1f6)),
        (0xff, 3, LBA)
    );
    rig.command([0, 0, 0, 0, 0xa0], 0xf8);
    assert_eq!(
        (rig.get(0x1f3), rig.get(0x1f4), rig.get(0x1f6)),
        (63, 0, 0xaf)
    );
    rig.disk.change(|geometry| geometry.capacity = 1 << 45);
    rig.command([0, 0, 0, 0, LBA], 0x27);
    assert_eq!((rig.get(0x1f3), rig.get(0x1f5)), (0xff, 0xff));
    rig.put(0x3f6, 0x80);
    assert_eq!(
        (rig.get(0x1f3), rig.get(0x1f4), rig.get(0x1f5)),
        (0xff, 0x0f, 0)
    );
}

#[test]
fn features_are_set_and_kept_as_they_are_told() {
    let mut rig = Rig::new();
    let set = |rig: &mut Rig, feature, count| {
        rig.put(0x1f1, feature);
        rig.command([count, 0, 0, 0, LBA], 0xef);
        rig.status()
    };
    for (count, words) in [
        (0x20, (0x0107, 0x003f)),
        (0x22, (0x0407, 0x003f)),
        (0x40, (0x0007, 0x013f)),
        (0x45, (0x0007, 0x203f)),
        (0x0c, (0x0007, 0x203f)),
    ] {
        assert_eq!(set(&mut rig, 3, count), 0x50);
        let data = identify(&mut rig);
        assert_eq!((word(&data, 63), word(&data, 88)), words, "{count:x}");
    }
    for (feature, count) in [(3, 0x0d), (3, 0x23), (3, 0x46), (5, 1), (0x42, 0), (0, 0)] {
        assert_eq!((set(&mut rig, feature, count), rig.get(0x1f1)), (0x41, 4));
    }
    for feature in [0x55, 0xaa, 0x66, 0xcc] {
        assert_eq!(set(&mut rig, feature, 0), 0x50);
    }
    // Without the cache, a write is stored when it ends.
    let _before = rig.disk.take_seen();
    assert_eq!(set(&mut rig, 0x82, 0), 0x50);
    assert_eq!(word(&identify(&mut rig), 85), 0x0008);
    rig.command([1, 9, 0, 0, LBA], 0x30);
    rig.write_words(&[0x33; 512]);
    assert_eq!(
        (rig.status(), rig.disk.stable_sector(9)),
        (0x50, Some(0x33))
    );
    let ops: Vec<_> = rig.disk.take_seen().iter().map(|seen| seen.0).collect();
    assert_eq!(ops, [StorageOp::Flush, StorageOp::Write, StorageOp::Flush]);
    assert_eq!(set(&mut rig, 2, 0), 0x50);
    rig.command([1, 9, 0, 0, LBA], 0x30);
    rig.write_words(&[0x44; 512]);
    assert_eq!(
        (rig.status(), rig.disk.stable_sector(9)),
        (0x50, Some(0x33))
    );
    // A software reset takes settings back, unless they are kept.
    rig.command([8, 0, 0, 0, LBA], 0xc6);
    assert_eq!(set(&mut rig, 0x66, 0), 0x50);
    rig.put(0x3f6, 4);
    rig.put(0x3f6, 0);
    assert_eq!(word(&identify(&mut rig), 59), 0x0108);
    assert_eq!(set(&mut rig, 0xcc, 0), 0x50);
    rig.put(0x3f6, 4);
    rig.put(0x3f6, 0);
    assert_eq!(word(&identify(&mut rig), 59), 0);
}

#[test]
fn what_the_storage_does_not_manage_is_an_error() {
    let mut rig = Rig::new();
    rig.disk.fail(Some(ErrorKind::Other));
    for (code, error) in [(0x20, 0x40), (0x40, 0x40), (0xe7, 4)] {
        rig.command([1, 77, 0, 0, LBA], code);
        assert_eq!(
            (rig.status(), rig.get(0x1f1), rig.get(0x1f3)),
            (0x41, error, 77)
        );
    }
    rig.command([2, 77, 0, 0, LBA], 0x30);
    rig.write_words(&[1; 512]);
    assert_eq!(rig.status(), 0x58);
    rig.write_words(&[1; 512]);
    assert_eq!((rig.status(), rig.get(0x1f1)), (0x41, 4));
    // A disk that cannot be written, and an image that became shorter.
    rig.disk.fail(None);
    rig.disk.change(|geometry| geometry.read_only = true);
    for code in [0x30, 0xca] {
        rig.command([1, 0, 0, 0, LBA], code);
        assert_eq!((rig.status(), rig.get(0x1f1)), (0x41, 4));
    }
    rig.disk.change(|geometry| geometry.capacity *= 2);
    rig.command([1, 0, 4, 0, LBA], 0x20);
    assert_eq!(
        (rig.status(), rig.get(0x1f1), rig.get(0x1f4)),
        (0x41, 0x40, 4)
    );
    rig.command([1, 0, 0, 0, LBA], 0x20);
    assert_eq!(rig.read_words(256), sectors(0, 1), "it goes on");
}

#[test]
fn nobody_waits_for_a_storage_that_works_or_is_busy() {
    let mut rig = Rig::new();
    rig.disk.hold(true);
    rig.command([1, 3, 0, 0, LBA], 0x20);
    assert_eq!((rig.get(0x3f6), rig.read_words(4)), (0xc0, vec![0; 8]));
    // Nothing gets through to a drive that works.
    rig.put(0x1f3, 9);
    rig.put(0x1f6, 0xb0);
    rig.put(0x1f7, 0x90);
    assert_eq!(
        (rig.get(0x1f3), rig.get(0x1f6), rig.get(0x3f6)),
        (3, LBA, 0xc0)
    );
    rig.wake();
    assert_eq!(rig.get(0x3f6), 0xc0);
    assert!(rig.disk.end(0));
    assert_eq!(rig.get(0x3f6), 0xc0, "it is not asked between");
    rig.wake();
    assert_eq!((rig.edges(), rig.status()), (vec![true], 0x58));
    assert_eq!(rig.read_words(256), sectors(3, 1));
    rig.disk.limit(0);
    rig.command([1, 4, 0, 0, LBA], 0x20);
    assert_eq!(rig.get(0x3f6), 0xc0);
    rig.disk.limit(1);
    rig.disk.hold(false);
    rig.wake();
    assert_eq!(rig.read_words(256), sectors(4, 1));
}

#[test]
fn a_reset_in_mid_command_waits_for_the_storage_alone() {
    let mut rig = Rig::new();
    rig.command([1, 3, 0, 0, LBA], 0x30);
    rig.write_words(&[1; 100]);
    rig.put(0x3f6, 4);
    assert_eq!(rig.status(), 0x80);
    rig.put(0x1f7, 0xec);
    rig.put(0x3f6, 0);
    assert_eq!((rig.status(), rig.get(0x1f1), rig.get(0x1f3)), (0x50, 1, 1));
    assert_eq!(rig.disk.take_seen(), [], "half a sector is none");
    rig.disk.hold(true);
    rig.table(&[(0x8000, 0x200)]);
    rig.command([1, 3, 0, 0, LBA], 0xc8);
    rig.put(BMIBA_AT, 9);
    rig.put(0x3f6, 4);
    rig.put(0x3f6, 0);
    assert_eq!(rig.get(0x3f6), 0xc0, "it may still write to memory");
    rig.put(0x1f7, 0xec);
    assert_eq!(rig.get(0x3f6), 0xc0);
    rig.edges();
    rig.disk.end(0);
    rig.wake();
    assert_eq!(
        (rig.edges(), rig.status(), rig.get(0x1f2)),
        (vec![], 0x50, 1)
    );
    rig.command([1, 3, 0, 0, LBA], 0x20);
    rig.shell.with(Component::reset);
    rig.enable();
    assert_eq!(
        (rig.status(), rig.disk.held()),
        (0x50, 0),
        "a machine's reset waits"
    );
}
