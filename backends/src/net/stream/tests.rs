use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use proptest::prelude::*;
use rustix::net::SocketType;
use rustix::net::sockopt::set_socket_send_buffer_size;

use super::*;
use crate::testing::{RAM, pair, ram, receive, scatter, segment, send};

/// The guest's end, and the other.
fn cable() -> (GuestRam, StreamSocket, UnixStream) {
    let (ours, theirs) = pair(SocketType::STREAM);
    let ram = ram();
    let socket = StreamSocket::new(ours, ram.clone()).unwrap();
    (ram, socket, theirs.into())
}

fn framed(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
    [&length, frame].concat()
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn a_frame_is_a_length_and_bytes() {
    let (ram, mut socket, mut peer) = cable();
    assert!(!socket.has_header());
    assert_eq!(socket.offloads(), trivisor_buses::Offloads::default());
    send(&mut socket, &ram, b"hello").unwrap();
    let mut seen = [0; 9];
    peer.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"\0\0\0\x05hello");

    assert_eq!(
        kind(receive(&mut socket, &ram, 2000)),
        Some(ErrorKind::WouldBlock)
    );
    peer.write_all(b"\0\0\0\x03abc\0\0\0\0\0\0\0\x02de")
        .unwrap();
    assert_eq!(receive(&mut socket, &ram, 2000).unwrap(), b"abc");
    assert_eq!(receive(&mut socket, &ram, 2000).unwrap(), b"");
    assert_eq!(receive(&mut socket, &ram, 2000).unwrap(), b"de");
    assert_eq!(
        kind(receive(&mut socket, &ram, 2000)),
        Some(ErrorKind::WouldBlock)
    );
    assert!(socket.link_is_up());
}

#[test]
fn what_does_not_fit_is_cut_off_and_the_next_frame_is_whole() {
    let (ram, mut socket, mut peer) = cable();
    peer.write_all(&framed(&[7; 3000])).unwrap();
    peer.write_all(&framed(b"next")).unwrap();
    assert_eq!(receive(&mut socket, &ram, 1000).unwrap(), [7; 1000]);
    assert_eq!(receive(&mut socket, &ram, 1000).unwrap(), b"next");
}

#[test]
fn received_pages_are_dirty() {
    let (ram, mut socket, mut peer) = cable();
    ram.start_dirty_log();
    peer.write_all(&framed(&[1; 20])).unwrap();
    assert_eq!(
        socket
            .receive(&[segment(0x3ffa, 10), segment(0x8000, 100)], &mut [])
            .unwrap(),
        20
    );
    assert_eq!(ram.take_dirty()[0].bits[0], 0b1_0001_1000);
}

#[test]
fn a_full_socket_takes_no_half_frames() {
    let (ram, mut socket, mut peer) = cable();
    set_socket_send_buffer_size(&socket.socket, 1).unwrap();
    let mut sent = 0_u8;
    let frame = |number: u8| vec![number; 60_000];
    while send(&mut socket, &ram, &frame(sent)).is_ok() {
        sent += 1;
        assert!(sent < 100, "a socket is bounded");
    }
    assert!(sent > 0);
    assert!(socket.unsent.len() <= LENGTH + MAX_FRAME);
    assert_eq!(
        kind(send(&mut socket, &ram, b"x")),
        Some(ErrorKind::WouldBlock)
    );
    assert!(socket.link_is_up());

    let mut seen = Vec::new();
    peer.set_nonblocking(true).unwrap();
    let total = usize::from(sent) * (LENGTH + 60_000);
    while seen.len() < total {
        match peer.read_to_end(&mut seen) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => panic!("{other:?}"),
        }
        // Woken by the room, the device looks for frames; that sends the rest.
        assert_eq!(
            kind(receive(&mut socket, &ram, 100)),
            Some(ErrorKind::WouldBlock)
        );
    }
    let all: Vec<u8> = (0..sent)
        .flat_map(|number| framed(&frame(number)))
        .collect();
    assert!(seen == all);
    send(&mut socket, &ram, b"x").unwrap();
}

#[test]
fn what_came_before_the_end_is_received_and_then_the_link_is_down() {
    let (ram, mut socket, mut peer) = cable();
    peer.write_all(&framed(b"last")).unwrap();
    peer.write_all(b"\0\0\0\x09torn").unwrap();
    drop(peer);
    assert!(socket.link_is_up());
    assert_eq!(receive(&mut socket, &ram, 100).unwrap(), b"last");
    assert_eq!(
        kind(receive(&mut socket, &ram, 100)),
        Some(ErrorKind::NotConnected)
    );
    assert!(!socket.link_is_up());
    assert_eq!(
        kind(send(&mut socket, &ram, b"x")),
        Some(ErrorKind::NotConnected)
    );
    assert_eq!(
        kind(receive(&mut socket, &ram, 100)),
        Some(ErrorKind::NotConnected)
    );

    let (ram, mut socket, peer) = cable();
    drop(peer);
    assert_eq!(
        kind(send(&mut socket, &ram, b"x")),
        Some(ErrorKind::BrokenPipe)
    );
    assert!(!socket.link_is_up());
}

