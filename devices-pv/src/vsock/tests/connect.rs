use super::*;

#[test]
fn the_guest_connects_to_a_program() {
    for (ring, features) in rings() {
        let mut bench = Bench::with(ring, features);
        bench.send(request(1000, 52), &[]);
        let (stream, port) = bench.host.inner().wishes[0];
        assert_eq!(port, 52);
        assert_eq!(bench.ops(), [], "nobody has answered");
        bench.host.inner().answer(stream, true);
        bench.rig.settle();
        let (header, data) = bench.packet().unwrap();
        assert_eq!(data, []);
        let wanted = Header {
            src_cid: HOST_CID,
            dst_cid: CID.into(),
            src_port: 52,
            dst_port: 1000,
            len: 0,
            kind: TYPE_STREAM,
            op: Op::RESPONSE,
            flags: 0,
            buf_alloc: WINDOW,
            fwd_cnt: 0,
        };
        assert_eq!(header, wanted);
        assert_eq!(bench.rig.device().connections(), 1);
    }
}

#[test]
fn an_answer_at_once_needs_no_wake_up() {
    let mut bench = Bench::new();
    bench.host.inner().at_once = Some(true);
    bench.send(request(1, 2), &[]);
    assert_eq!(bench.ops(), [Op::RESPONSE]);
    bench.host.inner().at_once = Some(false);
    bench.send(request(3, 4), &[]);
    let (header, _) = bench.packet().unwrap();
    assert_eq!((header.op, header.dst_port), (Op::RST, 3));
    assert_eq!(bench.rig.device().connections(), 1);
}

#[test]
fn nobody_takes_the_guests_connection() {
    let mut bench = Bench::new();
    bench.send(request(1, 2), &[]);
    let (stream, _) = bench.host.inner().wishes[0];
    bench.host.inner().answer(stream, false);
    bench.rig.settle();
    assert_eq!(bench.ops(), [Op::RST]);
    bench.host.inner().is_full = true;
    bench.send(request(1, 2), &[]);
    assert_eq!(bench.ops(), [Op::RST]);
    assert_eq!(bench.rig.device().connections(), 0);
    // The ports are free again.
    bench.host.inner().is_full = false;
    bench.connect(1, 2);
}

#[test]
fn a_program_connects_to_the_guest() {
    for (ring, features) in rings() {
        let mut bench = Bench::with(ring, features);
        let stream = bench.host.ask(80);
        bench.rig.settle();
        let (header, _) = bench.packet().unwrap();
        assert_eq!(header.op, Op::REQUEST);
        assert_eq!((header.src_cid, header.dst_cid), (HOST_CID, CID.into()));
        assert_eq!((header.src_port, header.dst_port), (FIRST_PORT, 80));
        assert_eq!(header.buf_alloc, WINDOW);
        assert_eq!(bench.host.with(stream, |program| program.host_port), None);
        let ends = Ends {
            guest: 80,
            host: FIRST_PORT,
            stream,
        };
        bench.send(ends.header(Op::RESPONSE), &[]);
        let port = bench.host.with(stream, |program| program.host_port);
        assert_eq!(port, Some(FIRST_PORT));
        assert_eq!(bench.accept(80).host, FIRST_PORT + 1);
    }
}

#[test]
fn the_guest_refuses_a_program() {
    let mut bench = Bench::new();
    let stream = bench.host.ask(80);
    bench.rig.settle();
    let (header, _) = bench.packet().unwrap();
    let ends = Ends {
        guest: 80,
        host: header.src_port,
        stream,
    };
    bench.send(ends.header(Op::RST), &[]);
    assert!(bench.host.is_closed(stream));
    assert_eq!(bench.rig.device().connections(), 0);
    assert_eq!(bench.ops(), [], "a reset is not answered");
}

