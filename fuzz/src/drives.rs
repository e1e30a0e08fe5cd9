//! IDE: a disk and a CD-ROM drive with their bus masters, reached by ports.
//!
//! A restored device has to do what the first does, so what is behind the drives keeps nothing: storages give the same
//! data whatever was written, and the guest's memory is a function of the address, full of descriptors.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use trivisor_buses::{
    BufferRequest, Completion, Dma, DmaError, Geometry, Segment, Shell, Slots, Storage,
    StorageBusy, StorageOp, StorageRequest,
};
use trivisor_devices_hvm::ide::{
    COMMAND_PORTS, CONTROL_PORTS, CommandBlock, ControlBlock, DiskConfig, DriveConfig, Ide, WIDTHS,
};
use trivisor_pci::{PciFunction, RootBus};

use crate::bus::{BusFuzzer, Outside, Space, World};

/// Bytes of RAM in front of what is none.
const RAM: u64 = 1 << 24;
/// Bytes of the images.
const IMAGE: u64 = 1 << 20;

/// RAM that reads as descriptors: the byte at an address never changes.
pub(crate) struct Descriptors;

impl Dma for Descriptors {
    fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaError> {
        inside(address, data.len())?;
        for (byte, at) in data.iter_mut().zip(address..) {
            let number = at / 8;
            *byte = match at % 8 {
                // Somewhere, now and then behind the end.
                1 => number.to_le_bytes()[0],
                3 => u8::from(number.is_multiple_of(13)),
                // 2 bytes to 64 KiB; the end, often.
                4 => [0, 2, 0, 0xfe][(number % 4) as usize],
                5 => [2, 0, 0, 0x07][(number % 4) as usize],
                7 => [0x80, 0, 0x80, 0x80][(number / 4 % 4) as usize],
                _ => 0,
            };
        }
        Ok(())
    }

    fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaError> {
        inside(address, data.len())
    }
}

fn inside(address: u64, len: usize) -> Result<(), DmaError> {
    let end = address.checked_add(len as u64);
    let right = end.is_some_and(|end| end <= RAM);
    right.then_some(()).ok_or(DmaError { address, len })
}

/// A storage that is full of numbers, and fails while the outside does not work.
pub(crate) struct Numbers {
    outside: Outside,
    read_only: bool,
    /// Bytes.
    capacity: u64,
    ended: VecDeque<Completion>,
}

impl Numbers {
    fn new(world: &World, read_only: bool) -> Box<Self> {
        Self::sized(world, read_only, IMAGE)
    }

    pub(crate) fn sized(world: &World, read_only: bool, capacity: u64) -> Box<Self> {
        Box::new(Self {
            outside: world.outside.clone(),
            read_only,
            capacity,
            ended: VecDeque::new(),
        })
    }

    fn result(&self, op: StorageOp, offset: u64, len: u64) -> io::Result<()> {
        let end = offset.checked_add(len);
        let whole = offset.is_multiple_of(512) && len.is_multiple_of(512);
        assert!(
            whole && end.is_some_and(|end| end <= self.capacity),
            "{op:?} {offset:#x} {len:#x}"
        );
        assert!(!self.read_only || op == StorageOp::Read, "{op:?}");
        self.outside.flush()
    }
}

impl Storage for Numbers {
    fn geometry(&self) -> Geometry {
        Geometry {
            capacity: self.capacity,
            read_only: self.read_only,
            physical_block: 512,
            can_discard: false,
        }
    }

    fn submit(&mut self, request: &StorageRequest<'_>) -> Result<(), StorageBusy> {
        let StorageRequest {
            id,
            op,
            offset,
            len,
            segments,
        } = *request;
        assert!(op == StorageOp::Flush || Segment::total(segments) == len);
        let mut result = self.result(op, offset, len);
        for segment in segments {
            if inside(segment.address, segment.len as usize).is_err() {
                result = Err(io::ErrorKind::InvalidInput.into());
            }
        }
        self.ended.push_back(Completion::new(id, result));
        Ok(())
    }

    fn submit_buffer(&mut self, request: BufferRequest) -> Result<(), BufferRequest> {
        let BufferRequest {
            id,
            op,
            offset,
            mut buffer,
        } = request;
        let result = self.result(op, offset, buffer.len() as u64);
        for (sector, at) in buffer.chunks_mut(512).zip(offset / 512..) {
            sector.fill(at.to_le_bytes()[0]);
        }
        self.ended.push_back(Completion { id, result, buffer });
        Ok(())
    }

