//! The bus master's registers and tables.

use trivisor_buses::StorageOp;

use super::*;

/// Starts a read of so many sectors from 0 on; BMIS and Status.
fn read(rig: &mut Rig, count: u8) -> (u8, u8) {
    rig.put(BMIBA_AT, 8);
    rig.command([count, 0, 0, 0, 0xe0], 0xc8);
    rig.put(BMIBA_AT, 9);
    let seen = (rig.get(BMIBA_AT + 2), rig.get(0x3f6));
    rig.put(BMIBA_AT, 0);
    rig.status();
    seen
}

#[test]
fn registers_keep_what_they_have() {
    let mut rig = Rig::new();
    for base in [BMIBA_AT, BMIBA_AT + 8] {
        rig.put(base, 0xff);
        assert_eq!(rig.get(base), 0x09);
        assert_eq!(rig.get(base + 2), 0x01, "started");
        rig.put(base + 2, 0xff);
        assert_eq!(rig.get(base + 2), 0x61);
        rig.put(base, 0);
        assert_eq!((rig.get(base), rig.get(base + 2)), (0, 0x60));
        for at in [1, 3] {
            rig.put(base + at, 0xff);
            assert_eq!(rig.get(base + at), 0);
        }
        let mut data = [0; 4];
        rig.view.write((base + 4).into(), &[0xff; 4]);
        rig.view.read((base + 4).into(), &mut data);
        assert_eq!(data, [0xfc, 0xff, 0xff, 0xff]);
        rig.put(base + 6, 0x12);
        assert_eq!(rig.get(base + 6), 0x12);
    }
}

#[test]
fn tables_scatter_and_join() {
    let mut rig = Rig::new();
    rig.table(&[(0x8000, 2), (0x9001, 0x101), (0x9100, 0x2fe)]);
    assert_eq!(read(&mut rig, 2), (4, 0x50));
    let data = [
        rig.memory(0x8000, 2),
        rig.memory(0x9000, 0x100),
        rig.memory(0x9100, 0x2fe),
    ];
    assert_eq!(data.concat(), sectors(0, 2));
    // 0 is 64 KiB.
    rig.table(&[(0x2_0000, 0)]);
    assert_eq!(read(&mut rig, 128), (4, 0x50));
    assert_eq!(rig.memory(0x2_0000, 0x1_0000), sectors(0, 128));
    assert_eq!(rig.disk.take_seen()[1], (StorageOp::Read, 0, 0x1_0000));
}

#[test]
fn memory_of_another_size_shows_in_the_status() {
    let mut rig = Rig::new();
    rig.table(&[(0x8000, 0x400)]);
    assert_eq!(
        read(&mut rig, 1),
        (5, 0x50),
        "more memory: interrupt, still active"
    );
    rig.table(&[(0x8000, 0x200), (0xa000, 0x200)]);
    assert_eq!(
        read(&mut rig, 1),
        (5, 0x50),
        "a descriptor that is not needed"
    );
    rig.table(&[(0x8000, 0x200), (0xa000, 0x100)]);
    rig.host.memory.write(0x8000, &[0xee; 0x200]).unwrap();
    assert_eq!(
        read(&mut rig, 3),
        (0, 0x50),
        "less memory: no interrupt, not active"
    );
    assert_eq!(rig.memory(0x8000, 0x200), sectors(0, 1));
    rig.table(&[(0x8000, 0x100)]);
    assert_eq!(read(&mut rig, 1), (0, 0x50), "not even a sector");
    // A table that has no end, up to the end of its 64 KiB.
    rig.host
        .memory
        .write(0x1_fff8, &[0, 0x80, 0, 0, 2, 0, 0, 0])
        .unwrap();
    rig.view
        .write((BMIBA_AT + 4).into(), &0x1_fff8_u32.to_le_bytes());
    assert_eq!(read(&mut rig, 1), (0, 0x50));
}

/// From a double word that is no multiple of 8, descriptors never meet the end of the 64 KiB.
#[test]
fn a_table_ends_with_its_64_kib_wherever_it_begins() {
    let mut rig = Rig::new();
    // Two bytes each: a sector has 256 of them.
    let descriptor = [0, 0x80, 0, 0, 2, 0, 0, 0];
    for at in (0x1_f004..0x3_0000).step_by(descriptor.len()) {
        rig.host.memory.write(at, &descriptor).unwrap();
    }
    for (at, moved) in [(0x1_f7fc_u32, 5), (0x1_f804, 0), (0x1_fffc, 0)] {
        rig.view.write((BMIBA_AT + 4).into(), &at.to_le_bytes());
        rig.put(BMIBA_AT + 2, 0x06);
        assert_eq!(read(&mut rig, 1), (moved, 0x50), "{at:#x}");
    }
}

#[test]
fn what_is_no_memory_is_an_error() {
    let mut rig = Rig::new();
    // The table.
    rig.view
        .write((BMIBA_AT + 4).into(), &0xfff0_0000_u32.to_le_bytes());
    assert_eq!(read(&mut rig, 1), (6, 0x41));
    assert_eq!(rig.get(0x1f1), 4);
    // What it describes.
    rig.table(&[(0x8000, 0x100), (0xfff0_0000, 0x100)]);
    assert_eq!(read(&mut rig, 1), (6, 0x41));
    assert_eq!(rig.get(0x1f1), 4);
    rig.table(&[(0x8000, 0x200)]);
    assert_eq!(read(&mut rig, 1), (4, 0x50), "it goes on");
    // And of an answer that the drive has itself.
    rig.table(&[(0xfff0_0000, 0x100)]);
    rig.send_packet(&[0x12, 0, 0, 0, 36], 0, 1);
    rig.put(BMIBA_AT, 9);
    assert_eq!(
        (rig.get(BMIBA_AT + 2), rig.sense()),
        (6, (0x41, [0xb, 0, 0]))
    );
}

#[test]
fn stopping_takes_active_back_and_the_command_ends_by_itself() {
    let mut rig = Rig::new();
    rig.disk.hold(true);
    rig.table(&[(0x8000, 0x200)]);
    rig.command([1, 0, 0, 0, 0xe0], 0xc8);
    rig.put(BMIBA_AT, 9);
    rig.put(BMIBA_AT, 8);
    assert_eq!((rig.get(BMIBA_AT + 2), rig.get(0x3f6)), (0, 0xc0));
    rig.disk.end(0);
    rig.wake();
    assert_eq!((rig.get(BMIBA_AT + 2), rig.status()), (4, 0x50));
    // The order does not count: started first, then the command.
    rig.disk.hold(false);
    rig.table(&[(0x8000, 0x200)]);
    rig.put(BMIBA_AT, 9);
    rig.command([1, 1, 0, 0, 0xe0], 0xc8);
    assert_eq!((rig.get(BMIBA_AT + 2), rig.status()), (4, 0x50));
    assert_eq!(rig.memory(0x8000, 0x200), sectors(1, 1));
}
