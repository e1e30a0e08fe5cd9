use super::*;

#[test]
fn data_goes_both_ways() {
    for (ring, features) in rings() {
        for cut in [u32::MAX, 1000, 7] {
            let mut bench = Bench::bare(ring, features);
            bench.rig.driver(TX).cut_at(cut.max(64));
            bench.rig.driver(RX).cut_at(cut.max(40));
            bench.fill(6, 1024);
            let ends = bench.connect(1, 2);
            let data = bytes(3000, 9);
            bench.rw(ends, &data);
            assert_eq!(
                bench.host.with(ends.stream, |it| it.from_guest.clone()),
                data
            );
            assert_eq!(bench.ops(), [Op::CREDIT_UPDATE]);
            bench.host.write_to_guest(ends.stream, &data);
            bench.rig.settle();
            assert_eq!(bench.data(), data);
            let counters = bench.rig.device().counters();
            assert_eq!(
                (counters.bytes_from_guest, counters.bytes_to_guest),
                (3000, 3000)
            );
            assert_eq!((counters.from_guest, counters.to_guest), (2, 6));
        }
    }
}

#[test]
fn bytes_behind_the_data_are_not_read() {
    let mut bench = Bench::new();
    let ends = bench.connect(1, 2);
    let header = Header {
        len: 3,
        ..ends.header(Op::RW)
    };
    bench.send(header, b"abcdef");
    assert_eq!(
        bench.host.with(ends.stream, |it| it.from_guest.clone()),
        b"abc"
    );
    // Nor are those of a packet of another kind.
    let header = Header {
        len: 3,
        ..ends.header(Op::CREDIT_UPDATE)
    };
    bench.send(header, b"xyz");
    bench.send(ends.header(Op::RW), &[0]);
    assert_eq!(
        bench.host.with(ends.stream, |it| it.from_guest.clone()),
        b"abc"
    );
    assert_eq!(bench.ops(), []);
}

#[test]
fn data_waits_for_buffers() {
    for (ring, features) in rings() {
        let mut bench = Bench::with(ring, features);
        let ends = bench.connect(1, 2);
        while bench.rig.driver(RX).pending() > 0 {
            bench.host.write_to_guest(ends.stream, &[1]);
            bench.rig.settle();
            bench.data();
        }
        let data = bytes(5000, 3);
        bench.host.write_to_guest(ends.stream, &data);
        bench.rig.settle();
        let mut got = Vec::new();
        while got.len() < data.len() {
            bench.fill(1, 544);
            got.extend(bench.data());
        }
        assert_eq!(got, data);
        assert_eq!(bench.rig.broken(), None);
    }
}

#[test]
fn everything_that_is_owed_waits_for_buffers() {
    for (ring, features) in rings() {
        let mut bench = Bench::bare(ring, features);
        bench.host.inner().at_once = Some(true);
        bench.post(request(1, 2), &[]);
        let ends = Ends {
            guest: 1,
            host: 2,
            stream: StreamId(1),
        };
        for _ in 0..10 {
            bench.post(ends.header(Op::CREDIT_REQUEST), &[]);
        }
        bench.host.with(ends.stream, |it| it.has_ended = true);
        bench.host.write_to_guest(ends.stream, &bytes(300, 1));
        bench.rig.settle();
        while bench.sent() {}
        assert_eq!(bench.rig.driver(TX).pending(), 0);
        bench.fill(8, 244);
        let wanted = [
            Op::RESPONSE,
            Op::CREDIT_UPDATE,
            Op::RW,
            Op::RW,
            Op::SHUTDOWN,
        ];
        assert_eq!(bench.ops(), wanted);
        // And there is nothing without a reason.
        bench.rig.settle();
        bench.rig.take_interrupts(RX);
        bench.rig.wake();
        bench.rig.notify(RX);
        assert_eq!((bench.ops(), bench.rig.take_interrupts(RX)), (vec![], 0));
    }
}

#[test]
fn the_driver_rings_for_buffers_only_when_they_are_awaited() {
    let mut bench = Bench::new();
    let ends = bench.connect(1, 2);
    bench.rig.driver(RX).add(&[], &[100]);
    assert!(!bench.rig.driver(RX).kick());
    bench.host.write_to_guest(ends.stream, &bytes(40_000, 0));
    bench.rig.settle();
    assert!(bench.data().len() < 40_000);
    bench.rig.driver(RX).add(&[], &[100]);
    assert!(bench.rig.driver(RX).kick());
}

