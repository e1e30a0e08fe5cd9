use trivisor_buses::SavedState;

use super::*;
use crate::golden::check_golden;

fn boxed(cables: &[Cable]) -> Vec<Box<dyn Packets>> {
    let boxed = |cable: &Cable| Box::new(cable.clone()) as Box<dyn Packets>;
    cables.iter().map(boxed).collect()
}

#[test]
fn wrong_options_are_refused() {
    let ram = test_ram();
    let one = |has_header| Cable::new(has_header, &ram);
    let options = NetOptions::new(MAC);
    let refused = |options, cables: &[Cable]| Net::new(options, boxed(cables)).err();
    assert_eq!(refused(options, &[]), Some(NetError::Pairs { pairs: 0 }));
    let many = vec![one(true); 32];
    assert_eq!(refused(options, &many), Some(NetError::Pairs { pairs: 32 }));
    assert_eq!(refused(options, &many[1..]), None);
    for mac in [[0; 6], [1, 0, 0, 0, 0, 0], [0xff; 6]] {
        let error = refused(NetOptions { mac, ..options }, &[one(true)]);
        assert_eq!(error, Some(NetError::Mac { mac }));
    }
    for (mtu, wrong) in [(0, true), (1279, true), (1280, false), (65535, false)] {
        let error = refused(
            NetOptions {
                mtu: Some(mtu),
                ..options
            },
            &[one(true)],
        );
        assert_eq!(error, wrong.then_some(NetError::Mtu { mtu }));
    }
    for (size, wrong) in [(0, true), (100, true), (1, false), (32768, false)] {
        let error = refused(
            NetOptions {
                queue_size: size,
                ..options
            },
            &[one(true)],
        );
        assert_eq!(error, wrong.then_some(NetError::QueueSize { size }));
    }
    assert_eq!(
        refused(options, &[one(true), one(false)]),
        Some(NetError::Headers)
    );
}

#[test]
fn what_is_offered_follows_from_the_cables() {
    let always = Features::new()
        .with_mac(true)
        .with_mrg_rxbuf(true)
        .with_status(true)
        .with_ctrl_vq(true)
        .with_ctrl_rx(true)
        .with_ctrl_mac_addr(true)
        .with_guest_announce(true);
    let bare = Bench::new(false);
    assert_eq!(bare.device().features(), always.into_bits());

    let offered = |offloads| {
        let bench = Bench::with_pairs(true, 2);
        bench.cable().end().offloads = offloads;
        Features::from_bits(bench.device().features() & !always.with_mq(true).into_bits())
    };
    let csum = Features::new()
        .with_csum(true)
        .with_guest_csum(true)
        .with_ctrl_guest_offloads(true);
    let none = Offloads::default();
    let checksum = Offloads {
        checksum: true,
        ..none
    };
    assert_eq!(offered(none), Features::new());
    assert_eq!(offered(checksum), csum);
    let tso4 = csum.with_host_tso4(true).with_guest_tso4(true);
    assert_eq!(
        offered(Offloads {
            tso4: true,
            ..checksum
        }),
        tso4
    );
    let tso6 = csum.with_host_tso6(true).with_guest_tso6(true);
    assert_eq!(
        offered(Offloads {
            tso6: true,
            ecn: true,
            ..checksum
        }),
        tso6.with_host_ecn(true).with_guest_ecn(true)
    );
    let uso = csum
        .with_host_uso(true)
        .with_guest_uso4(true)
        .with_guest_uso6(true);
    assert_eq!(
        offered(Offloads {
            uso: true,
            ..checksum
        }),
        uso
    );
    // 5.1.3.1.
    assert_eq!(
        offered(Offloads {
            checksum: false,
            ..ALL
        }),
        Features::new()
    );
    assert_eq!(
        offered(Offloads {
            ecn: true,
            ..checksum
        }),
        csum
    );
}

#[test]
fn the_bits_are_the_specification_s() {
    let bits = [
        (Features::new().with_csum(true), 0),
        (Features::new().with_guest_csum(true), 1),
        (Features::new().with_ctrl_guest_offloads(true), 2),
        (Features::new().with_mtu(true), 3),
        (Features::new().with_mac(true), 5),
        (Features::new().with_guest_tso4(true), 7),
        (Features::new().with_guest_tso6(true), 8),
        (Features::new().with_guest_ecn(true), 9),
        (Features::new().with_host_tso4(true), 11),
        (Features::new().with_host_tso6(true), 12),
        (Features::new().with_host_ecn(true), 13),
        (Features::new().with_mrg_rxbuf(true), 15),
        (Features::new().with_status(true), 16),
        (Features::new().with_ctrl_vq(true), 17),
        (Features::new().with_ctrl_rx(true), 18),
        (Features::new().with_guest_announce(true), 21),
        (Features::new().with_mq(true), 22),
        (Features::new().with_ctrl_mac_addr(true), 23),
        (Features::new().with_guest_uso4(true), 54),
        (Features::new().with_guest_uso6(true), 55),
        (Features::new().with_host_uso(true), 56),
    ];
    for (features, bit) in bits {
        assert_eq!(features.into_bits(), 1 << bit, "{features:?}");
    }
}

