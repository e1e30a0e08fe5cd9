//! Buffers there and back, with a driver that keeps to the rules.

use super::{Pair, each};
use crate::features::Feature;
use crate::queue::{Chain, Queue, QueueError};
use crate::testing::{DriverQueue, Ring, test_ram};

#[test]
fn data_goes_there_and_back() {
    each(|mut pair| {
        for round in 0..100_u8 {
            let id = pair.driver.add(&[&[round; 3], b"abc"], &[2, 6]);
            pair.assert_empty();
            pair.driver.kick();
            let chain = pair.pop();
            assert_eq!(chain.id(), id);
            assert_eq!((chain.readable_len(), chain.writable_len()), (6, 8));
            let mut data = [0; 6];
            chain.read(&pair.ram, 0, &mut data).unwrap();
            assert_eq!(data, [round, round, round, b'a', b'b', b'c']);
            chain.write(&pair.ram, 1, &data).unwrap();
            pair.push(id, 7);
            assert_eq!(pair.driver.poll(), None, "not published");
            assert!(pair.publish());
            assert!(!pair.publish(), "nothing new");
            let reply = pair.driver.poll().unwrap();
            assert_eq!((reply.id, reply.written), (id, 7));
            assert_eq!(reply.data[1..], data);
            assert_eq!(pair.driver.free(), 8);
            pair.assert_empty();
        }
    });
}

/// Free-running indices pass 65536; laps of a packed ring whose size is no power of two.
#[test]
fn indices_and_laps_wrap() {
    for (ring, size) in [(Ring::Split, 4), (Ring::Packed, 4), (Ring::Packed, 7)] {
        let mut pair = Pair::new(ring, size, Feature::EventIndex.bit());
        for round in 0..70_000_u32 {
            let elements = 1 + round as usize % 3;
            let id = pair.driver.add(&[&[1, 2]], &vec![4; elements - 1]);
            pair.driver.kick();
            assert_eq!(pair.pop().id(), id);
            pair.push(id, 0);
            assert!(pair.publish());
            assert_eq!(pair.driver.poll().map(|reply| reply.id), Some(id));
        }
        pair.assert_empty();
    }
}

#[test]
fn a_batch_is_seen_at_once_and_in_the_order_of_finishing() {
    each(|mut pair| {
        for _ in 0..20 {
            let added: Vec<u16> = (0..4).map(|_| pair.driver.add(&[b"x"], &[1])).collect();
            pair.driver.kick();
            let popped: Vec<u16> = (0..4).map(|_| pair.pop().id()).collect();
            assert_eq!(popped, added);
            pair.assert_empty();
            for id in popped.iter().rev() {
                pair.push(*id, 1);
            }
            assert_eq!(pair.driver.poll(), None, "not published");
            pair.publish();
            let mut wanted = added;
            if !Feature::InOrder.is_in(pair.features) {
                wanted.reverse();
            }
            for id in wanted {
                assert_eq!(pair.driver.poll().unwrap().id, id);
            }
            assert_eq!(pair.driver.poll(), None);
        }
    });
}

#[test]
fn in_order_holds_back_what_is_finished_too_early() {
    for ring in Ring::ALL {
        let mut pair = Pair::new(ring, 8, Feature::InOrder.bit());
        let ids = [0; 3].map(|_| pair.driver.add(&[], &[4]));
        pair.driver.kick();
        ids.iter().for_each(|_| drop(pair.pop()));
        pair.push(ids[1], 1);
        pair.push(ids[2], 2);
        assert!(!pair.publish());
        assert_eq!(pair.driver.poll(), None);
        pair.push(ids[0], 3);
        assert!(pair.publish());
        let written = [(); 3].map(|()| pair.driver.poll().unwrap().written);
        assert_eq!(written, [3, 1, 2]);
    }
}

#[test]
fn a_buffer_put_back_comes_again() {
    each(|mut pair| {
        for _ in 0..20 {
            let first = pair.driver.add(&[b"first", b"of two"], &[]);
            let second = pair.driver.add(&[b"second"], &[1]);
            pair.driver.kick();
            let chains = [pair.pop(), pair.pop()];
            assert_eq!([chains[0].id(), chains[1].id()], [first, second]);
            pair.queue.unpop(&chains[1]);
            pair.queue.unpop(&chains[0]);
            pair.queue.unpop(&chains[0]);
            assert_eq!(pair.pop(), chains[0]);
            pair.push(first, 0);
            assert_eq!(pair.pop(), chains[1]);
            pair.queue.unpop(&chains[1]);
            assert_eq!(pair.pop(), chains[1]);
            pair.push(second, 1);
            pair.assert_empty();
            pair.publish();
            assert!(pair.driver.poll().is_some() && pair.driver.poll().is_some());
        }
    });
}

