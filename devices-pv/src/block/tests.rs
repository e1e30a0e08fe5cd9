use std::io::ErrorKind;

use trivisor_buses::StorageOp;
use trivisor_buses::testing::MemoryStorage;
use trivisor_virtio_device::Feature;
use trivisor_virtio_device::testing::{Reply, Rig, Ring, test_ram};

use super::regs::RequestType;
use super::*;
use crate::golden::check_golden;

const SECTORS: u32 = 64;
const FLUSH: u64 = Features::new().with_flush(true).into_bits();
const UNMAP: u64 = Features::new()
    .with_flush(true)
    .with_discard(true)
    .with_write_zeroes(true)
    .into_bits();

fn options(queues: u16) -> BlockOptions {
    BlockOptions {
        queues,
        serial: "TRV-0042".into(),
        ..BlockOptions::default()
    }
}

fn rig_with(ring: Ring, queues: u16, features: u64) -> (Rig<Block>, MemoryStorage) {
    let ram = test_ram();
    let storage = MemoryStorage::new(ram.clone(), SECTORS);
    let block = Block::new(options(queues), Box::new(storage.clone())).unwrap();
    (Rig::with_ram(ram, block, ring, features), storage)
}

fn rig(ring: Ring) -> (Rig<Block>, MemoryStorage) {
    rig_with(ring, 1, UNMAP)
}

fn header(kind: RequestType, sector: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&kind.0.to_le_bytes());
    bytes[8..].copy_from_slice(&sector.to_le_bytes());
    bytes
}

fn range(sector: u64, sectors: u32, flags: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&sector.to_le_bytes());
    bytes[8..12].copy_from_slice(&sectors.to_le_bytes());
    bytes[12..].copy_from_slice(&flags.to_le_bytes());
    bytes
}

/// Data and status.
fn split(reply: &Reply) -> (&[u8], u8) {
    let (status, data) = reply.data.split_last().unwrap();
    (data, *status)
}

fn status(rig: &mut Rig<Block>, kind: RequestType, sector: u64, data: &[u8]) -> u8 {
    let reply = rig.request(0, &[&header(kind, sector), data], 1);
    assert_eq!(reply.written, 1);
    split(&reply).1
}

/// A request without data of the driver, where the test finds the status whatever the used ring says.
fn bare(rig: &mut Rig<Block>, kind: RequestType, sector: u64, in_len: u32) -> u8 {
    let whole = |address, len| Segment { address, len };
    assert!(rig.ram().write(0x1000, &header(kind, sector)));
    assert!(rig.ram().write(0x8000, &[0xcc]));
    let data = (in_len > 0).then_some(whole(0x2000, in_len));
    let writable: Vec<Segment> = data.into_iter().chain([whole(0x8000, 1)]).collect();
    rig.driver(0).add_segments(&[whole(0x1000, 16)], &writable);
    rig.kick(0);
    rig.settle();
    let reply = rig.poll(0).unwrap();
    let mut status = [0];
    assert!(rig.ram().read(0x8000, &mut status));
    if status != [0] {
        assert_eq!(reply.written, u32::from(in_len == 0), "what was not filled");
    }
    status[0]
}

fn submit_write(rig: &mut Rig<Block>, queue: u16, sector: u64, byte: u8) -> u16 {
    let header = header(RequestType::OUT, sector);
    rig.submit(queue, &[&header, &[byte; 512]], 1)
}

/// The next request that came back, with its status.
fn status_of(rig: &mut Rig<Block>) -> Option<(u16, u8)> {
    let reply = rig.poll(0)?;
    Some((reply.id, split(&reply).1))
}

