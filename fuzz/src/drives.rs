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
use trivisor_devices_hvm::ide::regs::{Bmic, Bmis, Control, DEVICE_ALWAYS_SET, Device};
use trivisor_devices_hvm::ide::{
    COMMAND_PORTS, CONTROL_PORTS, CommandBlock, ControlBlock, DiskConfig, DriveConfig, Ide, WIDTHS,
};
use trivisor_pci::{PciFunction, RootBus};

use crate::bus::words::{self, TWIN};
use crate::bus::{BusFuzzer, Outside, Space, World, device};

/// Bytes of RAM in front of what is none.
pub(crate) const RAM: u64 = 1 << 24;
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

pub(crate) fn inside(address: u64, len: usize) -> Result<(), DmaError> {
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
        let harmless = matches!(op, StorageOp::Read | StorageOp::Flush);
        assert!(!self.read_only || harmless, "{op:?}");
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

/// Command codes of a disk.
const COMMANDS: [u8; 24] = [
    0x20, 0x24, 0xc4, 0x29, 0x30, 0x34, 0xc5, 0x39, 0xc8, 0x25, 0xca, 0x35, 0x40, 0x42, 0xec, 0xc6,
    0x91, 0xef, 0xe7, 0xf8, 0x27, 0xe5, 0x08, 0x90,
];
const IDENTIFY_PACKET_DEVICE: u8 = 0xa1;
const SET_FEATURES: u8 = 0xef;
const SET_MULTIPLE: u8 = 0xc6;
const PACKET: u8 = 0xa0;
const DEVICE_RESET: u8 = 0x08;
/// Packets for a CD-ROM drive; zeros follow.
const PACKETS: [&[u8]; 26] = [
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

device! {
    /// The controller with all of them.
    ide = BusFuzzer {
        space: Space::Ports,
        base: FIRST,
        size: BMIBA + 16 - FIRST,
        registers: &OFFSETS,
        fit,
    }, seeds: {
        // Each command of a disk and each packet, with data and by DMA.
        let packets = PACKETS.into_iter().flat_map(|packet| [cdrom(packet, 0), cdrom(packet, 1)]);
        COMMANDS.into_iter().map(disk).chain(packets)
    }, words: ide_words();
}

/// The operation that writes to a port.
fn put(port: u64, data: &[u8]) -> Vec<u8> {
    words::write(REGISTERS, port, data)
}

/// The operation that reads one, of 2^`width` bytes.
fn get(port: u64, width: u8) -> Vec<u8> {
    words::read(REGISTERS, port, width)
}

/// What selects a drive: 0 the disk of a channel, 1 the CD-ROM drive of the primary one.
fn select(drive: u8, lba: bool) -> [u8; 1] {
    let device = Device::new().with_lba(lba).with_dev(drive == 1);
    [device.into_bits() | DEVICE_ALWAYS_SET]
}

/// The packet of these bytes and zeros.
fn packet(bytes: &[u8]) -> Vec<u8> {
    let mut all = [0; 12];
    all.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    let data = all.chunks(4).flat_map(|part| put(0x1f0, part));
    [put(0x1f7, &[PACKET]), data.collect()].concat()
}

/// Each command and each packet, the registers around them, and the bus masters.
fn ide_words() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for (base, control, master) in [(0x1f0, 0x3f6, 0x400), (0x170, 0x376, 0x408)] {
        let more = [IDENTIFY_PACKET_DEVICE, DEVICE_RESET, 0x10, 0x00];
        let commands = COMMANDS.into_iter().chain(more);
        all.extend(commands.map(|code| put(base + 7, &[code])));
        for drive in [0, 1] {
            all.extend([false, true].map(|lba| put(base + 6, &select(drive, lba))));
        }
        for value in [
            Control::new().with_srst(true),
            Control::new().with_nien(true),
            Control::new().with_hob(true),
            Control::new(),
        ] {
            all.push(put(control, &[value.into_bits()]));
        }
        let start = Bmic::new().with_ssbm(true);
        for value in [start, start.with_rwcon(true), Bmic::new()] {
            all.push(put(master, &[value.into_bits()]));
        }
        let status = Bmis::new().with_error(true).with_ideints(true);
        all.push(put(master + 2, &[status.into_bits()]));
        for table in [0x1000_u32, 0x1008, 0xff_fff8, u32::MAX] {
            all.push(put(master + 4, &table.to_le_bytes()));
        }
        // Addresses: the first sectors, the last of an image, one behind it, and 0, which is many as a count.
        for value in [0, 1, 2, 7, 8, 0xff] {
            all.extend([2, 3, 4, 5].map(|register| put(base + register, &[value])));
        }
    }
    // Features: write cache, look-ahead, transfer modes; multiple sectors; features 1 of a packet is DMA.
    for [feature, count] in [
        [0x02, 0],
        [0x82, 0],
        [0x55, 0],
        [0xaa, 0],
        [0x66, 0],
        [0xcc, 0],
        [0x03, 0x0c],
        [0x03, 0x22],
        [0x03, 0x45],
    ] {
        let registers = [put(0x1f1, &[feature]), put(0x1f2, &[count])].concat();
        all.push([registers, put(0x1f7, &[SET_FEATURES])].concat());
    }
    for sectors in [0, 1, 16] {
        all.push([put(0x1f2, &[sectors]), put(0x1f7, &[SET_MULTIPLE])].concat());
    }
    all.extend([0, 1].map(|dma| put(0x1f1, &[dma])));
    all.extend(PACKETS.map(packet));
    for base in [0x1f0, 0x170] {
        // A sector, and part of one.
        for (width, count) in [(1, 0), (2, 128), (1, 3)] {
            all.push(words::read_string(REGISTERS, base, width, count));
            all.push(words::write_string(
                REGISTERS,
                base,
                width,
                count,
                [0, 0, 1, 6],
            ));
        }
    }
    all.extend([
        [get(0x1f0, 2), get(0x1f0, 2), get(0x1f0, 1)].concat(),
        [put(0x1f0, &[1, 2, 3, 4]), put(0x1f0, &[0, 0, 1, 6])].concat(),
        put(0x1f0, &[0; 8]),
    ]);
    all
}

fn disk(code: u8) -> Vec<u8> {
    let mut steps = vec![
        put(0x1f2, &[4]),
        put(0x1f6, &select(0, true)),
        put(0x1f7, &[SET_MULTIPLE]),
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
        words::read_string(REGISTERS, 0x1f0, 1, 0),
        words::write_string(REGISTERS, 0x1f0, 2, 128, [1, 2, 3, 4]),
        get(0x1f7, 0),
        get(0x402, 0),
        put(0x3f6, &[4]),
        put(0x3f6, &[0]),
        TWIN.to_vec(),
        get(0x1f7, 0),
    ]);
    steps.concat()
}

fn cdrom(bytes: &[u8], dma: u8) -> Vec<u8> {
    let mut steps = vec![
        put(0x1f6, &select(1, false)),
        put(0x404, &0x1000_u32.to_le_bytes()),
        put(0x1f1, &[dma]),
        put(0x1f4, &[0]),
        put(0x1f5, &[8]),
        packet(bytes),
    ];
    steps.extend([get(0x1f7, 0), TWIN.to_vec(), put(0x400, &[9])]);
    for _ in 0..10 {
        steps.extend([get(0x1f0, 2), put(0x1f0, &[0, 0, 1, 6])]);
    }
    steps.extend([
        words::read_string(REGISTERS, 0x1f0, 1, 0),
        get(0x1f7, 0),
        get(0x1f2, 0),
        put(0x1f7, &[DEVICE_RESET]),
        TWIN.to_vec(),
        get(0x1f7, 0),
    ]);
    steps.concat()
}
