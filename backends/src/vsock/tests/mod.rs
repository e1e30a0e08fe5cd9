mod processes;

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;
use trivisor_buses::{Segment, StreamEnd, StreamEvent, StreamHost, StreamId};
use trivisor_memory::GuestRam;

use super::*;
use crate::testing::{RAM, ram, scatter, segment, wait};

/// A device's host side, with the folder of its sockets.
struct Bench {
    folder: TempDir,
    listener: Listener,
    host: Host,
    watched: OwnedFd,
    ram: GuestRam,
}

impl Bench {
    fn new() -> Self {
        Self::with(|path| Box::new(PathConnector::new(&path)))
    }

    fn with(connector: impl FnOnce(PathBuf) -> Box<dyn Connector>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.sock");
        let listener = Listener::new(&path).unwrap();
        let copy = listener.as_fd().try_clone_to_owned().unwrap();
        let ram = ram();
        let (host, watched) = Host::new(copy, connector(path), ram.clone()).unwrap();
        Self {
            folder,
            listener,
            host,
            watched,
            ram,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("v.sock")
    }

    /// A program that connects and says `line`.
    fn program(&self, line: &[u8]) -> UnixStream {
        let mut program = UnixStream::connect(self.path()).unwrap();
        program.write_all(line).unwrap();
        program
    }

    /// All that happened, without the host's own work.
    fn events(&mut self) -> Vec<StreamEvent> {
        std::iter::from_fn(|| self.host.next_event())
            .filter(|event| *event != StreamEvent::Inside)
            .collect()
    }

    /// The next thing that happens, in time.
    fn event(&mut self) -> StreamEvent {
        loop {
            match self.host.next_event() {
                Some(StreamEvent::Inside) => {}
                Some(event) => return event,
                None => assert!(wait(&self.watched), "nothing happens"),
            }
        }
    }

    /// A program's stream that the guest has accepted, told of nothing yet.
    fn open(&mut self) -> (StreamId, UnixStream) {
        let mut program = self.program(b"CONNECT 52\n");
        let stream = loop {
            if let StreamEvent::Asked { stream, port: 52 } = self.event() {
                break stream;
            }
        };
        self.host.accept(stream, 1024).unwrap();
        let mut line = [0; 8];
        program.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"OK 1024\n");
        (stream, program)
    }

    fn read(&mut self, stream: StreamId, room: usize) -> io::Result<Vec<u8>> {
        let into = [segment(0, room.min(3)), segment(0x1000, room - room.min(3))];
        let count = self.host.read(stream, &into)?;
        let mut data = Vec::new();
        crate::segments::append(&self.ram, &into, 0, &mut data).unwrap();
        data.truncate(count);
        Ok(data)
    }

