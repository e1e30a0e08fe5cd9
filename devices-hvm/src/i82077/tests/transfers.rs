use super::*;

const READ: u8 = 0xe6;
const WRITE: u8 = 0xc5;

/// A command on drive A: head, C, H, R, EOT.
fn bytes(code: u8, head: u8, [cylinder, side, sector, last]: [u8; 4]) -> [u8; 9] {
    [code, head << 2, cylinder, side, sector, 2, last, 0x1b, 0xff]
}

#[test]
fn results_name_the_next_sector_as_table_5_5_does() {
    // MT, head, R, EOT: C, H and R of the result, when one sector was moved to terminal count.
    for (multi, head, sector, last, wanted) in [
        (false, 0, 4, 18, [0, 0, 5]),
        (false, 0, 18, 18, [1, 0, 1]),
        (false, 1, 4, 18, [0, 1, 5]),
        (false, 1, 18, 18, [1, 1, 1]),
        (true, 0, 4, 18, [0, 0, 5]),
        (true, 0, 18, 18, [0, 1, 1]),
        (true, 1, 4, 18, [0, 1, 5]),
        (true, 1, 18, 18, [1, 0, 1]),
    ] {
        let mut rig = Rig::new();
        rig.channel.open(SECTOR);
        let code = if multi { READ } else { READ & 0x7f };
        let result = rig.command(&bytes(code, head, [0, head, sector, last]));
        assert_eq!(result[..3], [head << 2, 0, 0]);
        assert_eq!(result[3..6], wanted, "{multi} {head} {sector}");
        let number = usize::from(head) * 18 + usize::from(sector) - 1;
        assert_eq!(rig.channel.take(), [content(number); SECTOR]);
        assert_eq!(rig.host.levels.take(), [true, false]);
    }
}

#[test]
fn a_whole_cylinder_goes_over_both_sides() {
    let mut rig = Rig::new();
    rig.channel.open(36 * SECTOR);
    let result = rig.command(&bytes(READ, 0, [0, 0, 1, 18]));
    assert_eq!(result, [4, 0, 0, 1, 0, 1, 2]);
    let data = rig.channel.take();
    for (number, sector) in data.chunks(SECTOR).enumerate() {
        assert_eq!(sector, [content(number); SECTOR]);
    }
    assert_eq!(data.len(), 36 * SECTOR);
    // More than that, or more than EOT, is told of.
    rig.channel.open(usize::MAX);
    assert_eq!(
        rig.command(&bytes(READ, 0, [0, 0, 1, 18]))[..3],
        [0x44, 0x80, 0]
    );
    assert_eq!(rig.channel.take().len(), 36 * SECTOR);
    assert_eq!(
        rig.command(&bytes(READ & 0x7f, 0, [0, 0, 3, 4]))[..3],
        [0x40, 0x80, 0]
    );
    assert_eq!(rig.channel.take().len(), 2 * SECTOR);
    // EOT in front of R, or behind the track: until no sector is found.
    for last in [1, 200] {
        let result = rig.command(&bytes(READ, 0, [0, 0, 17, last]));
        assert_eq!(result, [0x40, 4, 0, 0, 0, 19, 2]);
        assert_eq!(rig.channel.take().len(), 2 * SECTOR);
    }
}

#[test]
fn ids_that_are_not_there_are_not_found() {
    for (command, wanted) in [
        (bytes(READ, 0, [1, 0, 1, 18]), [4, 0x10]),
        (bytes(READ, 0, [0, 1, 1, 18]), [4, 0]),
        (bytes(READ, 0, [0, 0, 0, 18]), [4, 0]),
        (bytes(READ, 0, [0, 0, 19, 255]), [4, 0]),
        (bytes(WRITE, 0, [0, 0, 19, 255]), [4, 0]),
        ([READ, 0, 0, 0, 1, 3, 18, 0x1b, 0xff], [4, 0]),
        ([READ, 0, 0, 0, 1, 0, 18, 0x1b, 0x80], [4, 0]),
    ] {
        let mut rig = Rig::new();
        rig.channel.open(usize::MAX);
        let result = rig.command(&command);
        assert_eq!(
            (result[0], &result[1..3]),
            (0x40, &wanted[..]),
            "{command:02x?}"
        );
        assert_eq!(result[3..], command[2..6]);
        assert_eq!((rig.disk.take_seen(), rig.channel.take()), (vec![], vec![]));
    }
    // One side.
    let mut rig = Rig::of(320);
    assert_eq!(
        rig.command(&bytes(READ, 1, [0, 1, 1, 8]))[..3],
        [0x44, 1, 0]
    );
}