#[test]
fn a_length_that_cannot_be_ends_the_link() {
    let (ram, mut socket, mut peer) = cable();
    let longest = vec![3; MAX_FRAME];
    let writer = std::thread::spawn(move || {
        peer.write_all(&framed(&longest)).unwrap();
        let too_long = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
        peer.write_all(&too_long).unwrap();
        peer.write_all(&framed(b"never")).unwrap();
        peer
    });
    let frame = loop {
        match receive(&mut socket, &ram, 100_000) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => break other.unwrap(),
        }
    };
    assert!(frame == vec![3; MAX_FRAME]);
    let _peer = writer.join().unwrap();
    assert_eq!(
        kind(receive(&mut socket, &ram, 100)),
        Some(ErrorKind::InvalidData)
    );
    assert!(!socket.link_is_up());
    assert!(receive(&mut socket, &ram, 100).is_err());
}

#[test]
fn a_frame_that_cannot_be_sent_is_lost_and_the_link_stays() {
    let (ram, mut socket, mut peer) = cable();
    let too_long = scatter(&ram, &vec![0; MAX_FRAME + 1], MAX_FRAME);
    let many = vec![segment(0, 1); 1025];
    let bad: [&[Segment]; 5] = [
        &too_long,
        &[segment(0, 8), segment(RAM - 4, 8)],
        &[segment(u64::MAX - 2, 8)],
        &[segment(0, 8), segment(1 << 40, 8)],
        &many,
    ];
    for frame in bad {
        assert_eq!(kind(socket.send(frame)), Some(ErrorKind::InvalidInput));
    }
    assert!(socket.link_is_up());
    socket.send(&vec![segment(0, 1); 500]).unwrap();
    send(&mut socket, &ram, b"good").unwrap();
    let mut seen = vec![0; 504 + 8];
    peer.read_exact(&mut seen).unwrap();
    assert_eq!(seen[504..], *b"\0\0\0\x04good");

    peer.write_all(&framed(b"kept")).unwrap();
    let nowhere = [segment(RAM, 100)];
    assert_eq!(
        kind(socket.receive(&nowhere, &mut [])),
        Some(ErrorKind::InvalidInput)
    );
    assert_eq!(receive(&mut socket, &ram, 100).unwrap(), b"kept");
}

#[test]
fn many_frames_come_with_one_system_call() {
    let (ram, mut socket, mut peer) = cable();
    let all: Vec<u8> = (0..100).flat_map(|number| framed(&[number; 60])).collect();
    peer.write_all(&all).unwrap();
    assert_eq!(receive(&mut socket, &ram, 100).unwrap(), [0; 60]);
    assert_eq!(socket.ahead.end - socket.ahead.start, 99 * 64);
}

proptest! {
    /// However the bytes come in pieces, and whenever the guest asks, the frames are those that were sent.
    #[test]
    fn frames_survive_any_chunking(
        frames in prop::collection::vec((0_usize..3000, any::<u8>()), 1..20),
        chunks in prop::collection::vec(1_usize..5000, 1..40),
    ) {
        let (ram, mut socket, mut peer) = cable();
        let frames: Vec<Vec<u8>> = frames.into_iter().map(|(len, fill)| vec![fill; len]).collect();
        let stream: Vec<u8> = frames.iter().flat_map(|frame| framed(frame)).collect();
        let (mut rest, mut received) = (&stream[..], Vec::new());
        for chunk in chunks.iter().cycle() {
            let (part, more) = rest.split_at(rest.len().min(*chunk));
            peer.write_all(part).unwrap();
            rest = more;
            while let Ok(frame) = receive(&mut socket, &ram, 4000) {
                received.push(frame);
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(received, frames);
    }

    /// However little the other end reads at a time, it reads whole frames.
    #[test]
    fn frames_survive_slow_readers(
        frames in prop::collection::vec((0_usize..40_000, any::<u8>()), 1..20),
        chunks in prop::collection::vec(1_usize..30_000, 1..40),
    ) {
        let (ram, mut socket, mut peer) = cable();
        set_socket_send_buffer_size(&socket.socket, 1).unwrap();
        peer.set_nonblocking(true).unwrap();
        let frames: Vec<Vec<u8>> = frames.into_iter().map(|(len, fill)| vec![fill; len]).collect();
        let stream: Vec<u8> = frames.iter().flat_map(|frame| framed(frame)).collect();
        let mut seen = Vec::new();
        let mut waiting = frames.iter();
        let mut next = waiting.next();
        for chunk in chunks.iter().cycle() {
            if let Some(frame) = next && send(&mut socket, &ram, frame).is_ok() {
                next = waiting.next();
            }
            let mut part = vec![0; *chunk];
            if let Ok(count) = peer.read(&mut part) {
                seen.extend_from_slice(&part[..count]);
            }
            prop_assert_eq!(kind(receive(&mut socket, &ram, 100)), Some(ErrorKind::WouldBlock));
            if seen.len() >= stream.len() {
                break;
            }
        }
        prop_assert!(seen == stream);
    }
}
