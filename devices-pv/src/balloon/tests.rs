use std::sync::Arc;

use trivisor_buses::testing::Recorder;
use trivisor_memory::GuestRam;
use trivisor_virtio_device::Feature;
use trivisor_virtio_device::testing::{Rig, Ring, test_ram};

use super::*;
use crate::golden::check_golden;

const ALL: u64 = 0b10_0111;
const PAGE_POISON: u64 = 1 << 4;
/// A page that no driver of the rig uses.
const FREE: u32 = 0x10;
const PAGES: u32 = 128 << 8;

/// A host that notes its calls, and takes from real memory unless it refuses.
struct TestReclaim {
    ram: GuestRam,
    calls: Arc<Recorder<Vec<(u64, u32)>>>,
    refuses: bool,
}

impl Reclaim for TestReclaim {
    fn give_back(&mut self, segments: &[Segment]) -> u64 {
        let segment = |segment: &Segment| (segment.address, segment.len);
        self.calls.note(segments.iter().map(segment).collect());
        if self.refuses {
            return 0;
        }
        self.ram.give_back(segments)
    }
}

type Calls = Arc<Recorder<Vec<(u64, u32)>>>;

fn rig_with(ring: Ring, features: u64, refuses: bool) -> (Rig<Balloon>, Calls) {
    let (ram, calls) = (test_ram(), Calls::default());
    let reclaim = TestReclaim {
        ram: ram.clone(),
        calls: calls.clone(),
        refuses,
    };
    let device = Balloon::new(BalloonOptions::default(), Box::new(reclaim));
    (Rig::with_ram(ram, device, ring, features), calls)
}

fn rig(ring: Ring) -> (Rig<Balloon>, Calls) {
    rig_with(ring, ALL, false)
}

fn list(pages: &[u32]) -> Vec<u8> {
    pages.iter().flat_map(|page| page.to_le_bytes()).collect()
}

fn address(page: u32) -> u64 {
    u64::from(page) << 12
}

fn fill(rig: &Rig<Balloon>, pages: std::ops::Range<u32>) {
    for page in pages {
        assert!(rig.ram().write(address(page), &[0x77; 4096]));
    }
}

fn holds(rig: &Rig<Balloon>, page: u32) -> u8 {
    let mut bytes = [0; 4096];
    assert!(rig.ram().read(address(page), &mut bytes));
    assert!(bytes.iter().all(|byte| *byte == bytes[0]));
    bytes[0]
}

fn stats(entries: &[(u16, u64)]) -> Vec<u8> {
    let entry = |(tag, value): &(u16, u64)| [&tag.to_le_bytes()[..], &value.to_le_bytes()].concat();
    entries.iter().flat_map(entry).collect()
}

#[test]
fn inflated_pages_go_back_in_runs() {
    for ring in Ring::ALL {
        let (mut rig, calls) = rig(ring);
        fill(&rig, FREE..FREE + 32);
        // Downwards, as Linux gets them, with one twice and one apart.
        let mut pages: Vec<u32> = (FREE..FREE + 16).rev().collect();
        pages.extend([FREE + 3, FREE + 20]);
        let reply = rig.request(INFLATE_QUEUE, &[&list(&pages)], 0);
        assert_eq!(reply.written, 0);
        let runs = vec![(address(FREE), 16 << 12), (address(FREE + 20), 4096)];
        assert_eq!(calls.take(), [runs], "one call, a segment a run");
        let found = [15, 16, 19, 20, 21].map(|page| holds(&rig, FREE + page));
        assert_eq!(found, [0, 0x77, 0x77, 0, 0x77]);
        let counters = rig.device().counters();
        assert_eq!((counters.inflated, counters.given_back), (17, 17 << 12));
        assert_eq!((counters.kept, counters.outside), (0, 0));
        assert_eq!(rig.take_interrupts(INFLATE_QUEUE), 1);
    }
}

