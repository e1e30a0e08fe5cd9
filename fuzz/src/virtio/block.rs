//! A block device with two queues, perhaps read-only, and a storage that waits, fails and is busy.

use std::io::ErrorKind;
use std::mem;

use trivisor_buses::Storage;
use trivisor_buses::testing::MemoryStorage;
use trivisor_devices_pv::block::{Block, BlockOptions};
use trivisor_memory::GuestRam;
use trivisor_virtio_device::testing::Rig;

use super::{Input, Subject};
use crate::features::note;

/// The entry point; its input is a list of operations.
///
/// # Panics
/// When the device is wrong.
pub fn target(data: &[u8]) {
    super::run::<Disk>(data);
}

/// Inputs that do each operation, and those that hand over each type of request.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::seeds();
    for first in [0, 1, 0x10, 0x21] {
        let mut seed = vec![first];
        seed.extend([0xff; 8]);
        for kind in [0, 1, 4, 8, 11, 13, 99] {
            for sectors in [1, 2] {
                seed.extend([11, 0, 7, 0, kind, 3, sectors, 1, 0, 5, 0, 6, 0]);
            }
        }
        seeds.push(seed);
    }
    seeds
}

/// Sectors of the disk.
const SECTORS: u32 = 16;

/// The host's side of the disk.
struct Disk(MemoryStorage);

/// The driver hands over a request with room for its data, as drivers do.
fn submit(rig: &mut Rig<Block>, input: &mut Input<'_>) {
    let queue = u16::from(input.byte() % 2);
    let [kind, sector] = [input.byte(), input.byte()];
    let len = usize::from(input.byte() % 4) * 512;
    let mut request = vec![0; 16];
    request[0] = kind;
    request[8] = sector;
    if rig.driver(queue).free() < 3 {
        return;
    }
    match kind {
        1 => {
            request.resize(16 + len, sector);
            rig.submit(queue, &[&request], 1);
        }
        11 | 13 => {
            request.extend([sector, 0, 0, 0, 0, 0, 0, 0]);
            request.extend([input.byte() % 4, 0, 0, 0, input.byte() % 4, 0, 0, 0]);
            rig.submit(queue, &[&request], 1);
        }
        _ => {
            let room = u32::try_from(len).unwrap_or_default() + 1;
            rig.submit(queue, &[&request], room);
        }
    }
}

impl Subject for Disk {
    type Device = Block;

    fn make(ram: &GuestRam, variant: u8) -> (Self, Block) {
        let storage = MemoryStorage::new(ram.clone(), SECTORS);
        storage.change(|geometry| {
            geometry.read_only = variant & 1 != 0;
            geometry.can_discard = variant & 2 == 0;
        });
        let options = BlockOptions {
            queues: 2,
            ..BlockOptions::default()
        };
        let block = Block::new(options, Box::new(storage.clone())).expect("such a disk can be");
        (Self(storage), block)
    }

    fn host(&mut self, rig: &mut Rig<Block>, input: &mut Input<'_>) {
        let Self(storage) = self;
        match input.byte() % 10 {
            0 => storage.hold(true),
            1 => storage.hold(false),
            2 => storage.limit(1 + usize::from(input.byte() % 4)),
            3 => storage.fail(Some(ErrorKind::StorageFull)),
            4 => storage.fail(None),
            5 => {
                let capacity = u64::from(input.byte()) * 512;
                storage.change(|geometry| geometry.capacity = capacity);
                rig.call(Block::resize);
            }
            7..=9 => submit(rig, input),
            _ => {
                storage.end(input.byte().into());
                rig.wake();
            }
        }
        for seen in storage.take_seen() {
            note((mem::discriminant(&seen.0), seen.1, seen.2));
        }
    }

    fn serves(&mut self, rig: &mut Rig<Block>) {
        let Self(storage) = self;
        storage.hold(false);
        storage.limit(usize::MAX);
        storage.fail(None);
        storage.change(|geometry| geometry.capacity = u64::from(SECTORS) * 512);
        rig.call(Block::resize);
        rig.settle();
        assert_eq!(storage.held(), 0, "the reset left requests behind");
        for queue in [0, 1] {
            let mut request = vec![0; 16 + 512];
            request[0] = 1; // VIRTIO_BLK_T_OUT
            request[8] = 15; // the last sector
            request[16..].fill(0x77);
            let (status, sector) = if storage.geometry().read_only {
                (1, [0; 512]) // VIRTIO_BLK_S_IOERR
            } else {
                (0, [0x77; 512])
            };
            assert_eq!(rig.request(queue, &[&request], 1).data, [status]);
            request[0] = 0;
            let read = rig.request(queue, &[&request[..16]], 513);
            assert_eq!(read.data.split_last(), Some((&0, &sector[..])));
        }
    }
}
