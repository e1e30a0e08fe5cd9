use std::net::{Ipv4Addr, TcpListener, TcpStream};

use trivisor_memory::GuestRam;

use super::*;
use crate::net::StreamSocket;
use crate::testing::{ram, receive, send, wait};

const MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

/// A guest behind a passt that is ready; `None`, and a line that is counted, where the host lacks what it takes.
fn guest(forwards: &[Forward]) -> Option<(GuestRam, StreamSocket, OwnedFd)> {
    let (starting, socket) = match start(forwards) {
        Err(PasstError::Missing) => {
            eprintln!("skipped without passt: a guest behind it");
            return None;
        }
        started => started.unwrap(),
    };
    match starting.wait() {
        Err(PasstError::GaveUp { said }) if said.contains("interface") => {
            eprintln!("skipped without a network: a guest behind passt, which said: {said}");
            return None;
        }
        ready => ready.unwrap(),
    }
    let watched = socket.try_clone().unwrap();
    let ram = ram();
    let socket = StreamSocket::new(socket, ram.clone()).unwrap();
    Some((ram, socket, watched))
}

/// The first frame that `is_it`.
fn expect(
    (ram, socket, watched): &mut (GuestRam, StreamSocket, OwnedFd),
    is_it: impl Fn(&[u8]) -> bool,
) -> Vec<u8> {
    loop {
        match receive(socket, ram, 2000) {
            Ok(frame) if is_it(&frame) => return frame,
            Ok(_other) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                assert!(wait(&*watched), "no such frame after ten seconds");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// The sum of RFC 1071.
fn checksum(header: &[u8]) -> [u8; 2] {
    let words = header
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    (!u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap()).to_be_bytes()
}

/// DHCPDISCOVER (RFC 2131) in UDP in IP in Ethernet.
fn discover() -> Vec<u8> {
    let mut dhcp = vec![1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef];
    dhcp.resize(28, 0);
    dhcp.extend(MAC);
    dhcp.resize(236, 0);
    dhcp.extend([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 55, 3, 1, 3, 6, 255]);
    dhcp.resize(300, 0);
    let length = |bytes: usize| u16::try_from(bytes).unwrap().to_be_bytes();
    let udp = [&[0, 68, 0, 67], &length(8 + dhcp.len())[..], &[0, 0], &dhcp].concat();
    let mut ip = [
        &[0x45, 0],
        &length(20 + udp.len())[..],
        &[0, 0, 0, 0, 64, 17, 0, 0],
    ]
    .concat();
    ip.extend([0, 0, 0, 0, 255, 255, 255, 255]);
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    [&[0xff; 6], &MAC[..], &[8, 0], &ip, &udp].concat()
}

/// A DHCP option by its code.
fn option(mut options: &[u8], code: u8) -> Option<&[u8]> {
    while let [found, length, rest @ ..] = options {
        let (value, rest) = rest.split_at_checked(usize::from(*length))?;
        if *found == code {
            return Some(value);
        }
        options = rest;
    }
    None
}

fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.local_addr().unwrap().port()
}

#[test]
fn a_guest_gets_an_address_and_forwarded_connections_and_passt_ends_with_it() {
    let host = free_port();
    let forward = Forward {
        udp: false,
        host,
        guest: 80,
    };
    let Some(mut guest) = guest(&[forward]) else {
        return;
    };
    send(&mut guest.1, &guest.0, &discover()).unwrap();
    let offer = expect(&mut guest, |frame| {
        frame.get(34..38) == Some(&[0, 67, 0, 68])
    });
    let dhcp = &offer[42..];
    assert_eq!((dhcp[0], &dhcp[4..8]), (2, &[0xde, 0xad, 0xbe, 0xef][..]));
    assert_eq!(option(&dhcp[240..], 53), Some(&[2][..]), "DHCPOFFER");
    let address = Ipv4Addr::from([dhcp[16], dhcp[17], dhcp[18], dhcp[19]]);
    assert!(!address.is_unspecified() && !address.is_loopback());

    // Somebody on the host connects: the guest sees the first segment of TCP.
    let client = std::thread::spawn(move || {
        TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, host).into(), Duration::from_secs(10))
    });
    let is_syn = |frame: &[u8]| {
        frame.get(12..14) == Some(&[8, 0])
            && frame.get(23) == Some(&6)
            && frame.get(36..38) == Some(&80_u16.to_be_bytes())
            && frame.get(47).is_some_and(|flags| flags & 0x3f == 0x02)
    };
    expect(&mut guest, is_syn);
    client.join().unwrap().unwrap();

    drop(guest);
    let end = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, host)).is_ok() {
        assert!(
            Instant::now() < end,
            "passt is there after its guest has gone"
        );
        std::thread::yield_now();
    }
}