#[test]
fn a_program_does_not_wait_for_the_answer() {
    let mut bench = Bench::bare(Ring::Split, 0);
    // The guest has not heard of it.
    let stream = bench.host.ask(80);
    bench.rig.settle();
    bench.host.event(StreamEvent::Gone(stream));
    bench.rig.settle();
    assert_eq!(bench.rig.device().connections(), 0);
    bench.fill(4, 1024);
    assert_eq!(bench.ops(), []);
    // It has.
    let stream = bench.host.ask(80);
    bench.rig.settle();
    assert_eq!(bench.ops(), [Op::REQUEST]);
    bench.host.event(StreamEvent::Gone(stream));
    bench.rig.settle();
    assert_eq!(bench.ops(), [Op::RST]);
    // It goes while the guest answers.
    let stream = bench.host.ask(81);
    bench.rig.settle();
    let (header, _) = bench.packet().unwrap();
    bench.host.inner().programs.remove(&stream.0);
    let ends = Ends {
        guest: 81,
        host: header.src_port,
        stream,
    };
    bench.send(ends.header(Op::RESPONSE), &[]);
    assert_eq!(bench.ops(), [Op::RST]);
    assert_eq!(bench.rig.device().connections(), 0);
}

#[test]
fn connections_are_bounded() {
    let mut bench = Bench::new();
    bench.host.inner().at_once = Some(true);
    for guest in 0..u32::try_from(MAX_CONNECTIONS).unwrap() {
        bench.send(request(guest, 9), &[]);
        assert_eq!(bench.ops(), [Op::RESPONSE]);
        bench.fill(1, 1024);
    }
    bench.send(request(5000, 9), &[]);
    assert_eq!(bench.ops(), [Op::RST]);
    let stream = bench.host.ask(80);
    bench.rig.settle();
    assert!(bench.host.is_closed(stream));
    assert_eq!(bench.rig.device().connections(), MAX_CONNECTIONS);
    // One that goes makes room.
    let header = Header {
        op: Op::RST,
        ..request(7, 9)
    };
    bench.send(header, &[]);
    bench.send(request(5000, 9), &[]);
    assert_eq!(bench.ops(), [Op::RESPONSE]);
}

#[test]
fn ports_of_programs_come_round() {
    let mut ports = Ports {
        next: (1 << 31) - 1,
    };
    assert_eq!(ports.allocate(|_| false), (1 << 31) - 1);
    assert_eq!(ports.allocate(|port| port == FIRST_PORT), FIRST_PORT + 1);
    assert_eq!(ports.allocate(|_| false), FIRST_PORT + 2);
}

#[test]
fn a_port_that_the_guest_took_is_passed_over() {
    let mut bench = Bench::new();
    bench.connect(80, FIRST_PORT);
    assert_eq!(bench.accept(80).host, FIRST_PORT + 1);
    assert_eq!(bench.accept(81).host, FIRST_PORT + 2);
}

#[test]
fn the_guest_ends_a_connection() {
    for (receive, send) in [(true, true), (true, false), (false, true)] {
        let mut bench = Bench::new();
        let ends = bench.connect(1, 2);
        bench.send(ends.shutdown(receive, send), &[]);
        if !(receive && send) {
            let wanted = if send {
                StreamEnd::Write
            } else {
                StreamEnd::Read
            };
            assert_eq!(
                bench.host.with(ends.stream, |it| it.ended.clone()),
                [wanted]
            );
            assert!(!bench.host.is_closed(ends.stream));
            assert_eq!(bench.ops(), []);
            // What was said once stands.
            bench.send(ends.shutdown(!receive, !send), &[]);
        }
        assert!(bench.host.is_closed(ends.stream));
        assert_eq!(bench.ops(), [Op::RST]);
        assert_eq!(bench.rig.device().connections(), 0);
    }
}

#[test]
fn the_guest_cuts_a_connection_off() {
    let mut bench = Bench::new();
    let ends = bench.accept(1);
    bench.host.write_to_guest(ends.stream, b"late");
    bench.send(ends.header(Op::RST), &[]);
    assert!(bench.host.is_closed(ends.stream));
    bench.rig.settle();
    assert_eq!(bench.ops(), []);
    assert_eq!(bench.rig.device().connections(), 0);
}

