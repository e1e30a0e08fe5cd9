use super::*;

#[test]
fn ports_answer_as_the_table_says() {
    let mut rig = Rig::cold(SECTORS);
    rig.script(
        "r 0 -> ff\n r 1 -> ff\n w 0 00 -> error\n w 1 00 -> error\n r 6 -> error\n w 6 00 -> error
         r 2 -> 00\n r 3 -> fc\n w 3 ff\n r 3 -> ff\n w 3 02\n r 3 -> fe\n r 4 -> 00\n r 5 -> error\n w 5 08 -> error
         r 7 -> ff
         # It runs
         w 2 0c\n r 2 -> 0c\n r 4 -> 80\n r 5 -> error
         # Drive B is not there, and has nothing to tell
         w 2 0d\n r 7 -> 7f\n w 2 fc\n r 2 -> fc\n r 7 -> ff",
    );
    // The rates of DSR and CCR are the same.
    for (offset, value) in [(7, 0), (4, 0)] {
        rig.write(7, 2);
        assert_eq!(rig.command(&[0x4a, 0])[..2], [0x40, 1]);
        rig.write(offset, value);
        assert_eq!(rig.command(&[0x4a, 0])[..2], [0, 0]);
    }
}

#[test]
fn the_data_rate_outlives_a_reset_of_the_chip_alone() {
    // 720 KiB, whose rate is that of power-on.
    let mut rig = Rig::cold(1440);
    let found = |rig: &mut Rig| rig.command(&[0x4a, 0])[..2] == [0, 0];
    rig.write(2, 0x1c);
    assert!(found(&mut rig));
    rig.write(7, 0);
    assert!(!found(&mut rig));
    rig.script("w 2 18\n w 2 1c");
    assert!(!found(&mut rig));
    // DSR's reset comes with a rate; precompensation and power down are without effect.
    rig.write(4, 0xde);
    assert!(found(&mut rig));
    rig.write(7, 0);
    rig.chip.reset();
    rig.write(2, 0x1c);
    assert!(found(&mut rig));
}

#[test]
fn each_drive_has_its_motor_its_disk_and_its_change() {
    let host = TestHost::new();
    let disks = [1440, 2880].map(|sectors| MemoryStorage::new(host.memory.ram().clone(), sectors));
    for (disk, content) in disks.iter().zip([0xaa, 0xbb]) {
        disk.put(0, &[content; SECTOR]);
    }
    let drives = disks.each_ref().map(|disk| {
        let drive = DriveConfig::with(Box::new(disk.clone()));
        Some(drive.unwrap())
    });
    let channel = TestChannel::default();
    let chip = I82077::new(drives, host.line(), Box::new(channel.clone()));
    let [_, disk] = disks;
    let mut rig = Rig {
        host,
        disk,
        channel,
        chip: chip.unwrap(),
    };
    for (drive, rate, content) in [(0, 2, 0xaa), (1, 0, 0xbb)] {
        rig.write(7, rate);
        let read = [0xe6, drive, 0, 0, 1, 2, 1, 0x1b, 0xff];
        rig.channel.open(SECTOR);
        rig.write(2, 0x0c | drive | 0x20 >> drive);
        assert_eq!(
            rig.command(&read)[..2],
            [0x40 | drive, 1],
            "its motor stands"
        );
        rig.write(2, 0x0c | drive | 0x10 << drive);
        assert_eq!(rig.command(&read)[..2], [drive, 0]);
        assert_eq!(rig.channel.take(), [content; SECTOR]);
        assert_eq!(rig.read(7), 0xff);
        rig.send(&[0x0f, drive, 1]);
        assert_eq!(rig.read(7), 0x7f, "the other one's is its own");
    }
}

#[test]
fn a_hard_reset_is_power_on() {
    let mut rig = Rig::new();
    rig.write(3, 1);
    rig.send(&[0x0f, 0, 5]);
    rig.command(&[0x13, 0, 0x57, 9]);
    rig.command(&[0x94]);
    rig.chip.reset();
    rig.script("r 2 -> 00\n r 3 -> fc\n r 4 -> 00\n w 2 0c");
    let dump = [0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0];
    assert_eq!(rig.command(&[0x0e]), dump);
    rig.write(2, 0x1c);
    assert_eq!(rig.command(&[0x04, 0]), [0x38], "on cylinder 0");
}

