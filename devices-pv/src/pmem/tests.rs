use std::io::ErrorKind;

use trivisor_buses::testing::MemoryStorage;
use trivisor_virtio_device::testing::{Rig, Ring, test_ram};

use super::*;
use crate::golden::check_golden;

const CONFIG: Config = Config {
    start: 0x1_4000_0000,
    size: 0x0020_0000,
};
const FLUSH: [u8; 4] = [0; 4];
const FAILURE: [u8; 4] = [0xff; 4];

fn device() -> (MemoryStorage, Pmem) {
    let storage = MemoryStorage::new(test_ram(), 8);
    let device = Pmem::new(CONFIG, Box::new(storage.clone()));
    (storage, device)
}

fn rig(ring: Ring) -> (MemoryStorage, Rig<Pmem>) {
    let (storage, device) = device();
    (storage, Rig::new(device, ring, 0))
}

fn flushes(storage: &MemoryStorage) -> usize {
    let seen = storage.take_seen();
    assert!(seen.iter().all(|one| *one == (StorageOp::Flush, 0, 0)));
    seen.len()
}

#[test]
fn a_flush_is_answered_when_it_has_ended() {
    for ring in Ring::ALL {
        let (_storage, mut rig) = rig(ring);
        let reply = rig.request(QUEUE, &[&FLUSH], 4);
        assert_eq!((reply.written, reply.data), (4, vec![0; 4]));
        assert_eq!(
            (rig.device().counters().done, rig.take_interrupts(QUEUE)),
            (1, 1)
        );
    }
}

#[test]
fn framing_says_nothing() {
    for ring in Ring::ALL {
        let (_storage, mut rig) = rig(ring);
        rig.driver(QUEUE).cut_at(1);
        assert_eq!(rig.request(QUEUE, &[&FLUSH], 4).data, [0; 4]);
        rig.driver(QUEUE).cut_at(100);
        assert_eq!(
            rig.request(QUEUE, &[&[0; 50]], 50).data,
            [0; 4],
            "more room than needed"
        );
    }
}

#[test]
fn flushes_that_came_together_are_one() {
    for ring in Ring::ALL {
        let (storage, mut rig) = rig(ring);
        for _ in 0..20 {
            rig.driver(QUEUE).add(&[&FLUSH], &[4]);
        }
        rig.kick(QUEUE);
        let replies: Vec<_> = (0..20).map(|_| rig.poll(QUEUE).unwrap().data).collect();
        assert_eq!(replies, [[0; 4]; 20]);
        assert_eq!((flushes(&storage), rig.take_interrupts(QUEUE)), (1, 1));
        rig.request(QUEUE, &[&FLUSH], 4);
        assert_eq!(flushes(&storage), 1, "a later one is another");
    }
}

#[test]
fn nobody_waits_for_the_host() {
    for ring in Ring::ALL {
        let (storage, mut rig) = rig(ring);
        storage.hold(true);
        rig.submit(QUEUE, &[&FLUSH], 4);
        assert_eq!((storage.held(), rig.poll(QUEUE)), (1, None));
        // What comes meanwhile needs another: it may have been written behind the first one's back.
        rig.submit(QUEUE, &[&FLUSH], 4);
        rig.submit(QUEUE, &[&FLUSH], 4);
        // What needs none is answered at once.
        let refused = rig.submit(QUEUE, &[&[9; 4]], 4);
        assert_eq!(rig.poll(QUEUE).unwrap().id, refused);
        assert_eq!((storage.held(), rig.poll(QUEUE)), (1, None));
        assert!(storage.end(0));
        rig.settle();
        assert_eq!(rig.poll(QUEUE).unwrap().data, [0; 4]);
        assert_eq!((storage.held(), rig.poll(QUEUE)), (1, None));
        storage.fail(Some(ErrorKind::StorageFull));
        assert!(storage.end(0));
        rig.settle();
        let replies = [0; 2].map(|_| rig.poll(QUEUE).unwrap().data);
        assert_eq!(replies, [FAILURE; 2]);
        assert_eq!((flushes(&storage), storage.held()), (2, 0));
    }
}

