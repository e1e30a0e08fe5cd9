use trivisor_buses::testing::check_golden;

use super::*;

fn check_twin(rig: &mut Rig) -> Rig {
    rig.chip.pause();
    let saved = rig.chip.save();
    let mut twin = Rig::cold(SECTORS);
    // The channel's own state has its level.
    twin.channel
        .with(|memory| memory.dreq = rig.channel.with(|memory| memory.dreq));
    twin.chip.restore(&saved).unwrap();
    assert_eq!(twin.chip.save(), saved);
    assert_eq!(twin.host.levels.take(), []);
    twin
}

#[test]
fn a_command_goes_on_after_a_restore() {
    let mut rig = Rig::new();
    rig.send(&[0x0f, 0, 2]);
    rig.send(&[0xe6, 0, 2]);
    let mut twin = check_twin(&mut rig);
    twin.send(&[0, 1, 2, 18, 0x1b, 0xff]);
    // The disk is read, the channel closed.
    let mut twin = check_twin(&mut twin);
    twin.channel.open(SECTOR + 5);
    twin.chip.start();
    assert_eq!(twin.channel.take()[..SECTOR], [content(72); SECTOR]);
    assert_eq!(twin.read(5), 0);
    let mut twin = check_twin(&mut twin);
    assert_eq!(twin.result(), [0, 0, 2, 0, 3, 2]);
    assert_eq!(twin.command(&[0x08]), [0x20, 2]);
    assert_eq!(twin.command(&[0x08]), [0x80]);
}

#[test]
fn a_pause_waits_for_the_storage() {
    let mut rig = Rig::new();
    rig.disk.hold(true);
    rig.send(&[0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff]);
    let mut twin = check_twin(&mut rig);
    twin.channel.open(SECTOR);
    twin.chip.start();
    assert_eq!(twin.channel.take(), [content(0); SECTOR]);
    // Saved without one, the sector is lost, and that is told.
    rig.send(&[]);
    let mut rig = Rig::new();
    rig.disk.hold(true);
    rig.send(&[0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff]);
    let saved = rig.chip.save();
    let mut twin = Rig::cold(SECTORS);
    twin.chip.restore(&saved).unwrap();
    assert_eq!(twin.result(), [0x40, 4, 0, 0, 0, 1, 2]);
}

#[test]
fn each_field_is_checked() {
    type Damage = fn(&mut I82077StateV1);
    let damages: [(&str, Damage); 17] = [
        ("tdr", |state| state.tdr = 4),
        ("dsr", |state| state.dsr = 0x80),
        ("configure", |state| state.configure = 0x80),
        ("perpendicular", |state| state.perpendicular = 0x40),
        ("pending", |state| state.pending[1] = Some(0x20)),
        ("phase", |state| state.phase = 4),
        ("length of fifo", |state| state.fifo.push(0x10)),
        ("phase in reset", |state| state.dor = 0),
        ("job", |state| state.job = None),
        ("what", |state| state.job.as_mut().unwrap().what = 3),
        ("unit", |state| state.job.as_mut().unwrap().unit = 8),
        ("length of data", |state| {
            state.job.as_mut().unwrap().data.truncate(3)
        }),
        ("at", |state| state.job.as_mut().unwrap().at = 512),
        ("drive of job", |state| {
            state.job.as_mut().unwrap().drive = 1
        }),
        ("drives", |state| {
            let _last = state.drives.pop();
        }),
        ("drive", |state| state.drives[0] = None),
        ("cylinder", |state| {
            state.drives[0].as_mut().unwrap().cylinder = 84
        }),
    ];
    let mut rig = Rig::new();
    rig.send(&[0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff]);
    let before = rig.chip.save();
    let state: I82077StateV1 = before.decode(state::KIND, state::VERSION).unwrap();
    for (wanted, damage) in damages {
        let mut damaged = state.clone();
        damage(&mut damaged);
        let damaged = SavedState::encode(state::KIND, state::VERSION, &damaged);
        let refused = rig.chip.restore(&damaged);
        let Err(RestoreError::Field { field, .. }) = refused else {
            panic!("{wanted}: {refused:?}");
        };
        assert_eq!(field, wanted);
        assert_eq!(rig.chip.save(), before);
    }
}

#[test]
fn the_golden_state_is_taken() {
    let mut rig = Rig::new();
    rig.send(&[0x0f, 0, 2]);
    rig.command(&[0x03, 0xaf, 0x02]);
    rig.send(&[0xe6, 0, 2, 0]);
    let golden = include_str!("golden.hex");
    check_golden(&mut rig.chip, state::KIND, 1, golden);
    let mut rig = Rig::cold(SECTORS);
    check_golden(&mut rig.chip, state::KIND, 1, golden);
    rig.channel.open(SECTOR);
    rig.send(&[1, 2, 1, 0x1b, 0xff]);
    assert_eq!(rig.result()[..3], [0, 0, 0]);
    assert_eq!(rig.channel.take(), [content(72); SECTOR]);
}
