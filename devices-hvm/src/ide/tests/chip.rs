//! Configuration space, decoding, and the two drives of a channel.

use super::*;
use crate::registers;

#[test]
fn configuration_space_is_as_its_table_says() {
    let host = TestHost::new();
    let storages = [(); 3].map(|()| storage(&host, 8));
    let rows = [
        (0x00, 0x7010_8086, 0x7010_8086),
        (0x04, 0x0280_0000, 0x0280_0005),
        (0x08, 0x0101_8000, 0x0101_8000),
        (0x0c, 0x0000_0000, 0x0000_f000),
        (0x20, 0x0000_0001, 0xffff_fff1),
        (0x40, 0x0000_0000, 0xffff_ffff),
        (0x44, 0x0000_0000, 0x0000_00ff),
    ];
    registers::check(|| ide(&host, storages.each_ref()), &rows);
}

#[test]
fn ports_answer_when_they_are_decoded() {
    let mut rig = Rig::new();
    assert_eq!(
        [0x1f7, 0x177, 0x3f6, 0x376].map(|port| rig.get(port)),
        [0x50; 4]
    );
    rig.config(0x40, &[0, 0]);
    assert_eq!(
        [0x1f7, 0x177, 0x3f6, 0x376].map(|port| rig.get(port)),
        [0xff, 0x50, 0xff, 0x50]
    );
    assert_eq!(rig.read_words(2), [0xff; 4]);
    rig.put(0x1f3, 9);
    rig.config(0x42, &[0, 0]);
    assert_eq!(rig.get(0x177), 0xff);
    rig.shell.with(|ide| ide.enable_channels().unwrap());
    assert_eq!(
        [0x1f3, 0x1f7, 0x177].map(|port| rig.get(port)),
        [1, 0x50, 0x50]
    );
    rig.config(0x04, &[0]);
    assert_eq!((rig.get(0x1f7), rig.get(BMIBA_AT)), (0xff, 0xff));
    rig.shell.with(Component::reset);
    rig.config(0x04, &[5]);
    assert_eq!(rig.get(0x1f7), 0x50, "what is enabled by the board stays");
}

#[test]
fn registers_go_to_both_drives_and_come_from_one() {
    let mut rig = Rig::new();
    rig.put(0x1f2, 0x12);
    rig.put(0x1f6, 0xb0);
    assert_eq!((rig.get(0x1f2), rig.status()), (0x12, 0));
    rig.put(0x1f3, 0x34);
    rig.put(0x1f6, 0xa0);
    assert_eq!((rig.get(0x1f3), rig.status()), (0x34, 0x50));
    // A word is two registers.
    rig.view.write(0x1f4, &[0x56, 0x78]);
    assert_eq!((rig.get(0x1f4), rig.get(0x1f5)), (0x56, 0x78));
    let mut word = [0; 2];
    rig.view.read(0x1f4, &mut word);
    assert_eq!(word, [0x56, 0x78]);
    // HOB, until the command block is written.
    rig.put(0x1f4, 0x9a);
    rig.put(0x3f6, 0x80);
    assert_eq!((rig.get(0x1f4), rig.get(0x1f5)), (0x56, 0));
    rig.put(0x1f1, 0);
    assert_eq!((rig.get(0x1f4), rig.get(0x1f5)), (0x9a, 0x78));
    // A drive that is not there takes no command, and a channel without one reads zero.
    rig.put(0x176, 0xb0);
    rig.put(0x177, 0xec);
    assert_eq!(
        [0x177, 0x171, 0x376, 0x176].map(|port| rig.get(port)),
        [0, 0, 0, 0xb0]
    );
    assert_eq!(rig.second.take_seen(), []);
    let empty = Ide::new(
        [[None, None], [None, None]],
        [Line::detached(), Line::detached()],
        rig.host.clone(),
    );
    let host = rig.host.clone();
    let storages = [rig.disk.clone(), rig.disc.clone(), rig.second.clone()];
    let mut rig = Rig::fit(host, empty.unwrap(), storages);
    rig.enable();
    rig.put(0x1f6, 0xa0);
    rig.put(0x1f2, 0x55);
    assert_eq!([0x1f2, 0x1f6, 0x1f7].map(|port| rig.get(port)), [0; 3]);
    let mut byte = [0; 2];
    rig.view.read(0x1f0, &mut byte);
    assert_eq!(byte, [0; 2]);
    rig.put(0x3f6, 4);
    rig.put(0x3f6, 0);
    rig.put(0x1f7, 0x90);
    assert_eq!(rig.get(0x1f7), 0);
}

#[test]
fn interrupts_are_those_of_the_selected_drive_unless_off() {
    let mut rig = Rig::new();
    rig.command([0, 0, 0, 0, 0xa0], 0xe5);
    assert_eq!((rig.edges(), rig.get(BMIBA_AT + 2)), (vec![true], 4));
    rig.put(0x1f6, 0xb0);
    rig.put(0x1f6, 0xa0);
    rig.put(0x3f6, 2);
    rig.put(0x3f6, 0);
    rig.status();
    // The other drive has none; off; read.
    assert_eq!(rig.edges(), [false, true, false, true, false]);
    rig.put(0x3f6, 2);
    rig.command([0, 0, 0, 0, 0xa0], 0xe5);
    assert_eq!(rig.edges(), []);
    rig.get(0x3f6);
    rig.put(0x3f6, 0);
    assert_eq!(rig.edges(), [true], "it was pending");
    // The next command ends it.
    rig.command([0, 0, 0, 0, 0xa0], 0xe5);
    assert_eq!(rig.edges(), [false, true]);
    rig.put(0x1f7, 0x90);
    assert_eq!((rig.get(0x1f1), rig.get(0x1f6)), (1, 0xa0));
}
