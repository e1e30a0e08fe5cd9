use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;

use super::*;
use crate::testing::{RAM, pair, ram, receive, scatter, segment, send};

const KINDS: [SocketType; 2] = [SocketType::SEQPACKET, SocketType::DGRAM];

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// The guest's end, and the other.
fn cable(kind: SocketType) -> (GuestRam, DatagramSocket, OwnedFd) {
    let (ours, theirs) = pair(kind);
    let ram = ram();
    let socket = DatagramSocket::new(ours, ram.clone()).unwrap();
    (ram, socket, theirs)
}

#[test]
fn a_frame_is_a_packet() {
    for each in KINDS {
        let (ram, mut socket, peer) = cable(each);
        assert!(!socket.has_header());
        send(&mut socket, &ram, &[5; 1500]).unwrap();
        let mut seen = [0; 2000];
        assert_eq!(rustix::io::read(&peer, &mut seen).unwrap(), 1500);
        assert_eq!(seen[..1500], [5; 1500]);

        assert_eq!(
            kind(receive(&mut socket, &ram, 100)),
            Some(ErrorKind::WouldBlock)
        );
        rustix::io::write(&peer, b"first").unwrap();
        rustix::io::write(&peer, &[8; 300]).unwrap();
        rustix::io::write(&peer, b"last").unwrap();
        assert_eq!(receive(&mut socket, &ram, 100).unwrap(), b"first");
        assert_eq!(receive(&mut socket, &ram, 100).unwrap(), [8; 100]);
        assert_eq!(receive(&mut socket, &ram, 100).unwrap(), b"last");
    }
}

#[test]
fn received_pages_are_dirty_and_others_not() {
    let (ram, mut socket, peer) = cable(SocketType::DGRAM);
    ram.start_dirty_log();
    rustix::io::write(&peer, &[1; 20]).unwrap();
    let into = [
        segment(0x3ffa, 10),
        segment(0x8000, 100),
        segment(0xa000, 100),
    ];
    assert_eq!(socket.receive(&into, &mut []).unwrap(), 20);
    assert_eq!(ram.take_dirty()[0].bits[0], 0b1_0001_1000);
}

#[test]
fn an_empty_datagram_is_an_empty_frame() {
    let (ram, mut socket, peer) = cable(SocketType::DGRAM);
    rustix::io::write(&peer, b"").unwrap();
    rustix::io::write(&peer, b"more").unwrap();
    assert_eq!(receive(&mut socket, &ram, 100).unwrap(), b"");
    assert_eq!(receive(&mut socket, &ram, 100).unwrap(), b"more");
    assert!(socket.link_is_up());
}

#[test]
fn the_link_is_down_when_the_other_end_is_gone() {
    for each in KINDS {
        let (ram, mut socket, peer) = cable(each);
        rustix::io::write(&peer, b"last").unwrap();
        drop(peer);
        assert_eq!(receive(&mut socket, &ram, 100).unwrap(), b"last");
        if each == SocketType::SEQPACKET {
            assert_eq!(
                kind(receive(&mut socket, &ram, 100)),
                Some(ErrorKind::NotConnected)
            );
            assert!(!socket.link_is_up());
        }
        assert!(send(&mut socket, &ram, b"x").is_err());
        assert!(!socket.link_is_up());
        assert_eq!(
            kind(send(&mut socket, &ram, b"x")),
            Some(ErrorKind::NotConnected)
        );
    }
}

