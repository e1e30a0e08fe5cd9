use super::*;

#[test]
fn commands_without_data_answer_as_the_table_says() {
    let mut rig = Rig::new();
    assert_eq!(rig.command(&[0x10]), [0x90]);
    assert_eq!(rig.command(&[0x08]), [0x80]);
    assert_eq!(rig.command(&[0x04, 0]), [0x38]);
    assert_eq!(rig.command(&[0x04, 0xff]), [0x3f]);
    rig.send(&[0x0f, 0, 7]);
    assert_eq!(rig.host.levels.take(), [true]);
    assert_eq!(rig.command(&[0x08]), [0x20, 7]);
    assert_eq!(rig.host.levels.take(), [false]);
    assert_eq!(rig.command(&[0x04, 0]), [0x28]);
    assert_eq!(rig.command(&[0x4a, 4]), [4, 0, 0, 7, 1, 1, 2]);
    rig.send(&[0x07, 0]);
    assert_eq!(rig.command(&[0x08]), [0x20, 0]);
    assert_eq!(rig.command(&[0x13, 0, 0x65, 3]), []);
    assert_eq!(rig.command(&[0x03, 0xdf, 0x02]), []);
    assert_eq!(rig.command(&[0x12, 0x95]), []);
    assert_eq!(rig.command(&[0x12, 0x2a]), []);
    assert_eq!(
        rig.command(&[0x0e]),
        [0, 0, 0, 0, 0xdf, 2, 0, 0x16, 0x65, 3]
    );
}

#[test]
fn other_bytes_are_no_commands() {
    let known = |byte: u8| {
        matches!(
            byte,
            0x03 | 0x04 | 0x07 | 0x08 | 0x0e | 0x0f | 0x10 | 0x12 | 0x13 | 0x14 | 0x94
        ) || matches!(byte & 0x1f, 0x06)
            || matches!(byte & 0x3f, 0x05)
            || matches!(byte & 0xbf, 0x0d | 0x0a)
    };
    let mut rig = Rig::new();
    let mut invalid = 0;
    for byte in (0..=u8::MAX).filter(|byte| !known(*byte)) {
        assert_eq!(rig.command(&[byte]), [0x80], "{byte:#x}");
        invalid += 1;
    }
    assert_eq!((invalid, rig.host.levels.take()), (229, vec![]));
}

/// VENOM (CVE-2015-3456) and its kind: bytes that nobody waits for go nowhere.
#[test]
fn the_fifo_holds_no_more_than_it_has_room_for() {
    // DRIVE SPECIFICATION, whose parameters had no end; READ ID, whose ones were not counted while it was under way.
    for begin in [&[0x8e_u8][..], &[0x4a, 0], &[0xe6], &[0x0e]] {
        let mut rig = Rig::new();
        rig.disk.hold(true);
        rig.send(begin);
        for byte in 0..2000_u32 {
            let byte = byte.to_le_bytes()[0] & 0x7f | 0x01;
            let _taken = rig.chip.write(5, &[byte]);
            assert!(rig.chip.core.fifo.rest().len() <= 16);
        }
        rig.write(4, 0x80);
        rig.chip.core.settle();
        assert_eq!(rig.command(&[0x10]), [0x90], "{begin:02x?}");
    }
    let mut fifo = fifo::Fifo::of(&[7; 40]);
    assert_eq!(fifo.rest(), [7; fifo::SIZE]);
    assert_eq!((0..40).filter_map(|_| fifo.pop()).count(), fifo::SIZE);
}

#[test]
fn heads_stay_where_they_are_when_the_chip_forgets() {
    let mut rig = Rig::new();
    rig.send(&[0x0f, 0, 10]);
    rig.write(4, 0x80);
    for _ in 0..4 {
        rig.command(&[0x08]);
    }
    // It is thought to be on cylinder 0: the step goes to 15.
    rig.send(&[0x0f, 0, 5]);
    assert_eq!(rig.command(&[0x08]), [0x20, 5]);
    assert_eq!(rig.command(&[0x4a, 0]), [0, 0, 0, 15, 0, 1, 2]);
    // Out as far as it goes: 83, of which RECALIBRATE makes 79 steps at a time.
    rig.send(&[0x0f, 0, 255]);
    assert_eq!(rig.command(&[0x08]), [0x20, 255]);
    assert_eq!(rig.command(&[0x4a, 0])[..2], [0x40, 1]);
    rig.send(&[0x07, 0]);
    assert_eq!(rig.command(&[0x08]), [0x70, 0]);
    rig.send(&[0x07, 0]);
    assert_eq!(rig.command(&[0x08]), [0x20, 0]);
}