    fn start(&mut self) {}

    fn complete(&mut self) -> Option<Completion> {
        self.ended.pop_front()
    }

    fn drain(&mut self) {}
}

/// The first port: the secondary command block.
const FIRST: u64 = 0x170;
/// Where BMIBA is.
const BMIBA: u64 = 0x400;
const REGISTERS: &[u64] = &[
    0x1f0, 0x1f1, 0x1f2, 0x1f3, 0x1f4, 0x1f5, 0x1f6, 0x1f7, 0x3f6, 0x400, 0x402, 0x404, 0x170,
    0x171, 0x172, 0x173, 0x174, 0x175, 0x176, 0x177, 0x376, 0x408, 0x40a, 0x40c,
];
const OFFSETS: [u64; REGISTERS.len()] = {
    let mut offsets = [0; REGISTERS.len()];
    let mut at = 0;
    while at < offsets.len() {
        offsets[at] = REGISTERS[at] - FIRST;
        at += 1;
    }
    offsets
};

#[expect(
    clippy::expect_used,
    reason = "a target that cannot be set up is wrong itself"
)]
fn fit(world: &World, slots: &mut Slots) -> Result<(), trivisor_buses::FitError> {
    let disk = |read_only| {
        Some(DriveConfig::Disk(
            DiskConfig::default(),
            Numbers::new(world, read_only),
        ))
    };
    let cdrom = Some(DriveConfig::Cdrom(Some(Numbers::new(world, true))));
    let drives = [[disk(false), cdrom], [disk(true), None]];
    let lines = [world.host.line(), world.host.line()];
    let mut ide = Ide::new(drives, lines, Arc::new(Descriptors)).expect("it fits");
    ide.enable_channels().expect("they are there");
    let config = ide.endpoint_mut().config_mut();
    config.assign_bar(4, BMIBA);
    config.define(0x04, &[5, 0], &[]).expect("it is there");
    let bus = RootBus::new(slots.ports(), slots.memory(), None);
    let ide = bus.add("ide", ide).expect("there is room");
    for (channel, base, control) in [(0, 0x1f0, 0x3f6), (1, 0x170, 0x376)] {
        let block = Shell::new("ide", WIDTHS, CommandBlock::new(Arc::clone(&ide), channel));
        slots
            .ports()
            .attach("ide", base, COMMAND_PORTS.into(), block)?;
        let block = Shell::new("ide", WIDTHS, ControlBlock::new(Arc::clone(&ide), channel));
        slots
            .ports()
            .attach("ide", control, CONTROL_PORTS.into(), block)?;
    }
    slots.component("ide", ide);
    Ok(())
}

/// The controller with all of them.
pub mod ide {
    use super::*;

    static FUZZER: BusFuzzer = BusFuzzer {
        space: Space::Ports,
        base: FIRST,
        size: BMIBA + 16 - FIRST,
        registers: &OFFSETS,
        fit,
    };

    /// The entry point; its input is a list of operations.
    ///
    /// # Panics
    /// As [`BusFuzzer::run`] does.
    pub fn target(data: &[u8]) {
        FUZZER.run(data);
    }