#[test]
fn an_implied_seek_goes_where_the_sector_is() {
    let mut rig = Rig::new();
    rig.command(&[0x13, 0, 0x40, 0]);
    rig.channel.open(SECTOR);
    let result = rig.command(&bytes(READ, 0, [9, 0, 1, 18]));
    assert_eq!(result[..3], [0x20, 0, 0]);
    assert_eq!(rig.channel.take(), [content(9 * 36); SECTOR]);
    assert_eq!(rig.command(&[0x0e])[0], 9);
    rig.channel.open(SECTOR);
    assert_eq!(rig.command(&bytes(READ, 0, [9, 0, 1, 18]))[0], 0);
}

#[test]
fn writes_are_padded_to_a_sector() {
    let mut rig = Rig::new();
    rig.channel
        .with(|memory| memory.written = vec![0xa5; SECTOR + 3]);
    rig.channel.open(SECTOR + 3);
    let result = rig.command(&bytes(WRITE, 0, [0, 0, 5, 18]));
    assert_eq!(result, [0, 0, 0, 0, 0, 7, 2]);
    assert_eq!(rig.disk.sector(4), Some(0xa5));
    assert_eq!(rig.disk.sector(5), None);
    assert_eq!(rig.disk.sector(6), Some(content(6)));
    rig.channel.open(SECTOR);
    rig.command(&bytes(READ, 0, [0, 0, 6, 18]));
    assert_eq!(
        rig.channel.take(),
        [[0xa5; 3].to_vec(), vec![0; SECTOR - 3]].concat()
    );
}

#[test]
fn a_protected_disk_is_not_written() {
    let host = TestHost::new();
    let disk = MemoryStorage::new(host.memory.ram().clone(), SECTORS);
    disk.change(|geometry| geometry.read_only = true);
    let mut rig = Rig::new();
    rig.chip
        .change_disk(0, Some(Box::new(disk.clone())))
        .unwrap();
    assert_eq!(rig.command(&[0x04, 0]), [0x78]);
    assert_eq!(
        rig.command(&bytes(WRITE, 0, [0, 0, 1, 18]))[..3],
        [0x40, 2, 0]
    );
    assert_eq!(
        rig.command(&[0x4d, 0, 2, 18, 0x54, 0xf6])[..3],
        [0x40, 2, 0]
    );
    assert_eq!(disk.take_seen(), []);
    rig.channel.open(SECTOR);
    assert_eq!(rig.command(&bytes(READ, 0, [0, 0, 1, 18]))[..3], [0, 0, 0]);
}

#[test]
fn a_track_is_formatted_by_its_ids() {
    let mut rig = Rig::new();
    rig.send(&[0x0f, 0, 2]);
    rig.command(&[0x08]);
    // Interleaved; one of another cylinder, and one that the image does not have.
    let ids = |sectors: &[u8]| -> Vec<u8> {
        let ids = sectors.iter().map(|sector| [2, 1, *sector, 2]);
        ids.flatten().collect()
    };
    let mut order = ids(&[1, 3, 2]);
    order.extend([3, 1, 4, 2]);
    order.extend(ids(&[19]));
    rig.channel.with(|memory| memory.written = order);
    rig.channel.open(20);
    let result = rig.command(&[0x4d, 4, 2, 5, 0x54, 0xf6]);
    assert_eq!(result[..3], [4, 0, 0]);
    let first = 2 * 36 + 18;
    for sector in 0..3 {
        assert_eq!(rig.disk.sector(first + sector), Some(0xf6));
    }
    assert_eq!(rig.disk.sector(first + 3), Some(content(first + 3)));
    assert_eq!(rig.command(&[0x0e])[6], 5, "SC");
    assert_eq!(rig.command(&[0x4d, 4, 2, 0, 0x54, 0xf6])[..3], [4, 0, 0]);
}

