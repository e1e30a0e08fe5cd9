//! Frames that come through the device's own memory: short ones, and what buffers had no room for.

use super::receive::{TSO, fill, next};
use super::*;

const LONG: usize = 65000;

/// A driver that takes uncut segments where it can have them, of one buffer or several a frame.
fn uncut(bench: &Bench, merge: bool) -> u64 {
    let features = if bench.cable().has_header {
        TSO
    } else {
        Features::new()
    };
    features.with_mrg_rxbuf(merge).into_bits()
}

/// Buffers of the receive queue that the device has.
fn held(rig: &Rig<Net>) -> usize {
    QueueStateV1::from(rig.queue(RX)).held.len()
}

/// Has `frames` come, of which the driver gets `gets`.
fn come(bench: &Bench, rig: &mut Rig<Net>, frames: &[Vec<u8>], gets: &[(u16, &[u8])]) {
    frames.iter().for_each(|frame| bench.cable().offer(frame));
    rig.settle();
    for (buffers, frame) in gets {
        assert_eq!(next(rig, RX), Some(with_header(*buffers, frame)));
    }
    assert!(rig.poll(RX).is_none());
}

#[test]
fn no_more_buffers_are_taken_than_the_last_frames_were_long() {
    for (ring, way) in rings() {
        for has_header in [true, false] {
            let bench = Bench::new(has_header);
            let mut rig = bench.rig_with(ring, way | uncut(&bench, true));
            fill(&mut rig, RX, 256, 1526);
            let (short, long) = (frame(1514, 1), frame(LONG, 2));
            come(
                &bench,
                &mut rig,
                std::slice::from_ref(&short),
                &[(1, &short)],
            );
            assert_eq!(held(&rig), 1, "one tells that there are some");
            come(
                &bench,
                &mut rig,
                std::slice::from_ref(&long),
                &[(43, &long)],
            );
            fill(&mut rig, RX, 44, 1526);
            // The next is as long, and nothing of it is copied.
            come(&bench, &mut rig, &[], &[]);
            assert_eq!(held(&rig), 43);
            bench.cable().end().copied = 0;
            come(
                &bench,
                &mut rig,
                std::slice::from_ref(&long),
                &[(43, &long)],
            );
            assert_eq!(bench.cable().end().copied, 0);
            fill(&mut rig, RX, 43, 1526);
            for _ in 0..4 {
                let many = vec![short.clone(); 32];
                come(&bench, &mut rig, &many, &[(1, &short[..]); 32]);
                fill(&mut rig, RX, 32, 1526);
            }
            come(&bench, &mut rig, &[], &[]);
            assert_eq!(held(&rig), 1, "long ones are forgotten");
            assert_eq!(rig.device().counters().receive_dropped, 0);
        }
    }
}

#[test]
fn a_longer_frame_goes_on_in_more_buffers() {
    for (ring, way) in rings() {
        for has_header in [true, false] {
            let bench = Bench::new(has_header);
            let mut rig = bench.rig_with(ring, way | uncut(&bench, true));
            fill(&mut rig, RX, 250, 400);
            // Each longer than what is gathered; the last as long as a frame can be.
            for (len, buffers) in [(60, 1), (5000, 13), (9000, 23), (20000, 51), (65589, 165)] {
                let frame = frame(len, 3);
                come(
                    &bench,
                    &mut rig,
                    std::slice::from_ref(&frame),
                    &[(buffers, &frame)],
                );
                fill(&mut rig, RX, buffers.into(), 400);
            }
            bench.cable().offer(&frame(65590, 4));
            come(&bench, &mut rig, &[frame(60, 5)], &[(1, &frame(60, 5))]);
            assert_eq!(rig.device().counters().receive_dropped, 1, "too long");
        }
    }
}

#[test]
fn without_merging_a_frame_fits_into_its_buffer_or_is_lost() {
    for (ring, way) in rings() {
        for has_header in [true, false] {
            let bench = Bench::new(has_header);
            let mut rig = bench.rig_with(ring, way | uncut(&bench, false));
            for (room, len, fits) in [
                (1526, 1514, true),
                (1526, 1515, false),
                (65601, 65589, true),
                (20012, 20000, true),
                (20012, 20001, false),
                (1526, 9000, false),
            ] {
                fill(&mut rig, RX, 1, room);
                let frame = frame(len, 6);
                let gets = (1, &frame[..]);
                let gets: &[_] = if fits { &[gets] } else { &[] };
                let lost = rig.device().counters().receive_dropped;
                come(&bench, &mut rig, std::slice::from_ref(&frame), gets);
                let lost = rig.device().counters().receive_dropped - lost;
                assert_eq!(lost, u64::from(!fits), "{len} bytes");
                if !fits {
                    // The buffer is there for another.
                    come(&bench, &mut rig, &[vec![7; 60]], &[(1, &[7; 60])]);
                }
            }
        }
    }
}