#[test]
fn the_guest_hears_what_was_passed_on() {
    let mut bench = Bench::new();
    let ends = bench.connect(1, 2);
    // Less than half of the window is not worth a packet.
    bench.rw(ends, &bytes(2000, 0));
    assert_eq!(bench.ops(), []);
    bench.rw(ends, &bytes(48, 0));
    let (header, _) = bench.packet().unwrap();
    assert_eq!(
        (header.op, header.buf_alloc, header.fwd_cnt),
        (Op::CREDIT_UPDATE, WINDOW, 2048)
    );
    // Other packets tell it as well.
    bench.rw(ends, &bytes(1000, 0));
    bench.host.write_to_guest(ends.stream, b"x");
    bench.rig.settle();
    let (header, _) = bench.packet().unwrap();
    assert_eq!((header.op, header.fwd_cnt), (Op::RW, 3048));
    bench.rw(ends, &bytes(2000, 0));
    assert_eq!(bench.ops(), []);
    // So does the answer to a question.
    bench.send(ends.header(Op::CREDIT_REQUEST), &[]);
    let (header, _) = bench.packet().unwrap();
    assert_eq!((header.op, header.fwd_cnt), (Op::CREDIT_UPDATE, 5048));
}

#[test]
fn a_slow_program_holds_the_guest_up() {
    let mut bench = Bench::new();
    let ends = bench.connect(1, 2);
    bench.host.with(ends.stream, |it| it.is_slow = true);
    bench.rw(ends, &bytes(4096, 0));
    assert_eq!(bench.ops(), [], "nothing was passed on");
    bench.send(ends.header(Op::CREDIT_REQUEST), &[]);
    let (header, _) = bench.packet().unwrap();
    assert_eq!((header.op, header.fwd_cnt), (Op::CREDIT_UPDATE, 0));
    bench.host.catch_up(ends.stream);
    bench.rig.settle();
    let (header, _) = bench.packet().unwrap();
    assert_eq!((header.op, header.fwd_cnt), (Op::CREDIT_UPDATE, 4096));
    bench.rw(ends, b"on");
    assert_eq!(bench.host.with(ends.stream, |it| it.from_guest.len()), 4098);
}

#[test]
fn data_beyond_the_credit_ends_the_connection() {
    let mut bench = Bench::new();
    let ends = bench.connect(1, 2);
    bench.host.with(ends.stream, |it| it.is_slow = true);
    bench.rw(ends, &bytes(4096, 0));
    bench.rw(ends, &[0]);
    assert_eq!(bench.ops(), [Op::RST]);
    assert!(bench.host.is_closed(ends.stream));
}

#[test]
fn the_guests_credit_is_kept() {
    let mut bench = Bench::new();
    let ends = bench.connect(1, 2);
    bench.send(ends.credit(1000, 0), &[]);
    bench.host.write_to_guest(ends.stream, &bytes(2500, 5));
    bench.rig.settle();
    let (header, mut got) = bench.packet().unwrap();
    assert_eq!((header.op, got.len()), (Op::RW, 980));
    got.extend(bench.packet().unwrap().1);
    assert_eq!(got.len(), 1000);
    // It is asked for more, once.
    assert_eq!(bench.ops(), [Op::CREDIT_REQUEST]);
    bench.send(ends.credit(1000, 0), &[]);
    bench.rig.settle();
    assert_eq!(bench.ops(), []);
    bench.send(ends.credit(1000, 600), &[]);
    let (_, data) = bench.packet().unwrap();
    assert_eq!(data.len(), 600);
    got.extend(data);
    assert_eq!(bench.ops(), [Op::CREDIT_REQUEST]);
    // Less room than is used, or more taken than was sent: none.
    bench.send(ends.credit(10, 700), &[]);
    bench.send(ends.credit(1000, 5000), &[]);
    assert_eq!(bench.ops(), []);
    bench.send(ends.credit(2000, 1600), &[]);
    got.extend(bench.data());
    assert_eq!(got, bytes(2500, 5));
}

#[test]
fn a_guest_without_room_is_asked_for_it() {
    let mut bench = Bench::new();
    bench.host.inner().at_once = Some(true);
    let header = Header {
        buf_alloc: 0,
        ..request(1, 2)
    };
    bench.send(header, &[]);
    bench.host.write_to_guest(StreamId(1), b"data");
    bench.rig.settle();
    assert_eq!(bench.ops(), [Op::RESPONSE, Op::CREDIT_REQUEST]);
    let ends = Ends {
        guest: 1,
        host: 2,
        stream: StreamId(1),
    };
    bench.send(ends.credit(4, 0), &[]);
    let (header, data) = bench.packet().unwrap();
    assert_eq!((header.op, &*data), (Op::RW, &b"data"[..]));
    // There may be more, for all that it knows.
    assert_eq!(bench.ops(), [Op::CREDIT_REQUEST]);
}

#[test]
fn counts_go_round() {
    let mut connection = core::Connection::new(
        core::Key { guest: 1, host: 2 },
        StreamId(1),
        core::Stage::Open,
        WINDOW,
    );
    connection.readable = true;
    for round in 0..5_u32 {
        let total = round.wrapping_mul(1 << 30);
        let header = Header {
            buf_alloc: 1 << 31,
            fwd_cnt: total,
            ..request(1, 2)
        };
        connection.hear(&header);
        assert_eq!(connection.next(), Some(core::Next::Data(1 << 31)));
        connection.packet(Op::RW, 1 << 30, 42);
        assert_eq!(connection.next(), Some(core::Next::Data(1 << 30)));
        connection.took(1 << 30);
        connection.set_forwarded(total.wrapping_add(1 << 30));
        assert_eq!(
            connection.next(),
            Some(core::Next::Control(Op::CREDIT_UPDATE))
        );
        let update = connection.packet(Op::CREDIT_UPDATE, 0, 42);
        assert_eq!(update.fwd_cnt, total.wrapping_add(1 << 30));
    }
}