#[test]
fn a_direction_that_the_guest_ended_is_not_used() {
    let mut bench = Bench::new();
    let ends = bench.connect(1, 2);
    bench.send(ends.shutdown(true, false), &[]);
    bench.host.write_to_guest(ends.stream, b"unheard");
    bench.rig.settle();
    assert_eq!(bench.ops(), []);
    bench.rw(ends, b"still");
    assert_eq!(
        bench.host.with(ends.stream, |it| it.from_guest.clone()),
        b"still"
    );
    let ends = bench.connect(3, 2);
    bench.send(ends.shutdown(false, true), &[]);
    bench.host.write_to_guest(ends.stream, b"heard");
    bench.rig.settle();
    assert_eq!(bench.data(), b"heard");
    bench.rw(ends, b"against its word");
    assert_eq!(bench.ops(), [Op::RST]);
    assert_eq!(bench.host.with(ends.stream, |it| it.from_guest.len()), 0);
}

#[test]
fn a_program_ends_a_connection() {
    let mut bench = Bench::new();
    let ends = bench.accept(1);
    bench.host.with(ends.stream, |it| it.has_ended = true);
    bench.host.write_to_guest(ends.stream, b"the last");
    bench.rig.settle();
    let (header, data) = bench.packet().unwrap();
    assert_eq!((header.op, &*data), (Op::RW, &b"the last"[..]));
    let (header, _) = bench.packet().unwrap();
    assert_eq!(header.op, Op::SHUTDOWN);
    assert_eq!(header.flags, Shutdown::new().with_send(true).into_bits());
    // It still reads.
    bench.rw(ends, b"thanks");
    assert_eq!(
        bench.host.with(ends.stream, |it| it.from_guest.clone()),
        b"thanks"
    );
    assert_eq!(bench.ops(), []);
    // Until it does not.
    bench.host.with(ends.stream, |it| it.reads_no_more = true);
    bench.rw(ends, b"lost");
    let (header, _) = bench.packet().unwrap();
    assert_eq!((header.op, header.flags), (Op::SHUTDOWN, 3));
    assert!(bench.host.is_closed(ends.stream));
    bench.rw(ends, b"under way");
    assert_eq!(bench.ops(), []);
    assert_eq!(bench.rig.device().connections(), 1);
    bench.send(ends.shutdown(true, true), &[]);
    assert_eq!(bench.ops(), [Op::RST]);
    assert_eq!(bench.rig.device().connections(), 0);
}

#[test]
fn a_program_that_reads_no_more_can_still_write() {
    let mut bench = Bench::new();
    let ends = bench.connect(1, 2);
    bench.host.with(ends.stream, |it| it.reads_no_more = true);
    bench.host.event(StreamEvent::Forwarded(ends.stream));
    bench.rig.settle();
    let (header, _) = bench.packet().unwrap();
    assert_eq!((header.op, header.flags), (Op::SHUTDOWN, 1));
    bench.host.event(StreamEvent::Forwarded(ends.stream));
    bench.host.write_to_guest(ends.stream, b"but");
    bench.rig.settle();
    assert_eq!(bench.data(), b"but", "it is said once");
    bench.host.with(ends.stream, |it| it.has_ended = true);
    bench.host.event(StreamEvent::Readable(ends.stream));
    bench.rig.settle();
    let (header, _) = bench.packet().unwrap();
    assert_eq!((header.op, header.flags), (Op::SHUTDOWN, 3));
    assert!(bench.host.is_closed(ends.stream));
}

#[test]
fn a_broken_stream_resets_the_connection() {
    let mut bench = Bench::new();
    let ends = bench.connect(1, 2);
    bench.host.with(ends.stream, |it| {
        it.read_error = Some(io::ErrorKind::ConnectionReset)
    });
    bench.host.event(StreamEvent::Readable(ends.stream));
    bench.rig.settle();
    assert_eq!(bench.ops(), [Op::RST]);
    assert!(bench.host.is_closed(ends.stream));
    // Gone from under it.
    let ends = bench.connect(1, 2);
    bench.host.inner().programs.remove(&ends.stream.0);
    bench.send(ends.shutdown(false, true), &[]);
    assert_eq!(bench.ops(), [Op::RST]);
    assert_eq!(bench.rig.device().connections(), 0);
    assert_eq!(bench.rig.device().counters().resets, 2);
}
