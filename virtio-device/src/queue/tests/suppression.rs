//! Notifications and interrupts that are not wanted.

use super::raw::{AREAS, Raw};
use super::{Pair, each};
use crate::features::Feature;
use crate::testing::Ring;

#[test]
fn interrupts_come_when_they_are_due() {
    each(|mut pair| {
        for round in 0..200_u32 {
            let wanted = round % 3 != 0;
            let count = 1 + round % 4;
            let ids: Vec<u16> = (0..count).map(|_| pair.driver.add(&[b"x"], &[])).collect();
            pair.driver.kick();
            pair.driver.want_interrupts(wanted);
            for id in ids {
                assert_eq!(pair.pop().id(), id);
                pair.push(id, 0);
            }
            let sent = pair.publish();
            assert_eq!(sent, wanted, "round {round}");
            assert_eq!(pair.driver.interrupt_due(), sent);
            (0..count).for_each(|_| drop(pair.driver.poll().unwrap()));
        }
    });
}

/// With an event index one interrupt is enough until the driver has looked; without, each time is worth one.
#[test]
fn an_event_index_spares_interrupts() {
    for ring in Ring::ALL {
        for features in [0, Feature::EventIndex.bit()] {
            let mut pair = Pair::new(ring, 8, features);
            pair.driver.want_interrupts(true);
            let ids = [0; 4].map(|_| pair.driver.add(&[b"x"], &[]));
            pair.driver.kick();
            let sent = ids.map(|id| {
                assert_eq!(pair.pop().id(), id);
                pair.push(id, 0);
                pair.publish()
            });
            assert_eq!(sent, [true, features == 0, features == 0, features == 0]);
        }
    }
}

#[test]
fn notifications_come_when_they_are_wanted() {
    each(|mut pair| {
        for round in 0..100 {
            let suppressed = !pair.want_notifications(false);
            assert!(suppressed);
            pair.driver.add(&[b"x"], &[]);
            // A split ring with an event index cannot say no; the driver has passed the last event.
            assert!(!pair.driver.kick() || round == 0);
            assert!(pair.want_notifications(true), "there is one already");
            let id = pair.pop().id();
            pair.push(id, 0);
            assert!(!pair.want_notifications(true), "no more");
            pair.driver.add(&[b"y"], &[]);
            assert!(pair.driver.kick());
            let id = pair.pop().id();
            pair.push(id, 0);
            pair.publish();
            assert!(pair.driver.poll().is_some() && pair.driver.poll().is_some());
        }
    });
}

/// A device that has put buffers back waits for others: it is told of the next one, not of those.
#[test]
fn buffers_put_back_are_known() {
    each(|mut pair| {
        for _ in 0..50 {
            pair.driver.add(&[b"1", b"2"], &[]);
            pair.driver.add(&[b"3"], &[]);
            pair.driver.kick();
            let chains = [pair.pop(), pair.pop()];
            pair.queue.unpop(&chains[1]);
            pair.queue.unpop(&chains[0]);
            assert!(!pair.want_notifications(true));
            pair.driver.add(&[b"4"], &[]);
            assert!(pair.driver.kick(), "a new one");
            assert!(pair.want_notifications(true));
            assert_eq!(pair.pop(), chains[0]);
            assert!(pair.want_notifications(true), "one is still new");
            for _ in 0..2 {
                let id = pair.pop().id();
                pair.push(id, 0);
            }
            pair.push(chains[0].id(), 0);
            assert!(!pair.want_notifications(true));
            pair.publish();
            (0..3).for_each(|_| drop(pair.driver.poll().unwrap()));
        }
    });
}

/// What stands in guest RAM, at the places of the specification.
#[test]
fn wishes_in_guest_ram() {
    let event_index = Feature::EventIndex.bit();
    let read = |raw: &Raw, offset| raw.read_u16(AREAS[2] + offset);
    let mut raw = Raw::new(Ring::Split, 0);
    raw.queue.want_notifications(&raw.ram, false).unwrap();
    assert_eq!(read(&raw, 0), 1);
    raw.queue.want_notifications(&raw.ram, true).unwrap();
    assert_eq!(read(&raw, 0), 0);

    let mut raw = Raw::new(Ring::Split, event_index);
    raw.pop_one();
    raw.queue.want_notifications(&raw.ram, false).unwrap();
    assert_eq!((read(&raw, 0), read(&raw, 4 + 8 * 8)), (0, 0));
    raw.queue.want_notifications(&raw.ram, true).unwrap();
    assert_eq!((read(&raw, 0), read(&raw, 4 + 8 * 8)), (0, 1));

    for (features, enabled) in [(0, 0), (event_index, 2)] {
        let mut raw = Raw::new(Ring::Packed, features);
        raw.pop_one();
        raw.queue.want_notifications(&raw.ram, false).unwrap();
        assert_eq!(read(&raw, 2), 1);
        raw.queue.want_notifications(&raw.ram, true).unwrap();
        assert_eq!((read(&raw, 0), read(&raw, 2)), (0x8001, enabled));
    }
}