#[test]
fn what_is_written_is_read() {
    for ring in Ring::ALL {
        let (mut rig, storage) = rig(ring);
        let data: Vec<u8> = (0..=255).cycle().take(2048).collect();
        assert_eq!(status(&mut rig, RequestType::OUT, 60, &data), 0);
        let reply = rig.request(0, &[&header(RequestType::IN, 60)], 2049);
        assert_eq!(split(&reply), (&data[..], 0));
        assert_eq!(
            storage.take_seen(),
            [
                (StorageOp::Write, 60 * 512, 2048),
                (StorageOp::Read, 60 * 512, 2048)
            ]
        );
        let counters = rig.device().counters();
        assert_eq!((counters.reads, counters.read_bytes), (1, 2048));
        assert_eq!((counters.writes, counters.written_bytes), (1, 2048));
    }
}

#[test]
fn framing_says_nothing() {
    for ring in Ring::ALL {
        for cut in [1, 5, 15, 17, 100, 511, 513] {
            let (mut rig, storage) = rig(ring);
            rig.driver(0).cut_at(cut);
            if cut < 100 {
                rig.driver(0).use_indirect(false);
            }
            // The whole request in one run of bytes, header and data, cut anywhere.
            let len = if cut < 5 { 0 } else { 512 };
            let mut request = header(RequestType::OUT, 3).to_vec();
            request.extend(vec![7; len]);
            let reply = rig.request(0, &[&request], 1);
            assert_eq!(split(&reply).1, 0, "cut at {cut}");
            assert_eq!(storage.sector(3), Some(if len == 0 { 0 } else { 7 }));
            let reply = rig.request(0, &[&request[..8], &request[8..16]], 1);
            assert_eq!(split(&reply).1, 0, "a write of no bytes, cut at {cut}");
        }
    }
}

#[test]
fn status_is_the_last_byte_of_a_read_cut_anywhere() {
    for ring in Ring::ALL {
        let (mut rig, _storage) = rig(ring);
        assert_eq!(status(&mut rig, RequestType::OUT, 1, &[9; 1024]), 0);
        for parts in [
            &[1025][..],
            &[1024, 1],
            &[1, 1024],
            &[513, 511, 1],
            &[1000, 25],
        ] {
            let header = header(RequestType::IN, 1);
            let driver = rig.driver(0);
            driver.add(&[&header[..4], &header[4..]], parts);
            rig.kick(0);
            let reply = rig.poll(0).unwrap();
            assert_eq!(split(&reply), (&[9; 1024][..], 0), "{parts:?}");
        }
    }
}

#[test]
fn flush_makes_writes_stable() {
    for ring in Ring::ALL {
        let (mut rig, storage) = rig(ring);
        assert_eq!(status(&mut rig, RequestType::OUT, 2, &[1; 512]), 0);
        assert_eq!(storage.stable_sector(2), Some(0));
        assert_eq!(bare(&mut rig, RequestType::FLUSH, 0, 0), 0);
        assert_eq!(storage.stable_sector(2), Some(1));
        assert_eq!(rig.device().counters().flushes, 1);
    }
}

#[test]
fn without_flush_each_write_is_stable_when_it_ends() {
    for ring in Ring::ALL {
        let (mut rig, storage) = rig_with(ring, 1, UNMAP & !FLUSH);
        assert_eq!(status(&mut rig, RequestType::OUT, 2, &[1; 512]), 0);
        assert_eq!(storage.stable_sector(2), Some(1));
        let zeros = range(2, 1, 0);
        assert_eq!(status(&mut rig, RequestType::WRITE_ZEROES, 0, &zeros), 0);
        assert_eq!(storage.stable_sector(2), Some(0));
        // The flush behind it fails, waits, or finds the storage busy.
        storage.hold(true);
        storage.limit(2);
        submit_write(&mut rig, 0, 3, 3);
        submit_write(&mut rig, 0, 4, 4);
        assert!(storage.end(0));
        rig.wake();
        assert!(rig.poll(0).is_none());
        storage.fail(Some(ErrorKind::StorageFull));
        assert!(storage.end(1));
        rig.wake();
        assert_eq!(split(&rig.poll(0).unwrap()).1, 1, "its flush failed");
        storage.fail(None);
        assert!(storage.end(0));
        rig.wake();
        assert!(storage.end(0));
        rig.wake();
        assert_eq!(split(&rig.poll(0).unwrap()).1, 0);
        assert_eq!(storage.stable_sector(4), Some(4));
        assert!(rig.poll(0).is_none());
    }
}

