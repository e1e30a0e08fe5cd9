use super::*;

const MERGE: Features = Features::new().with_mrg_rxbuf(true);
pub(super) const TSO: Features = Features::new().with_guest_csum(true).with_guest_tso4(true);

/// Adds `count` buffers of `len` bytes.
pub(super) fn fill(rig: &mut Rig<Net>, queue: u16, count: usize, len: u32) {
    for _ in 0..count {
        rig.driver(queue).add(&[], &[len]);
    }
    rig.kick(queue);
}

/// The next frame with its header: all of its buffers, which have to be full but for the last.
pub(super) fn next(rig: &mut Rig<Net>, queue: u16) -> Option<Vec<u8>> {
    let first = rig.poll(queue)?;
    let mut data = first.data;
    let buffers = u16::from_le_bytes([data[10], data[11]]);
    for _ in 1..buffers {
        data.extend(rig.poll(queue).expect("as many as it says").data);
    }
    Some(data)
}

#[test]
fn a_frame_comes_in_one_buffer() {
    for (ring, way) in rings() {
        for has_header in [true, false] {
            for merge in [0, MERGE.into_bits()] {
                for cut in [1, 7, u32::MAX] {
                    let bench = Bench::new(has_header);
                    let mut rig = bench.rig_with(ring, way | merge);
                    rig.driver(RX).cut_at(cut);
                    fill(&mut rig, RX, 4, if cut == u32::MAX { 1526 } else { 60 });
                    for len in [1, 14, 40] {
                        bench.cable().offer(&frame(len, 9));
                        rig.settle();
                        assert_eq!(next(&mut rig, RX), Some(with_header(1, &frame(len, 9))));
                        assert_eq!(rig.take_interrupts(RX), 1);
                    }
                    assert_eq!(rig.device().counters().received, 3);
                }
            }
        }
    }
}

#[test]
fn the_cable_s_header_stays_but_for_the_number_of_buffers() {
    let bench = Bench::new(true);
    let mut rig = bench.rig(Ring::Split, MERGE);
    fill(&mut rig, RX, 4, 1526);
    let header = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xee, 0xee];
    bench
        .cable()
        .end()
        .waiting
        .push_back([&header, &*frame(60, 3)].concat());
    rig.settle();
    let data = next(&mut rig, RX).unwrap();
    assert_eq!(data[..10], header[..10]);
    assert_eq!(data[10..12], [1, 0]);
    assert_eq!(data[12..], frame(60, 3));
}

#[test]
fn a_long_frame_is_spread_over_small_buffers() {
    for (ring, way) in rings() {
        for has_header in [true, false] {
            let bench = Bench::new(has_header);
            let mut rig = bench.rig_with(ring, way | MERGE.into_bits());
            fill(&mut rig, RX, 250, 400);
            let mut wanted = Vec::new();
            for (len, buffers) in [(388, 1), (389, 2), (9000, 23), (1, 1), (65589, 165)] {
                bench.cable().offer(&frame(len, 1));
                wanted.push(with_header(buffers, &frame(len, 1)));
            }
            rig.settle();
            for wanted in wanted {
                assert_eq!(next(&mut rig, RX), Some(wanted));
            }
            assert_eq!(rig.take_interrupts(RX), 1, "told of at once");
        }
    }
}

#[test]
fn buffers_are_kept_from_frame_to_frame_and_given_back_when_the_device_stops() {
    for (ring, way) in rings() {
        let bench = Bench::new(true);
        let mut rig = bench.rig_with(ring, way | MERGE.into_bits());
        fill(&mut rig, RX, 100, 1526);
        for seed in 0..10 {
            bench.cable().offer(&frame(60, seed));
            rig.settle();
            assert_eq!(next(&mut rig, RX), Some(with_header(1, &frame(60, seed))));
        }
        rig.call(Net::pause);
        bench.cable().offer(&frame(60, 10));
        assert!(rig.poll(RX).is_none());
        // As a transport goes on after a pause.
        rig.notify(RX);
        rig.settle();
        assert_eq!(next(&mut rig, RX), Some(with_header(1, &frame(60, 10))));
        assert_eq!(rig.broken(), None);
    }
}