#[test]
fn a_driver_that_rings_for_each_few_buffers_loses_nothing() {
    for (ring, way) in rings() {
        for has_header in [true, false] {
            let bench = Bench::new(has_header);
            let mut rig = bench.rig_with(ring, way | uncut(&bench, true));
            fill(&mut rig, RX, 128, 4096);
            fill(&mut rig, RX, 128, 4096);
            (0..40).for_each(|seed| bench.cable().offer(&frame(LONG, seed)));
            rig.settle();
            let mut seeds = 0..40;
            let mut spare = 0;
            for _ in 0..400 {
                while let Some(found) = next(&mut rig, RX) {
                    let seed = seeds.next().unwrap();
                    assert!(found == with_header(16, &frame(LONG, seed)), "{seed}");
                    spare += 16;
                }
                let added = 7.min(spare);
                spare -= added;
                fill(&mut rig, RX, added, 4096);
            }
            assert!(seeds.is_empty(), "{seeds:?}");
            assert_eq!(rig.device().counters().receive_dropped, 0);
        }
    }
}

#[test]
fn a_driver_whose_whole_ring_is_filled_is_asked_to_ring() {
    for (ring, way) in rings() {
        for merge in [true, false] {
            let bench = Bench::new(true);
            let mut rig = bench.rig_with(ring, way | uncut(&bench, merge));
            (0..800).for_each(|_| bench.cable().offer(&[3; 60]));
            for came in [256, 256, 256, 32] {
                (0..256).for_each(|_| {
                    rig.driver(RX).add(&[], &[1526]);
                });
                // Rings where it is asked to.
                rig.kick(RX);
                let found = (0..).take_while(|_| rig.poll(RX).is_some());
                assert_eq!(found.count(), came);
            }
        }
    }
}

/// A frame of [`LONG`] bytes waits, with one behind it, for a driver that has most of its buffers.
fn waits(bench: &Bench, ring: Ring, features: u64) -> Rig<Net> {
    let mut rig = bench.rig_with(ring, features);
    fill(&mut rig, RX, 256, 1526);
    (0..240).for_each(|_| bench.cable().offer(&[8; 60]));
    bench.cable().offer(&frame(LONG, 9));
    bench.cable().offer(&[10; 60]);
    rig.settle();
    let got = (0..).take_while(|_| rig.poll(RX).is_some()).count();
    assert_eq!(got, 240);
    assert_eq!(bench.cable().end().waiting.len(), 1, "of another one");
    rig
}

/// Adds buffers one by one and rings for each, as long as it is asked to: the frames come, and no other.
fn comes_after_all(rig: &mut Rig<Net>) {
    let mut frames = Vec::new();
    for _ in 0..60 {
        rig.driver(RX).add(&[], &[1526]);
        rig.kick(RX);
        while let Some(frame) = next(rig, RX) {
            frames.push(frame);
        }
    }
    let wanted = [with_header(43, &frame(LONG, 9)), with_header(1, &[10; 60])];
    assert!(frames == wanted, "{} others", frames.len());
    assert_eq!(rig.device().counters().receive_dropped, 0);
    assert_eq!(rig.broken(), None);
}

#[test]
fn a_frame_waits_until_there_are_buffers_for_it() {
    for (ring, way) in rings() {
        for has_header in [true, false] {
            let bench = Bench::new(has_header);
            let mut rig = waits(&bench, ring, way | uncut(&bench, true));
            // Other frames that come in the meantime change nothing.
            (0..20).for_each(|_| assert!(!rig.wake()));
            comes_after_all(&mut rig);
        }
    }
}

