use trivisor_buses::SavedState;
use trivisor_virtio_device::QueueError;

use super::*;

/// The golden state of version 1: a next port of 2^30 + 2.
const GOLDEN: [u8; 5] = [0x82, 0x80, 0x80, 0x80, 0x04];

fn golden() -> SavedState {
    SavedState {
        kind: "virtio-vsock",
        version: 1,
        data: GOLDEN.to_vec(),
    }
}

fn device(options: VsockOptions) -> Result<Vsock, VsockError> {
    let host = Host {
        ram: test_ram(),
        inner: Arc::default(),
    };
    Vsock::new(options, Box::new(host))
}

#[test]
fn wrong_options_are_refused() {
    let options = VsockOptions::new(CID);
    for cid in [0, 1, 2, u32::MAX] {
        let error = device(VsockOptions::new(cid)).err();
        assert_eq!(error, Some(VsockError::GuestCid { cid }));
    }
    for (size, wrong) in [(0, true), (3, true), (1, false), (32768, false)] {
        let error = device(VsockOptions {
            queue_size: size,
            ..options
        })
        .err();
        assert_eq!(error, wrong.then_some(VsockError::QueueSize { size }));
    }
    for cid in [3, u32::MAX - 1] {
        assert!(device(VsockOptions::new(cid)).is_ok());
    }
}

#[test]
fn it_is_what_the_specification_says() {
    let device = device(VsockOptions::new(0x0304_0506)).unwrap();
    assert_eq!(device.device_type() as u16, 19);
    assert_eq!(device.features(), 0b101);
    assert_eq!(device.queue_sizes(), [256, 256, 16]);
    let mut space = [0xee; 10];
    device.read_config(0, &mut space);
    assert_eq!(space, [6, 5, 4, 3, 0, 0, 0, 0, 0, 0]);
    let mut part = [0xee; 2];
    device.read_config(3, &mut part);
    assert_eq!(part, [3, 0]);
    device.read_config(usize::MAX, &mut part);
    assert_eq!(part, [0, 0]);
    let mut bench = Bench::new();
    assert!(bench.rig.write_config(0, &[1]).is_err());
    assert_eq!(bench.rig.read_config(0, 1), [42]);
}

#[test]
fn a_header_is_laid_out_as_the_specification_says() {
    let bytes: [u8; 44] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let header = Header::parse(bytes);
    let wanted = Header {
        src_cid: 0x0706_0504_0302_0100,
        dst_cid: 0x0f0e_0d0c_0b0a_0908,
        src_port: 0x1312_1110,
        dst_port: 0x1716_1514,
        len: 0x1b1a_1918,
        kind: 0x1d1c,
        op: Op(0x1f1e),
        flags: 0x2322_2120,
        buf_alloc: 0x2726_2524,
        fwd_cnt: 0x2b2a_2928,
    };
    assert_eq!(header, wanted);
    assert_eq!(header.to_bytes(), bytes);
}

#[test]
fn what_came_before_the_driver_is_there_when_it_is() {
    let ram = test_ram();
    let host = Host {
        ram: ram.clone(),
        inner: Arc::default(),
    };
    host.ask(80);
    let device = Vsock::new(VsockOptions::new(CID), Box::new(host.clone())).unwrap();
    let rig = Rig::with_ram(ram, device, Ring::Split, 0);
    let mut bench = Bench { host, rig };
    bench.fill(1, 1024);
    assert_eq!(bench.ops(), [Op::REQUEST]);
}

#[test]
fn a_reset_ends_all_connections() {
    let mut bench = Bench::new();
    let first = bench.connect(1, 2);
    let second = bench.accept(3);
    bench.host.ask(4);
    bench.rig.settle();
    bench.host.write_to_guest(first.stream, b"lost");
    bench.rig.reset();
    assert_eq!(bench.rig.device().connections(), 0);
    for stream in [first.stream, second.stream, StreamId(3)] {
        assert!(bench.host.is_closed(stream));
    }
    bench.fill(4, 1024);
    bench.rig.settle();
    assert_eq!(bench.ops(), []);
    assert_eq!(bench.accept(3).host, FIRST_PORT);
    bench.rig.driver(EVENT).add(&[], &[4]);
    bench.rig.kick(EVENT);
    assert_eq!(bench.rig.poll(EVENT), None);
}

#[test]
fn a_reset_forgets_refusals_and_who_waits() {
    let mut bench = Bench::bare(Ring::Split, 0);
    bench.host.inner().is_full = true;
    for guest in 0..100 {
        bench.post(request(guest, 9), &[]);
    }
    bench.rig.reset();
    bench.fill(1, 1024);
    assert_eq!(bench.ops(), []);
}