#[test]
fn frames_wait_for_buffers_and_the_driver_is_asked_to_ring() {
    for (ring, way) in rings() {
        for merge in [0, MERGE.into_bits()] {
            let bench = Bench::new(false);
            let mut rig = bench.rig_with(ring, way | merge);
            (0..5).for_each(|seed| bench.cable().offer(&frame(60, seed)));
            rig.settle();
            for seed in 0..5 {
                rig.driver(RX).add(&[], &[1526]);
                assert!(rig.driver(RX).kick(), "the device does not wait");
                rig.notify(RX);
                assert_eq!(next(&mut rig, RX), Some(with_header(1, &frame(60, seed))));
            }
            // Now the cable is empty; but the device has not seen that.
            fill(&mut rig, RX, 1, 1526);
            rig.driver(RX).add(&[], &[1526]);
            assert!(!rig.driver(RX).kick(), "the device waits for buffers");
        }
    }
}

#[test]
fn a_driver_with_few_buffers_gets_frames_as_it_can() {
    for (ring, way) in rings() {
        let bench = Bench::new(true);
        let mut rig = bench.rig_with(ring, way | (MERGE.into_bits() | TSO.into_bits()));
        fill(&mut rig, RX, 3, 1526);
        for seed in 0..50 {
            bench.cable().offer(&frame(1514, seed));
            rig.settle();
            assert_eq!(next(&mut rig, RX), Some(with_header(1, &frame(1514, seed))));
            rig.driver(RX).add(&[], &[1526]);
            rig.kick(RX);
        }
        // All that there is is not enough for this one.
        bench.cable().offer(&frame(5000, 0));
        rig.settle();
        assert_eq!(rig.device().counters().receive_dropped, 1);
        bench.cable().offer(&frame(60, 0));
        rig.settle();
        assert_eq!(next(&mut rig, RX), Some(with_header(1, &frame(60, 0))));
    }
}

#[test]
fn a_long_frame_waits_for_a_driver_that_is_about_to_refill_its_queue() {
    for (ring, way) in rings() {
        let bench = Bench::new(true);
        let mut rig = bench.rig_with(ring, way | (MERGE.into_bits() | TSO.into_bits()));
        fill(&mut rig, RX, 256, 1526);
        (0..250).for_each(|_| bench.cable().offer(&frame(60, 0)));
        bench.cable().offer(&frame(65000, 1));
        rig.settle();
        let short = (0..).take_while(|_| rig.poll(RX).is_some()).count();
        assert_eq!(short, 250);
        fill(&mut rig, RX, short, 1526);
        assert_eq!(next(&mut rig, RX), Some(with_header(43, &frame(65000, 1))));
        assert_eq!(rig.device().counters().receive_dropped, 0);
    }
}

#[test]
fn what_is_too_long_or_empty_is_lost_and_counted() {
    for has_header in [true, false] {
        for merge in [Features::new(), MERGE] {
            let bench = Bench::new(has_header);
            let mut rig = bench.rig(Ring::Split, merge);
            fill(&mut rig, RX, 2, 1526);
            let room = if merge.mrg_rxbuf() {
                2 * 1526 - 11
            } else {
                1515
            };
            for len in [0, room, 5000] {
                bench.cable().offer(&frame(len, 0));
            }
            bench.cable().offer(&frame(1514, 1));
            rig.settle();
            assert_eq!(next(&mut rig, RX), Some(with_header(1, &frame(1514, 1))));
            assert!(rig.poll(RX).is_none());
            assert_eq!(rig.device().counters().receive_dropped, 3);
            // The last buffer takes a frame that just fits.
            if !merge.mrg_rxbuf() {
                bench.cable().offer(&frame(1514, 2));
                rig.settle();
                assert_eq!(next(&mut rig, RX), Some(with_header(1, &frame(1514, 2))));
            }
        }
    }
}

#[test]
fn frames_above_the_mtu_are_dropped_unless_they_are_segmented() {
    let mtu = Features::new().with_mtu(true);
    for (features, merge) in [(mtu, false), (mtu, true)] {
        for tso in [false, true] {
            let mut bench = Bench::new(true);
            bench.options.mtu = Some(1500);
            let more = if tso { TSO.into_bits() } else { 0 };
            let features = features.with_mrg_rxbuf(merge).into_bits() | more;
            let mut rig = bench.rig_with(Ring::Split, features);
            fill(&mut rig, RX, 20, 10000);
            bench.cable().offer(&frame(1519, 0));
            bench.cable().offer(&frame(1518, 1));
            let mut long = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            long.extend(frame(9000, 2));
            bench.cable().end().waiting.push_back(long);
            rig.settle();
            assert_eq!(next(&mut rig, RX), Some(with_header(1, &frame(1518, 1))));
            let segmented = next(&mut rig, RX).map(|data| data[12..].to_vec());
            assert_eq!(segmented, tso.then(|| frame(9000, 2)));
        }
    }
}