#[test]
fn get_id_is_the_serial_number() {
    for ring in Ring::ALL {
        let (mut rig, _storage) = rig(ring);
        let reply = rig.request(0, &[&header(RequestType::GET_ID, 0)], 21);
        assert_eq!(split(&reply), (&b"TRV-0042\0\0\0\0\0\0\0\0\0\0\0\0"[..], 0));
        assert_eq!(bare(&mut rig, RequestType::GET_ID, 0, 19), 1);
        assert_eq!(bare(&mut rig, RequestType::GET_ID, 0, 512), 0);
        let reply = rig.request(0, &[&header(RequestType::GET_ID, 0)], 64);
        assert_eq!(
            reply.written, 20,
            "what stands between it and the status is not filled"
        );
    }
}

#[test]
fn discard_and_write_zeroes() {
    for ring in Ring::ALL {
        let (mut rig, storage) = rig(ring);
        let (discard, zero) = (RequestType::DISCARD, RequestType::WRITE_ZEROES);
        assert_eq!(status(&mut rig, RequestType::OUT, 0, &[5; 2048]), 0);
        let _earlier = storage.take_seen();
        assert_eq!(status(&mut rig, discard, 0, &range(0, 1, 0)), 0);
        assert_eq!(status(&mut rig, zero, 0, &range(1, 1, 0)), 0);
        assert_eq!(status(&mut rig, zero, 99, &range(2, 1, 1)), 0);
        let found: Vec<_> = (0..4).map(|sector| storage.sector(sector)).collect();
        assert_eq!(found, [Some(0xdd), Some(0), Some(0), Some(5)]);
        let unmap = |unmap| StorageOp::WriteZeroes { unmap };
        let wanted = [
            (StorageOp::Discard, 0, 512),
            (unmap(false), 512, 512),
            (unmap(true), 1024, 512),
        ];
        assert_eq!(storage.take_seen(), wanted);
        for (kind, data, wanted) in [
            (discard, range(0, 1, 1), 2),
            (discard, range(0, 1, 2), 2),
            (zero, range(0, 1, 0x8000_0001), 2),
            (zero, range(64, 1, 0), 1),
            (zero, range(63, 2, 0), 1),
            (zero, range(u64::MAX, 2, 0), 1),
            (discard, range(1 << 55, 1, 0), 1),
            (discard, range(0, u32::MAX, 0), 1),
            (discard, range(0, 0, 0), 0),
            (zero, range(64, 0, 1), 0),
        ] {
            assert_eq!(
                status(&mut rig, kind, 0, &data),
                wanted,
                "{kind:?} {data:?}"
            );
        }
        let two = [range(0, 1, 0), range(1, 1, 0)].concat();
        assert_eq!(status(&mut rig, discard, 0, &two), 1);
        assert_eq!(status(&mut rig, discard, 0, &two[..15]), 1);
        assert_eq!(bare(&mut rig, zero, 0, 0), 1);
        assert_eq!(
            storage.take_seen(),
            [],
            "the storage was given none of them"
        );
    }
}

#[test]
fn what_was_not_accepted_is_not_supported() {
    for ring in Ring::ALL {
        let (mut rig, _storage) = rig_with(ring, 1, FLUSH);
        for kind in [2, 3, 5, 10, 11, 13, 14, 0x8000_0000, u32::MAX] {
            let kind = RequestType(kind);
            assert_eq!(status(&mut rig, kind, 0, &range(0, 1, 0)), 2, "{kind:?}");
            assert_eq!(bare(&mut rig, kind, 0, 20), 2, "{kind:?}");
        }
        assert_eq!(rig.device().counters().refused, 18);
    }
}

