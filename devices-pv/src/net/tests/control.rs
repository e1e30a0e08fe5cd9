use super::*;

const CONTROL: u16 = 2;
const ALL_FEATURES: Features = Features::new()
    .with_ctrl_vq(true)
    .with_ctrl_rx(true)
    .with_ctrl_mac_addr(true)
    .with_guest_announce(true)
    .with_ctrl_guest_offloads(true)
    .with_guest_csum(true)
    .with_guest_tso4(true)
    .with_mac(true)
    .with_status(true);

fn ask(rig: &mut Rig<Net>, queue: u16, command: &[u8]) -> u8 {
    let reply = rig.request(queue, &[command], 1);
    assert_eq!(reply.written, 1);
    reply.data[0]
}

fn tables(unicast: u8, multicast: u8) -> Vec<u8> {
    let addresses = |count: u8| vec![0xab; 6 * usize::from(count)];
    let mut command = vec![1, 0, unicast, 0, 0, 0];
    command.extend(addresses(unicast));
    command.extend([multicast, 0, 0, 0]);
    command.extend(addresses(multicast));
    command
}

#[test]
fn each_command_of_each_length_gets_its_answer() {
    let right: [&[u8]; 11] = [
        &[0, 0, 0],
        &[0, 0, 1],
        &[0, 1, 0],
        &[0, 1, 1],
        &tables(0, 0),
        &tables(3, 2),
        &[1, 1, 2, 0, 0, 0, 0, 9],
        &[3, 0],
        &[5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[5, 0, 2, 0, 0, 0, 0, 0, 0, 0],
        &[5, 0, 0x82, 0, 0, 0, 0, 0, 0, 0],
    ];
    let wrong: [&[u8]; 10] = [
        &[],
        &[0],
        &[0, 0, 2],
        &[0, 2, 0],
        &[2, 0, 1, 0],
        &[1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &[5, 0, 4, 0, 0, 0, 0, 0, 0, 0],
        &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        &[4, 0, 1, 0],
        &[0xff, 0xff],
    ];
    for (ring, way) in rings() {
        let bench = Bench::new(true);
        let mut rig = bench.rig_with(ring, way | ALL_FEATURES.into_bits());
        for cut in [1, u32::MAX] {
            rig.driver(CONTROL).cut_at(cut);
            for command in right {
                assert_eq!(ask(&mut rig, CONTROL, command), 0, "{command:x?}");
                let longer = [command, &[0]].concat();
                assert_eq!(ask(&mut rig, CONTROL, &longer), 1, "{longer:x?}");
                let shorter = &command[..command.len() - 1];
                assert_eq!(ask(&mut rig, CONTROL, shorter), 1, "{shorter:x?}");
            }
            for command in wrong {
                assert_eq!(ask(&mut rig, CONTROL, command), 1, "{command:x?}");
            }
        }
    }
}

#[test]
fn commands_of_features_that_were_not_negotiated_are_refused() {
    let bench = Bench::new(true);
    let mut rig = bench.rig(Ring::Split, Features::new().with_ctrl_vq(true));
    let commands: [&[u8]; 6] = [
        &[0, 0, 1],
        &tables(0, 0),
        &[1, 1, 2, 0, 0, 0, 0, 9],
        &[3, 0],
        &[4, 0, 1, 0],
        &[5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    for command in commands {
        assert_eq!(ask(&mut rig, CONTROL, command), 1, "{command:x?}");
    }
    assert_eq!(rig.read_config(0, 6), MAC);
}

#[test]
fn no_room_for_the_answer_breaks_the_queue() {
    let bench = Bench::new(true);
    let mut rig = bench.rig(Ring::Split, ALL_FEATURES);
    rig.submit(CONTROL, &[&[0, 0, 1]], 0);
    assert_eq!(rig.broken().map(|(queue, _)| queue), Some(CONTROL));
}

#[test]
fn the_address_changes_in_the_configuration_and_returns_with_a_reset() {
    let bench = Bench::new(true);
    let mut rig = bench.rig(Ring::Split, ALL_FEATURES);
    assert_eq!(ask(&mut rig, CONTROL, &[1, 1, 2, 0, 0, 0, 0, 9]), 0);
    assert_eq!(rig.read_config(0, 6), [2, 0, 0, 0, 0, 9]);
    rig.reset();
    assert_eq!(rig.read_config(0, 6), MAC);
}

#[test]
fn the_driver_is_asked_to_announce_itself() {
    let bench = Bench::new(true);
    let mut rig = bench.rig(Ring::Split, ALL_FEATURES);
    rig.call(Net::announce);
    assert_eq!(rig.take_config_changes(), 1);
    assert_eq!(rig.read_config(6, 2), [3, 0]);
    assert_eq!(ask(&mut rig, CONTROL, &[3, 0]), 0);
    assert_eq!(rig.read_config(6, 2), [1, 0]);
    let mut rig = bench.rig(Ring::Split, Features::new().with_status(true));
    rig.call(Net::announce);
    assert_eq!(rig.take_config_changes(), 0, "not negotiated");
    assert_eq!(rig.read_config(6, 2), [1, 0]);
}

#[test]
fn offloads_reach_the_cable() {
    let bench = Bench::new(true);
    let mut rig = bench.rig(Ring::Split, ALL_FEATURES);
    let none = Offloads::default();
    let checksum = Offloads {
        checksum: true,
        ..none
    };
    let both = Offloads {
        tso4: true,
        ..checksum
    };
    assert_eq!(bench.cable().end().accepted, [both]);
    ask(&mut rig, CONTROL, &[5, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    // TSO without checksums is none.
    ask(&mut rig, CONTROL, &[5, 0, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bench.cable().end().accepted, [both, checksum, none]);
    bench.cable().end().refuses_offloads = true;
    assert_eq!(ask(&mut rig, CONTROL, &[5, 0, 2, 0, 0, 0, 0, 0, 0, 0]), 1);
    assert!(rig.device().counters().offload_errors > 0);
    bench.cable().end().refuses_offloads = false;
    rig.stop(None);
    rig.device_mut().reset();
    assert_eq!(bench.cable().end().accepted.last(), Some(&none));
}

#[test]
fn each_pair_has_its_cable_and_unused_ones_lead_to_those_in_use() {
    let features = ALL_FEATURES.with_mq(true).with_mrg_rxbuf(true);
    for (ring, way) in rings() {
        let bench = Bench::with_pairs(true, 3);
        let mut rig = bench.rig_with(ring, way | features.into_bits());
        let control = 6;
        assert_eq!(rig.read_config(8, 2), [3, 0]);
        for queue in [0, 2, 4] {
            (0..60).for_each(|_| {
                rig.driver(queue).add(&[], &[1526]);
            });
            rig.kick(queue);
        }
        let receive = |rig: &mut Rig<Net>| {
            (0..3).for_each(|at| bench.cables[usize::from(at)].offer(&frame(60, at)));
            rig.settle();
            [0, 2, 4].map(|queue| {
                std::iter::from_fn(|| rig.poll(queue))
                    .map(|reply| reply.data[12])
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(receive(&mut rig), [vec![0, 1, 2], vec![], vec![]]);
        // Sent too early, it waits.
        rig.submit(3, &[&header(0), &frame(60, 1)], 0);
        assert!(rig.poll(3).is_none());
        for wrong in [0, 4, 0xff] {
            assert_eq!(ask(&mut rig, control, &[4, 0, wrong, 0]), 1);
        }
        assert_eq!(ask(&mut rig, control, &[4, 0, 2, 0]), 0);
        assert!(rig.poll(3).is_some());
        assert_eq!(receive(&mut rig), [vec![0, 2], vec![1], vec![]]);
        assert_eq!(ask(&mut rig, control, &[4, 0, 3, 0]), 0);
        assert_eq!(receive(&mut rig), [vec![0], vec![1], vec![2]]);
        rig.request(5, &[&header(0), &frame(60, 2)], 0);
        let sent: Vec<_> = bench.cables.iter().map(|at| at.end().sent.len()).collect();
        assert_eq!(sent, [0, 1, 1]);
        assert_eq!(ask(&mut rig, control, &[4, 0, 1, 0]), 0);
        assert_eq!(receive(&mut rig), [vec![0, 1, 2], vec![], vec![]]);
        assert_eq!(rig.broken(), None);
    }
}

#[test]
fn without_mq_the_control_queue_is_the_third() {
    let bench = Bench::with_pairs(true, 2);
    let mut rig = bench.rig(Ring::Split, ALL_FEATURES);
    assert_eq!(ask(&mut rig, CONTROL, &[0, 0, 1]), 0);
    // What it would be with MQ is none.
    rig.submit(4, &[&[0, 0, 1]], 1);
    assert!(rig.poll(4).is_none());
}

#[test]
fn a_pair_that_was_put_away_while_its_cable_was_full_sends_when_it_is_used_again() {
    let features = ALL_FEATURES.with_mq(true);
    for (ring, way) in rings() {
        let bench = Bench::with_pairs(true, 2);
        let mut rig = bench.rig_with(ring, way | features.into_bits());
        assert_eq!(ask(&mut rig, 4, &[4, 0, 2, 0]), 0);
        bench.cables[1].end().room = 0;
        rig.submit(3, &[&header(0), &frame(60, 1)], 0);
        assert_eq!(ask(&mut rig, 4, &[4, 0, 1, 0]), 0);
        bench.cables[1].end().room = 9;
        rig.settle();
        assert!(rig.poll(3).is_none());
        assert_eq!(ask(&mut rig, 4, &[4, 0, 2, 0]), 0);
        assert!(rig.poll(3).is_some());
    }
}