#[test]
fn a_full_socket_takes_nothing() {
    for each in KINDS {
        let (ram, mut socket, peer) = cable(each);
        let mut sent = 0;
        let error = loop {
            match send(&mut socket, &ram, &[9; 1000]) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
            assert!(sent < 10_000);
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(socket.link_is_up());
        let mut seen = [0; 2000];
        for _ in 0..sent {
            assert_eq!(rustix::io::read(&peer, &mut seen).unwrap(), 1000);
        }
        send(&mut socket, &ram, b"again").unwrap();
    }
}

#[test]
fn a_frame_that_cannot_be_sent_is_lost_and_the_link_stays() {
    let (ram, mut socket, peer) = cable(SocketType::SEQPACKET);
    let too_long = scatter(&ram, &vec![0; MAX_FRAME + 1], MAX_FRAME);
    for frame in [&too_long[..], &[segment(0, 8), segment(RAM - 4, 8)]] {
        assert_eq!(kind(socket.send(frame)), Some(ErrorKind::InvalidInput));
    }
    rustix::io::write(&peer, b"kept").unwrap();
    let nowhere = [segment(0, 10), segment(RAM, 100)];
    assert_eq!(
        kind(socket.receive(&nowhere, &mut [])),
        Some(ErrorKind::InvalidInput)
    );
    assert_eq!(receive(&mut socket, &ram, 100).unwrap(), b"kept");
    send(&mut socket, &ram, b"good").unwrap();
    assert!(socket.link_is_up());
}

#[test]
fn other_kinds_are_refused() {
    let (stream, _) = pair(SocketType::STREAM);
    assert_eq!(
        kind(DatagramSocket::new(stream, ram())),
        Some(ErrorKind::InvalidInput)
    );
    let (pipe, _) = rustix::pipe::pipe().unwrap();
    assert!(DatagramSocket::new(pipe, ram()).is_err());
    let (pipe, _) = rustix::pipe::pipe().unwrap();
    assert!(crate::net::socket(pipe, ram()).is_err());
}

#[test]
fn a_path_leads_to_a_socket_of_any_kind() {
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, accept, bind, listen, socket_with,
    };
    let folder = tempfile::tempdir().unwrap();
    for (name, each) in [("s", SocketType::STREAM), ("p", SocketType::SEQPACKET)] {
        let path = folder.path().join(name);
        let server = socket_with(AddressFamily::UNIX, each, SocketFlags::CLOEXEC, None).unwrap();
        bind(&server, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        listen(&server, 1).unwrap();
        let (mut packets, watched) =
            super::super::socket(crate::net::connect(&path).unwrap(), ram()).unwrap();
        let peer = accept(&server).unwrap();
        packets.send(&[segment(0, 60)]).unwrap();
        let mut seen = [0; 100];
        let length = if each == SocketType::STREAM { 64 } else { 60 };
        assert_eq!(rustix::io::read(&peer, &mut seen).unwrap(), length);
        drop(peer);
        assert!(
            crate::testing::wait(&watched),
            "the end wakes the event loop"
        );
    }
    let path = folder.path().join("d");
    let server = UnixDatagram::bind(&path).unwrap();
    let ram = ram();
    let (mut packets, _) =
        crate::net::socket(crate::net::connect(&path).unwrap(), ram.clone()).unwrap();
    send(&mut *packets, &ram, b"ping").unwrap();
    let mut seen = [0; 100];
    let (count, from) = server.recv_from(&mut seen).unwrap();
    assert_eq!(&seen[..count], b"ping");
    server.send_to_addr(b"pong", &from).unwrap();
    assert_eq!(receive(&mut *packets, &ram, 100).unwrap(), b"pong");
}

#[test]
fn a_path_that_leads_nowhere_is_named() {
    use crate::net::ConnectError;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none");
    let error = crate::net::connect(&path).unwrap_err();
    assert!(matches!(error, ConnectError::Missing { .. }), "{error:?}");
    drop(UnixDatagram::bind(&path).unwrap());
    let error = crate::net::connect(&path).unwrap_err();
    assert!(matches!(error, ConnectError::Unserved { .. }), "{error:?}");
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = crate::net::connect(&file).unwrap_err();
    assert!(matches!(error, ConnectError::Unserved { .. }), "{error:?}");
    let long = folder.path().join("x".repeat(200));
    let error = crate::net::connect(&long).unwrap_err();
    assert!(matches!(error, ConnectError::Host { .. }), "{error:?}");
}