#[test]
fn sectors_beyond_the_capacity_are_errors() {
    for ring in Ring::ALL {
        let (mut rig, storage) = rig(ring);
        for (sector, wanted) in [
            (63, 0),
            (64, 1),
            (1 << 54, 1),
            (1 << 55, 1),
            (u64::MAX, 1),
            (u64::MAX / 512, 1),
            (u64::MAX / 512 + 1, 1),
        ] {
            assert_eq!(
                bare(&mut rig, RequestType::IN, sector, 512),
                wanted,
                "{sector:#x}"
            );
            let found = status(&mut rig, RequestType::OUT, sector, &[1; 512]);
            assert_eq!(found, wanted, "{sector:#x}");
        }
        assert_eq!(bare(&mut rig, RequestType::IN, 63, 1024), 1);
        assert_eq!(bare(&mut rig, RequestType::IN, 0, 511), 1);
        assert_eq!(bare(&mut rig, RequestType::IN, 0, 513), 1);
        assert_eq!(status(&mut rig, RequestType::OUT, 0, &[1; 100]), 1);
        assert_eq!(storage.take_seen().len(), 2);
    }
}

#[test]
fn a_read_only_disk_is_not_written() {
    for ring in Ring::ALL {
        let ram = test_ram();
        let storage = MemoryStorage::new(ram.clone(), SECTORS);
        storage.change(|geometry| geometry.read_only = true);
        let block = Block::new(options(1), Box::new(storage.clone())).unwrap();
        let features = Features::from_bits(block.features());
        assert!(features.ro() && !features.discard() && !features.write_zeroes());
        let mut rig = Rig::with_ram(ram, block, ring, FLUSH);
        assert_eq!(status(&mut rig, RequestType::OUT, 0, &[1; 512]), 1);
        assert_eq!(
            status(&mut rig, RequestType::DISCARD, 0, &range(0, 1, 0)),
            2
        );
        assert_eq!(
            status(&mut rig, RequestType::WRITE_ZEROES, 0, &range(0, 1, 0)),
            2
        );
        assert_eq!(storage.take_seen(), []);
        assert_eq!(bare(&mut rig, RequestType::IN, 0, 512), 0);
    }
}

#[test]
fn a_storage_that_fails_is_an_error_for_the_driver() {
    for ring in Ring::ALL {
        for kind in [
            ErrorKind::Other,
            ErrorKind::StorageFull,
            ErrorKind::UnexpectedEof,
        ] {
            let (mut rig, storage) = rig(ring);
            assert_eq!(status(&mut rig, RequestType::OUT, 5, &[5; 512]), 0);
            assert_eq!(bare(&mut rig, RequestType::FLUSH, 0, 0), 0);
            storage.fail(Some(kind));
            assert_eq!(status(&mut rig, RequestType::OUT, 5, &[6; 512]), 1);
            assert_eq!(bare(&mut rig, RequestType::IN, 5, 512), 1);
            assert_eq!(bare(&mut rig, RequestType::FLUSH, 0, 0), 1);
            for kind in [RequestType::DISCARD, RequestType::WRITE_ZEROES] {
                assert_eq!(status(&mut rig, kind, 0, &range(5, 1, 0)), 1);
            }
            assert_eq!(rig.device().counters().failed, 5);
            storage.fail(None);
            assert_eq!(storage.stable_sector(5), Some(5), "it was flushed");
            assert_eq!(bare(&mut rig, RequestType::IN, 5, 512), 0);
            assert!(rig.broken().is_none());
        }
    }
}