#[test]
fn a_wake_up_takes_no_more_than_its_share() {
    let mut bench = Bench::new(true);
    bench.options.queue_size = 1024;
    let mut rig = bench.rig(Ring::Split, Features::new());
    for _ in 0..300 {
        bench.cable().offer(&frame(0, 0));
    }
    rig.driver(RX).add(&[], &[100]);
    rig.driver(RX).add(&[], &[100]);
    let _unheard = rig.driver(RX).kick();
    assert!(rig.wake(), "there is more");
    assert_eq!(rig.device().counters().receive_dropped, 256);
    assert!(!rig.wake());
    assert_eq!(rig.device().counters().receive_dropped, 300);
}

#[test]
fn a_broken_cable_is_tried_again_at_the_next_wake_up() {
    let bench = Bench::new(false);
    let mut rig = bench.rig(Ring::Split, MERGE);
    fill(&mut rig, RX, 4, 1526);
    bench.cable().end().errors = 1000;
    bench.cable().end().receives = 0;
    rig.settle();
    assert!(bench.cable().end().receives < 10, "no busy loop");
    bench.cable().end().errors = 1;
    bench.cable().offer(&frame(60, 0));
    rig.settle();
    assert_eq!(next(&mut rig, RX), Some(with_header(1, &frame(60, 0))));
    assert!(rig.device().counters().receive_errors > 1);
}

#[test]
fn buffers_outside_of_ram_or_without_room_for_a_header_break_the_queue() {
    let far = Segment {
        address: 1 << 40,
        len: 1526,
    };
    for has_header in [true, false] {
        let bench = Bench::new(has_header);
        let mut rig = bench.rig(Ring::Split, MERGE);
        rig.driver(RX).add_segments(&[], &[far]);
        rig.kick(RX);
        bench.cable().offer(&frame(60, 0));
        rig.settle();
        assert_eq!(rig.broken().map(|(queue, _)| queue), Some(RX));
        rig.reset();
        fill(&mut rig, RX, 1, 1526);
        bench.cable().offer(&frame(60, 1));
        rig.settle();
        assert_eq!(next(&mut rig, RX), Some(with_header(1, &frame(60, 1))));

        let mut rig = bench.rig(Ring::Split, MERGE);
        fill(&mut rig, RX, 1, 11);
        bench.cable().offer(&frame(60, 0));
        rig.settle();
        assert_eq!(rig.broken().map(|(queue, _)| queue), Some(RX));
        assert_eq!(bench.cable().end().waiting.len(), 1, "not received");
    }
}

#[test]
fn without_a_link_frames_stay_in_the_cable() {
    let bench = Bench::new(true);
    let mut rig = bench.rig(Ring::Split, MERGE);
    fill(&mut rig, RX, 100, 1526);
    rig.call(|device, io| device.set_link(false, io));
    bench.cable().offer(&frame(60, 0));
    rig.settle();
    assert!(rig.poll(RX).is_none());
    rig.call(|device, io| device.set_link(true, io));
    assert_eq!(next(&mut rig, RX), Some(with_header(1, &frame(60, 0))));
}

#[test]
fn a_reset_of_the_queue_alone_gives_its_buffers_back() {
    for ring in Ring::ALL {
        let bench = Bench::new(true);
        let mut rig = bench.rig(ring, MERGE);
        fill(&mut rig, RX, 100, 1526);
        bench.cable().offer(&frame(60, 0));
        rig.settle();
        rig.stop(Some(RX));
        assert_eq!(next(&mut rig, RX), Some(with_header(1, &frame(60, 0))));
        // The others go on.
        rig.request(TX, &[&header(0), &frame(60, 1)], 0);
    }
}

#[test]
fn what_came_before_the_driver_waits_for_it() {
    let bench = Bench::new(true);
    bench.cable().offer(&frame(60, 0));
    let mut rig = bench.rig(Ring::Split, MERGE);
    assert_eq!(bench.cable().end().waiting.len(), 1);
    fill(&mut rig, RX, 1, 1526);
    assert_eq!(next(&mut rig, RX), Some(with_header(1, &frame(60, 0))));
}

#[test]
fn what_a_ring_did_not_finish_the_next_one_does() {
    let bench = Bench::new(true);
    let mut rig = bench.rig(Ring::Split, Features::new());
    for _ in 0..16 * 256 + 44 {
        bench.cable().offer(&frame(0, 0));
    }
    fill(&mut rig, RX, 2, 100);
    assert_eq!(rig.device().counters().receive_dropped, 16 * 256);
    rig.notify(RX);
    assert_eq!(rig.device().counters().receive_dropped, 16 * 256 + 44);
}
