use super::*;

#[test]
fn a_packet_of_no_connection_is_refused() {
    for op in [0, 2, 4, 5, 6, 7, 8, 0xffff].map(Op) {
        let mut bench = Bench::new();
        let header = Header {
            op,
            ..request(7, 8)
        };
        bench.send(header, b"data");
        let (reset, _) = bench.packet().unwrap();
        let wanted = Header {
            src_cid: HOST_CID,
            dst_cid: CID.into(),
            src_port: 8,
            dst_port: 7,
            op: Op::RST,
            buf_alloc: 0,
            ..header
        };
        assert_eq!(reset, wanted, "{op:?}");
        assert_eq!(bench.rig.device().connections(), 0);
        assert_eq!(bench.host.inner().wishes, []);
    }
    // A reset itself is not answered.
    let mut bench = Bench::new();
    let header = Header {
        op: Op::RST,
        ..request(7, 8)
    };
    bench.send(header, &[]);
    assert_eq!(bench.ops(), []);
}

#[test]
fn another_type_is_refused() {
    for kind in [0, 2, 3, 0xffff] {
        let mut bench = Bench::new();
        // Also where there is a connection with these ports, which stays.
        let ends = bench.connect(1, 2);
        for op in [Op::REQUEST, Op::RW] {
            let header = Header {
                kind,
                ..ends.header(op)
            };
            bench.send(header, &[]);
            let (reset, _) = bench.packet().unwrap();
            assert_eq!((reset.op, reset.kind, reset.dst_port), (Op::RST, kind, 1));
        }
        let header = Header {
            kind,
            ..ends.header(Op::RST)
        };
        bench.send(header, &[]);
        assert_eq!(bench.ops(), []);
        bench.rw(ends, b"on");
        assert_eq!(
            bench.host.with(ends.stream, |it| it.from_guest.clone()),
            b"on"
        );
    }
}

#[test]
fn another_host_is_refused() {
    for dst_cid in [0, 1, 3, CID.into(), u64::from(u32::MAX), 1 << 32 | 2] {
        let mut bench = Bench::new();
        let header = Header {
            dst_cid,
            ..request(7, 8)
        };
        bench.send(header, &[]);
        let (reset, _) = bench.packet().unwrap();
        assert_eq!(
            (reset.op, reset.src_cid, reset.src_port),
            (Op::RST, dst_cid, 8)
        );
        assert_eq!((reset.dst_cid, reset.dst_port), (CID.into(), 7));
        assert_eq!(bench.host.inner().wishes, []);
    }
}

#[test]
fn another_guest_is_not_answered() {
    for src_cid in [0, 2, 43, 1 << 32 | u64::from(CID), u64::MAX] {
        let mut bench = Bench::new();
        let header = Header {
            src_cid,
            ..request(7, 8)
        };
        bench.send(header, &[]);
        assert_eq!(bench.ops(), []);
        assert_eq!(bench.host.inner().wishes, []);
        assert_eq!(bench.rig.device().counters().foreign, 1);
    }
}

#[test]
fn streams_are_implied_or_not() {
    let stream = Features::new().with_stream(true);
    let explicit = Features::new().with_no_implied_stream(true);
    let both = explicit.with_stream(true);
    for (features, are_there) in [
        (Features::new(), true),
        (stream, true),
        (both, true),
        (explicit, false),
    ] {
        let mut bench = Bench::with(Ring::Split, features.into_bits());
        bench.host.inner().at_once = Some(true);
        bench.send(request(1, 2), &[]);
        let wanted = if are_there { Op::RESPONSE } else { Op::RST };
        assert_eq!(bench.ops(), [wanted], "{features:?}");
    }
}

