//! The device between a driver and a cable that does what the test wants.

mod control;
mod legacy;
mod link;
mod own;
mod receive;
mod setup;
mod transmit;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use trivisor_buses::{Offloads, Packets, Segment};
use trivisor_memory::GuestRam;
use trivisor_virtio_device::testing::{Rig, Ring, test_ram};
use trivisor_virtio_device::{Feature, QueueStateV1};

use super::regs::Features;
use super::*;

const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];
const RX: u16 = 0;
const TX: u16 = 1;

/// Every offload.
const ALL: Offloads = Offloads {
    checksum: true,
    tso4: true,
    tso6: true,
    ecn: true,
    uso: true,
};

/// The other end of a cable.
#[derive(Debug, Default)]
struct End {
    offloads: Offloads,
    accepted: Vec<Offloads>,
    refuses_offloads: bool,
    /// Bytes of the header that it was told of.
    headers: Vec<u8>,
    refuses_header: bool,
    /// What the guest sent, with the header where there is one.
    sent: Vec<Vec<u8>>,
    /// Frames that it takes before it is full.
    room: usize,
    fails_to_send: bool,
    /// What waits for the guest, with the header where there is one.
    waiting: VecDeque<Vec<u8>>,
    /// Errors that come before what waits.
    errors: usize,
    down: bool,
    receives: usize,
    /// Bytes for which the segments had no room.
    copied: usize,
}

#[derive(Debug, Clone)]
struct Cable {
    has_header: bool,
    ram: GuestRam,
    end: Arc<Mutex<End>>,
}

impl Cable {
    fn new(has_header: bool, ram: &GuestRam) -> Self {
        let end = End {
            offloads: if has_header { ALL } else { Offloads::default() },
            room: usize::MAX,
            ..End::default()
        };
        Self {
            has_header,
            ram: ram.clone(),
            end: Arc::new(Mutex::new(end)),
        }
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap()
    }

    /// Has `frame` wait for the guest, behind a header where there is one.
    fn offer(&self, frame: &[u8]) {
        let header: &[u8] = if self.has_header { &[0; 12] } else { &[] };
        self.end().waiting.push_back([header, frame].concat());
    }
}

impl Packets for Cable {
    fn has_header(&self) -> bool {
        self.has_header
    }

    fn offloads(&self) -> Offloads {
        self.end().offloads
    }

    fn accept_offloads(&mut self, offloads: Offloads) -> io::Result<()> {
        let mut end = self.end();
        if end.refuses_offloads {
            return Err(io::ErrorKind::Unsupported.into());
        }
        end.accepted.push(offloads);
        Ok(())
    }

    fn set_header(&mut self, bytes: u8) -> io::Result<()> {
        let mut end = self.end();
        if end.refuses_header {
            return Err(io::ErrorKind::Unsupported.into());
        }
        end.headers.push(bytes);
        Ok(())
    }

    fn link_is_up(&self) -> bool {
        !self.end().down
    }

    fn send(&mut self, frame: &[Segment]) -> io::Result<()> {
        let mut end = self.end();
        if end.fails_to_send {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if end.room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut bytes = Vec::new();
        for segment in frame {
            let mut part = vec![0; segment.len as usize];
            if !self.ram.read(segment.address, &mut part) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            bytes.extend(part);
        }
        end.room -= 1;
        end.sent.push(bytes);
        Ok(())
    }

    fn receive(&mut self, into: &[Segment], more: &mut [u8]) -> io::Result<usize> {
        let mut end = self.end();
        end.receives += 1;
        if end.errors > 0 {
            end.errors -= 1;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let frame = end.waiting.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let mut rest = frame.as_slice();
        for segment in into {
            let part = rest.split_off(..rest.len().min(segment.len as usize));
            if !self.ram.write(segment.address, part.unwrap()) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
        let copied = rest.len().min(more.len());
        more[..copied].copy_from_slice(&rest[..copied]);
        end.copied += copied;
        Ok(frame.len() - rest.len() + copied)
    }
}

/// A device with its cables, before its driver is there.
struct Bench {
    ram: GuestRam,
    cables: Vec<Cable>,
    options: NetOptions,
}

impl Bench {
    fn new(has_header: bool) -> Self {
        Self::with_pairs(has_header, 1)
    }

    fn with_pairs(has_header: bool, pairs: usize) -> Self {
        let ram = test_ram();
        Self {
            cables: (0..pairs).map(|_| Cable::new(has_header, &ram)).collect(),
            ram,
            options: NetOptions::new(MAC),
        }
    }

    fn cable(&self) -> &Cable {
        &self.cables[0]
    }

    fn device(&self) -> Net {
        let boxed = |cable: &Cable| Box::new(cable.clone()) as Box<dyn Packets>;
        Net::new(self.options, self.cables.iter().map(boxed).collect()).unwrap()
    }

    fn rig(&self, ring: Ring, features: Features) -> Rig<Net> {
        self.rig_with(ring, features.into_bits())
    }

    fn rig_with(&self, ring: Ring, features: u64) -> Rig<Net> {
        Rig::with_ram(self.ram.clone(), self.device(), ring, features)
    }
}

/// Both rings, with notifications by flag and by index, with and without indirect tables.
fn rings() -> impl Iterator<Item = (Ring, u64)> {
    let ways = [
        0,
        Feature::EventIndex.bit(),
        Feature::EventIndex.bit() | Feature::IndirectDescriptors.bit(),
        Feature::InOrder.bit(),
    ];
    let each = move |ring| ways.map(|way| (ring, way));
    Ring::ALL.into_iter().flat_map(each)
}

fn frame(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| u8::try_from(at % 251).unwrap() ^ seed)
        .collect()
}

/// The header that the driver finds in front of a frame spread over `buffers`.
fn header(buffers: u16) -> Vec<u8> {
    let mut header = vec![0; 12];
    header[10..].copy_from_slice(&buffers.to_le_bytes());
    header
}

fn with_header(buffers: u16, frame: &[u8]) -> Vec<u8> {
    [header(buffers), frame.to_vec()].concat()
}
