mod commands;
mod registers;
mod saved;
mod transfers;

use std::sync::{Arc, Mutex, PoisonError};

use trivisor_buses::DmaMoved;
use trivisor_buses::testing::{MemoryStorage, TestHost, check_ports};

use super::*;

/// What a test sees of a DMA channel, which moves bytes as long as there are any.
#[derive(Debug, Default)]
struct Memory {
    dreq: bool,
    /// From the disk.
    read: Vec<u8>,
    /// To the disk.
    written: Vec<u8>,
    /// Bytes until terminal count.
    count: usize,
}

#[derive(Debug, Clone, Default)]
struct TestChannel(Arc<Mutex<Memory>>);

impl TestChannel {
    fn with<R>(&self, with: impl FnOnce(&mut Memory) -> R) -> R {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn open(&self, count: usize) {
        self.with(|memory| memory.count = count);
    }

    fn take(&self) -> Vec<u8> {
        self.with(|memory| std::mem::take(&mut memory.read))
    }
}

impl DmaChannel for TestChannel {
    fn request(&mut self, level: bool) {
        self.with(|memory| {
            assert_ne!(memory.dreq, level, "it is driven when it changes");
            memory.dreq = level;
        });
    }

    fn write_memory(&mut self, data: &[u8]) -> DmaMoved {
        self.with(|memory| {
            assert!(memory.dreq);
            let bytes = data.len().min(memory.count);
            memory.read.extend(&data[..bytes]);
            memory.count -= bytes;
            DmaMoved {
                bytes,
                terminal_count: bytes > 0 && memory.count == 0,
            }
        })
    }

    fn read_memory(&mut self, data: &mut [u8]) -> DmaMoved {
        self.with(|memory| {
            assert!(memory.dreq);
            let bytes = data.len().min(memory.count);
            let mut source = memory.written.drain(..bytes);
            data.iter_mut()
                .zip(&mut source)
                .for_each(|(to, from)| *to = from);
            memory.count -= bytes;
            DmaMoved {
                bytes,
                terminal_count: bytes > 0 && memory.count == 0,
            }
        })
    }
}

/// A controller with a disk in drive A, and all that is around it.
struct Rig {
    host: Arc<TestHost>,
    disk: MemoryStorage,
    channel: TestChannel,
    chip: I82077,
}

/// Sectors of the disk that most tests use: 1440 KiB.
const SECTORS: u32 = 2880;

/// What a sector is full of.
fn content(sector: usize) -> u8 {
    u8::try_from(sector % 251).unwrap()
}

impl Rig {
    /// A chip after reset, whose disk has as many sectors.
    fn cold(sectors: u32) -> Self {
        let host = TestHost::new();
        let disk = MemoryStorage::new(host.memory.ram().clone(), sectors);
        for sector in 0..usize::try_from(sectors).unwrap() {
            disk.put(sector * SECTOR, &[content(sector); SECTOR]);
        }
        let channel = TestChannel::default();
        let drive = DriveConfig::with(Box::new(disk.clone())).unwrap();
        let chip = I82077::new([Some(drive), None], host.line(), Box::new(channel.clone()));
        Self {
            host,
            disk,
            channel,
            chip: chip.unwrap(),
        }
    }

    /// It runs, its motor too, the disk's rate is chosen, and the interrupts of the reset are told of.
    fn of(sectors: u32) -> Self {
        let mut rig = Self::cold(sectors);
        let rate = Format::of(u64::from(sectors) * 512).unwrap().rate;
        rig.write(2, 0x1c);
        rig.write(7, rate);
        for drive in 0..4 {
            assert_eq!(rig.command(&[0x08]), [0xc0 | drive, 0]);
        }
        assert_eq!(rig.host.levels.take(), [true, false]);
        rig
    }

    fn new() -> Self {
        Self::of(SECTORS)
    }

    fn write(&mut self, offset: u16, value: u8) {
        self.chip.write(offset, &[value]).unwrap();
    }

    fn read(&mut self, offset: u16) -> u8 {
        let mut byte = [0xee];
        self.chip.read(offset, &mut byte).unwrap();
        byte[0]
    }

    fn send(&mut self, bytes: &[u8]) {
        for byte in bytes {
            assert_eq!(self.read(4) & 0xc0, 0x80, "{bytes:02x?}");
            self.write(5, *byte);
        }
    }

    /// The bytes of a result.
    fn result(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.read(4) & 0xf0 == 0xd0 {
            bytes.push(self.read(5));
            assert!(bytes.len() <= 16, "it never ends: {bytes:02x?}");
        }
        bytes
    }

    fn command(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.send(bytes);
        self.result()
    }

    fn script(&mut self, script: &str) {
        check_ports(&mut self.chip, script);
    }
}

#[test]
fn seabios_reads_its_boot_sector() {
    let mut rig = Rig::cold(SECTORS);
    // floppy_enable_controller
    rig.write(2, 0x08);
    rig.write(2, 0x0c);
    assert_eq!(rig.host.levels.take(), [true]);
    for drive in 0..4 {
        assert_eq!(rig.command(&[0x08]), [0xc0 | drive, 0]);
    }
    rig.write(2, 0x1c);
    assert_eq!(rig.host.levels.take(), [false]);
    // floppy_drive_recal, floppy_drive_readid, floppy_drive_specify
    rig.send(&[0x07, 0]);
    assert_eq!(rig.host.levels.take(), [true]);
    assert_eq!(rig.command(&[0x08]), [0x20, 0]);
    assert_eq!(rig.host.levels.take(), [false]);
    rig.write(7, 0);
    rig.send(&[0x4a, 0]);
    assert_eq!(rig.host.levels.take(), [true]);
    assert_eq!(rig.result(), [0, 0, 0, 0, 0, 1, 2]);
    assert_eq!(rig.command(&[0x03, 0xaf, 0x02]), []);
    rig.channel.open(SECTOR);
    rig.host.levels.take();
    rig.send(&[0xe6, 0, 0, 0, 1, 2, 1, 0x1b, 0xff]);
    assert_eq!(rig.host.levels.take(), [true]);
    assert_eq!(rig.result(), [0, 0, 0, 0, 1, 1, 2]);
    assert_eq!(rig.channel.take(), [content(0); SECTOR]);
}