#[test]
fn a_queue_can_be_full() {
    for ring in Ring::ALL {
        let mut pair = Pair::new(ring, 8, 0);
        for _ in 0..5 {
            for _ in 0..8 {
                pair.driver.add(&[b"1"], &[]);
            }
            pair.driver.kick();
            let ids: Vec<u16> = (0..8).map(|_| pair.pop().id()).collect();
            pair.assert_empty();
            ids.iter().for_each(|id| pair.push(*id, 0));
            pair.publish();
            (0..8).for_each(|_| drop(pair.driver.poll().unwrap()));
            // All of it as one chain.
            pair.driver.add(&[b"1", b"2", b"3", b"4"], &[1, 1, 1, 1]);
            pair.driver.kick();
            let chain = pair.pop();
            assert_eq!(chain.readable().len() + chain.writable().len(), 8);
            pair.push(chain.id(), 4);
            pair.publish();
            assert_eq!(pair.driver.poll().unwrap().written, 4);
        }
    }
}

#[test]
fn what_the_device_does_not_have_cannot_be_given_back() {
    each(|mut pair| {
        let id = pair.driver.add(&[b"x"], &[1]);
        pair.driver.add(&[b"y"], &[1]);
        pair.driver.kick();
        let never = QueueError::NotInUse { id };
        assert_eq!(pair.queue.clone().push(&pair.ram, id, 0), Err(never));
        let popped = pair.pop();
        pair.pop();
        pair.push(popped.id(), 0);
        assert_eq!(pair.queue.push(&pair.ram, id, 0), Err(never), "twice");
        for id in [9, 255, 256, u16::MAX] {
            let never = QueueError::NotInUse { id };
            assert_eq!(pair.queue.push(&pair.ram, id, 0), Err(never));
        }
        assert_eq!(pair.queue.broken(), Some(never));
    });
}

#[test]
fn a_queue_that_is_not_enabled_has_nothing() {
    let ram = test_ram();
    let mut queue = Queue::new(4);
    let mut chain = Chain::default();
    assert_eq!(queue.pop(&ram, &mut chain), Ok(false));
    assert_eq!(queue.want_notifications(&ram, true), Ok(false));
    assert_eq!(queue.publish(&ram), Ok(false));
    assert_eq!(queue.push(&ram, 0, 0), Err(QueueError::NotEnabled));
    queue.unpop(&chain);
    assert_eq!(queue.positions(), (0, 0));
}

/// The driver may call a packed ring's buffers what it likes, as long as names are unique.
#[test]
fn packed_identifiers_are_the_drivers_own() {
    let ram = test_ram();
    let features = Ring::Packed.feature();
    let driver = DriverQueue::new(&ram, 0x1_0000..0x10_0000, Ring::Packed, 4, features);
    let mut queue = Queue::new(4);
    driver.configure(&mut queue);
    queue.enable(&ram, features).unwrap();
    let [descriptors, ..] = driver.addresses();
    for (at, id) in [(0_u64, 0xffff_u16), (1, 0x1234)] {
        let words = [0x5000_u64, 8 | u64::from(id) << 32 | 0x80 << 48];
        for (word, value) in (0..).zip(words) {
            assert!(ram.write(descriptors + 16 * at + 8 * word, &value.to_le_bytes()));
        }
    }
    let mut chain = Chain::default();
    for id in [0xffff, 0x1234] {
        assert_eq!(queue.pop(&ram, &mut chain), Ok(true));
        assert_eq!(chain.id(), id);
    }
    for id in [0x1234, 0xffff] {
        queue.push(&ram, id, 0).unwrap();
    }
    assert_eq!(queue.publish(&ram), Ok(true));
    assert_eq!(queue.positions(), (0x8002, 0x8002));
}

#[test]
fn positions_are_those_of_notification_data() {
    let mut split = Pair::new(Ring::Split, 4, 0);
    let mut packed = Pair::new(Ring::Packed, 4, 0);
    for (round, packed_position) in (1..).zip([0x8003, 0x0002, 0x8001, 0x0000]) {
        for pair in [&mut split, &mut packed] {
            let before = pair.queue.positions().1;
            let id = pair.driver.add(&[b"1", b"2"], &[1]);
            pair.driver.kick();
            pair.pop();
            assert_eq!(pair.queue.positions().1, before);
            pair.push(id, 0);
            pair.publish();
            pair.driver.poll().unwrap();
        }
        assert_eq!(split.queue.positions(), (round, round));
        assert_eq!(packed.queue.positions(), (packed_position, packed_position));
    }
}
