//! A tap: an Ethernet interface of the host whose frames this process reads and writes, each behind a virtio-net
//! header. Linux, `Documentation/networking/tuntap.rst` and `include/uapi/linux/if_tun.h`.
//!
//! Straight between the tap and guest RAM, or what the device has in its place. Frames from the guest that wait together are
//! one system call, which costs a third less a frame than one each; frames to the guest are one each, for there it costs
//! the same. The host's kernel does checksums and cuts segments where the guest left that to it.

mod open;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use trivisor_buses::{Offloads, Packets, Segment};
use trivisor_memory::GuestRam;

use super::{MAX_FRAME, frame_len};
use crate::sys::batch::Batch;
use crate::sys::reader::Reader;
use crate::sys::{tun, vectored};

pub use open::TapError;

/// Bytes of the virtio-net header in front of each frame (virtio 1.3, 5.1.6).
pub const HEADER_LEN: usize = 12;

/// What the reader of a tap takes: `TUN_F_CSUM` and its kin.
const CHECKSUM: u32 = 0x01;
const TSO4: u32 = 0x02;
const TSO6: u32 = 0x04;
const ECN: u32 = 0x08;
/// Since Linux 6.2; for both versions of IP.
const USO: u32 = 0x20 | 0x40;

/// A queue of a tap.
#[derive(Debug)]
pub struct Tap {
    tap: OwnedFd,
    ram: GuestRam,
    offloads: Offloads,
    batch: Batch,
    reader: Reader,
    /// Bytes of the header.
    header: usize,
}

impl Tap {
    /// For a descriptor that [`open`](Self::open) or [`make`](Self::make) gave. Until the guest accepts some, the
    /// host offloads nothing to it.
    ///
    /// # Errors
    /// The descriptor is none of a tap.
    pub fn new(tap: OwnedFd, ram: GuestRam) -> io::Result<Self> {
        let uso = tun::set_offloads(&tap, CHECKSUM | USO).is_ok();
        tun::set_offloads(&tap, 0)?;
        let offloads = Offloads {
            checksum: true,
            tso4: true,
            tso6: true,
            ecn: true,
            uso,
        };
        Ok(Self {
            tap,
            reader: Reader::new(ram.clone()),
            ram,
            offloads,
            batch: Batch::new(),
            header: HEADER_LEN,
        })
    }
}

impl Packets for Tap {
    fn has_header(&self) -> bool {
        true
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn accept_offloads(&mut self, offloads: Offloads) -> io::Result<()> {
        tun::set_offloads(&self.tap, bits(offloads))
    }

    fn set_header(&mut self, bytes: u8) -> io::Result<()> {
        tun::set_header(&self.tap, bytes.into())?;
        self.header = bytes.into();
        Ok(())
    }

    fn send(&mut self, frame: &[Segment]) -> io::Result<()> {
        frame_len(frame, self.header + MAX_FRAME)?;
        vectored::write(&self.tap, &[], &self.ram, frame)?;
        Ok(())
    }

    fn send_all(
        &mut self,
        frames: &mut dyn Iterator<Item = &[Segment]>,
        results: &mut Vec<io::Result<()>>,
    ) {
        let (first, most) = (results.len(), self.header + MAX_FRAME);
        let mut frames = frames.map(|frame| {
            frame_len(frame, most)?;
            Ok(frame)
        });
        self.batch
            .write(self.tap.as_fd(), &self.ram, &mut frames, results);
        // One without room in front of one with room is lost; those at the end can be sent again.
        let is_full = |result: &io::Result<()>| {
            let error = result.as_ref().err();
            error.is_some_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        let last = results.iter().rposition(|result| !is_full(result));
        let end = last.map_or(first, |last| (last + 1).max(first));
        results.truncate(end + 1);
        for result in results.iter_mut().take(end).skip(first) {
            if is_full(result) {
                *result = Err(io::Error::other("the tap was full"));
            }
        }
    }

    fn receive(&mut self, into: &[Segment], rest: &mut [u8]) -> io::Result<usize> {
        self.reader.read(self.tap.as_fd(), into, rest)
    }
}

/// As the kernel takes them: none of the others without checksums, and ECN only with TCP.
const fn bits(offloads: Offloads) -> u32 {
    if !offloads.checksum {
        return 0;
    }
    let mut bits = CHECKSUM;
    if offloads.tso4 {
        bits |= TSO4;
    }
    if offloads.tso6 {
        bits |= TSO6;
    }
    if offloads.ecn && (offloads.tso4 || offloads.tso6) {
        bits |= ECN;
    }
    if offloads.uso {
        bits |= USO;
    }
    bits
}
