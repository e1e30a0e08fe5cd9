//! The tray, and discs that come and go.

use super::atapi::{answer, check, failure, request_sense};
use super::*;

fn change(rig: &Rig, disc: Option<&MemoryStorage>, force: bool) -> Result<(), DiscError> {
    let disc = disc.map(|disc| Box::new(disc.clone()) as Box<dyn Storage>);
    rig.shell.with(|ide| ide.change_disc(0, 1, disc, force))
}

#[test]
fn the_tray_opens_closes_and_is_locked() {
    let mut rig = Rig::new();
    let event = |rig: &mut Rig| answer(rig, &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8]);
    assert_eq!(event(&mut rig), [0, 4, 4, 0x10, 0, 2, 0, 0]);
    assert_eq!(
        answer(&mut rig, &[0x4a, 1, 0, 0, 2, 0, 0, 0, 8]),
        [0, 0, 0x80, 0x10]
    );
    assert_eq!(
        failure(&mut rig, &[0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8]),
        check(5, 0x24, 0)
    );
    assert_eq!(answer(&mut rig, &[0x1e, 0, 0, 0, 1]), []);
    assert_eq!(
        answer(&mut rig, &[0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 99])[14],
        0x2b
    );
    assert_eq!(failure(&mut rig, &[0x1b, 0, 0, 0, 2]), check(5, 0x53, 2));
    assert_eq!(change(&rig, None, false), Err(DiscError::Locked));
    assert_eq!(
        event(&mut rig),
        [0, 4, 4, 0x10, 1, 2, 0, 0],
        "it is asked for"
    );
    assert_eq!(event(&mut rig)[4], 0);
    assert_eq!(answer(&mut rig, &[0x1e, 0, 0, 0, 0]), []);
    assert_eq!(answer(&mut rig, &[0x1b, 0, 0, 0, 2]), []);
    assert_eq!(event(&mut rig), [0, 4, 4, 0x10, 3, 1, 0, 0]);
    for packet in [
        &[0][..],
        &[0x25],
        &[0x28, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0x2b],
        &[0x42],
        &[0x43],
        &[0x51],
        &[0x52],
        &[0xbe],
        &[0xa8],
    ] {
        assert_eq!(failure(&mut rig, packet), check(2, 0x3a, 2), "{packet:x?}");
    }
    assert_eq!(
        answer(&mut rig, &[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 2]),
        [0, 0x10]
    );
    assert_eq!(answer(&mut rig, &[0x5a, 0, 1, 0, 0, 0, 0, 0, 3])[2], 0x71);
    // A power condition moves no tray.
    assert_eq!(answer(&mut rig, &[0x1b, 0, 0, 0, 0x33]), []);
    assert_eq!(answer(&mut rig, &[0x1b, 0, 0, 0, 3]), []);
    assert_eq!(event(&mut rig), [0, 4, 4, 0x10, 2, 2, 0, 0]);
    assert_eq!(failure(&mut rig, &[0]), check(6, 0x28, 0));
    assert_eq!(answer(&mut rig, &[0]), []);
}

#[test]
fn a_disc_is_changed_by_the_host() {
    let mut rig = Rig::new();
    assert_eq!(change(&rig, None, false), Ok(()));
    assert_eq!(failure(&mut rig, &[0]), check(2, 0x3a, 2));
    assert_eq!(answer(&mut rig, &[0x1b, 0, 0, 0, 3]), []);
    assert_eq!(failure(&mut rig, &[0]), check(2, 0x3a, 1));
    assert_eq!(
        answer(&mut rig, &[0x46, 0, 0, 0, 0, 0, 0, 0, 8])[6..],
        [0, 0]
    );
    let other = storage(&rig.host, 16);
    other.put(0, &[0x99; 2048]);
    assert_eq!(change(&rig, Some(&other), false), Ok(()));
    assert_eq!(
        answer(&mut rig, &[0x12, 0, 0, 0, 1]),
        [5],
        "INQUIRY does not tell"
    );
    assert_eq!(request_sense(&mut rig), [6, 0x28, 0], "REQUEST SENSE does");
    assert_eq!(answer(&mut rig, &[0x25])[..4], [0, 0, 0, 3]);
    assert_eq!(
        rig.packet(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1], 2048),
        [0x99; 2048]
    );
    rig.status();
    let change_at = |channel, drive| {
        let change = |ide: &mut Ide| ide.change_disc(channel, drive, None, true);
        rig.shell.with(change)
    };
    for place in [(0, 0), (1, 1), (2, 0), (0, 2)] {
        assert_eq!(change_at(place.0, place.1), Err(DiscError::NoDrive));
    }
}

#[test]
fn a_disc_that_goes_during_a_read_is_told() {
    // While the storage works, by the port and by DMA.
    for dma in [0, 1] {
        let mut rig = Rig::new();
        rig.disc.hold(true);
        rig.table(&[(0x8000, 0x800)]);
        rig.put(BMIBA_AT, 9);
        rig.send_packet(&[0x28, 0, 0, 0, 0, 9, 0, 0, 1], 2048, dma);
        assert_eq!(rig.get(0x3f6), 0xc0);
        assert_eq!(change(&rig, None, true), Ok(()));
        assert_eq!(
            rig.get(0x3f6),
            0xc0,
            "the storage may still write to memory"
        );
        rig.disc.end(0);
        rig.wake();
        assert_eq!(rig.sense(), check(2, 0x3a, 2));
        assert_eq!(rig.get(BMIBA_AT + 2) & 1, 1 - dma);
    }
    // Between two pieces.
    let mut rig = Rig::new();
    rig.send_packet(&[0x28, 0, 0, 0, 0, 0, 0, 0, 65], 0x8000, 0);
    let other = storage(&rig.host, 1024);
    assert_eq!(change(&rig, Some(&other), true), Ok(()));
    for _ in 0..4 {
        assert_eq!(rig.get(0x3f6), 0x58);
        rig.read_words(0x4000);
    }
    assert_eq!(rig.sense(), check(6, 0x28, 0));
    rig.send_packet(&[0x28, 0, 0, 0, 0, 0, 0, 0, 65], 0x8000, 0);
    assert_eq!(change(&rig, None, true), Ok(()));
    for _ in 0..4 {
        rig.read_words(0x4000);
    }
    assert_eq!(rig.sense(), check(2, 0x3a, 2));
    // Before the bus master is started.
    let mut rig = Rig::new();
    rig.table(&[(0x8000, 0x800)]);
    rig.send_packet(&[0x28, 0, 0, 0, 0, 9, 0, 0, 1], 0, 1);
    assert_eq!(change(&rig, None, true), Ok(()));
    rig.put(BMIBA_AT, 9);
    assert_eq!((rig.get(BMIBA_AT + 2), rig.sense()), (4, check(2, 0x3a, 2)));
    // And it does not hold up a reset.
    let mut rig = Rig::new();
    rig.disc.hold(true);
    rig.send_packet(&[0x28, 0, 0, 0, 0, 9, 0, 0, 1], 2048, 0);
    assert_eq!(change(&rig, None, true), Ok(()));
    rig.put(0x1f7, 0x08);
    assert_eq!(rig.get(0x3f6), 0xc0);
    rig.disc.end(0);
    rig.wake();
    assert_eq!((rig.status(), rig.get(0x1f5)), (0, 0xeb));
    assert_eq!(failure(&mut rig, &[0]), check(2, 0x3a, 2));
}
