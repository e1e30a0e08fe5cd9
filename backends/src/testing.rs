//! A guest for the tests: RAM, and frames in it.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use trivisor_buses::{Packets, Segment};
use trivisor_memory::{GuestRam, RamLayout, RamOptions};

/// Bytes of RAM.
pub(crate) const RAM: u64 = 4 << 20;

/// Where frames that are received go, and where those to be sent are put.
const INBOX: u64 = 0x10_0000;
const OUTBOX: u64 = 0x20_0000;

pub(crate) fn ram() -> GuestRam {
    GuestRam::new(RamLayout::new(RAM).unwrap(), &RamOptions::default()).unwrap()
}

pub(crate) fn segment(address: u64, len: usize) -> Segment {
    let len = u32::try_from(len).unwrap();
    Segment { address, len }
}

pub(crate) fn pair(kind: SocketType) -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap()
}

/// Puts `data` into RAM, in pieces with gaps between them.
pub(crate) fn scatter(ram: &GuestRam, data: &[u8], piece: usize) -> Vec<Segment> {
    let mut address = OUTBOX;
    let pieces = data.chunks(piece).map(|piece| {
        assert!(ram.write(address, piece));
        let segment = segment(address, piece.len());
        address += u64::from(segment.len) + 3;
        segment
    });
    pieces.collect()
}

pub(crate) fn send(packets: &mut dyn Packets, ram: &GuestRam, frame: &[u8]) -> std::io::Result<()> {
    packets.send(&scatter(ram, frame, 1000))
}

/// One frame; no more than the room for it, of which a part is no guest's.
pub(crate) fn receive(
    packets: &mut dyn Packets,
    ram: &GuestRam,
    room: usize,
) -> std::io::Result<Vec<u8>> {
    let first = room.min(10);
    let second = (room - first).div_ceil(2);
    let into = [segment(INBOX, first), segment(INBOX + 0x1000, second)];
    let mut rest = vec![0; room - first - second];
    let count = packets.receive(&into, &mut rest)?;
    let mut frame = Vec::new();
    crate::segments::append(ram, &into, 0, &mut frame).unwrap();
    frame.extend(rest);
    frame.truncate(count);
    Ok(frame)
}

/// Waits for something to read; false after ten seconds.
pub(crate) fn wait(fd: impl std::os::fd::AsFd) -> bool {
    let limit = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)).unwrap() == 1
}