#[test]
fn data_that_is_no_ram_is_an_error_for_the_driver() {
    for ring in Ring::ALL {
        let (mut rig, _storage) = rig(ring);
        let whole = |address, len| Segment { address, len };
        assert!(rig.ram().write(0x1000, &header(RequestType::IN, 0)));
        assert!(rig.ram().write(0x2000, &header(RequestType::OUT, 0)));
        for bad in [1 << 40, u64::MAX - 100, (128 << 20) - 8] {
            let bad = whole(bad, 512);
            rig.driver(0)
                .add_segments(&[whole(0x1000, 16)], &[bad, whole(0x1800, 1)]);
            rig.driver(0)
                .add_segments(&[whole(0x2000, 16), bad], &[whole(0x1801, 1)]);
            rig.kick(0);
            rig.settle();
            for at in [0x1800, 0x1801] {
                assert!(rig.poll(0).is_some());
                let mut status = [9];
                assert!(rig.ram().read(at, &mut status));
                assert_eq!(status, [1]);
            }
            assert!(rig.broken().is_none());
        }
    }
}

#[test]
fn a_buffer_that_cannot_be_answered_breaks_the_queue() {
    let whole = |address, len| Segment { address, len };
    for ring in Ring::ALL {
        for (readable, writable) in [
            (vec![whole(0x1000, 16)], vec![]),
            (vec![whole(0x1000, 15)], vec![whole(0x2000, 1)]),
            (vec![], vec![whole(0x2000, 513)]),
            (vec![whole(1 << 40, 16)], vec![whole(0x2000, 1)]),
            (vec![whole(0x1000, 16)], vec![whole(1 << 40, 1)]),
            (vec![whole(0x1000, 16)], vec![whole(u64::MAX, 2)]),
        ] {
            let (mut rig, storage) = rig(ring);
            assert!(rig.ram().write(0x1000, &header(RequestType::FLUSH, 0)));
            rig.driver(0).add_segments(&readable, &writable);
            rig.kick(0);
            rig.settle();
            assert!(rig.broken().is_some(), "{readable:x?} {writable:x?}");
            assert!(rig.poll(0).is_none());
            let _begun_or_not = storage.take_seen();
            rig.reset();
            assert_eq!(bare(&mut rig, RequestType::IN, 0, 512), 0, "a reset helps");
        }
    }
}

#[test]
fn a_batch_is_one_start_and_one_interrupt() {
    for ring in Ring::ALL {
        let (mut rig, storage) = rig_with(ring, 1, UNMAP | Feature::IndirectDescriptors.bit());
        for sector in 0..32 {
            rig.driver(0)
                .add(&[&header(RequestType::OUT, sector), &[1; 512]], &[1]);
        }
        rig.kick(0);
        assert_eq!((storage.take_starts(), storage.take_seen().len()), (1, 32));
        assert_eq!(rig.take_interrupts(0), 1);
        assert_eq!((0..32).filter_map(|_| rig.poll(0)).count(), 32);
    }
}

#[test]
fn requests_end_in_any_order() {
    for ring in Ring::ALL {
        let (mut rig, storage) = rig(ring);
        storage.hold(true);
        let ids: Vec<u16> = (0..3)
            .map(|at| submit_write(&mut rig, 0, u64::from(at), at + 1))
            .collect();
        assert_eq!((storage.held(), rig.take_interrupts(0)), (3, 0));
        assert!(storage.end(2));
        assert!(!rig.wake(), "the storage wakes it by itself");
        assert_eq!(rig.take_interrupts(0), 1);
        assert_eq!(rig.poll(0).unwrap().id, ids[2]);
        assert!(storage.end(0) && storage.end(0));
        rig.wake();
        assert_eq!(rig.poll(0).unwrap().id, ids[0]);
        assert_eq!(rig.poll(0).unwrap().id, ids[1]);
        assert_eq!(rig.take_interrupts(0), 1);
        assert!(
            !rig.wake() && rig.take_interrupts(0) == 0,
            "woken for nothing"
        );
    }
}