#[test]
fn a_packet_holds_64_kib_at_most() {
    let mut bench = Bench::bare(Ring::Split, 0);
    bench.fill(1, 100);
    let ends = bench.connect(1, 2);
    let data = bytes(100_000, 7);
    bench.host.write_to_guest(ends.stream, &data);
    bench.fill(2, 100_000);
    bench.rig.settle();
    let (_, mut got) = bench.packet().unwrap();
    assert_eq!(got.len(), 1 << 16);
    got.extend(bench.data());
    assert_eq!(got, data);
}

#[test]
fn a_connection_stands_in_the_line_once() {
    let mut bench = Bench::bare(Ring::Split, 0);
    bench.host.ask(1);
    bench.rig.settle();
    let table = &mut bench.rig.device_mut().table;
    table.mark(0);
    table.mark(0);
    assert_eq!(table.take_due(), Some(0));
    assert!(!table.is_due());
    table.mark(0);
    assert_eq!(table.take_due(), Some(0));
}

#[test]
fn connections_take_turns() {
    let mut bench = Bench::with(Ring::Split, 0);
    let all: Vec<_> = (0..3).map(|guest| bench.connect(guest, 9)).collect();
    for ends in &all {
        bench.host.write_to_guest(ends.stream, &bytes(3000, 1));
    }
    bench.rig.settle();
    let ports: Vec<_> = std::iter::from_fn(|| bench.packet())
        .map(|(header, _)| header.dst_port)
        .collect();
    assert_eq!(ports, [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_wake_up_does_its_share() {
    let mut bench = Bench::new();
    let ends = bench.connect(1, 2);
    bench.fill(200, 45);
    for _ in 0..200 {
        bench.host.event(StreamEvent::Inside);
    }
    assert!(bench.rig.wake());
    assert_eq!(bench.host.inner().events.len(), 200 - 64);
    bench.rig.settle();
    assert_eq!(bench.host.inner().events.len(), 0);
    // More packets than a share: there are buffers for one a byte.
    bench.host.write_to_guest(ends.stream, &bytes(100_000, 1));
    bench.rig.settle();
    let mut got = 0;
    for _ in 0..40 {
        while bench.rig.driver(RX).free() > 0 {
            bench.rig.driver(RX).add(&[], &[45]);
        }
        bench.rig.driver(RX).kick();
        let before = bench.host.with(ends.stream, |it| it.reads);
        bench.rig.wake();
        let reads = bench.host.with(ends.stream, |it| it.reads) - before;
        assert!(reads <= SHARE, "{reads} packets at once");
        got += bench.data().len();
    }
    assert!(got > 10_000);
}

#[test]
fn a_long_queue_is_served_in_shares() {
    let ram = test_ram();
    let host = Host {
        ram: ram.clone(),
        inner: Arc::default(),
    };
    let options = VsockOptions {
        queue_size: 1024,
        ..VsockOptions::new(CID)
    };
    let mut device = Vsock::new(options, Box::new(host.clone())).unwrap();
    let mut queues = [Queue::new(1024), Queue::new(1024), Queue::new(16)];
    let features = Feature::Version1.bit();
    let mut driver = DriverQueue::new(&ram, 1 << 20..2 << 20, Ring::Split, 1024, features);
    driver.configure(&mut queues[0]);
    queues[0].enable(&ram, features).unwrap();
    let mut turn = |call: &mut dyn FnMut(&mut Vsock, &mut Io<'_>) -> bool| {
        let mut io = Io::new(&ram, features, &mut queues);
        call(&mut device, &mut io)
    };
    let stream = host.ask(1);
    (0..1024).for_each(|_| {
        driver.add(&[], &[45]);
    });
    driver.kick();
    let _asks = turn(&mut |device, io| device.wake(io));
    assert!(driver.poll().is_some());
    // As the guest's answer would.
    turn(&mut |device, _io| {
        let at = device.table.find_stream(stream).unwrap();
        let connection = device.table.get_mut(at).unwrap();
        connection.stage = core::Stage::Open;
        connection.hear(&request(1, FIRST_PORT));
        false
    });
    host.with(stream, |it| it.is_open = true);
    host.write_to_guest(stream, &bytes(600, 0));
    let mut wakes = 0;
    while turn(&mut |device, io| device.wake(io)) {
        wakes += 1;
        let served = std::iter::from_fn(|| driver.poll()).count();
        assert_eq!(served, usize::try_from(SHARE).unwrap());
    }
    assert_eq!(wakes, 2);
}
