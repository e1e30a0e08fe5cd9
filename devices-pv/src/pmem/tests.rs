use std::io::ErrorKind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use trivisor_virtio_device::testing::{Rig, Ring};

use super::*;
use crate::golden::check_golden;

const CONFIG: Config = Config {
    start: 0x1_4000_0000,
    size: 0x0020_0000,
};
const FLUSH: [u8; 4] = [0; 4];
const FAILURE: [u8; 4] = [0xff; 4];

/// A device whose flushes end as the script says, then well.
fn scripted(ring: Ring, script: Vec<io::Result<()>>) -> Rig<Pmem> {
    let script = Mutex::new(script.into_iter());
    let flush = move || script.lock().unwrap().next().unwrap_or(Ok(()));
    Rig::new(Pmem::with_flush(CONFIG, flush), ring, 0)
}

#[test]
fn a_flush_is_answered_when_it_has_ended() {
    for ring in Ring::ALL {
        let mut rig = scripted(ring, vec![]);
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
        let mut rig = scripted(ring, vec![]);
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
        let flushes = Arc::new(AtomicUsize::new(0));
        let counted = flushes.clone();
        let flush = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        let mut rig = Rig::new(Pmem::with_flush(CONFIG, flush), ring, 0);
        for _ in 0..20 {
            rig.driver(QUEUE).add(&[&FLUSH], &[4]);
        }
        rig.kick(QUEUE);
        let replies: Vec<_> = (0..20).map(|_| rig.poll(QUEUE).unwrap().data).collect();
        assert_eq!(replies, [[0; 4]; 20]);
        assert_eq!(
            (flushes.load(Ordering::Relaxed), rig.take_interrupts(QUEUE)),
            (1, 1)
        );
        rig.request(QUEUE, &[&FLUSH], 4);
        assert_eq!(flushes.load(Ordering::Relaxed), 2, "a later one is another");
    }
}

#[test]
fn a_flush_that_fails_is_told_and_stays_visible() {
    for ring in Ring::ALL {
        let failure = Err(ErrorKind::StorageFull.into());
        let mut rig = scripted(ring, vec![Ok(()), failure]);
        let replies: Vec<_> = (0..3)
            .map(|_| rig.request(QUEUE, &[&FLUSH], 4).data)
            .collect();
        assert_eq!(replies, [[0; 4], FAILURE, [0; 4]]);
        rig.reset();
        let wanted = PmemCounters {
            done: 2,
            failed: 1,
            last_failure: Some(ErrorKind::StorageFull),
            refused: 0,
        };
        assert_eq!(rig.device().counters(), wanted, "a reset repairs no disk");
    }
}

#[test]
fn other_requests_fail_and_flush_nothing() {
    for ring in Ring::ALL {
        let mut rig = scripted(ring, vec![]);
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
            let mut rig = scripted(ring, vec![]);
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
    let mut rig = scripted(Ring::Split, vec![]);
    assert_eq!(rig.read_config(0, 8), CONFIG.start.to_le_bytes());
    assert_eq!(rig.read_config(8, 8), CONFIG.size.to_le_bytes());
    assert_eq!(rig.read_config(11, 8), [0; 8]);
    assert_eq!(rig.read_config(usize::MAX, 1), [0]);
    assert!(rig.write_config(0, &[1]).is_err());
    assert_eq!(rig.device().features(), 0);
}

#[test]
fn a_flush_reaches_the_file() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(0x2000).unwrap();
    let mapping = Arc::new(FileMapping::new(file.try_clone().unwrap(), false).unwrap());
    let mut rig = Rig::new(Pmem::new(CONFIG.start, mapping.clone()), Ring::Split, 0);
    assert_eq!(rig.read_config(8, 8), 0x2000_u64.to_le_bytes());
    assert!(mapping.write(0x1ffe, b"ok"));
    assert_eq!(rig.request(QUEUE, &[&FLUSH], 4).data, [0; 4]);
    let mut found = [0; 2];
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut found, 0x1ffe).unwrap();
    assert_eq!(&found, b"ok");
}

#[test]
fn its_state_is_empty() {
    let mut rig = scripted(Ring::Split, vec![]);
    check_golden(rig.device_mut(), state::KIND, 1, "");
    let mut longer = rig.device().save();
    longer.data.push(0);
    assert!(rig.device_mut().restore(&longer).is_err());
}