#[test]
fn data_that_is_not_there_ends_the_connection() {
    for (len, behind) in [(1, 0), (5, 4), (u32::MAX, 4)] {
        for op in [Op::RW, Op::CREDIT_UPDATE, Op::SHUTDOWN] {
            let mut bench = Bench::new();
            let ends = bench.connect(1, 2);
            let header = Header {
                len,
                ..ends.header(op)
            };
            bench.post(header, &vec![0; behind]);
            assert!(bench.sent());
            assert_eq!(bench.ops(), [Op::RST]);
            assert!(bench.host.is_closed(ends.stream));
            assert_eq!(bench.host.with(ends.stream, |it| it.from_guest.len()), 0);
        }
        let mut bench = Bench::new();
        let header = Header {
            len,
            ..request(1, 2)
        };
        bench.send(header, &vec![0; behind]);
        assert_eq!(bench.ops(), [Op::RST]);
        assert_eq!(bench.host.inner().wishes, []);
    }
}

#[test]
fn what_makes_no_sense_ends_the_connection() {
    for op in [0, 1, 2, 8, 0xffff].map(Op) {
        let mut bench = Bench::new();
        let ends = bench.connect(1, 2);
        bench.send(ends.header(op), &[]);
        assert_eq!(bench.ops(), [Op::RST], "{op:?}");
        assert!(bench.host.is_closed(ends.stream));
        assert_eq!(bench.rig.device().connections(), 0);
    }
    // Before the program has answered.
    for op in [0, 1, 2, 4, 5, 8].map(Op) {
        let mut bench = Bench::new();
        bench.send(request(1, 2), &[]);
        let header = Header {
            op,
            ..request(1, 2)
        };
        bench.send(header, &[]);
        assert_eq!(bench.ops(), [Op::RST], "{op:?}");
        assert!(bench.host.is_closed(StreamId(1)));
    }
    // Before the guest has.
    for op in [0, 1, 4, 5, 8].map(Op) {
        let mut bench = Bench::new();
        let stream = bench.host.ask(1);
        bench.rig.settle();
        let (asked, _) = bench.packet().unwrap();
        let header = Header {
            op,
            ..request(1, asked.src_port)
        };
        bench.send(header, &[]);
        assert_eq!(bench.ops(), [Op::RST], "{op:?}");
        assert!(bench.host.is_closed(stream));
    }
}

#[test]
fn an_answer_before_the_question_is_none() {
    let mut bench = Bench::bare(Ring::Split, 0);
    let stream = bench.host.ask(1);
    bench.rig.settle();
    let header = Header {
        op: Op::RESPONSE,
        ..request(1, FIRST_PORT)
    };
    bench.send(header, &[]);
    assert_eq!(bench.host.with(stream, |it| it.host_port), None);
    assert!(bench.host.is_closed(stream));
    bench.fill(2, 1024);
    assert_eq!(bench.ops(), [Op::RST]);
}

#[test]
fn credit_is_spoken_of_when_there_is_a_connection() {
    let mut bench = Bench::new();
    bench.send(request(1, 2), &[]);
    let header = Header {
        op: Op::CREDIT_REQUEST,
        ..request(1, 2)
    };
    bench.send(header, &[]);
    assert_eq!(bench.ops(), []);
    bench.host.inner().answer(StreamId(1), true);
    bench.rig.settle();
    assert_eq!(bench.ops(), [Op::RESPONSE, Op::CREDIT_UPDATE]);
}

#[test]
fn one_reset_answers_all_until_it_is_heard() {
    let mut bench = Bench::bare(Ring::Split, 0);
    bench.host.inner().at_once = Some(true);
    bench.send(request(1, 2), &[]);
    for op in [1, 5, 4, 2, 7, 1].map(Op) {
        let header = Header {
            op,
            ..request(1, 2)
        };
        bench.send(header, &[]);
    }
    assert_eq!(bench.host.inner().wishes.len(), 1);
    bench.fill(4, 1024);
    assert_eq!(bench.ops(), [Op::RST]);
    bench.send(request(1, 2), &[]);
    assert_eq!(bench.ops(), [Op::RESPONSE]);
    // The guest has forgotten it itself.
    let mut bench = Bench::bare(Ring::Split, 0);
    bench.host.inner().at_once = Some(true);
    for op in [1, 1, 3].map(Op) {
        let header = Header {
            op,
            ..request(1, 2)
        };
        bench.send(header, &[]);
    }
    bench.fill(4, 1024);
    assert_eq!(bench.ops(), []);
}