#[test]
fn a_busy_storage_is_tried_again_at_the_next_completion() {
    for ring in Ring::ALL {
        let (mut rig, storage) = rig(ring);
        storage.hold(true);
        storage.limit(2);
        let ids: Vec<u16> = (0..5)
            .map(|at| submit_write(&mut rig, 0, u64::from(at), at + 1))
            .collect();
        assert_eq!(storage.held(), 2);
        assert!(rig.device().counters().busy > 0);
        let mut back = Vec::new();
        for left in [3, 2, 1, 0, 0] {
            assert!(storage.end(0));
            rig.wake();
            back.push(rig.poll(0).unwrap().id);
            assert_eq!(storage.held(), 2.min(5 - back.len()), "{left} wait");
        }
        assert_eq!(back, ids, "in their order");
        assert_eq!(storage.sector(4), Some(5));
        // Without a hold it is served in one turn, however small the storage is.
        storage.hold(false);
        storage.limit(1);
        for _ in 0..5 {
            rig.driver(0).add(&[&header(RequestType::IN, 0)], &[513]);
        }
        rig.kick(0);
        assert_eq!((0..5).filter_map(|_| rig.poll(0)).count(), 5);
    }
}

#[test]
fn queues_are_served_side_by_side() {
    let mq = Features::new().with_mq(true).into_bits();
    for ring in Ring::ALL {
        let (mut rig, storage) = rig_with(ring, 4, UNMAP | mq);
        assert_eq!(rig.device().queue_sizes(), [256; 4]);
        storage.hold(true);
        storage.limit(3);
        for queue in 0..4 {
            submit_write(&mut rig, queue, queue.into(), 1);
        }
        assert_eq!(storage.held(), 3);
        assert!(storage.end(1));
        rig.wake();
        let came: Vec<bool> = (0..4).map(|queue| rig.poll(queue).is_some()).collect();
        assert_eq!(came, [false, true, false, false]);
        let interrupts: Vec<u32> = (0..4).map(|queue| rig.take_interrupts(queue)).collect();
        assert_eq!(interrupts, [0, 1, 0, 0]);
        assert_eq!(storage.held(), 3, "queue 3 had its turn");
        rig.stop(None);
        let came = (0..4).filter_map(|queue| rig.poll(queue)).count();
        assert_eq!((came, storage.held()), (3, 0));
    }
}

#[test]
fn to_stop_one_queue_ends_its_work_and_wakes_the_others() {
    let mq = Features::new().with_mq(true).into_bits();
    for ring in Ring::ALL {
        let (mut rig, storage) = rig_with(ring, 2, UNMAP | mq);
        storage.hold(true);
        storage.limit(1);
        submit_write(&mut rig, 0, 0, 1);
        submit_write(&mut rig, 0, 1, 1);
        submit_write(&mut rig, 1, 2, 2);
        rig.stop(Some(0));
        assert_eq!(split(&rig.poll(0).unwrap()).1, 0);
        assert!(rig.poll(0).is_none(), "the second stays in the ring");
        assert_eq!(storage.held(), 1, "that of queue 1 was waiting");
        assert!(storage.end(0));
        rig.wake();
        assert_eq!(split(&rig.poll(1).unwrap()).1, 0);
        assert_eq!((storage.sector(1), storage.sector(2)), (Some(0), Some(2)));
    }
}

#[test]
fn a_pause_ends_what_is_under_way_and_no_more() {
    for ring in Ring::ALL {
        let (mut rig, storage) = rig(ring);
        storage.hold(true);
        storage.limit(1);
        submit_write(&mut rig, 0, 0, 1);
        submit_write(&mut rig, 0, 1, 2);
        rig.call(Block::pause);
        assert_eq!((storage.held(), rig.take_interrupts(0)), (0, 1));
        assert!(rig.poll(0).is_some() && rig.poll(0).is_none());
        rig.notify(0);
        rig.wake();
        assert_eq!(storage.held(), 1, "it goes on");
    }
}