#[test]
fn without_dma_each_byte_goes_through_the_fifo() {
    let mut rig = Rig::new();
    rig.command(&[0x03, 0xaf, 0x03]);
    rig.send(&bytes(READ & 0x7f, 0, [0, 0, 2, 3]));
    assert_eq!(rig.host.levels.take(), [true]);
    for sector in 1..3 {
        for _ in 0..SECTOR {
            assert_eq!(rig.read(4), 0xf0);
            assert_eq!(rig.read(5), content(sector));
            assert_eq!(rig.host.levels.take(), [false, true]);
        }
    }
    // There is no terminal count: the end of the track ends it.
    assert_eq!(rig.result(), [0x40, 0x80, 0, 1, 0, 1, 2]);
    assert_eq!(rig.host.levels.take(), [false]);

    rig.send(&bytes(WRITE & 0x7f, 0, [0, 0, 2, 2]));
    for _ in 0..SECTOR {
        assert_eq!(rig.read(4), 0xb0);
        assert!(rig.chip.read(5, &mut [0]).is_err());
        rig.write(5, 0x5a);
    }
    assert_eq!(rig.result(), [0x40, 0x80, 0, 1, 0, 1, 2]);
    assert_eq!(rig.disk.sector(1), Some(0x5a));
    assert!(!rig.channel.with(|memory| memory.dreq));
}

#[test]
fn a_command_waits_for_storage_and_channel() {
    let mut rig = Rig::new();
    rig.disk.hold(true);
    rig.send(&bytes(READ, 0, [0, 0, 1, 18]));
    rig.script("r 4 -> 10\n r 5 -> error\n w 5 00 -> error");
    assert_eq!(rig.disk.held(), 1);
    assert!(!rig.channel.with(|memory| memory.dreq));
    assert!(rig.disk.end(0));
    rig.chip.wake();
    // Now it waits for the channel.
    assert!(rig.channel.with(|memory| memory.dreq));
    rig.channel.open(100);
    rig.chip.wake();
    assert_eq!(rig.channel.take().len(), 100);
    assert_eq!(rig.result()[..3], [0, 0, 0]);
    assert!(!rig.channel.with(|memory| memory.dreq));
    // Another drive may be selected meanwhile.
    rig.send(&bytes(READ, 0, [0, 0, 1, 18]));
    rig.write(2, 0x1d);
    rig.channel.open(SECTOR);
    assert!(rig.disk.end(0));
    rig.chip.wake();
    assert_eq!(rig.channel.take(), [content(0); SECTOR]);
}

#[test]
fn a_storage_that_fails_is_a_bad_sector() {
    let mut rig = Rig::new();
    rig.disk.fail(Some(std::io::ErrorKind::Other));
    let result = rig.command(&bytes(READ, 0, [0, 0, 3, 18]));
    assert_eq!(result, [0x40, 0x20, 0x20, 0, 0, 3, 2]);
    rig.channel.open(SECTOR);
    rig.channel.with(|memory| memory.written = vec![1; SECTOR]);
    let result = rig.command(&bytes(WRITE, 0, [0, 0, 3, 18]));
    assert_eq!(result, [0x40, 4, 0, 0, 0, 3, 2]);
    rig.disk.fail(None);
    rig.disk.hold(true);
    rig.send(&bytes(READ, 0, [0, 0, 3, 18]));
    rig.chip.change_disk(0, None).unwrap();
    assert_eq!(rig.result(), [0x40, 1, 0, 0, 0, 3, 2]);
}