    fn write(&mut self, stream: StreamId, data: &[u8]) -> io::Result<()> {
        let segments = scatter(&self.ram, data, 3000);
        self.host.write(stream, &segments)
    }
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// The program's end has been closed by the device.
fn is_closed(mut program: &UnixStream) -> bool {
    program.set_nonblocking(true).unwrap();
    match program.read(&mut [0; 64]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn a_program_reaches_a_port_of_the_guest() {
    let mut bench = Bench::new();
    assert_eq!(bench.events(), []);
    let (stream, mut program) = bench.open();
    assert_eq!(kind(bench.read(stream, 10)), Some(ErrorKind::WouldBlock));
    program.write_all(b"hello guest").unwrap();
    assert!(bench.events().contains(&StreamEvent::Readable(stream)));
    assert_eq!(bench.read(stream, 5).unwrap(), b"hello");
    assert_eq!(bench.read(stream, 100).unwrap(), b" guest");
    assert_eq!(kind(bench.read(stream, 100)), Some(ErrorKind::WouldBlock));
    bench.write(stream, b"hello host").unwrap();
    assert_eq!(bench.host.forwarded(stream), 10);
    let mut seen = [0; 10];
    program.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"hello host");
    bench.host.close(stream);
    assert!(is_closed(&program));
    assert_eq!(kind(bench.read(stream, 1)), Some(ErrorKind::NotConnected));
    assert_eq!(bench.host.forwarded(stream), 0);
}

#[test]
fn what_follows_the_line_is_the_guests() {
    let mut bench = Bench::new();
    let mut program = bench.program(b"CONNECT 7\nearly");
    let StreamEvent::Asked { stream, port: 7 } = bench.event() else {
        panic!("nobody asked");
    };
    assert_eq!(
        kind(bench.read(stream, 9)),
        Some(ErrorKind::NotConnected),
        "not accepted yet"
    );
    bench.host.accept(stream, 1).unwrap();
    assert!(bench.events().contains(&StreamEvent::Readable(stream)));
    assert_eq!(bench.read(stream, 100).unwrap(), b"early");
    assert_eq!(
        kind(bench.host.accept(stream, 1)),
        Some(ErrorKind::NotConnected),
        "only once"
    );
    program.read_exact(&mut [0; 5]).unwrap();
    drop(program);
    assert!(bench.events().contains(&StreamEvent::Readable(stream)));
    assert_eq!(bench.read(stream, 100).unwrap(), b"");
}

#[test]
fn a_line_may_drip() {
    let mut bench = Bench::new();
    let mut program = bench.program(b"");
    for letter in b"CONNECT 4294967295" {
        program.write_all(&[*letter]).unwrap();
        assert_eq!(bench.events(), []);
    }
    program.write_all(b"\n").unwrap();
    let events = bench.events();
    assert!(
        matches!(events[..], [StreamEvent::Asked { port: u32::MAX, .. }]),
        "{events:?}"
    );
}

#[test]
fn wrong_lines_are_turned_away() {
    let mut bench = Bench::new();
    for line in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"CONNECT x\n",
        b"CONNECT 4294967296\n",
        b"CONNECT 00000000000000000000000000000000001\n",
        b"\n",
        &[0xff; 5000],
    ] {
        let program = bench.program(line);
        assert_eq!(bench.events(), []);
        assert!(is_closed(&program), "{line:?}");
    }
    let torn = bench.program(b"CONNECT 1");
    assert_eq!(bench.events(), []);
    torn.shutdown(Shutdown::Write).unwrap();
    assert_eq!(bench.events(), []);
    assert!(is_closed(&torn));
    assert!(bench.host.streams.is_empty());
}

#[test]
fn who_dawdles_makes_room_for_others() {
    let mut bench = Bench::new();
    let mut programs = Vec::new();
    for _ in 0..MAX_HANDSHAKES {
        programs.push(bench.program(b"CONN"));
        assert_eq!(bench.events(), []);
    }
    assert!(!is_closed(&programs[0]));
    let (_, _program) = bench.open();
    assert!(is_closed(&programs[0]), "the oldest has to go");
    assert!(!is_closed(&programs[1]));
    assert_eq!(bench.host.streams.len(), MAX_HANDSHAKES);
}

#[test]
fn streams_are_bounded() {
    let mut bench = Bench::new();
    let mut programs = Vec::new();
    for _ in 0..MAX_STREAMS {
        programs.push(bench.open());
    }
    let more = bench.program(b"CONNECT 1\n");
    assert!(
        bench
            .events()
            .iter()
            .all(|event| !matches!(event, StreamEvent::Asked { .. }))
    );
    assert!(is_closed(&more));
    assert_eq!(kind(bench.host.connect(1)), Some(ErrorKind::QuotaExceeded));
    let (stream, _program) = programs.pop().unwrap();
    bench.host.close(stream);
    programs.push(bench.open());
    assert_eq!(bench.host.streams.len(), MAX_STREAMS);
}

#[test]
fn one_round_of_events_is_bounded_by_its_caller() {
    let mut bench = Bench::new();
    let _programs: Vec<_> = (0..100).map(|_| bench.program(b"CONNECT 1\n")).collect();
    // Each connection costs an event, as each line does, so a budget of events bounds the work.
    let mut steps = 0;
    let mut asked = 0;
    while let Some(event) = bench.host.next_event() {
        steps += 1;
        asked += usize::from(matches!(event, StreamEvent::Asked { .. }));
    }
    assert_eq!(asked, 100);
    assert!(steps >= 200, "{steps}");
}

#[test]
fn who_asked_and_left_is_gone() {
    let mut bench = Bench::new();
    let program = bench.program(b"CONNECT 1\n");
    let StreamEvent::Asked { stream, .. } = bench.event() else {
        panic!("nobody asked");
    };
    drop(program);
    assert_eq!(bench.events(), [StreamEvent::Gone(stream)]);
    assert_eq!(
        kind(bench.host.accept(stream, 1)),
        Some(ErrorKind::NotConnected)
    );

    // The same, if the device hears of it by its answer.
    let program = bench.program(b"CONNECT 1\n");
    let StreamEvent::Asked { stream, .. } = bench.event() else {
        panic!("nobody asked");
    };
    drop(program);
    assert_eq!(
        kind(bench.host.accept(stream, 1)),
        Some(ErrorKind::BrokenPipe)
    );
    assert_eq!(bench.events(), []);
    bench.host.close(stream);
}

#[test]
fn the_guest_reaches_programs_that_listen() {
    let mut bench = Bench::new();
    let server = UnixListener::bind(bench.folder.path().join("v.sock_5000")).unwrap();
    let stream = bench.host.connect(5000).unwrap();
    assert_eq!(kind(bench.write(stream, b"x")), None, "connected at once");
    assert_eq!(bench.event(), StreamEvent::Connected(stream));
    let (mut program, _) = server.accept().unwrap();
    program.write_all(b"answer").unwrap();
    assert!(wait(&bench.watched));
    assert!(bench.events().contains(&StreamEvent::Readable(stream)));
    assert_eq!(bench.read(stream, 100).unwrap(), b"answer");

    let nobody = bench.host.connect(5001).unwrap();
    assert_eq!(bench.events(), [StreamEvent::Gone(nobody)]);
    assert_eq!(
        kind(bench.write(nobody, b"x")),
        Some(ErrorKind::NotConnected)
    );
}

#[test]
fn what_a_program_does_not_read_is_kept_up_to_the_window() {
    let mut bench = Bench::new();
    let (stream, mut program) = bench.open();
    bench.events();
    let part: Vec<u8> = (0..=250).cycle().take(40_000).collect();
    let mut written = 0_u32;
    let error = loop {
        match bench.write(stream, &part) {
            Ok(()) => written += 40_000,
            Err(error) => break error,
        }
        assert!(written < 100_000_000);
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let kept = written - bench.host.forwarded(stream);
    assert!(kept <= bench.host.window() && kept + 40_000 > bench.host.window());
    bench.host.shutdown(stream, StreamEnd::Write).unwrap();
    assert_eq!(kind(bench.write(stream, b"x")), Some(ErrorKind::BrokenPipe));

    let mut seen = vec![0; 200_000];
    program.read_exact(&mut seen).unwrap();
    let before = bench.host.forwarded(stream);
    assert!(wait(&bench.watched));
    assert!(bench.events().contains(&StreamEvent::Forwarded(stream)));
    assert!(bench.host.forwarded(stream) > before);
    program.set_nonblocking(true).unwrap();
    loop {
        match program.read_to_end(&mut seen) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        bench.events();
    }
    assert_eq!(bench.host.forwarded(stream), written);
    let all: Vec<u8> = part
        .iter()
        .copied()
        .cycle()
        .take(usize::try_from(written).unwrap())
        .collect();
    assert!(seen == all, "to the last byte, and then the end");
    program.write_all(b"still").unwrap();
    assert_eq!(bench.read(stream, 10).unwrap(), b"still");
}

/// Fills a stream until something is kept.
fn stuff(bench: &mut Bench, stream: StreamId) -> u32 {
    let mut written = 0;
    while written == bench.host.forwarded(stream) {
        bench.write(stream, &[1; 30_000]).unwrap();
        written += 30_000;
    }
    written
}

#[test]
fn what_is_kept_still_goes_to_the_program_after_the_end() {
    let mut bench = Bench::new();
    let (stream, mut program) = bench.open();
    let written = stuff(&mut bench, stream);
    bench.host.close(stream);
    assert_eq!(
        kind(bench.write(stream, b"x")),
        Some(ErrorKind::NotConnected)
    );
    program.set_nonblocking(true).unwrap();
    let mut seen = Vec::new();
    loop {
        match program.read_to_end(&mut seen) {
            Ok(_) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert_eq!(bench.events(), [], "the device has done with it");
    }
    assert_eq!(seen.len(), usize::try_from(written).unwrap());
    assert!(bench.host.streams.is_empty());
}

#[test]
fn an_ended_stream_that_nobody_reads_makes_room() {
    let mut bench = Bench::new();
    let mut programs = Vec::new();
    for _ in 0..MAX_STREAMS {
        let (stream, program) = bench.open();
        stuff(&mut bench, stream);
        bench.host.close(stream);
        programs.push(program);
    }
    assert_eq!(bench.host.streams.len(), MAX_STREAMS);
    let (_, _program) = bench.open();
    assert_eq!(bench.host.streams.len(), MAX_STREAMS);
}

#[test]
fn a_program_that_is_gone_is_told_by_the_next_write() {
    let mut bench = Bench::new();
    let (stream, program) = bench.open();
    stuff(&mut bench, stream);
    bench.events();
    drop(program);
    assert!(bench.events().contains(&StreamEvent::Forwarded(stream)));
    assert_eq!(kind(bench.write(stream, b"x")), Some(ErrorKind::BrokenPipe));
    bench.host.close(stream);
    assert!(bench.host.streams.is_empty(), "nothing is kept for nobody");

    let (stream, program) = bench.open();
    drop(program);
    assert_eq!(kind(bench.write(stream, b"x")), Some(ErrorKind::BrokenPipe));
}

#[test]
fn directions_end_one_by_one() {
    let mut bench = Bench::new();
    let (stream, mut program) = bench.open();
    bench.write(stream, b"all").unwrap();
    bench.host.shutdown(stream, StreamEnd::Write).unwrap();
    let mut seen = Vec::new();
    program.read_to_end(&mut seen).unwrap();
    assert_eq!(seen, b"all");
    program.write_all(b"back").unwrap();
    program.shutdown(Shutdown::Write).unwrap();
    assert_eq!(bench.read(stream, 100).unwrap(), b"back");
    assert_eq!(bench.read(stream, 100).unwrap(), b"");
    bench.host.shutdown(stream, StreamEnd::Read).unwrap();

    let (stream, mut program) = bench.open();
    bench.host.shutdown(stream, StreamEnd::Read).unwrap();
    let error = program.write_all(b"nobody listens").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    bench.write(stream, b"but speaks").unwrap();
    assert_eq!(program.read(&mut [0; 100]).unwrap(), 10);
}

#[test]
fn what_is_not_ram_moves_nothing() {
    let mut bench = Bench::new();
    let (stream, mut program) = bench.open();
    program.write_all(b"kept").unwrap();
    let bad: [&[Segment]; 3] = [
        &[segment(RAM - 2, 8)],
        &[segment(0, 8), segment(u64::MAX - 2, 8)],
        &[segment(1 << 40, 8)],
    ];
    for segments in bad {
        assert_eq!(
            kind(bench.host.read(stream, segments)),
            Some(ErrorKind::InvalidInput)
        );
        assert_eq!(
            kind(bench.host.write(stream, segments)),
            Some(ErrorKind::InvalidInput)
        );
    }
    assert_eq!(bench.read(stream, 100).unwrap(), b"kept");
    bench.host.close(StreamId(u64::MAX));
    assert_eq!(
        kind(bench.host.shutdown(StreamId(0), StreamEnd::Read)),
        Some(ErrorKind::NotConnected)
    );
}

/// The event loop watches edge-triggered: once nothing is left, each change has to wake it again.
#[test]
fn every_change_wakes_an_event_loop() {
    use rustix::event::epoll;
    let mut bench = Bench::new();
    let outer = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
    epoll::add(&outer, &bench.watched, epoll::EventData::new_u64(0), flags).unwrap();
    let limit = rustix::event::Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let woken = || {
        let mut space = [const { std::mem::MaybeUninit::uninit() }; 4];
        epoll::wait(&outer, &mut space, Some(&limit))
            .unwrap()
            .0
            .len()
            == 1
    };
    let mut programs = Vec::new();
    for _ in 0..3 {
        programs.push(bench.program(b"CONNECT 1\n"));
        assert!(woken());
        let StreamEvent::Asked { stream, .. } = bench.event() else {
            panic!("nobody asked");
        };
        bench.events();
        bench.host.accept(stream, 1).unwrap();
        assert!(woken());
        bench.events();
        for _ in 0..3 {
            for program in &mut programs {
                program.write_all(b"x").unwrap();
                assert!(woken());
                let events = bench.events();
                assert!(
                    matches!(events[..], [StreamEvent::Readable(_)]),
                    "{events:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// However a program writes and reads, both ends see the same bytes.
    #[test]
    fn no_byte_is_lost(steps in prop::collection::vec((0_u8..4, 1_usize..50_000), 1..60)) {
        let mut bench = Bench::new();
        let (stream, mut program) = bench.open();
        program.set_nonblocking(true).unwrap();
        let mut pattern = (0..=252_u8).cycle();
        let (mut to_host, mut at_host) = (Vec::new(), Vec::new());
        let (mut to_guest, mut at_guest) = (Vec::new(), Vec::new());
        let mut part = vec![0; 50_000];
        for (what, count) in steps {
            let data: Vec<u8> = pattern.by_ref().take(count).collect();
            match what {
                0 => if bench.write(stream, &data).is_ok() {
                    to_host.extend(data);
                },
                1 => if let Ok(count) = program.write(&data) {
                    to_guest.extend_from_slice(&data[..count]);
                },
                2 => if let Ok(count) = program.read(&mut part[..count]) {
                    at_host.extend_from_slice(&part[..count]);
                },
                _ => if let Ok(data) = bench.read(stream, count) {
                    at_guest.extend(data);
                },
            }
            bench.events();
        }
        while at_host.len() < to_host.len() {
            if let Ok(count) = program.read(&mut part) {
                at_host.extend_from_slice(&part[..count]);
            }
            bench.events();
        }
        while let Ok(data) = bench.read(stream, 50_000) {
            at_guest.extend(data);
        }
        prop_assert!(at_host == to_host);
        prop_assert!(at_guest == to_guest);
        prop_assert_eq!(usize::try_from(bench.host.forwarded(stream)).unwrap(), to_host.len());
    }
}
