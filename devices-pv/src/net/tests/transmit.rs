use super::*;

#[test]
fn frames_go_out_with_their_header_or_without() {
    for (ring, way) in rings() {
        for has_header in [true, false] {
            for cut in [1, 5, u32::MAX] {
                let bench = Bench::new(has_header);
                let mut rig = bench.rig_with(ring, way);
                rig.driver(TX).cut_at(cut);
                let (mut wanted, mut sum) = (Vec::new(), 0);
                for len in [1, 14, 60, 60] {
                    let frame = frame(len, 7);
                    let reply = rig.request(TX, &[&header(0), &frame], 0);
                    assert_eq!(reply.written, 0);
                    wanted.push(if has_header {
                        with_header(0, &frame)
                    } else {
                        frame
                    });
                    sum += 1;
                    assert_eq!(rig.take_interrupts(TX), 1);
                }
                assert_eq!(bench.cable().end().sent, wanted);
                assert_eq!(rig.device().counters().sent, sum);
            }
        }
    }
}

#[test]
fn all_frames_of_a_turn_are_told_of_at_once() {
    for (ring, way) in rings() {
        let bench = Bench::new(true);
        let mut rig = bench.rig_with(ring, way);
        for _ in 0..100 {
            rig.driver(TX).add(&[&header(0), &frame(60, 0)], &[]);
        }
        rig.kick(TX);
        assert_eq!(bench.cable().end().sent.len(), 100);
        assert_eq!(rig.take_interrupts(TX), 1);
        assert!((0..100).all(|_| rig.poll(TX).is_some()));
    }
}

#[test]
fn a_full_cable_holds_frames_up_until_it_wakes_the_device() {
    for (ring, way) in rings() {
        let bench = Bench::new(false);
        let mut rig = bench.rig_with(ring, way);
        bench.cable().end().room = 2;
        for seed in 0..4 {
            rig.submit(TX, &[&header(0), &frame(60, seed)], 0);
        }
        assert_eq!(bench.cable().end().sent.len(), 2);
        assert_eq!([rig.poll(TX).is_some(), rig.poll(TX).is_some()], [true; 2]);
        assert!(rig.poll(TX).is_none());
        // The driver need not ring, and nothing comes of it when it does.
        rig.driver(TX).add(&[&header(0), &frame(60, 4)], &[]);
        assert!(!rig.driver(TX).kick(), "the device asked to be rung");
        bench.cable().end().room = 1;
        rig.notify(TX);
        assert_eq!(bench.cable().end().sent.len(), 2);

        rig.settle();
        assert_eq!(bench.cable().end().sent.len(), 3);
        bench.cable().end().room = 10;
        rig.settle();
        let frames: Vec<_> = (0..5).map(|seed| frame(60, seed)).collect();
        assert_eq!(bench.cable().end().sent, frames);
        assert!((0..3).all(|_| rig.poll(TX).is_some()));
        // From here on the driver rings again.
        rig.request(TX, &[&header(0), &frame(60, 5)], 0);
        assert_eq!(rig.device().counters().sent, 6);
    }
}

#[test]
fn what_the_cable_refuses_is_lost_and_counted() {
    for (ring, way) in rings() {
        let bench = Bench::new(false);
        let mut rig = bench.rig_with(ring, way);
        bench.cable().end().fails_to_send = true;
        rig.request(TX, &[&header(0), &frame(60, 0)], 0);
        bench.cable().end().fails_to_send = false;
        rig.request(TX, &[&header(0), &frame(60, 1)], 0);
        let counters = rig.device().counters();
        assert_eq!((counters.sent, counters.send_dropped), (1, 1));
        assert_eq!(bench.cable().end().sent, [frame(60, 1)]);
    }
}

#[test]
fn buffers_that_are_no_frames_are_lost_and_counted() {
    for has_header in [true, false] {
        let bench = Bench::new(has_header);
        let mut rig = bench.rig_with(Ring::Split, 0);
        rig.request(TX, &[&header(0)], 0);
        rig.request(TX, &[&[1, 2, 3]], 0);
        rig.request(TX, &[], 20);
        // Outside of RAM, and over the end of the address space.
        for address in [1 << 40, u64::MAX - 20] {
            let header = Segment { address, len: 12 };
            let data = Segment { address, len: 60 };
            rig.driver(TX).add_segments(&[header, data], &[]);
            rig.kick(TX);
            assert!(rig.poll(TX).is_some());
        }
        let counters = rig.device().counters();
        assert_eq!((counters.sent, counters.send_dropped), (0, 5));
        assert_eq!(rig.broken(), None);
    }
}

#[test]
fn without_a_link_frames_are_lost() {
    let bench = Bench::new(false);
    let mut rig = bench.rig(Ring::Split, Features::new().with_status(true));
    assert_eq!(rig.read_config(6, 2), [1, 0]);
    // One that waits goes the same way.
    bench.cable().end().room = 0;
    rig.submit(TX, &[&header(0), &frame(60, 0)], 0);
    assert!(rig.poll(TX).is_none());
    rig.call(|device, io| device.set_link(false, io));
    assert!(rig.poll(TX).is_some());
    assert_eq!(rig.take_config_changes(), 1);
    assert_eq!(rig.read_config(6, 2), [0, 0]);
    bench.cable().end().room = 10;
    rig.request(TX, &[&header(0), &frame(60, 1)], 0);
    rig.call(|device, io| device.set_link(false, io));
    assert_eq!(rig.take_config_changes(), 0, "nothing changed");
    rig.call(|device, io| device.set_link(true, io));
    assert_eq!(rig.take_config_changes(), 1);
    assert_eq!(rig.read_config(6, 2), [1, 0]);
    rig.request(TX, &[&header(0), &frame(60, 2)], 0);
    assert_eq!(bench.cable().end().sent, [frame(60, 2)]);
    assert_eq!(rig.device().counters().send_dropped, 2);
}

#[test]
fn a_cable_whose_other_end_is_gone_is_a_link_that_is_down() {
    let bench = Bench::new(false);
    let mut rig = bench.rig(Ring::Split, Features::new().with_status(true));
    bench.cable().end().down = true;
    bench.cable().end().fails_to_send = true;
    rig.request(TX, &[&header(0), &frame(60, 1)], 0);
    assert_eq!(rig.take_config_changes(), 1);
    assert_eq!(rig.read_config(6, 2), [0, 0]);
    bench.cable().end().down = false;
    rig.settle();
    assert_eq!(rig.take_config_changes(), 1);
    assert_eq!(rig.read_config(6, 2), [1, 0]);
}

#[test]
fn a_reset_while_the_cable_is_full_forgets_what_waited() {
    for (ring, way) in rings() {
        let bench = Bench::new(false);
        let mut rig = bench.rig_with(ring, way);
        bench.cable().end().room = 0;
        rig.submit(TX, &[&header(0), &frame(60, 0)], 0);
        rig.reset();
        bench.cable().end().room = 10;
        rig.settle();
        assert_eq!(bench.cable().end().sent, [[0; 0]; 0]);
        rig.request(TX, &[&header(0), &frame(60, 1)], 0);
        assert_eq!(bench.cable().end().sent, [frame(60, 1)]);
    }
}
