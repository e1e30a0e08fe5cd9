//! Saved state.

use trivisor_buses::testing::check_golden;

use super::state::{DriveStateV1, KIND, VERSION};
use super::*;

/// Makes a state impossible.
type Break<'a> = &'a dyn Fn(&mut DriveStateV1);

/// A second machine of the same drives, restored from the first.
fn twin(rig: &Rig) -> Rig {
    let saved = rig.shell.with(|ide| ide.save());
    let mut twin = Rig::new();
    let restored = twin.shell.with(|ide| ide.restore(&saved));
    assert_eq!(restored, Ok(()));
    assert_eq!(twin.shell.with(|ide| ide.save()), saved);
    assert_eq!(twin.edges(), [], "no edge");
    twin.shell.with(Component::start);
    let mut table = [0; 64];
    rig.host.memory.read(0x1000, &mut table).unwrap();
    twin.host.memory.write(0x1000, &table).unwrap();
    twin.view = twin._ports.view();
    twin
}

#[test]
fn commands_go_on_where_they_were() {
    // In the middle of a block, of a write, of a DMA, of a packet, of an answer, of blocks.
    let mut rig = Rig::new();
    rig.put(0x3f6, 0);
    rig.command_ext(5, 300, 0x24);
    rig.read_words(300);
    let mut rig = twin(&rig);
    assert_eq!(rig.read_words(212), sectors(6, 1)[88..]);
    for sector in 7..305 {
        assert_eq!(rig.read_words(256), sectors(sector, 1));
    }
    assert_eq!(rig.status(), 0x50);
    rig.command([2, 1, 0, 0, 0xe0], 0x30);
    rig.write_words(&[0xab; 600]);
    let mut rig = twin(&rig);
    rig.write_words(&[0xab; 424]);
    assert_eq!(
        (rig.status(), rig.disk.sector(1), rig.disk.sector(2)),
        (0x50, Some(0xab), Some(0xab))
    );
    rig.table(&[(0x8000, 0x200)]);
    rig.command([1, 9, 0, 0, 0xe0], 0xc8);
    let mut rig = twin(&rig);
    rig.put(BMIBA_AT, 9);
    assert_eq!(
        (rig.status(), rig.memory(0x8000, 0x200)),
        (0x50, sectors(9, 1))
    );
    rig.command([0, 0, 0, 8, 0xb0], 0xa0);
    rig.write_words(&[0x28, 0, 0, 0]);
    let mut rig = twin(&rig);
    rig.write_words(&[0, 3, 0, 0, 2, 0, 0, 0]);
    rig.read_words(1000);
    let mut rig = twin(&rig);
    assert_eq!(rig.read_words(24), sectors(12, 4)[2000..]);
    assert_eq!(rig.read_words(1024), sectors(16, 4));
    assert_eq!(rig.status(), 0x50);
    rig.send_packet(&[0x12, 0, 0, 0, 36], 2048, 1);
    let mut rig = twin(&rig);
    rig.put(BMIBA_AT, 0);
    rig.table(&[(0x8000, 36)]);
    rig.put(BMIBA_AT, 9);
    assert_eq!((rig.status(), rig.memory(0x8000, 2)), (0x50, vec![5, 0x80]));
}

#[test]
fn what_the_storage_has_ends_with_the_pause() {
    let mut rig = Rig::new();
    rig.disk.hold(true);
    rig.command([1, 5, 0, 0, 0xe0], 0x20);
    // Who does not pause loses the command, and the guest hears of it.
    let lost = rig.shell.with(|ide| ide.save());
    rig.shell.with(Component::pause);
    let mut kept = twin(&rig);
    assert_eq!(kept.read_words(256), sectors(5, 1));
    let restored = kept.shell.with(|ide| ide.restore(&lost));
    assert_eq!(restored, Ok(()));
    assert_eq!((kept.status(), kept.get(0x1f1)), (0x41, 4));
    // A storage that never tells.
    rig.disk.lose();
    rig.shell.with(Component::reset);
    rig.enable();
    rig.command([1, 5, 0, 0, 0xe0], 0x20);
    rig.shell.with(Component::pause);
    assert_eq!((rig.status(), rig.get(0x1f1)), (0x41, 0x40));
}