#[test]
fn the_line_is_high_until_each_seek_was_told_of() {
    let mut rig = Rig::new();
    rig.send(&[0x0f, 0, 3]);
    rig.send(&[0x0f, 1, 4]);
    assert_eq!(rig.host.levels.take(), [true]);
    assert_eq!(rig.command(&[0x08]), [0x20, 3]);
    // Nor does the end of another command take it away.
    assert_eq!(rig.command(&[0x4a, 0])[..2], [0, 0]);
    assert_eq!(rig.host.levels.take(), []);
    assert_eq!(rig.command(&[0x08]), [0x21, 4]);
    assert_eq!(rig.host.levels.take(), [false]);
}

#[test]
fn a_reset_is_told_of_by_its_own_command_alone() {
    let mut rig = Rig::new();
    rig.write(4, 0x80);
    assert_eq!(rig.host.levels.take(), [true]);
    assert_eq!(rig.command(&[0x10]), [0x90]);
    assert_eq!(rig.command(&[0x0e]).len(), 10);
    assert_eq!(rig.host.levels.take(), []);
    assert_eq!(rig.command(&[0x08]), [0xc0, 0]);
    assert_eq!(rig.host.levels.take(), [false]);
}

#[test]
fn a_drive_that_is_not_there_finds_nothing() {
    let mut rig = Rig::new();
    rig.write(2, 0x2d);
    rig.send(&[0x07, 1]);
    assert_eq!(rig.command(&[0x08]), [0x71, 0]);
    rig.send(&[0x0f, 1, 4]);
    assert_eq!(rig.command(&[0x08]), [0x21, 4]);
    assert_eq!(rig.command(&[0x04, 1]), [0x29]);
    assert_eq!(rig.command(&[0x4a, 1]), [0x41, 1, 0, 0, 0, 0, 0]);
    let read = [0xe6, 1, 0, 0, 1, 2, 18, 0x1b, 0xff];
    assert_eq!(rig.command(&read)[..3], [0x41, 1, 0]);
}

#[test]
fn a_motor_a_rate_and_mfm_are_needed() {
    let mut rig = Rig::new();
    assert_eq!(rig.command(&[0x0a, 0])[..2], [0x40, 1]);
    rig.write(2, 0x0c);
    assert_eq!(rig.command(&[0x4a, 0])[..2], [0x40, 1]);
    rig.write(2, 0x1c);
    for rate in 1..4 {
        rig.write(7, rate);
        assert_eq!(rig.command(&[0x4a, 0])[..2], [0x40, 1]);
    }
    rig.write(7, 0);
    assert_eq!(rig.command(&[0x4a, 0])[..2], [0, 0]);
}

#[test]
fn each_size_is_a_format() {
    for (kib, cylinders, heads, sectors, rate, kind) in [
        (160, 40, 1, 8, 2, 1),
        (180, 40, 1, 9, 2, 1),
        (320, 40, 2, 8, 2, 1),
        (360, 40, 2, 9, 2, 1),
        (720, 80, 2, 9, 2, 3),
        (1200, 80, 2, 15, 0, 2),
        (1440, 80, 2, 18, 0, 4),
        (1680, 80, 2, 21, 0, 4),
        (2880, 80, 2, 36, 3, 5),
    ] {
        let format = Format::of(kib << 10).unwrap();
        assert_eq!(
            (format.cylinders, format.heads, format.sectors),
            (cylinders, heads, sectors)
        );
        assert_eq!((format.rate, format.drive as u8), (rate, kind));
        let mut rig = Rig::of(u32::try_from(kib).unwrap() * 2);
        // The last sector of all is read, the one behind it not there.
        let (cylinder, head) = (cylinders - 1, heads - 1);
        rig.send(&[0x0f, 0, cylinder]);
        rig.command(&[0x08]);
        rig.channel.open(SECTOR);
        let read = |sector| {
            [
                0x46,
                head << 2,
                cylinder,
                head,
                sector,
                2,
                sector,
                0x1b,
                0xff,
            ]
        };
        let result = rig.command(&read(sectors));
        assert_eq!(result[..3], [head << 2, 0, 0], "{kib}");
        let last = usize::try_from(kib).unwrap() * 2 - 1;
        assert_eq!(rig.channel.take(), [content(last); SECTOR], "{kib}");
        let result = rig.command(&read(sectors + 1));
        assert_eq!(result[..3], [0x40 | head << 2, 4, 0], "{kib}");
    }
    for bytes in [0, 1, 512, 1_474_559, 1_474_561, 2 << 20, u64::MAX] {
        assert_eq!(Format::of(bytes), Err(SizeError { bytes }));
    }
}