#[test]
fn a_reset_in_the_middle_of_work_leaves_nothing_behind() {
    for ring in Ring::ALL {
        for flush in [0, FLUSH] {
            let (mut rig, storage) = rig_with(ring, 1, UNMAP & !FLUSH | flush);
            storage.hold(true);
            for at in 0..8 {
                submit_write(&mut rig, 0, at, 1);
            }
            rig.reset();
            assert_eq!((storage.held(), storage.sector(7)), (0, Some(1)));
            storage.hold(false);
            assert_eq!(bare(&mut rig, RequestType::IN, 0, 512), 0);
        }
    }
}

#[test]
fn a_storage_that_loses_requests_cannot_hold_up_a_stop() {
    for ring in Ring::ALL {
        let (mut rig, storage) = rig(ring);
        storage.hold(true);
        storage.lose();
        submit_write(&mut rig, 0, 0, 1);
        submit_write(&mut rig, 0, 1, 1);
        rig.stop(None);
        for _ in 0..2 {
            assert_eq!(split(&rig.poll(0).unwrap()).1, 1);
        }
        rig.reset();
        storage.hold(false);
        assert_eq!(bare(&mut rig, RequestType::IN, 0, 512), 0);
    }
}

#[test]
fn configuration_tells_of_the_disk() {
    let ram = test_ram();
    let storage = MemoryStorage::new(ram, SECTORS);
    storage.change(|geometry| geometry.physical_block = 4096);
    let block = Block::new(options(3), Box::new(storage.clone())).unwrap();
    let wanted = [
        (0, &[64, 0, 0, 0, 0, 0, 0, 0][..]), // capacity
        (8, &[0; 4]),                        // size_max
        (12, &[254, 0, 0, 0]),               // seg_max
        (16, &[0; 4]),                       // geometry
        (20, &[0, 2, 0, 0]),                 // blk_size
        (24, &[3, 0, 8, 0, 0, 0, 0, 0]),     // topology
        (32, &[0, 0, 3, 0]),                 // writeback, unused0, num_queues
        (36, &[0, 0, 0x40, 0, 1, 0, 0, 0]),  // max_discard_sectors, max_discard_seg
        (44, &[8, 0, 0, 0]),                 // discard_sector_alignment
        (48, &[0, 0, 0x40, 0, 1, 0, 0, 0]),  // max_write_zeroes_sectors, max_write_zeroes_seg
        (56, &[1, 0, 0, 0, 0, 0, 0, 0]),     // write_zeroes_may_unmap and behind the end
    ];
    let mut whole = [0xee; 64];
    block.read_config(0, &mut whole);
    for (at, field) in wanted {
        let mut found = vec![0xee; field.len()];
        block.read_config(at, &mut found);
        assert_eq!(found, field, "at {at}");
        assert_eq!(&whole[at..at + field.len()], field, "at {at}");
    }
    let mut far = [0xee; 4];
    block.read_config(usize::MAX, &mut far);
    assert_eq!(far, [0; 4]);
    storage.change(|geometry| geometry.can_discard = false);
    let block = Block::new(options(1), Box::new(storage)).unwrap();
    block.read_config(0, &mut whole);
    assert_eq!(whole[36..], [0; 28]);
    let features = Features::from_bits(block.features());
    assert!(!features.discard() && !features.write_zeroes() && !features.mq());
    assert!(features.flush() && features.topology() && features.blk_size() && features.seg_max());
}

#[test]
fn nothing_of_the_configuration_can_be_written() {
    let (mut rig, _storage) = rig(Ring::Split);
    assert!(rig.write_config(32, &[0]).is_err());
    assert!(rig.write_config(0, &[0; 64]).is_err());
}

