//! A virtio network card kept busy in one direction, to measure what stands behind it.
//!
//! As with disks, virtio-drivers' own driver holds too few buffers: this one keeps a whole ring of them with the
//! device, wants no interrupt, and polls. It takes what Linux takes: checksums, uncut segments of TCP, and receive
//! buffers that a frame may be spread over, where they are offered.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use super::load::{self, Idle, Until};
use crate::cpu;
use crate::lean::Lean;
use crate::say;
use crate::script::{Failure, Words, expect};
use crate::virtio::{Device, Identity};

const RECEIVE: u16 = 0;
const TRANSMIT: u16 = 1;
/// Descriptors, one a buffer.
const DESCRIPTORS: usize = 256;
/// Bytes of all buffers at most.
const MEMORY: usize = 4 << 20;

/// Feature bits (VIRTIO 1.3, 5.1.3 and 6).
mod feature {
    pub const CSUM: u64 = 1 << 0;
    pub const GUEST_CSUM: u64 = 1 << 1;
    pub const GUEST_TSO4: u64 = 1 << 7;
    pub const HOST_TSO4: u64 = 1 << 11;
    pub const MRG_RXBUF: u64 = 1 << 15;
    pub const VERSION_1: u64 = 1 << 32;
}

/// Bytes of `virtio_net_hdr` (5.1.6), and where `num_buffers` stands in it.
const HEADER: usize = 12;
const NUM_BUFFERS: usize = 10;
/// Of Ethernet, IPv4 and TCP.
const HEADERS: u8 = 14 + 20 + 20;
/// Bytes of TCP's data in a packet that is sent.
const SEGMENT: u16 = 1448;
/// The longest frame that is no uncut segment.
const WHOLE: usize = 1514;
/// The longest of all: Ethernet's header and an IP packet.
const LONGEST: usize = 14 + 65535;
/// Bytes of a receive buffer, one of several a frame: as Linux chooses them for short and for long frames.
const SHORT_BUFFER: usize = 1536;
const LONG_BUFFER: usize = 4096;
/// Nobody's; a bridge in front of the tap has never seen it.
const DESTINATION: [u8; 6] = [2, 0, 0, 0, 0, 2];
const SOURCE: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// "Local experimental" (IEEE 802).
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// A frame with virtio's header in front: the longer ones are segments of TCP that somebody has to cut.
fn frame(bytes: usize) -> Vec<u8> {
    let mut frame = vec![0x5a; HEADER + bytes];
    let (header, ethernet) = frame.split_at_mut(HEADER);
    header.fill(0);
    ethernet[..6].copy_from_slice(&DESTINATION);
    ethernet[6..12].copy_from_slice(&SOURCE);
    ethernet[12..14].copy_from_slice(&ETHERTYPE);
    if bytes <= WHOLE {
        return frame;
    }
    // VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, hdr_len, gso_size, csum_start, csum_offset.
    let [segment, more] = SEGMENT.to_le_bytes();
    header[..10].copy_from_slice(&[1, 1, HEADERS, 0, segment, more, 34, 0, 16, 0]);
    // IPv4, don't fragment, 64 hops, TCP from 10.0.0.1 to 10.0.0.2; ports 1 and 2, ACK.
    let length = u16::try_from(bytes - 14).unwrap_or(u16::MAX);
    let ip = checked([
        0x4500, length, 0, 0x4000, 0x4006, 0, 0x0a00, 0x0001, 0x0a00, 0x0002,
    ]);
    let tcp = [
        0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0,
    ];
    ethernet[12..14].copy_from_slice(&[8, 0]);
    ethernet[14..34].copy_from_slice(ip.map(u16::to_be_bytes).as_flattened());
    ethernet[34..54].copy_from_slice(&tcp);
    frame
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

/// A card of which one queue is used.
struct Card {
    // Dropped first, which resets the device: it must not touch what follows any more.
    transport: Lean,
    queue: Box<VirtQueue<Identity, DESCRIPTORS>>,
    index: u16,
    memory: Vec<u8>,
    /// Bytes of a buffer.
    stride: usize,
    /// The buffer of each descriptor.
    owners: [u16; DESCRIPTORS],
    /// A frame can be spread over several buffers.
    merge: bool,
}

impl Card {
    fn open(device: &Device, index: u16, bytes: usize) -> Result<Self, Failure> {
        use feature::{CSUM, GUEST_CSUM, GUEST_TSO4, HOST_TSO4, MRG_RXBUF, VERSION_1};
        let mut transport = Lean::open(device)?;
        let mut wanted = VERSION_1 | CSUM | HOST_TSO4 | GUEST_CSUM | MRG_RXBUF;
        let merge = transport.read_device_features() & MRG_RXBUF != 0;
        if merge || bytes > WHOLE {
            wanted |= GUEST_TSO4;
        }
        let features = transport.begin(wanted);
        expect("features", wanted, features | MRG_RXBUF)?;
        let mut queue = Box::new(VirtQueue::new(&mut transport, index, false, false)?);
        queue.set_dev_notify(false);
        transport.finish_init();
        let stride = match index {
            RECEIVE if merge && bytes > WHOLE => LONG_BUFFER,
            RECEIVE if bytes <= WHOLE => SHORT_BUFFER,
            RECEIVE => HEADER + LONGEST,
            _ => HEADER + bytes,
        };
        let count = (MEMORY / stride).min(DESCRIPTORS);
        Ok(Self {
            transport,
            queue,
            index,
            memory: vec![0; stride * count],
            stride,
            owners: [0; DESCRIPTORS],
            merge,
        })
    }

    fn buffers(&self) -> u16 {
        u16::try_from(self.memory.len() / self.stride).unwrap_or(0)
    }

    /// Makes a buffer available.
    fn add(&mut self, buffer: u16) -> Result<(), Failure> {
        let start = usize::from(buffer) * self.stride;
        let memory = &mut self.memory[start..start + self.stride];
        // SAFETY: the buffer's memory is not touched before `take`, and outlives the queue.
        let token = unsafe {
            if self.index == TRANSMIT {
                self.queue.add(&[memory], &mut [])
            } else {
                self.queue.add(&[], &mut [memory])
            }
        }?;
        self.owners[usize::from(token)] = buffer;
        Ok(())
    }

    /// Takes back a buffer that the device is done with, if there is one; and the bytes that were written to it.
    fn take(&mut self) -> Result<Option<(u16, usize)>, Failure> {
        let Some(token) = self.queue.peek_used() else {
            return Ok(None);
        };
        let buffer = self.owners[usize::from(token) % DESCRIPTORS];
        let start = usize::from(buffer) * self.stride;
        let memory = &mut self.memory[start..start + self.stride];
        // SAFETY: the same memory as in `add`.
        let written = unsafe {
            if self.index == TRANSMIT {
                self.queue.pop_used(token, &[memory], &mut [])
            } else {
                self.queue.pop_used(token, &[], &mut [memory])
            }
        }?;
        Ok(Some((buffer, written as usize)))
    }

    fn notify(&mut self) {
        if self.queue.should_notify() {
            self.transport.notify(self.index);
        }
    }

    /// Keeps the ring full of frames, then waits for the last; frames and cycles.
    fn send(&mut self, until: Until) -> Result<(u64, u64), Failure> {
        let start = cpu::tsc();
        let (mut begun, mut ended) = (0, 0);
        let mut goes_on = true;
        let mut idle = Idle::default();
        for buffer in 0..self.buffers() {
            self.add(buffer)?;
            begun += 1;
        }
        self.notify();
        while ended < begun {
            let before = begun;
            while let Some((buffer, _)) = self.take()? {
                ended += 1;
                idle.end();
                goes_on = goes_on && until.goes_on(begun, ended, start);
                if goes_on {
                    self.add(buffer)?;
                    begun += 1;
                }
            }
            if begun != before {
                self.notify();
            }
            idle.look("end of a frame")?;
        }
        Ok((ended, cpu::tsc().wrapping_sub(start)))
    }
}

/// Frames on their way in.
struct Incoming {
    /// Bytes of each, with virtio's header.
    expected: usize,
    /// Buffers of the one that is being taken that are still to come, and its bytes that have.
    rest: u16,
    had: usize,
    /// Whole ones.
    frames: u64,
}

impl Incoming {
    /// A buffer of the next frame has come.
    fn count(&mut self, card: &Card, buffer: u16, written: usize) -> Result<(), Failure> {
        if self.rest == 0 {
            self.rest = 1;
            if card.merge {
                let at = usize::from(buffer) * card.stride + NUM_BUFFERS;
                self.rest = u16::from_le_bytes([card.memory[at], card.memory[at + 1]]).max(1);
            }
        }
        self.rest -= 1;
        self.had += written;
        if self.rest == 0 {
            expect("bytes of a frame", self.expected as u64, self.had as u64)?;
            self.had = 0;
            self.frames += 1;
        }
        Ok(())
    }
}

/// Lets `count` frames pile up and takes them as fast as they come; those that were not there before, and the cycles
/// that they took.
///
/// The device has a ring of buffers to fill meanwhile, and gets none back before the time is over.
fn receive(
    card: &mut Card,
    incoming: &mut Incoming,
    count: u64,
    wait: u64,
) -> Result<(u64, u64), Failure> {
    incoming.frames = 0;
    say!("net ready");
    let start = cpu::tsc();
    while cpu::tsc().wrapping_sub(start) < wait {
        core::hint::spin_loop();
    }
    let mut early = Vec::with_capacity(DESCRIPTORS);
    while let Some((buffer, written)) = card.take()? {
        incoming.count(card, buffer, written)?;
        early.push(buffer);
    }
    let before = incoming.frames;
    let mut idle = Idle::default();
    say!("net load");
    let start = cpu::tsc();
    early.into_iter().try_for_each(|buffer| card.add(buffer))?;
    card.notify();
    while incoming.frames < count {
        let mut some = false;
        while incoming.frames < count
            && let Some((buffer, written)) = card.take()?
        {
            incoming.count(card, buffer, written)?;
            card.add(buffer)?;
            some = true;
        }
        if some {
            card.notify();
            idle.end();
        }
        idle.look("frame")?;
    }
    let cycles = cpu::tsc().wrapping_sub(start);
    say!("net end");
    Ok((count.saturating_sub(before), cycles))
}

/// `send BYTES ops|ms NUMBER`, or `receive BYTES COUNT TIMES MS`: so many frames so many times, each time begun so many
/// milliseconds after `net ready`.
///
/// # Errors
/// A frame that is not as it should be, besides those of every command.
pub fn run(device: &Device, mut words: Words<'_>) -> Result<(), Failure> {
    let what = words.word();
    let bytes = words.number::<usize>()?;
    if !(usize::from(HEADERS)..=LONGEST).contains(&bytes) {
        return Err(Failure::Usage);
    }
    let hz = load::hz()?;
    let (name, sent, (operations, cycles)) = match what {
        Some("send") => {
            let until = Until::parse(&mut words, hz)?;
            let mut card = Card::open(device, TRANSMIT, bytes)?;
            let frame = frame(bytes);
            card.memory
                .chunks_exact_mut(frame.len())
                .for_each(|buffer| buffer.copy_from_slice(&frame));
            let (warm, _) = card.send(Until::Operations(2 * u64::from(card.buffers())))?;
            say!("net load");
            let (operations, cycles) = card.send(until)?;
            say!("net end");
            ("send", warm + operations, (operations, cycles))
        }
        Some("receive") => {
            let (count, times) = (words.number::<u64>()?, words.number::<u64>()?);
            let wait = hz / 1000 * words.number::<u64>()?;
            let mut card = Card::open(device, RECEIVE, bytes)?;
            let mut incoming = Incoming {
                expected: HEADER + bytes,
                rest: 0,
                had: 0,
                frames: 0,
            };
            for buffer in 0..card.buffers() {
                card.add(buffer)?;
            }
            card.notify();
            let (mut operations, mut cycles) = (0, 0);
            for _time in 0..times {
                let (more, longer) = receive(&mut card, &mut incoming, count, wait)?;
                operations += more;
                cycles += longer;
            }
            ("receive", 0, (operations, cycles))
        }
        _ => return Err(Failure::Usage),
    };
    say!(
        "ok net load={name} bytes={bytes} operations={operations} cycles={cycles} hz={hz} sent={sent}"
    );
    Ok(())
}
