//! Save and restore.

use super::{Pair, each};
use crate::features::Feature;
use crate::queue::{HeldV1, Queue, QueueStateV1};
use crate::testing::{Ring, test_ram};

/// Puts the device's side into a fresh queue.
fn twin(pair: &Pair) -> Queue {
    let state = QueueStateV1::from(&pair.queue);
    let mut queue = Queue::new(256);
    queue.restore(&state, &pair.ram, pair.features).unwrap();
    assert_eq!(QueueStateV1::from(&queue), state);
    queue
}

#[test]
fn a_restored_queue_goes_on() {
    each(|mut pair| {
        for round in 0..40 {
            let ids = [0; 3].map(|_| pair.driver.add(&[b"1", b"2"], &[]));
            pair.driver.kick();
            if round % 2 == 0 {
                pair.queue = twin(&pair);
            }
            let chains = ids.map(|_| pair.pop());
            assert_eq!(chains.each_ref().map(crate::Chain::id), ids);
            pair.push(ids[1], 0);
            pair.publish();
            pair.queue = twin(&pair);
            // Still with the device after the restore, and put back or finished there.
            pair.queue.unpop(&chains[2]);
            assert_eq!(pair.pop(), chains[2]);
            pair.push(ids[2], 0);
            pair.push(ids[0], 0);
            pair.publish();
            pair.queue = twin(&pair);
            (0..3).for_each(|_| drop(pair.driver.poll().unwrap()));
            pair.assert_empty();
        }
    });
}

#[test]
fn a_queue_before_it_is_enabled() {
    let mut queue = Queue::new(256);
    queue.set_size(3);
    queue.set_address(crate::Area::Driver, 17);
    let state = QueueStateV1::from(&queue);
    let mut other = Queue::new(256);
    other.restore(&state, &test_ram(), 0).unwrap();
    assert_eq!(other, queue);
}

/// A state with one field that cannot be.
type Damage = fn(&mut QueueStateV1);

#[test]
fn each_field_is_checked() {
    let any: [(&str, Damage); 12] = [
        ("size", |state| state.size = 0),
        ("size", |state| state.size = 512),
        ("addresses", |state| state.addresses[1] = None),
        ("addresses", |state| state.addresses[0] = Some(0x1_0008)),
        ("addresses", |state| state.addresses[2] = Some(1 << 40)),
        ("next_avail", |state| state.ready = false),
        ("held", |state| {
            state.next_avail = state.next_avail.wrapping_add(1)
        }),
        ("held", |state| {
            state.next_used = state.next_used.wrapping_sub(1)
        }),
        ("held", |state| state.held.truncate(1)),
        ("held.descriptors", |state| {
            state.held[0].descriptors = 0;
            state.held[1].descriptors *= 2;
        }),
        ("held.id", |state| state.held[1].id = state.held[0].id),
        ("held.written", |state| state.held[0].written = Some(1)),
    ];
    let packed: [(&str, Damage); 2] = [
        ("next_avail", |state| state.next_avail |= 0x7fff),
        ("next_used", |state| state.next_used |= 0x7fff),
    ];
    let split: [(&str, Damage); 2] = [
        ("size", |state| state.size = 6),
        ("held.descriptors", |state| state.held[0].id = 8),
    ];
    for ring in Ring::ALL {
        let mut pair = Pair::new(ring, 8, Feature::IndirectDescriptors.bit());
        for _ in 0..3 {
            pair.driver.add(&[b"1", b"2"], &[]);
        }
        pair.driver.kick();
        let first = pair.pop().id();
        pair.pop();
        pair.pop();
        pair.push(first, 0);
        pair.publish();
        let more = match ring {
            Ring::Split => split,
            Ring::Packed => packed,
        };
        for (field, damage) in any.into_iter().chain(more) {
            let mut state = QueueStateV1::from(&pair.queue);
            damage(&mut state);
            let mut queue = Queue::new(256);
            let error = queue.restore(&state, &pair.ram, pair.features).unwrap_err();
            let told = error.to_string();
            let wanted = format!("virtqueue: {field} = ");
            assert!(told.starts_with(&wanted), "{field}, {ring:?}: {told}");
            assert_eq!(queue, Queue::new(256), "untouched");
        }
    }
}

#[test]
fn what_waits_for_its_turn_is_saved() {
    for ring in Ring::ALL {
        let mut pair = Pair::new(ring, 8, Feature::InOrder.bit());
        let ids = [0; 2].map(|_| pair.driver.add(&[], &[4]));
        pair.driver.kick();
        ids.iter().for_each(|_| drop(pair.pop()));
        pair.push(ids[1], 3);
        let held = |id, written| HeldV1 {
            id,
            descriptors: 1,
            written,
        };
        let state = QueueStateV1::from(&pair.queue);
        assert_eq!(state.held, [held(ids[0], None), held(ids[1], Some(3))]);
        pair.queue = twin(&pair);
        pair.push(ids[0], 1);
        pair.publish();
        assert_eq!(pair.driver.poll().unwrap().written, 1);
        assert_eq!(pair.driver.poll().unwrap().written, 3);
    }
}