#[test]
fn a_list_may_be_cut_anywhere() {
    for ring in Ring::ALL {
        for cut in [1, 3, 5, 1024] {
            let features = ALL | Feature::IndirectDescriptors.bit();
            let (mut rig, calls) = rig_with(ring, features, false);
            rig.driver(INFLATE_QUEUE).cut_at(cut);
            let pages: Vec<u32> = (FREE..FREE + 15).collect();
            let mut bytes = list(&pages);
            bytes.extend([1, 2, 3]);
            rig.request(INFLATE_QUEUE, &[&bytes], 0);
            assert_eq!(calls.take(), [vec![(address(FREE), 15 << 12)]]);
        }
    }
}

#[test]
fn pages_outside_of_ram_are_counted_and_left_alone() {
    for ring in Ring::ALL {
        let (mut rig, calls) = rig(ring);
        let pages = [u32::MAX, PAGES, FREE, 0x000c_0000, PAGES - 1];
        rig.request(INFLATE_QUEUE, &[&list(&pages)], 0);
        let runs = vec![(address(FREE), 4096), (address(PAGES - 1), 4096)];
        assert_eq!(calls.take(), [runs]);
        rig.request(INFLATE_QUEUE, &[&list(&[PAGES])], 0);
        assert!(calls.take().is_empty(), "nothing to call the host for");
        let counters = rig.device().counters();
        assert_eq!((counters.outside, counters.inflated), (4, 2));
        assert_eq!(rig.broken(), None);
    }
}

#[test]
fn a_long_list_is_read_to_its_limit() {
    for ring in Ring::ALL {
        let (mut rig, calls) = rig(ring);
        let most = u32::try_from(MAX_PAGES).unwrap();
        let pages: Vec<u32> = (FREE + 0x1000..).take(MAX_PAGES + 5).collect();
        rig.request(INFLATE_QUEUE, &[&list(&pages)], 0);
        assert_eq!(calls.take(), [vec![(address(FREE + 0x1000), most << 12)]]);
        let counters = rig.device().counters();
        assert_eq!((counters.inflated, counters.ignored), (most.into(), 5));
    }
}

#[test]
fn deflation_is_acknowledged() {
    for ring in Ring::ALL {
        let (mut rig, calls) = rig(ring);
        fill(&rig, FREE..FREE + 1);
        let reply = rig.request(DEFLATE_QUEUE, &[&list(&[FREE, u32::MAX])], 0);
        assert_eq!((reply.written, holds(&rig, FREE)), (0, 0x77));
        assert_eq!(rig.device().counters().deflated, 2);
        assert!(calls.take().is_empty());
    }
}

#[test]
fn a_host_that_refuses_keeps_the_guest_going() {
    for ring in Ring::ALL {
        let (mut rig, _calls) = rig_with(ring, ALL, true);
        fill(&rig, FREE..FREE + 1);
        rig.request(INFLATE_QUEUE, &[&list(&[FREE])], 0);
        rig.request(REPORTING_QUEUE, &[], 8192);
        let counters = rig.device().counters();
        assert_eq!((counters.given_back, counters.kept), (0, 4096 + 8192));
        assert_eq!(holds(&rig, FREE), 0x77);
    }
}

#[test]
fn reported_pages_go_back_at_once() {
    for ring in Ring::ALL {
        for queue in [3, REPORTING_QUEUE] {
            let (mut rig, calls) = rig(ring);
            fill(&rig, FREE..FREE + 8);
            let run = |page, pages: u32| Segment {
                address: address(page),
                len: pages << 12,
            };
            let segments = [
                run(FREE + 4, 2),
                run(FREE, 2),
                run(FREE + 2, 2),
                run(PAGES - 1, 2),
                run(u32::MAX, 1),
            ];
            rig.driver(queue).add_segments(&[], &segments);
            rig.kick(queue);
            assert_eq!(rig.driver(queue).pending(), 1);
            let reply = rig.poll(queue).unwrap();
            assert_eq!(reply.written, 0);
            assert_eq!(calls.take(), [vec![(address(FREE), 6 << 12)]]);
            assert_eq!((holds(&rig, FREE + 5), holds(&rig, FREE + 6)), (0, 0x77));
            let counters = rig.device().counters();
            assert_eq!((counters.reported, counters.outside), (6, 3));
        }
    }
}

