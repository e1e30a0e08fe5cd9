//! Frames into a tap, as fast as it takes them: the other end of the wire in `cargo xtask bench net`.
//!
//! `frames TAP` reads lines `BYTES COUNT`, sends as many frames of this length, and answers each line with `sent`.
//! Those that are longer than an Ethernet frame are segments of TCP that somebody has to cut, and go as one.

use std::error::Error;
use std::fs::File;
use std::io::{Write, stdin, stdout};

use trivisor_backends::net::{HEADER_LEN, Tap};

/// Of Ethernet, IPv4 and TCP.
const HEADERS: u8 = 14 + 20 + 20;
/// The longest frame that is no uncut segment.
const WHOLE: usize = 1514;
/// The longest of all: Ethernet's header and an IP packet.
const LONGEST: usize = 14 + 65535;
/// Bytes of TCP's data in a packet.
const SEGMENT: u16 = 1448;

fn main() -> Result<(), Box<dyn Error>> {
    let name = std::env::args().nth(1).ok_or("usage: frames TAP")?;
    let queue = Tap::open(&name, 1)?.pop().ok_or("no queue")?;
    let mut tap = File::from(queue);
    for line in stdin().lines() {
        let line = line?;
        let (bytes, count) = line.split_once(' ').ok_or("BYTES COUNT")?;
        let frame = frame(bytes.parse()?).ok_or("no frame has this length")?;
        for _frame in 0..count.parse::<u64>()? {
            tap.write_all(&frame)?;
        }
        writeln!(stdout(), "sent")?;
    }
    Ok(())
}

/// With virtio's header in front (VIRTIO 1.3, 5.1.6). No host has its addresses.
fn frame(bytes: usize) -> Option<Vec<u8>> {
    if !(HEADERS.into()..=LONGEST).contains(&bytes) {
        return None;
    }
    let mut header = [0; HEADER_LEN];
    let mut headers = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    if bytes > WHOLE {
        // VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, hdr_len, gso_size, csum_start, csum_offset.
        let [segment, more] = SEGMENT.to_le_bytes();
        header[..10].copy_from_slice(&[1, 1, HEADERS, 0, segment, more, 34, 0, 16, 0]);
        // IPv4, don't fragment, 64 hops, TCP from 10.0.0.2 to 10.0.0.1; ports 2 and 1, ACK.
        let length = u16::try_from(bytes - 14).ok()?;
        let words = [
            0x4500, length, 0, 0x4000, 0x4006, 0, 0x0a00, 0x0002, 0x0a00, 0x0001,
        ];
        headers.extend([8, 0]);
        headers.extend(checked(words).map(u16::to_be_bytes).as_flattened());
        headers.extend([0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff]);
    } else {
        // "Local experimental" (IEEE 802).
        headers.extend([0x88, 0xb5]);
    }
    let mut frame = header.to_vec();
    frame.extend(headers);
    frame.resize(HEADER_LEN + bytes, 0xa5);
    Some(frame)
}

/// A header of IPv4 with its checksum (RFC 1071).
fn checked(mut words: [u16; 10]) -> [u16; 10] {
    let sum = words.iter().fold(0_u16, |sum, word| {
        let (sum, carry) = sum.overflowing_add(*word);
        sum + u16::from(carry)
    });
    words[5] = !sum;
    words
}