#[test]
fn a_pause_and_a_reset_wait_for_what_is_under_way() {
    for ring in Ring::ALL {
        for reset in [false, true] {
            let (storage, mut rig) = rig(ring);
            storage.hold(true);
            rig.submit(QUEUE, &[&FLUSH], 4);
            rig.submit(QUEUE, &[&FLUSH], 4);
            if reset {
                rig.reset();
            } else {
                rig.call(Pmem::pause);
                assert_eq!([0; 2].map(|_| rig.poll(QUEUE).unwrap().data), [[0; 4]; 2]);
            }
            assert_eq!((flushes(&storage), storage.held()), (2, 0));
            storage.hold(false);
            assert_eq!(rig.request(QUEUE, &[&FLUSH], 4).data, [0; 4]);
        }
    }
}

#[test]
fn a_flush_that_got_lost_has_failed() {
    let (storage, mut rig) = rig(Ring::Split);
    storage.hold(true);
    storage.lose();
    rig.submit(QUEUE, &[&FLUSH], 4);
    rig.call(Pmem::pause);
    assert_eq!(rig.poll(QUEUE).unwrap().data, FAILURE);
    assert_eq!(rig.device().counters().failed, 1);
}

#[test]
fn a_host_that_takes_nothing_fails_them() {
    let (storage, mut rig) = rig(Ring::Split);
    storage.limit(0);
    assert_eq!(rig.request(QUEUE, &[&FLUSH], 4).data, FAILURE);
    storage.limit(1);
    assert_eq!(rig.request(QUEUE, &[&FLUSH], 4).data, [0; 4]);
}

#[test]
fn a_flush_that_fails_is_told_and_stays_visible() {
    for ring in Ring::ALL {
        let (storage, mut rig) = rig(ring);
        let failure = Some(ErrorKind::StorageFull);
        let replies = [None, failure, None].map(|failure| {
            storage.fail(failure);
            rig.request(QUEUE, &[&FLUSH], 4).data
        });
        assert_eq!(replies, [[0; 4], FAILURE, [0; 4]]);
        rig.reset();
        let wanted = PmemCounters {
            done: 2,
            failed: 1,
            last_failure: failure,
            refused: 0,
        };
        assert_eq!(rig.device().counters(), wanted, "a reset repairs no disk");
    }
}

#[test]
fn other_requests_fail_and_flush_nothing() {
    for ring in Ring::ALL {
        let (_storage, mut rig) = rig(ring);
        for kind in [1_u32, 0x100, u32::MAX] {
            let reply = rig.request(QUEUE, &[&kind.to_le_bytes()], 4);
            assert_eq!(reply.data, FAILURE, "{kind:#x}");
        }
        let counters = rig.device().counters();
        assert_eq!((counters.done, counters.refused), (0, 3));
    }
}

#[test]
fn a_buffer_that_cannot_be_answered_breaks_the_queue() {
    for ring in Ring::ALL {
        for (readable, writable) in [(3, 4), (4, 3), (4, 0), (0, 4)] {
            let (_storage, mut rig) = rig(ring);
            let request = &FLUSH[..readable];
            let parts = [request];
            let parts = if request.is_empty() {
                &[][..]
            } else {
                &parts[..]
            };
            rig.driver(QUEUE).add(parts, &[writable]);
            rig.driver(QUEUE).add(&[&FLUSH], &[4]);
            rig.kick(QUEUE);
            let broken = rig.broken();
            assert!(
                matches!(broken, Some((QUEUE, QueueError::Short { .. }))),
                "{readable} {writable}: {broken:?}"
            );
            rig.reset();
            assert_eq!(
                rig.request(QUEUE, &[&FLUSH], 4).data,
                [0; 4],
                "a reset helps"
            );
        }
    }
}

#[test]
fn configuration_tells_where_the_memory_is() {
    let (_storage, mut rig) = rig(Ring::Split);
    assert_eq!(rig.read_config(0, 8), CONFIG.start.to_le_bytes());
    assert_eq!(rig.read_config(8, 8), CONFIG.size.to_le_bytes());
    assert_eq!(rig.read_config(11, 8), [0; 8]);
    assert_eq!(rig.read_config(usize::MAX, 1), [0]);
    assert!(rig.write_config(0, &[1]).is_err());
    assert_eq!(rig.device().features(), 0);
}

#[test]
fn its_state_is_empty() {
    let (_storage, mut rig) = rig(Ring::Split);
    check_golden(rig.device_mut(), state::KIND, 1, "");
    let mut longer = rig.device().save();
    longer.data.push(0);
    assert!(rig.device_mut().restore(&longer).is_err());
}