#[test]
fn the_configuration_is_laid_out_as_the_specification_says() {
    let mut bench = Bench::with_pairs(true, 2);
    bench.options.mtu = Some(9000);
    let device = bench.device();
    let mut space = [0xee; 16];
    device.read_config(0, &mut space);
    let [low, high] = 9000_u16.to_le_bytes();
    let wanted = [&MAC[..], &[1, 0, 2, 0, low, high, 0, 0, 0, 0]].concat();
    assert_eq!(space[..], wanted);
    for (offset, value) in wanted.iter().enumerate() {
        let mut byte = [0xee];
        device.read_config(offset, &mut byte);
        assert_eq!(byte, [*value]);
    }
    let mut behind = [0xee; 4];
    device.read_config(usize::MAX, &mut behind);
    assert_eq!(behind, [0; 4]);
    // Neither offered.
    Bench::new(true).device().read_config(8, &mut behind);
    assert_eq!(behind, [0; 4]);
}

#[test]
fn the_configuration_cannot_be_written() {
    let bench = Bench::new(true);
    let mut rig = bench.rig(Ring::Split, Features::new());
    assert!(rig.write_config(0, &[2]).is_err());
    assert_eq!(rig.read_config(0, 6), MAC);
}

/// The golden state of version 1.
const GOLDEN: &str = "020000000009 00 01 02 82 01";

fn golden() -> SavedState {
    let golden = NetStateV1 {
        mac: [2, 0, 0, 0, 0, 9],
        link_up: false,
        announce: true,
        pairs: 2,
        guest_offloads: 0x82,
    };
    SavedState::encode(state::KIND, 1, &golden)
}

#[test]
fn a_saved_state_comes_back() {
    let bench = Bench::with_pairs(true, 2);
    let mut device = bench.device();
    check_golden(&mut device, state::KIND, 1, GOLDEN);
    assert_eq!(device.save(), golden());
    let mut space = [0; 10];
    device.read_config(0, &mut space);
    assert_eq!(space, [2, 0, 0, 0, 0, 9, 2, 0, 2, 0]);
    let accepted = Offloads {
        checksum: true,
        tso4: true,
        ..Offloads::default()
    };
    for cable in &bench.cables {
        assert_eq!(cable.end().accepted, [accepted], "the cable is told");
    }
}

/// The golden state of version 2: a frame of one byte waits in the second receive queue.
const GOLDEN_WITH_FRAME: &str = "020000000009 00 01 02 82 01 01 02 0d 000000000000000000000000 07";

#[test]
fn a_saved_state_with_a_frame_comes_back() {
    let bench = Bench::with_pairs(true, 2);
    let mut device = bench.device();
    check_golden(&mut device, state::KIND, 2, GOLDEN_WITH_FRAME);
    let state = with_frames(&[(2, 13)]);
    assert_eq!(device.save(), state);
    // One without replaces it.
    device.restore(&golden()).unwrap();
    assert_eq!(device.save(), golden());
    device.restore(&state).unwrap();
    device.reset();
    assert_eq!(device.save().version, 1);
}

/// Frames of so many bytes wait in these queues.
fn with_frames(frames: &[(u16, usize)]) -> SavedState {
    let waiting = frames.iter().map(|(queue, len)| {
        let mut frame = vec![0; *len];
        if let Some(last) = frame.last_mut() {
            *last = 7;
        }
        WaitingV2 {
            queue: *queue,
            frame,
        }
    });
    let state = NetStateV2 {
        first: NetStateV1 {
            mac: [2, 0, 0, 0, 0, 9],
            link_up: false,
            announce: true,
            pairs: 2,
            guest_offloads: 0x82,
        },
        waiting: waiting.collect(),
    };
    SavedState::encode(state::KIND, 2, &state)
}

#[test]
fn frames_of_a_saved_state_are_looked_at() {
    let bench = Bench::with_pairs(true, 2);
    let mut device = bench.device();
    let before = device.save();
    let wrong: [&[(u16, usize)]; 8] = [
        &[(1, 60)],
        &[(4, 60)],
        &[(0, 60), (0, 60)],
        &[(2, 60), (0, 60)],
        &[(0, 0)],
        &[(0, 10)],
        &[(0, 65602)],
        &[(0, 60), (2, 0)],
    ];
    for frames in wrong {
        let state = with_frames(frames);
        assert!(device.restore(&state).is_err(), "{frames:?}");
    }
    assert_eq!(device.save(), before);
    for frames in [&[(0, 11), (2, 65601)][..], &[]] {
        device.restore(&with_frames(frames)).unwrap();
    }
    assert_eq!(device.save(), golden());
}

#[test]
fn a_wrong_state_is_refused_and_changes_nothing() {
    let right = NetStateV1 {
        mac: MAC,
        link_up: true,
        announce: false,
        pairs: 2,
        guest_offloads: 0x82,
    };
    let bench = Bench::with_pairs(true, 2);
    let mut device = bench.device();
    let before = device.save();
    let wrong = [
        NetStateV1 { pairs: 0, ..right },
        NetStateV1 { pairs: 3, ..right },
        NetStateV1 {
            guest_offloads: 1,
            ..right
        },
        NetStateV1 {
            guest_offloads: 1 << 63,
            ..right
        },
    ];
    for state in wrong {
        let state = SavedState::encode(state::KIND, state::VERSION, &state);
        assert!(device.restore(&state).is_err(), "{state:?}");
    }
    let mut states = [golden(), golden(), golden(), golden()];
    states[0].kind = "virtio-block";
    states[1].version = 3;
    states[2].data.push(0);
    states[3].data.pop();
    for state in states {
        assert!(device.restore(&state).is_err(), "{state:?}");
    }
    assert_eq!(device.save(), before);
    assert!(bench.cable().end().accepted.is_empty());
    assert!(
        device
            .restore(&SavedState::encode(state::KIND, 1, &right))
            .is_ok()
    );
}