#[test]
fn a_port_in_use_is_said() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let forward = Forward {
        udp: false,
        host: taken.local_addr().unwrap().port(),
        guest: 80,
    };
    let (starting, _socket) = match start(&[forward]) {
        Err(PasstError::Missing) => {
            eprintln!("skipped without passt: a port in use");
            return;
        }
        started => started.unwrap(),
    };
    let error = starting.wait().unwrap_err();
    let PasstError::GaveUp { said } = error else {
        panic!("{error:?}");
    };
    let port = format!("127.0.0.1/{}:80", forward.host);
    assert!(said.contains(&port) || said.contains("interface"), "{said}");
}

#[test]
fn a_program_that_is_not_there_is_missing() {
    let error = start_command(Command::new("no-such-passt"), &[]).unwrap_err();
    assert!(matches!(error, PasstError::Missing), "{error:?}");
    let error = start_command(Command::new("a\0b"), &[]).unwrap_err();
    assert!(matches!(error, PasstError::Start(_)), "{error:?}");
}

/// A program that does what `script` says.
fn shell(script: &str) -> (Starting, OwnedFd) {
    let mut command = Command::new("sh");
    command.args(["-c", script, "passt"]);
    let forwards = ["tcp:8080:80", "udp:53:5353"].map(|text| text.parse().unwrap());
    start_command(command, &forwards).unwrap()
}

#[test]
fn it_gets_its_descriptor_and_arguments() {
    // The sixth argument is the descriptor, which is open under this number.
    let (starting, _socket) = shell("echo \"$(readlink /proc/self/fd/$6) $*\" >&2; exit 1");
    let said = starting.wait().unwrap_err().to_string();
    let (before, after) = said.split_once(" --fd ").unwrap();
    assert!(before.starts_with("passt gave up: socket:["), "{said}");
    assert!(
        before.ends_with("] --quiet --no-map-gw --dns-forward 169.254.1.1"),
        "{said}"
    );
    let (number, after) = after.split_once(' ').unwrap();
    assert!(number.parse::<i32>().unwrap() > 2);
    assert_eq!(after, "-t 127.0.0.1/8080:80 -u 127.0.0.1/53:5353");
}

#[test]
fn its_last_words_are_told_and_bounded() {
    for (script, said) in [
        (
            "echo one >&2; echo ' two\x1b[2J ' >&2; echo 'Failed to send 9 bytes to syslog' >&2; exit 1",
            "two[2J",
        ),
        ("exit 7", "exit status: 7"),
        (
            "head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1",
            &"x".repeat(300),
        ),
    ] {
        let (starting, _socket) = shell(script);
        let error = starting.wait().unwrap_err().to_string();
        assert_eq!(error, format!("passt gave up: {said}"));
    }
}

#[test]
fn who_does_not_wait_leaves_no_process() {
    let (starting, socket) = shell("exec sleep 1000");
    drop(starting);
    let mut end = [0];
    assert_eq!(
        rustix::io::read(&socket, &mut end).unwrap(),
        0,
        "nobody holds the other end"
    );
}

#[test]
fn forwards_are_parsed() {
    let forward = |udp, host, guest| Ok(Forward { udp, host, guest });
    assert_eq!("tcp:8080:80".parse(), forward(false, 8080, 80));
    assert_eq!("udp:1:65535".parse(), forward(true, 1, 65535));
    for wrong in [
        "",
        "tcp",
        "tcp:80",
        "tcp:0:80",
        "tcp:80:0",
        "tcp:65536:1",
        "sctp:1:1",
        "tcp:+1:1",
        "tcp:1:1:1",
        "tcp:1:",
        "tcp::1",
    ] {
        let error = wrong.parse::<Forward>().unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("{wrong:?} is no forward")),
            "{error}"
        );
    }
}