#[test]
fn parts_of_pages_stay() {
    for ring in Ring::ALL {
        let (mut rig, _calls) = rig(ring);
        fill(&rig, FREE..FREE + 3);
        let segment = Segment {
            address: address(FREE) + 1,
            len: 8192,
        };
        rig.driver(REPORTING_QUEUE).add_segments(&[], &[segment]);
        rig.kick(REPORTING_QUEUE);
        let found = [0, 1, 2].map(|page| holds(&rig, FREE + page));
        assert_eq!(found, [0x77, 0, 0x77]);
        let counters = rig.device().counters();
        assert_eq!((counters.given_back, counters.kept), (4096, 4096));
    }
}

#[test]
fn poisoned_pages_are_not_replaced_by_zeros() {
    for ring in Ring::ALL {
        for (poison, wanted) in [(0, 0), (0x7777_7777_u32, 0x77)] {
            let (mut rig, _calls) = rig_with(ring, ALL | PAGE_POISON, false);
            fill(&rig, FREE..FREE + 2);
            rig.write_config(12, &poison.to_le_bytes()).unwrap();
            let segment = Segment {
                address: address(FREE),
                len: 4096,
            };
            rig.driver(REPORTING_QUEUE).add_segments(&[], &[segment]);
            rig.kick(REPORTING_QUEUE);
            assert!(rig.poll(REPORTING_QUEUE).is_some());
            assert_eq!(holds(&rig, FREE), wanted);
            assert_eq!(rig.device().counters().kept == 4096, poison != 0);
            // What is inflated the driver writes anew in any case.
            rig.request(INFLATE_QUEUE, &[&list(&[FREE + 1])], 0);
            assert_eq!(holds(&rig, FREE + 1), 0);
        }
    }
}

#[test]
fn statistics_come_when_they_are_asked_for() {
    for ring in Ring::ALL {
        let (mut rig, _calls) = rig(ring);
        assert!(!rig.call(Balloon::request_statistics), "no buffer yet");
        rig.submit(STATS_QUEUE, &[&stats(&[(4, 1000)])], 0);
        assert!(rig.poll(STATS_QUEUE).is_none(), "it is held");
        assert_eq!(rig.device().statistics().free, Some(1000));
        assert_eq!(rig.take_interrupts(STATS_QUEUE), 0);
        assert!(rig.call(Balloon::request_statistics));
        assert!(!rig.call(Balloon::request_statistics), "under way");
        assert_eq!(rig.take_interrupts(STATS_QUEUE), 1);
        assert_eq!(rig.poll(STATS_QUEUE).unwrap().written, 0);
        let all: Vec<(u16, u64)> = (0..10).rev().map(|tag| (tag, u64::from(tag) + 1)).collect();
        rig.submit(STATS_QUEUE, &[&stats(&all)], 0);
        let wanted = Statistics {
            swap_in: Some(1),
            swap_out: Some(2),
            major_faults: Some(3),
            minor_faults: Some(4),
            free: Some(5),
            total: Some(6),
            available: Some(7),
            caches: Some(8),
            huge_allocations: Some(9),
            huge_failures: Some(10),
        };
        assert_eq!(rig.device().statistics(), wanted);
        assert_eq!(rig.device().counters().statistics, 2);
    }
}

#[test]
fn statistics_that_are_odd_are_taken_as_far_as_they_go() {
    for ring in Ring::ALL {
        let (mut rig, _calls) = rig(ring);
        rig.driver(STATS_QUEUE).cut_at(7);
        let mut bytes = stats(&[(10, 1), (u16::MAX, 2), (5, 3)]);
        bytes.extend([4, 0, 9]);
        rig.submit(STATS_QUEUE, &[&bytes], 0);
        let only_total = Statistics {
            total: Some(3),
            ..Statistics::default()
        };
        assert_eq!(rig.device().statistics(), only_total);
        assert!(rig.call(Balloon::request_statistics));
        rig.poll(STATS_QUEUE).unwrap();
        // More entries than are looked at.
        rig.driver(STATS_QUEUE).cut_at(u32::MAX);
        let mut many = vec![(4, 1); 64];
        many.push((4, 2));
        rig.submit(STATS_QUEUE, &[&stats(&many)], 0);
        assert_eq!(rig.device().statistics().free, Some(1));
        // Two at a time: the older one goes back.
        let second = rig.submit(STATS_QUEUE, &[&stats(&[(4, 3)])], 0);
        assert_ne!(rig.poll(STATS_QUEUE).unwrap().id, second);
        assert!(rig.call(Balloon::request_statistics));
        assert_eq!(rig.poll(STATS_QUEUE).unwrap().id, second);
        assert_eq!(rig.broken(), None);
    }
}