#[test]
fn a_new_capacity_is_told() {
    for ring in Ring::ALL {
        let (mut rig, storage) = rig(ring);
        storage.change(|geometry| geometry.capacity = 8 * 512);
        rig.call(Block::resize);
        assert_eq!(rig.take_config_changes(), 1);
        assert_eq!(rig.read_config(0, 8), [8, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bare(&mut rig, RequestType::IN, 8, 512), 1);
        assert_eq!(bare(&mut rig, RequestType::IN, 7, 512), 0);
        rig.call(Block::resize);
        assert_eq!(rig.take_config_changes(), 0, "nothing changed");
    }
}

#[test]
fn a_disk_goes_on_where_it_was_saved() {
    for ring in Ring::ALL {
        let (mut rig, storage) = rig(ring);
        storage.hold(true);
        storage.limit(1);
        let first = submit_write(&mut rig, 0, 1, 1);
        let second = submit_write(&mut rig, 0, 2, 2);
        assert_eq!(status_of(&mut rig), None);
        let fresh = Block::new(options(1), Box::new(storage.clone())).unwrap();
        let mut rig = rig.migrate(fresh);
        assert_eq!(
            rig.take_config_changes(),
            0,
            "the disk is as large as before"
        );
        assert_eq!(
            status_of(&mut rig),
            Some((first, 0)),
            "ended before it was saved"
        );
        assert_eq!((status_of(&mut rig), storage.held()), (None, 1));
        assert!(storage.end(0));
        rig.wake();
        assert_eq!(status_of(&mut rig), Some((second, 0)));
        assert_eq!((storage.sector(1), storage.sector(2)), (Some(1), Some(2)));
    }
}

#[test]
fn a_restored_disk_tells_of_a_capacity_that_is_another() {
    let (mut rig, _storage) = rig(Ring::Split);
    check_golden(rig.device_mut(), state::KIND, 1, "80 01");
    assert_eq!(rig.read_config(0, 2), [128, 0]);
    rig.notify(0);
    rig.wake();
    assert_eq!(rig.take_config_changes(), 1);
    assert_eq!(rig.read_config(0, 2), [64, 0]);
    rig.wake();
    assert_eq!(rig.take_config_changes(), 0);
    let saved = rig.device().save();
    assert_eq!(rig.device_mut().restore(&saved), Ok(()));
    rig.wake();
    assert_eq!((rig.take_config_changes(), rig.device().save()), (0, saved));
}

#[test]
fn a_bad_state_is_refused() {
    let (mut rig, _storage) = rig(Ring::Split);
    let good = rig.device().save();
    for bad in [
        SavedState {
            kind: "virtio-net",
            ..good.clone()
        },
        SavedState {
            version: 2,
            ..good.clone()
        },
        SavedState {
            data: vec![],
            ..good.clone()
        },
        SavedState {
            data: vec![1, 1],
            ..good.clone()
        },
        SavedState {
            data: vec![0xff; 11],
            ..good.clone()
        },
    ] {
        assert!(rig.device_mut().restore(&bad).is_err(), "{bad:?}");
        assert_eq!(rig.device().save(), good);
    }
}

#[test]
fn options_are_checked() {
    let storage = MemoryStorage::new(test_ram(), SECTORS);
    let check = |change: &dyn Fn(&mut BlockOptions)| {
        let mut options = options(1);
        change(&mut options);
        Block::new(options, Box::new(storage.clone())).map(|_| ())
    };
    for queues in [0, 65, u16::MAX] {
        let found = check(&|options| options.queues = queues);
        assert_eq!(found, Err(BlockError::Queues { queues }));
    }
    for size in [0, 1, 2, 3, 5, 257, u16::MAX] {
        let found = check(&|options| options.queue_size = size);
        assert_eq!(found, Err(BlockError::QueueSize { size }));
    }
    for serial in ["123456789012345678901", "a\nb", "ü", "\u{7f}"] {
        let found = check(&|options| options.serial = serial.into());
        let serial = serial.into();
        assert_eq!(found, Err(BlockError::Serial { serial }));
    }
    assert_eq!(
        check(&|options| options.serial = "12345678901234567890".into()),
        Ok(())
    );
    for bytes in [0, 256, 513, 4095] {
        storage.change(|geometry| geometry.physical_block = bytes);
        assert_eq!(check(&|_| {}), Err(BlockError::PhysicalBlock { bytes }));
    }
}