#[test]
fn a_queue_that_stops_holds_nothing() {
    for queue in [RX, TX, EVENT] {
        let mut bench = Bench::new();
        let ends = bench.connect(1, 2);
        bench.rig.stop(Some(queue));
        bench.rw(ends, b"on");
        bench.host.write_to_guest(ends.stream, b"and on");
        bench.rig.settle();
        assert_eq!(bench.data(), b"and on");
    }
}

#[test]
fn connections_stay_over_a_pause() {
    let mut bench = Bench::new();
    let ends = bench.connect(1, 2);
    bench.rig.call(Vsock::pause);
    let _saved = bench.rig.device().save();
    for queue in [RX, TX, EVENT] {
        bench.rig.notify(queue);
    }
    bench.rig.settle();
    bench.rw(ends, b"on");
    assert_eq!(
        bench.host.with(ends.stream, |it| it.from_guest.clone()),
        b"on"
    );
    bench.rig.driver(EVENT).add(&[], &[4]);
    bench.rig.kick(EVENT);
    assert_eq!(bench.rig.poll(EVENT), None);
}

#[test]
fn the_guest_hears_of_a_restore() {
    for (ring, features) in rings() {
        for is_there in [true, false] {
            let mut bench = Bench::with(ring, features);
            let ends = bench.accept(1);
            if is_there {
                bench.rig.driver(EVENT).add(&[], &[4]);
                bench.rig.kick(EVENT);
            }
            let saved = bench.rig.device().save();
            bench.rig.device_mut().restore(&saved).unwrap();
            assert_eq!(bench.rig.device().save(), saved);
            assert!(bench.host.is_closed(ends.stream));
            assert_eq!(bench.rig.device().connections(), 0);
            for queue in [RX, TX, EVENT] {
                bench.rig.notify(queue);
            }
            if !is_there {
                assert_eq!(bench.rig.request(EVENT, &[], 4).data, [0; 4]);
            } else {
                assert_eq!(bench.rig.poll(EVENT).unwrap().data, [0; 4]);
            }
            // Once.
            bench.rig.driver(EVENT).add(&[], &[4]);
            bench.rig.kick(EVENT);
            assert_eq!(bench.rig.poll(EVENT), None);
            // What the guest still sends is refused, and a new connection is another.
            bench.send(ends.rw(b"old"), b"old");
            assert_eq!(bench.ops(), [Op::RST]);
            assert_eq!(bench.accept(1).host, ends.host + 1);
        }
    }
}

#[test]
fn an_event_needs_four_bytes() {
    let mut bench = Bench::new();
    bench.rig.device_mut().restore(&golden()).unwrap();
    bench.rig.submit(EVENT, &[], 3);
    let error = bench.rig.broken();
    assert!(matches!(
        error,
        Some((EVENT, QueueError::Short { wanted: 4, .. }))
    ));
}

#[test]
fn a_driver_that_comes_after_a_restore_has_nothing_to_hear_of() {
    let mut device = device(VsockOptions::new(CID)).unwrap();
    device.restore(&golden()).unwrap();
    let mut rig = Rig::new(device, Ring::Split, 0);
    rig.submit(EVENT, &[], 4);
    assert_eq!(rig.poll(EVENT), None);
}

#[test]
fn a_saved_state_comes_back() {
    let mut bench = Bench::new();
    bench.rig.device_mut().restore(&golden()).unwrap();
    assert_eq!(bench.rig.device().save(), golden());
    assert_eq!(bench.accept(1).host, FIRST_PORT + 2);
}

#[test]
fn a_wrong_state_is_refused_and_changes_nothing() {
    let state =
        |next_port| SavedState::encode(state::KIND, state::VERSION, &VsockStateV1 { next_port });
    let mut wrong = [
        state(FIRST_PORT - 1),
        state(1 << 31),
        state(0),
        golden(),
        golden(),
        golden(),
    ];
    wrong[3].kind = "virtio-net";
    wrong[4].version = 2;
    wrong[5].data.pop();
    let mut bench = Bench::new();
    let ends = bench.connect(1, 2);
    for state in wrong {
        let before = bench.rig.device().save();
        assert!(bench.rig.device_mut().restore(&state).is_err());
        assert_eq!(bench.rig.device().save(), before);
        bench.rw(ends, b"on");
    }
    for right in [FIRST_PORT, (1 << 31) - 1] {
        assert_eq!(bench.rig.device_mut().restore(&state(right)), Ok(()));
    }
}