#[test]
fn queues_follow_the_features() {
    for ring in Ring::ALL {
        // Without statistics, a driver that counts the queues that are there reports on queue 2.
        let (mut rig, calls) = rig_with(ring, 1 << 5, false);
        rig.request(2, &[], 4096 * 2);
        assert_eq!(calls.take().len(), 1);
        let (mut rig, calls) = rig_with(ring, 0, false);
        for queue in [2, 3, 4] {
            rig.submit(queue, &[], 8192);
            assert!(rig.poll(queue).is_none(), "queue {queue} is for nothing");
        }
        rig.notify(9);
        rig.request(INFLATE_QUEUE, &[&list(&[FREE])], 0);
        assert_eq!(calls.take().len(), 1);
        assert_eq!(rig.broken(), None);
    }
}

#[test]
fn lists_that_are_no_ram_break_their_queue() {
    for ring in Ring::ALL {
        for queue in [INFLATE_QUEUE, STATS_QUEUE] {
            let (mut rig, calls) = rig(ring);
            let nowhere = Segment {
                address: 1 << 40,
                len: 64,
            };
            rig.driver(queue).add_segments(&[nowhere], &[]);
            rig.kick(queue);
            let broken = rig.broken();
            assert!(
                matches!(broken, Some((at, QueueError::NotRam { .. })) if at == queue),
                "{broken:?}"
            );
            rig.reset();
            rig.request(INFLATE_QUEUE, &[&list(&[FREE])], 0);
            assert_eq!(calls.take().len(), 1);
        }
        // Buffers of the wrong direction hold no pages.
        let (mut rig, calls) = rig(ring);
        rig.request(INFLATE_QUEUE, &[], 64);
        rig.request(DEFLATE_QUEUE, &[], 64);
        rig.request(REPORTING_QUEUE, &[&[0; 64]], 0);
        assert!(calls.take().is_empty());
        assert_eq!(rig.device().counters(), BalloonCounters::default());
    }
}

#[test]
fn a_full_queue_is_one_batch() {
    for ring in Ring::ALL {
        let features = ALL | Feature::EventIndex.bit();
        let (mut rig, calls) = rig_with(ring, features, false);
        for page in FREE..FREE + u32::from(QUEUE_SIZE) {
            rig.driver(INFLATE_QUEUE).add(&[&list(&[page])], &[]);
        }
        rig.kick(INFLATE_QUEUE);
        assert_eq!(calls.take().len(), usize::from(QUEUE_SIZE));
        assert_eq!(rig.take_interrupts(INFLATE_QUEUE), 1);
        let back = std::iter::from_fn(|| rig.poll(INFLATE_QUEUE)).count();
        assert_eq!(back, usize::from(QUEUE_SIZE));
        rig.request(INFLATE_QUEUE, &[&list(&[FREE])], 0);
    }
}