#[test]
fn a_reset_is_told_of_by_four_interrupts() {
    // By DOR, and by DSR.
    for script in ["w 2 18\n r 4 -> 00\n w 2 1c", "w 4 80"] {
        let mut rig = Rig::new();
        rig.script(script);
        assert_eq!(rig.host.levels.take(), [true], "{script}");
        for drive in 0..4 {
            assert_eq!(rig.command(&[0x08]), [0xc0 | drive, 0]);
            let level: &[bool] = if drive == 0 { &[false] } else { &[] };
            assert_eq!(rig.host.levels.take(), level);
        }
        assert_eq!(rig.command(&[0x08]), [0x80]);
    }
}

#[test]
fn a_reset_in_mid_command_forgets_it() {
    for count in 1..9 {
        let mut rig = Rig::new();
        rig.send(&[0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff][..count]);
        assert_eq!(rig.read(4), 0x90);
        rig.script("w 4 80\n r 4 -> 80");
        assert_eq!(rig.command(&[0x10]), [0x90]);
    }
    // In the middle of a result, of data, and of what the storage does.
    let mut rig = Rig::new();
    rig.send(&[0x0e]);
    rig.read(5);
    rig.script("w 4 80\n r 4 -> 80");
    rig.send(&[0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff]);
    assert_eq!(
        (rig.read(4), rig.channel.with(|memory| memory.dreq)),
        (0x10, true)
    );
    rig.script("w 4 80\n r 4 -> 80");
    assert!(!rig.channel.with(|memory| memory.dreq));
    rig.disk.hold(true);
    rig.send(&[0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff]);
    rig.script("r 4 -> 10\n w 4 80\n r 4 -> 00");
    assert!(rig.disk.end(0));
    rig.chip.wake();
    rig.script("r 4 -> 80");
    assert_eq!(rig.command(&[0x08]), [0xc0, 0]);
}

#[test]
fn lock_keeps_the_fifo_and_a_reset_the_rest() {
    let mut rig = Rig::new();
    rig.command(&[0x03, 0xaf, 0x02]);
    rig.command(&[0x12, 0xbf]);
    rig.command(&[0x13, 0, 0x57, 9]);
    assert_eq!(rig.command(&[0x94]), [0x10]);
    assert_eq!(rig.command(&[0x0e])[4..], [0xaf, 0x02, 0, 0xbf, 0x57, 9]);
    rig.write(4, 0x80);
    assert_eq!(rig.command(&[0x0e])[4..], [0xaf, 0x02, 0, 0xbc, 0x07, 9]);
    assert_eq!(rig.command(&[0x14]), [0]);
    rig.write(4, 0x80);
    assert_eq!(rig.command(&[0x0e])[4..], [0xaf, 0x02, 0, 0x3c, 0x20, 0]);
}

#[test]
fn the_gate_holds_interrupts_and_requests() {
    let mut rig = Rig::new();
    rig.write(2, 0x14);
    rig.send(&[0x0f, 0, 3]);
    rig.send(&[0xe6, 0, 3, 0, 1, 2, 18, 0x1b, 0xff]);
    assert_eq!(rig.host.levels.take(), []);
    assert!(!rig.channel.with(|memory| memory.dreq));
    rig.channel.open(SECTOR);
    rig.write(2, 0x1c);
    assert_eq!(rig.host.levels.take(), [true]);
    assert_eq!(rig.channel.take().len(), SECTOR);
}

#[test]
fn a_step_ends_the_disk_change() {
    let mut rig = Rig::new();
    rig.script("r 7 -> ff");
    // No step is made to where the head is.
    rig.send(&[0x07, 0]);
    rig.script("r 7 -> ff");
    rig.send(&[0x0f, 0, 1]);
    rig.script("r 7 -> 7f");
    let disk = MemoryStorage::new(rig.host.memory.ram().clone(), 1440);
    rig.chip.change_disk(0, Some(Box::new(disk))).unwrap();
    rig.script("r 7 -> ff");
    rig.send(&[0x0f, 0, 2]);
    rig.script("r 7 -> 7f");
    rig.chip.change_disk(0, None).unwrap();
    rig.send(&[0x0f, 0, 3]);
    rig.script("r 7 -> ff");
    assert_eq!(rig.chip.change_disk(1, None), Err(DiskError::NoDrive));
    let odd = MemoryStorage::new(rig.host.memory.ram().clone(), 1441);
    let refused = rig.chip.change_disk(0, Some(Box::new(odd))).unwrap_err();
    assert!(refused.to_string().contains("737792 bytes"), "{refused}");
}