    /// Inputs that visit each register, and the dictionary: each command of a disk and each packet, with data and by
    /// DMA.
    #[must_use]
    pub fn seeds() -> Vec<Vec<u8>> {
        let mut seeds = FUZZER.seeds();
        let commands = [
            0x20, 0x24, 0xc4, 0x29, 0x30, 0x34, 0xc5, 0x39, 0xc8, 0x25, 0xca, 0x35, 0x40, 0x42,
            0xec, 0xc6, 0x91, 0xef, 0xe7, 0xf8, 0x27, 0xe5, 0x08, 0x90,
        ];
        seeds.extend(commands.map(disk));
        let packets: [&[u8]; 26] = [
            &[0x00],
            &[0x03, 0, 0, 0, 18],
            &[0x12, 0, 0, 0, 36],
            &[0x15, 0, 0, 0, 12],
            &[0x1a, 0, 0x3f, 0, 99],
            &[0x1b, 0, 0, 0, 2],
            &[0x1b, 0, 0, 0, 3],
            &[0x1e, 0, 0, 0, 1],
            &[0x25],
            &[0x28, 0, 0, 0, 0, 3, 0, 0, 2],
            &[0x28, 0, 0, 0, 0, 0, 0, 0, 65],
            &[0x2b, 0, 0, 0, 0, 3],
            &[0x42, 2, 0x40, 1, 0, 0, 0, 0, 16],
            &[0x43, 0, 0, 0, 0, 0, 0, 0, 99],
            &[0x43, 0, 1, 0, 0, 0, 0, 0, 99],
            &[0x43, 2, 2, 0, 0, 0, 0, 0, 99],
            &[0x46, 0, 0, 0, 0, 0, 0, 0, 99],
            &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8],
            &[0x51, 0, 0, 0, 0, 0, 0, 0, 34],
            &[0x52, 1, 0, 0, 0, 1, 0, 0, 28],
            &[0x55, 0, 0, 0, 0, 0, 0, 0, 16],
            &[0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 99],
            &[0xa8, 0, 0, 0, 0, 3, 0, 0, 0, 2],
            &[0xbb],
            &[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8],
            &[0xbe, 0, 0, 0, 0, 3, 0, 0, 1, 0x10],
        ];
        for packet in packets {
            seeds.extend([cdrom(packet, 0), cdrom(packet, 1)]);
        }
        seeds
    }
}

/// The operation that writes to a port.
#[expect(
    clippy::expect_used,
    reason = "a target that cannot be set up is wrong itself"
)]
fn put(port: u64, data: &[u8]) -> Vec<u8> {
    let index = REGISTERS.iter().position(|register| *register == port);
    let index = index.and_then(|index| u8::try_from(index).ok());
    let index = index.expect("it is among the registers");
    let width = u8::try_from(data.len().ilog2()).expect("at most 8 bytes");
    [&[0, index, width], data].concat()
}

/// The operation that reads one, of 2^`width` bytes.
fn get(port: u64, width: u8) -> Vec<u8> {
    let mut read = put(port, &[0]);
    read.truncate(2);
    [&[5], &read[1..], &[width]].concat()
}

/// A twin: a second device from the first one's state.
const TWIN: [u8; 2] = [15, 1];

fn disk(code: u8) -> Vec<u8> {
    let mut steps = vec![
        put(0x1f2, &[4]),
        put(0x1f6, &[0xe0]),
        put(0x1f7, &[0xc6]),
        put(0x404, &0x1000_u32.to_le_bytes()),
        put(0x1f1, &[2]),
        put(0x1f2, &[0]),
        put(0x1f2, &[2]),
        put(0x1f3, &[5]),
        put(0x1f4, &[0]),
        put(0x1f5, &[0]),
        put(0x1f7, &[code]),
        TWIN.to_vec(),
        put(0x400, &[9]),
    ];
    for _ in 0..12 {
        steps.extend([get(0x1f0, 2), put(0x1f0, &[1, 2, 3, 4])]);
    }
    steps.extend([
        get(0x1f7, 0),
        get(0x402, 0),
        put(0x3f6, &[4]),
        put(0x3f6, &[0]),
        TWIN.to_vec(),
        get(0x1f7, 0),
    ]);
    steps.concat()
}

fn cdrom(packet: &[u8], dma: u8) -> Vec<u8> {
    let mut bytes = [0; 12];
    bytes
        .iter_mut()
        .zip(packet)
        .for_each(|(to, from)| *to = *from);
    let mut steps = vec![
        put(0x1f6, &[0xb0]),
        put(0x404, &0x1000_u32.to_le_bytes()),
        put(0x1f1, &[dma]),
        put(0x1f4, &[0]),
        put(0x1f5, &[8]),
        put(0x1f7, &[0xa0]),
    ];
    steps.extend(bytes.chunks(4).map(|part| put(0x1f0, part)));
    steps.extend([get(0x1f7, 0), TWIN.to_vec(), put(0x400, &[9])]);
    for _ in 0..10 {
        steps.extend([get(0x1f0, 2), put(0x1f0, &[0, 0, 1, 6])]);
    }
    steps.extend([
        get(0x1f7, 0),
        get(0x1f2, 0),
        put(0x1f7, &[8]),
        TWIN.to_vec(),
        get(0x1f7, 0),
    ]);
    steps.concat()
}