#[test]
fn the_target_is_told_and_the_driver_answers() {
    for ring in Ring::ALL {
        let (mut rig, _calls) = rig(ring);
        rig.call(|device, io| device.set_target(0x0102_0304, io));
        assert_eq!(rig.take_config_changes(), 1);
        assert_eq!(rig.device().target(), 0x0102_0304);
        assert_eq!(rig.read_config(0, 4), [4, 3, 2, 1]);
        rig.call(|device, io| device.set_target(0x0102_0304, io));
        assert_eq!(rig.take_config_changes(), 0, "nothing changed");
        rig.write_config(4, &[0x40, 0x30, 0x20, 0x10]).unwrap();
        assert_eq!(rig.device().actual(), 0x1020_3040);
        rig.write_config(6, &[0xee, 0xff]).unwrap();
        assert_eq!(rig.device().actual(), 0xffee_3040);
        rig.write_config(4, &[1]).unwrap();
        let whole = [4, 3, 2, 1, 1, 0x30, 0xee, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(rig.read_config(0, 17), whole);
        assert_eq!(rig.read_config(usize::MAX, 2), [0; 2]);
        for (offset, len) in [(0, 4), (2, 4), (8, 4), (12, 4), (16, 1), (usize::MAX, 1)] {
            let found = rig.write_config(offset, &[9; 4][..len]);
            assert_eq!(found, Err(AccessError::ReadOnly), "at {offset}");
        }
        assert_eq!(rig.write_config(5, &[9; 4]), Err(AccessError::Width));
        assert_eq!(rig.read_config(0, 17), whole);
        rig.reset();
        assert_eq!(
            (rig.device().target(), rig.device().actual()),
            (0x0102_0304, 0)
        );
    }
}

#[test]
fn poison_is_taken_where_it_was_negotiated() {
    let (mut rig, _calls) = rig_with(Ring::Split, PAGE_POISON, false);
    rig.write_config(12, &[1, 2, 3, 4]).unwrap();
    assert_eq!(rig.read_config(12, 4), [1, 2, 3, 4]);
    assert_eq!(rig.write_config(14, &[0; 4]), Err(AccessError::Width));
    rig.reset();
    assert_eq!(rig.read_config(12, 4), [0; 4]);
}

#[test]
fn features_are_those_of_the_options() {
    let bits = |deflate_on_oom, free_page_reporting| {
        let options = BalloonOptions {
            deflate_on_oom,
            free_page_reporting,
        };
        let reclaim = Box::new(test_ram());
        Balloon::new(options, reclaim).features()
    };
    assert_eq!(bits(true, true), 0b11_0111);
    assert_eq!(bits(false, true), 0b11_0011);
    assert_eq!(bits(true, false), 0b01_0111);
}

#[test]
fn stop_and_reset_give_the_statistics_buffer_back() {
    for ring in Ring::ALL {
        let (mut rig, _calls) = rig(ring);
        rig.submit(STATS_QUEUE, &[&stats(&[(4, 1)])], 0);
        rig.stop(Some(INFLATE_QUEUE));
        assert!(rig.poll(STATS_QUEUE).is_none());
        rig.stop(Some(STATS_QUEUE));
        assert!(rig.poll(STATS_QUEUE).is_some());
        rig.submit(STATS_QUEUE, &[&stats(&[(4, 1)])], 0);
        rig.reset();
        assert_eq!(rig.device().statistics(), Statistics::default());
        assert!(!rig.call(Balloon::request_statistics));
        assert_eq!(rig.broken(), None);
    }
}

#[test]
fn a_restored_balloon_goes_on() {
    for ring in Ring::ALL {
        let (mut rig, _calls) = rig(ring);
        rig.call(|device, io| device.set_target(5, io));
        let id = rig.submit(STATS_QUEUE, &[&stats(&[(4, 1)])], 0);
        rig.call(Balloon::pause);
        let saved = rig.device().save();
        *rig.device_mut() = Balloon::new(BalloonOptions::default(), Box::new(test_ram()));
        rig.device_mut().restore(&saved).unwrap();
        assert_eq!(rig.device().save(), saved);
        assert_eq!(rig.device().target(), 5);
        assert!(rig.call(Balloon::request_statistics));
        assert_eq!(rig.poll(STATS_QUEUE).unwrap().id, id);
        // A buffer that the queue does not have is found when it is given back.
        rig.device_mut().restore(&saved).unwrap();
        assert!(rig.call(Balloon::request_statistics));
        let wanted = QueueError::NotInUse { id };
        assert_eq!(rig.broken(), Some((STATS_QUEUE, wanted)));
    }
}

#[test]
fn bad_states_are_refused() {
    let (mut rig, _calls) = rig(Ring::Split);
    check_golden(rig.device_mut(), state::KIND, 1, "808004 ff01 01 01 8301");
    assert_eq!(
        (rig.device().target(), rig.device().actual()),
        (0x1_0000, 0xff)
    );
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
            data: good.data[..good.data.len() - 1].to_vec(),
            ..good.clone()
        },
        SavedState {
            data: [&good.data[..], &[0]].concat(),
            ..good.clone()
        },
    ] {
        assert!(rig.device_mut().restore(&bad).is_err(), "{bad:?}");
        assert_eq!(rig.device().save(), good);
    }
}