#[test]
fn what_a_chip_cannot_have_is_refused() {
    let mut rig = Rig::new();
    rig.command([2, 5, 0, 0, 0xe0], 0x20);
    let good: IdeStateV1 = rig
        .shell
        .with(|ide| ide.save())
        .decode(KIND, VERSION)
        .unwrap();
    let refused = |break_it: &dyn Fn(&mut IdeStateV1)| {
        let mut state = good.clone();
        break_it(&mut state);
        let saved = SavedState::encode(KIND, VERSION, &state);
        let before = rig.shell.with(|ide| ide.save());
        let restored = rig.shell.with(|ide| ide.restore(&saved));
        assert_eq!(rig.shell.with(|ide| ide.save()), before);
        restored.is_err()
    };
    assert!(!refused(&|_| ()));
    let channel: [&dyn Fn(&mut state::ChannelStateV1); 7] = [
        &|channel| channel.device = 0,
        &|channel| channel.control = 1,
        &|channel| channel.bmic = 0x10,
        &|channel| channel.bmis = 0x80,
        &|channel| channel.bmis = 1,
        &|channel| channel.bmidtp = 1,
        &|channel| channel.drives[1] = None,
    ];
    for break_it in channel {
        assert!(refused(&|state| break_it(&mut state.channels[0])));
    }
    let drive: [(usize, Break<'_>); 24] = [
        (0, &|drive| drive.phase = 4),
        (0, &|drive| drive.phase = 0),
        (0, &|drive| drive.phase = 2),
        (0, &|drive| drive.phase = 3),
        (0, &|drive| drive.registers[10] = 0),
        (0, &|drive| drive.registers[10] ^= 0x10),
        (0, &|drive| drive.registers[11] = 0x50),
        (0, &|drive| drive.buffer.clear()),
        (0, &|drive| drive.buffer.resize(1 << 18, 0)),
        (0, &|drive| drive.buffer.resize(513, 0)),
        (0, &|drive| drive.at = drive.end),
        (0, &|drive| drive.end = u32::MAX),
        (0, &|drive| drive.disk.as_mut().unwrap().heads = 17),
        (0, &|drive| drive.disk.as_mut().unwrap().sectors = 0),
        (0, &|drive| drive.disk.as_mut().unwrap().multiple = 3),
        (0, &|drive| drive.disk.as_mut().unwrap().mode = 8),
        (0, &|drive| drive.disk.as_mut().unwrap().command = 0xec),
        (0, &|drive| drive.disk.as_mut().unwrap().command = 0xc8),
        (0, &|drive| drive.disk.as_mut().unwrap().lba = 1 << 48),
        (0, &|drive| drive.disk.as_mut().unwrap().left = 0x1_0001),
        (0, &|drive| drive.disk.as_mut().unwrap().block = 0),
        (0, &|drive| drive.disk = None),
        (1, &|drive| drive.cdrom.as_mut().unwrap().job = 3),
        (1, &|drive| drive.cdrom.as_mut().unwrap().event = 4),
    ];
    for (index, (at, break_it)) in drive.into_iter().enumerate() {
        let broken = refused(&|state| break_it(state.channels[0].drives[at].as_mut().unwrap()));
        assert!(broken, "number {index}");
    }
    assert!(refused(&|state| drop(state.channels.pop())));
    assert!(refused(&|state| state.endpoint.registers[0] ^= 1));
}

#[test]
fn released_states_stay_readable() {
    let rig = Rig::new();
    rig.shell.with(|ide| {
        check_golden(ide, KIND, VERSION, include_str!("../golden/v1.hex"));
    });
}
