use std::io;
use std::sync::{Arc, Mutex};

use trivisor_memory::GuestRam;
use trivisor_virtio_device::testing::{Rig, Ring, test_ram};

use super::*;
use crate::golden::check_golden;

/// Bytes that count up, while there are any.
struct Counting {
    ram: GuestRam,
    last: u8,
    left: Arc<Mutex<io::Result<usize>>>,
}

impl Entropy for Counting {
    fn fill(&mut self, into: &[Segment]) -> io::Result<usize> {
        let mut left = self.left.lock().unwrap();
        let left = left
            .as_mut()
            .map_err(|error| io::Error::from(error.kind()))?;
        let mut filled = 0;
        for segment in into {
            for at in 0..u64::from(segment.len) {
                if *left == 0 && filled == 0 {
                    return Err(ErrorKind::WouldBlock.into());
                } else if *left == 0 {
                    return Ok(filled);
                }
                self.last = self.last.wrapping_add(1);
                if !self.ram.write(segment.address + at, &[self.last]) {
                    return Err(ErrorKind::InvalidInput.into());
                }
                *left -= 1;
                filled += 1;
            }
        }
        Ok(filled)
    }
}

fn rig(ring: Ring) -> (Rig<Rng>, Arc<Mutex<io::Result<usize>>>) {
    let (ram, left) = (test_ram(), Arc::new(Mutex::new(Ok(usize::MAX))));
    let entropy = Counting {
        ram: ram.clone(),
        last: 0,
        left: left.clone(),
    };
    let rng = Rng::new(Box::new(entropy));
    (Rig::with_ram(ram, rng, ring, 0), left)
}

#[test]
fn buffers_are_filled() {
    for ring in Ring::ALL {
        let (mut rig, _left) = rig(ring);
        rig.driver(QUEUE).add(&[], &[3, 1, 2]);
        rig.driver(QUEUE).add(&[b"ignored"], &[2]);
        rig.kick(QUEUE);
        assert_eq!(rig.take_interrupts(QUEUE), 1);
        assert_eq!(rig.poll(QUEUE).unwrap().data, [1, 2, 3, 4, 5, 6]);
        assert_eq!(rig.poll(QUEUE).unwrap().data, [7, 8]);
        assert_eq!(rig.device().counters().bytes, 8);
    }
}

#[test]
fn one_buffer_is_bounded() {
    for ring in Ring::ALL {
        let (mut rig, _left) = rig(ring);
        let reply = rig.request(QUEUE, &[], 1 << 20);
        assert_eq!(u64::from(reply.written), MAX_FILL);
    }
}

#[test]
fn a_source_that_runs_dry_is_waited_for() {
    for ring in Ring::ALL {
        let (mut rig, left) = rig(ring);
        *left.lock().unwrap() = Ok(5);
        for _ in 0..3 {
            rig.submit(QUEUE, &[], 4);
        }
        assert_eq!(rig.poll(QUEUE).unwrap().data, [1, 2, 3, 4]);
        assert_eq!(rig.poll(QUEUE).unwrap().data, [5], "less than it asked for");
        rig.wake();
        assert!(rig.poll(QUEUE).is_none());
        *left.lock().unwrap() = Ok(4);
        assert!(!rig.wake());
        assert_eq!(rig.poll(QUEUE).unwrap().data, [6, 7, 8, 9]);
        *left.lock().unwrap() = Ok(0);
        rig.submit(QUEUE, &[], 4);
        rig.reset();
        *left.lock().unwrap() = Ok(9);
        assert_eq!(rig.request(QUEUE, &[], 4).data, [10, 11, 12, 13]);
    }
}

#[test]
fn a_source_that_fails_gives_nothing() {
    for ring in Ring::ALL {
        let (mut rig, left) = rig(ring);
        *left.lock().unwrap() = Err(ErrorKind::Other.into());
        assert_eq!(rig.request(QUEUE, &[], 4).written, 0);
        *left.lock().unwrap() = Ok(100);
        for address in [1 << 40, u64::MAX - 1] {
            let nowhere = Segment { address, len: 1 };
            rig.driver(QUEUE).add_segments(&[], &[nowhere]);
            rig.kick(QUEUE);
            assert_eq!(rig.poll(QUEUE).unwrap().written, 0);
        }
        assert_eq!(rig.device().counters().failed, 3);
        assert!(rig.broken().is_none());
    }
}

#[test]
fn a_buffer_without_room_breaks_the_queue() {
    for ring in Ring::ALL {
        let (mut rig, _left) = rig(ring);
        let id = rig.driver(QUEUE).add(&[b"what for"], &[]);
        rig.kick(QUEUE);
        let (len, wanted) = (0, 1);
        let error = QueueError::Short { id, len, wanted };
        assert_eq!(rig.broken(), Some((QUEUE, error)));
        rig.reset();
        assert_eq!(rig.request(QUEUE, &[], 1).written, 1);
    }
}

#[test]
fn a_buffer_that_waits_goes_on_after_a_restore() {
    for ring in Ring::ALL {
        let (mut rig, left) = rig(ring);
        *left.lock().unwrap() = Ok(0);
        let id = rig.submit(QUEUE, &[], 4);
        let entropy = Counting {
            ram: rig.ram().clone(),
            last: 0,
            left: left.clone(),
        };
        let mut rig = rig.migrate(Rng::new(Box::new(entropy)));
        assert!(rig.poll(QUEUE).is_none());
        *left.lock().unwrap() = Ok(4);
        rig.wake();
        let reply = rig.poll(QUEUE).unwrap();
        assert_eq!((reply.id, reply.data), (id, vec![1, 2, 3, 4]));
    }
}

#[test]
fn it_has_no_configuration_and_no_state() {
    let (mut rig, _left) = rig(Ring::Split);
    assert_eq!(rig.read_config(0, 4), [0; 4]);
    assert!(rig.write_config(0, &[1]).is_err());
    check_golden(rig.device_mut(), state::KIND, 1, "");
    let mut longer = rig.device().save();
    longer.data.push(0);
    assert!(rig.device_mut().restore(&longer).is_err());
}