#[test]
fn a_frame_that_waits_is_there_after_a_pause_and_in_another_machine() {
    for (ring, way) in rings() {
        for has_header in [true, false] {
            let bench = Bench::new(has_header);
            let mut rig = waits(&bench, ring, way | uncut(&bench, true));
            rig.call(Net::pause);
            rig.notify(RX);
            rig.settle();
            assert_eq!(rig.device().save().version, 2);
            let mut rig = rig.migrate(bench.device());
            comes_after_all(&mut rig);
            assert_eq!(rig.device().save().version, 1);
        }
    }
}

/// As [`waits`], but its first bytes have gone into buffers.
fn waits_in_buffers(bench: &Bench, ring: Ring, features: u64) -> Rig<Net> {
    let mut rig = bench.rig_with(ring, features);
    fill(&mut rig, RX, 256, 1526);
    // Buffers for 10000 bytes are gathered when a longer one comes.
    let (first, short) = (frame(10000, 1), frame(60, 2));
    come(
        bench,
        &mut rig,
        std::slice::from_ref(&first),
        &[(7, &first)],
    );
    let many = vec![short.clone(); 20];
    come(bench, &mut rig, &many, &[(1, &short[..]); 20]);
    let more = vec![frame(10000, 3); 30];
    let gets: Vec<(u16, &[u8])> = more.iter().map(|frame| (7, &frame[..])).collect();
    come(bench, &mut rig, &more, &gets);
    bench.cable().end().copied = 0;
    come(bench, &mut rig, &[frame(LONG, 9), vec![10; 60]], &[]);
    assert_eq!(held(&rig), 19, "all that are left");
    assert_eq!(bench.cable().end().copied, 12 + LONG - 7 * 1526);
    rig
}

#[test]
fn what_buffers_had_room_for_is_taken_back_with_them() {
    for (ring, way) in rings() {
        for has_header in [true, false] {
            let bench = Bench::new(has_header);
            let mut rig = waits_in_buffers(&bench, ring, way | uncut(&bench, true));
            rig.stop(Some(RX));
            assert_eq!(held(&rig), 0);
            let mut rig = rig.migrate(bench.device());
            comes_after_all(&mut rig);
        }
    }
}

#[test]
fn others_follow_a_frame_that_went_into_buffers_and_memory() {
    for (ring, way) in rings() {
        for has_header in [true, false] {
            let bench = Bench::new(has_header);
            let mut rig = waits_in_buffers(&bench, ring, way | uncut(&bench, true));
            comes_after_all(&mut rig);
            fill(&mut rig, RX, 150, 1526);
            for seed in 0..3 {
                let long = frame(LONG + usize::from(seed), seed);
                come(
                    &bench,
                    &mut rig,
                    std::slice::from_ref(&long),
                    &[(43, &long)],
                );
            }
        }
    }
}

#[test]
fn a_reset_loses_a_frame_that_waits() {
    for ring in Ring::ALL {
        let bench = Bench::new(true);
        let mut rig = waits(&bench, ring, uncut(&bench, true));
        rig.reset();
        assert_eq!(rig.device().counters().receive_dropped, 1);
        fill(&mut rig, RX, 2, 1526);
        assert_eq!(next(&mut rig, RX), Some(with_header(1, &[10; 60])));
        assert!(rig.poll(RX).is_none());
    }
}

#[test]
fn a_driver_that_never_adds_buffers_loses_the_frame_in_the_end() {
    let bench = Bench::new(true);
    let mut rig = waits(&bench, Ring::Split, uncut(&bench, true));
    let wakes = (0..1000).take_while(|_| {
        rig.settle();
        rig.device().counters().receive_dropped == 0
    });
    let wakes = wakes.count();
    assert!((200..300).contains(&wakes), "{wakes}");
    assert_eq!(next(&mut rig, RX), Some(with_header(1, &[10; 60])));
}

#[test]
fn a_cable_that_fails_in_between_changes_nothing() {
    let bench = Bench::new(true);
    let mut rig = bench.rig_with(Ring::Split, uncut(&bench, true));
    fill(&mut rig, RX, 256, 1526);
    let long = frame(LONG, 1);
    for failed in [false, true, true] {
        bench.cable().end().errors = usize::from(failed);
        come(
            &bench,
            &mut rig,
            std::slice::from_ref(&long),
            &[(43, &long)],
        );
        bench.cable().end().errors = 2;
        come(&bench, &mut rig, &[vec![2; 60]], &[(1, &[2; 60])]);
    }
    assert_eq!(rig.device().counters().receive_errors, 8);
    assert_eq!(rig.device().counters().receive_dropped, 0);
}