#[test]
fn many_packets_of_no_connection_want_one_reset() {
    let mut bench = Bench::bare(Ring::Split, 0);
    for op in [Op::RW, Op::RW, Op::SHUTDOWN] {
        let header = Header {
            op,
            ..request(1, 2)
        };
        bench.send(header, &[]);
    }
    bench.fill(4, 44);
    assert_eq!(bench.ops(), [Op::RST]);
}

#[test]
fn refusals_are_bounded_and_none_is_lost() {
    for (ring, features) in rings() {
        let mut bench = Bench::bare(ring, features);
        bench.host.inner().is_full = true;
        // Two elements each, and no indirect table in each second way: 120 of 256 descriptors.
        let count = 120;
        for guest in 0..count {
            bench.post(request(guest, 9), &[]);
        }
        let mut taken = 0;
        while bench.sent() {
            taken += 1;
        }
        assert_eq!(taken, MAX_REFUSALS);
        bench.rig.settle();
        assert!(!bench.sent(), "the driver's packets wait");
        let mut got = Vec::new();
        while bench.rig.driver(TX).pending() > 0 || got.len() < count as usize {
            bench.fill(5, 44);
            let before = got.len();
            got.extend(std::iter::from_fn(|| bench.packet()).map(|(header, _)| header.dst_port));
            assert_eq!(got.len(), before + 5);
            while bench.sent() {}
        }
        let wanted: Vec<_> = (0..count).collect();
        assert_eq!(got, wanted);
        assert_eq!(bench.rig.broken(), None);
    }
}

#[test]
fn a_packet_without_a_header_breaks_the_queue() {
    for len in [1, 43] {
        let mut bench = Bench::new();
        bench.rig.submit(TX, &[&vec![0; len]], 0);
        assert_eq!(bench.broken(), TX);
    }
    // No readable byte at all.
    let mut bench = Bench::new();
    bench.rig.submit(TX, &[], 100);
    assert_eq!(bench.broken(), TX);
}

#[test]
fn what_is_not_ram_breaks_the_queue() {
    let nowhere = |len| Segment {
        address: 1 << 40,
        len,
    };
    let mut bench = Bench::new();
    bench.rig.driver(TX).add_segments(&[nowhere(44)], &[]);
    bench.rig.kick(TX);
    assert_eq!(bench.broken(), TX);

    let mut bench = Bench::new();
    let ends = bench.connect(1, 2);
    let header = ends.rw(&[0; 8]).to_bytes();
    let address = 0x8000;
    assert!(bench.rig.ram().write(address, &header));
    let segments = [Segment { address, len: 44 }, nowhere(8)];
    bench.rig.driver(TX).add_segments(&segments, &[]);
    bench.rig.kick(TX);
    assert_eq!(bench.broken(), TX);

    // A buffer to receive: where the header goes, where the data does.
    for segments in [
        [nowhere(44), Segment { address, len: 44 }],
        [Segment { address, len: 44 }, nowhere(44)],
    ] {
        let mut bench = Bench::bare(Ring::Split, 0);
        bench.fill(1, 1024);
        let ends = bench.connect(1, 2);
        bench.rig.driver(RX).add_segments(&[], &segments);
        bench.rig.kick(RX);
        bench.host.write_to_guest(ends.stream, b"data");
        bench.rig.wake();
        assert_eq!(bench.broken(), RX);
    }
}

#[test]
fn a_buffer_without_room_breaks_the_queue() {
    let mut bench = Bench::bare(Ring::Split, 0);
    bench.fill(1, 43);
    bench.host.ask(1);
    bench.rig.wake();
    assert_eq!(bench.broken(), RX);
    // Room for a packet without data.
    let mut bench = Bench::bare(Ring::Split, 0);
    bench.fill(2, 44);
    let ends = bench.connect(1, 2);
    assert_eq!(bench.rig.broken(), None);
    bench.host.write_to_guest(ends.stream, b"data");
    bench.rig.wake();
    assert_eq!(bench.broken(), RX);
    // No writable byte at all.
    let mut bench = Bench::bare(Ring::Split, 0);
    bench.rig.submit(RX, &[&[0; 100]], 0);
    bench.host.ask(1);
    bench.rig.wake();
    assert_eq!(bench.broken(), RX);
}
