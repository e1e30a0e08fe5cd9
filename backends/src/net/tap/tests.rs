use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use super::*;
use crate::testing::{RAM, ram, receive, scatter, segment, send, wait};

/// How far a test is that runs itself again, in a network namespace of its own.
const STAGE: &str = "TRIVISOR_TEST_TAP_STAGE";

fn stage() -> Option<String> {
    std::env::var(STAGE).ok()
}

/// Runs the test of this name again, at this stage.
fn run_again(wrapper: &[&str], test: &str, stage: &str) {
    let program = std::env::current_exe().unwrap();
    let test = format!("net::tap::tests::{test}");
    let output = Command::new(wrapper[0])
        .args(&wrapper[1..])
        .arg(program)
        .args(["--exact", &test, "--nocapture"])
        .env(STAGE, stage)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    said.lines()
        .filter(|line| line.starts_with("skipped"))
        .for_each(|line| eprintln!("{line}"));
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

/// Whether this is the test in its own network namespace. If not, it was run there, or left out.
fn in_namespace(test: &str) -> bool {
    if stage().is_some() {
        return true;
    }
    let own = if rustix::process::geteuid().is_root() {
        "-n"
    } else {
        "-rn"
    };
    let works = |program: &str, args: &[&str]| {
        Command::new(program)
            .args(args)
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let tun = rustix::fs::access(
        "/dev/net/tun",
        rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK,
    );
    if !works("unshare", &[own, "ip", "link"]) {
        eprintln!("skipped without network namespaces: {test}");
    } else if tun.is_err() {
        eprintln!("skipped without /dev/net/tun: {test}");
    } else {
        run_again(&["unshare", own], test, "namespace");
    }
    false
}

fn ip(arguments: &str) -> bool {
    Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .unwrap()
        .success()
}

/// A tap with a queue, that has an address of the host's and is up.
fn tap() -> (GuestRam, Tap, OwnedFd) {
    let queue = Tap::make("tap0", 1).unwrap().pop().unwrap();
    // Without it the host chats on each interface that comes up.
    let _no_ipv6 = std::fs::write("/proc/sys/net/ipv6/conf/tap0/disable_ipv6", "1");
    assert!(ip("address add 192.0.2.1/24 dev tap0"));
    assert!(ip("link set tap0 up"));
    let watched = queue.try_clone().unwrap();
    let ram = ram();
    let tap = Tap::new(queue, ram.clone()).unwrap();
    (ram, tap, watched)
}

const GUEST: [u8; 6] = [0x52, 0x54, 0, 0, 0, 2];

/// The first frame of this type, behind its virtio-net header.
fn expect(
    (ram, tap, watched): &mut (GuestRam, Tap, OwnedFd),
    ethertype: [u8; 2],
) -> (Vec<u8>, Vec<u8>) {
    loop {
        match receive(tap, ram, 2000) {
            Ok(mut frame) => {
                let bare = frame.split_off(HEADER_LEN);
                if bare[12..14] == ethertype {
                    return (frame, bare);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert!(wait(&*watched), "no such frame after ten seconds");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn be(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap().to_be_bytes()
}

/// The sum of RFC 1071, not inverted.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()
}

/// A datagram from the guest with a virtio-net header; its checksum is left to the host, and so is cutting it into
/// pieces of `cut` bytes, where that is not 0.
fn datagram(host: &[u8], to: u16, data: &[u8], cut: u16) -> Vec<u8> {
    let length = 8 + data.len();
    let addresses = [192, 0, 2, 2, 192, 0, 2, 1];
    let pseudo = sum(&[&addresses[..], &[0, 17], &be(length)].concat()).to_be_bytes();
    let udp = [&be(7)[..], &to.to_be_bytes(), &be(length), &pseudo, data].concat();
    let mut ip = [
        &[0x45, 0][..],
        &be(20 + length),
        &[0, 0, 0, 0, 64, 17, 0, 0],
        &addresses,
    ]
    .concat();
    let header_sum = (!sum(&ip)).to_be_bytes();
    ip[10..12].copy_from_slice(&header_sum);
    let kind = if cut == 0 { 0 } else { 5 };
    let [low, high] = cut.to_le_bytes();
    let header = [1, kind, 42, 0, low, high, 34, 0, 6, 0, 0, 0];
    [&header[..], host, &GUEST, &[8, 0], &ip, &udp].concat()
}

#[test]
fn frames_go_both_ways_and_the_host_does_what_the_guest_left_to_it() {
    if !in_namespace("frames_go_both_ways_and_the_host_does_what_the_guest_left_to_it") {
        return;
    }
    let mut guest = tap();
    assert!(guest.1.has_header() && guest.1.link_is_up());
    let host = UdpSocket::bind((Ipv4Addr::new(192, 0, 2, 1), 0)).unwrap();
    host.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    host.send_to(b"hello", "192.0.2.2:7").unwrap();

    // The host asks who that is, and is told.
    let (header, arp) = expect(&mut guest, [8, 6]);
    assert_eq!(header[..10], [0; 10]);
    assert_eq!(arp[14..22], [0, 1, 8, 0, 6, 4, 0, 1]);
    assert_eq!(arp[38..42], [192, 0, 2, 2]);
    let mac = &arp[6..12];
    let answer = [
        &[0; HEADER_LEN][..],
        mac,
        &GUEST,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2],
        &GUEST,
        &[192, 0, 2, 2],
        &arp[22..32],
    ]
    .concat();
    send(&mut guest.1, &guest.0, &answer).unwrap();
    let (header, frame) = expect(&mut guest, [8, 0]);
    assert_eq!(
        header[0], 0,
        "the checksum is done, as nothing else was accepted"
    );
    assert_eq!((&frame[..6], &frame[42..]), (&GUEST[..], &b"hello"[..]));

    // A guest that takes offloads gets the checksum undone.
    let all = guest.1.offloads();
    assert!(all.checksum && all.tso4 && all.tso6 && all.ecn);
    guest.1.accept_offloads(all).unwrap();
    host.send_to(b"again", "192.0.2.2:7").unwrap();
    let (header, _) = expect(&mut guest, [8, 0]);
    assert_eq!((header[0], &header[6..10]), (1, &[34, 0, 6, 0][..]));
    guest.1.accept_offloads(Offloads::default()).unwrap();

    // And the host does its part of the work.
    let port = host.local_addr().unwrap().port();
    send(
        &mut guest.1,
        &guest.0,
        &datagram(mac, port, b"from the guest", 0),
    )
    .unwrap();
    let mut seen = [0; 2000];
    let (count, from) = host.recv_from(&mut seen).unwrap();
    assert_eq!(
        (&seen[..count], from.to_string()),
        (&b"from the guest"[..], "192.0.2.2:7".into())
    );
    if all.uso {
        send(
            &mut guest.1,
            &guest.0,
            &datagram(mac, port, &[5; 2500], 1000),
        )
        .unwrap();
        let counts = [(); 3].map(|()| host.recv(&mut seen).unwrap());
        assert_eq!(counts, [1000, 1000, 500]);
    } else {
        eprintln!("skipped without UDP segmentation of taps: a datagram cut by the host");
    }

    many_go_at_once(&mut guest, &host, &frame[6..12], port);
    errors_are_told(&mut guest);
}

/// More than the tap takes at once, with some between them that are no frames.
fn many_go_at_once(
    (ram, tap, _): &mut (GuestRam, Tap, OwnedFd),
    host: &UdpSocket,
    mac: &[u8],
    port: u16,
) {
    for count in [1, 3, 5, 40] {
        let each = 0x200;
        let frames: Vec<_> = (0..count)
            .map(|at| {
                let frame = datagram(mac, port, &[u8::try_from(at).unwrap(); 9], 0);
                let address = 0x20_0000 + u64::try_from(each * at).unwrap();
                assert!(ram.write(address, &frame));
                let (head, rest) = (segment(address, 20), frame.len() - 20);
                match at {
                    2 => vec![segment(RAM - 4, 64)],
                    _ => vec![head, segment(address + 20, rest)],
                }
            })
            .collect();
        let mut results = Vec::new();
        tap.send_all(&mut frames.iter().map(Vec::as_slice), &mut results);
        assert_eq!(results.len(), count);
        let mut seen = [0; 100];
        for (at, result) in results.iter().enumerate() {
            match result {
                Ok(()) => {
                    assert_eq!(host.recv(&mut seen).unwrap(), 9);
                    assert_eq!(usize::from(seen[0]), at, "in their order");
                }
                Err(error) => assert_eq!((at, error.kind()), (2, ErrorKind::InvalidInput)),
            }
        }
    }
}

fn errors_are_told((ram, tap, _): &mut (GuestRam, Tap, OwnedFd)) {
    let kind = |result: io::Result<()>| result.unwrap_err().kind();
    let too_long = scatter(ram, &vec![0; HEADER_LEN + MAX_FRAME + 1], MAX_FRAME);
    for frame in [&too_long[..], &[segment(RAM - 4, 64)]] {
        assert_eq!(kind(tap.send(frame)), ErrorKind::InvalidInput);
    }
    assert_eq!(
        kind(tap.send(&[segment(0, 5)])),
        ErrorKind::InvalidInput,
        "no header"
    );
    assert_eq!(
        kind(tap.receive(&[segment(RAM, 64)], &mut []).map(drop)),
        ErrorKind::InvalidInput
    );
    assert!(ip("link set tap0 down"));
    assert!(send(tap, ram, &[0; 100]).is_err());
    assert!(tap.receive(&[segment(0, 100)], &mut []).is_err());
    let mut results = Vec::new();
    let frames = vec![scatter(ram, &[0; 100], 50); 8];
    tap.send_all(&mut frames.iter().map(Vec::as_slice), &mut results);
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 8);
    assert!(ip("link set tap0 up"));
    send(tap, ram, &[0; 100]).unwrap();
}

#[test]
fn several_queues_have_a_descriptor_each() {
    if !in_namespace("several_queues_have_a_descriptor_each") {
        return;
    }
    let queues = Tap::make("tap0", 2).unwrap();
    assert_eq!(queues.len(), 2);
    let ram = ram();
    for queue in queues {
        let (mut tap, _watched) = crate::net::tap(queue, ram.clone()).unwrap();
        assert_eq!(
            receive(&mut *tap, &ram, 100).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    }
    assert!(
        matches!(Tap::open("tap0", 1), Err(TapError::Missing { .. })),
        "it has ended with its descriptors"
    );

    assert!(ip("tuntap add tap1 mode tap multi_queue"));
    assert_eq!(Tap::open("tap1", 1).unwrap().len(), 1);
    assert_eq!(Tap::open("tap1", 4).unwrap().len(), 4);
    assert!(ip("tuntap add tap2 mode tap"));
    assert_eq!(Tap::open("tap2", 1).unwrap().len(), 1);
    let error = Tap::open("tap2", 2).unwrap_err().to_string();
    assert_eq!(error, "the tap tap2 has one queue, not 2");
}

#[test]
fn each_reason_is_told() {
    if !in_namespace("each_reason_is_told") {
        return;
    }
    let open = |name: &str, queues| Tap::open(name, queues).unwrap_err().to_string();
    assert_eq!(open("tap9", 1), "there is no tap tap9");
    let _queue = Tap::make("tap0", 1).unwrap();
    assert_eq!(open("tap0", 1), "the tap tap0 is in use");
    assert!(ip("tuntap add tun0 mode tun"));
    for name in ["lo", "tun0"] {
        for queues in [1, 2] {
            assert_eq!(
                open(name, queues),
                format!("the network interface {name} is no tap")
            );
        }
    }
}

#[test]
fn a_right_that_is_lacking_is_told() {
    const TEST: &str = "a_right_that_is_lacking_is_told";
    if !in_namespace(TEST) {
        return;
    }
    if stage().as_deref() == Some("namespace") {
        let others = ip("tuntap add tap0 mode tap user 12345");
        let stage = if others { "all" } else { "some" };
        run_again(&["setpriv", "--bounding-set=-net_admin"], TEST, stage);
        return;
    }
    let make = |name: &str| Tap::make(name, 1).unwrap_err().to_string();
    assert_eq!(
        make("tap9"),
        "there is no tap tap9, and the right to make one is lacking"
    );
    let missing = Tap::open("tap9", 1).unwrap_err().to_string();
    assert_eq!(missing, make("tap9"));
    if stage().as_deref() == Some("all") {
        assert_eq!(make("tap0"), "the tap tap0 belongs to another user");
    } else {
        eprintln!("skipped without other users: a tap of another user");
    }
}

#[test]
fn names_and_numbers_are_checked() {
    for name in [
        "",
        ".",
        "..",
        "sixteen_letters_",
        "a/b",
        "a b",
        "a\0b",
        "tap%d",
    ] {
        let error = Tap::open(name, 1).unwrap_err();
        assert!(
            matches!(error, TapError::Name { .. }),
            "{name:?}: {error:?}"
        );
    }
    for queues in [0, 257] {
        let error = Tap::make("tap0", queues).unwrap_err();
        assert!(matches!(error, TapError::Queues { .. }), "{error:?}");
    }
    let (pipe, _) = rustix::pipe::pipe().unwrap();
    assert!(Tap::new(pipe, ram()).is_err());
}

#[test]
fn offloads_are_told_as_the_kernel_takes_them() {
    let some = Offloads {
        checksum: true,
        ecn: true,
        tso6: true,
        ..Offloads::default()
    };
    assert_eq!(bits(some), 0x0d);
    assert_eq!(
        bits(Offloads {
            checksum: false,
            ..some
        }),
        0
    );
    assert_eq!(
        bits(Offloads {
            tso6: false,
            uso: true,
            ..some
        }),
        0x61
    );
}
