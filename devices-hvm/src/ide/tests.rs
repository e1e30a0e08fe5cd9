//! The controller driven by its ports, as drivers do it.

mod ata;
mod atapi;
mod chip;
mod codes;
mod disc;
mod driver;
mod master;
mod posted;
mod saved;

use std::sync::Arc;

use trivisor_buses::routing::{Ports, View};
use trivisor_buses::testing::{MemoryStorage, TestHost};
use trivisor_buses::{PortBus, Shell, Slots};
use trivisor_pci::{FunctionShell, RootBus};

use super::*;

/// Where the test puts BMIBA.
const BMIBA_AT: u16 = 0xc000;
/// Sectors of disks, and blocks of discs.
const SECTORS: u32 = 1024;
const BLOCKS: u32 = 256;

/// A controller on its bus: a disk and a CD-ROM drive on the primary channel, a disk alone on the secondary.
struct Rig {
    host: Arc<TestHost>,
    shell: Arc<FunctionShell<Ide>>,
    view: View<Ports>,
    disk: MemoryStorage,
    disc: MemoryStorage,
    second: MemoryStorage,
    _bus: RootBus,
    _ports: Arc<PortBus>,
}

fn storage(host: &TestHost, sectors: u32) -> MemoryStorage {
    let storage = MemoryStorage::new(host.memory.ram().clone(), sectors);
    // Each sector begins with its number.
    for sector in 0..sectors {
        let mut data = [u8::try_from(sector % 251).unwrap(); 512];
        data[..4].copy_from_slice(&sector.to_le_bytes());
        storage.put(sector as usize * 512, &data);
    }
    storage
}

fn ide(host: &Arc<TestHost>, storages: [&MemoryStorage; 3]) -> Ide {
    let [disk, disc, second] = storages;
    let disk = DriveConfig::Disk(
        DiskConfig {
            serial: "TRV-0042".into(),
            ..DiskConfig::default()
        },
        Box::new(disk.clone()),
    );
    let second = DriveConfig::Disk(DiskConfig::default(), Box::new(second.clone()));
    let cdrom = DriveConfig::Cdrom(Some(Box::new(disc.clone())));
    let drives = [[Some(disk), Some(cdrom)], [Some(second), None]];
    Ide::new(drives, [host.line(), Line::detached()], host.clone()).unwrap()
}

impl Rig {
    fn new() -> Self {
        let host = TestHost::new();
        let (disk, disc, second) = (
            storage(&host, SECTORS),
            storage(&host, BLOCKS * 4),
            storage(&host, 64),
        );
        disc.change(|geometry| geometry.read_only = true);
        let ide = ide(&host, [&disk, &disc, &second]);
        let mut rig = Self::fit(host, ide, [disk, disc, second]);
        rig.enable();
        rig
    }

    /// As it is after power-on.
    fn fit(host: Arc<TestHost>, ide: Ide, storages: [MemoryStorage; 3]) -> Self {
        let slots = Slots::new(host.as_host());
        let bus = RootBus::new(slots.ports(), slots.memory(), None);
        let shell = bus.add("ide", ide).unwrap();
        let ports = Arc::clone(slots.ports());
        for (channel, base, control) in [(0, 0x1f0, 0x3f6), (1, 0x170, 0x376)] {
            let block = CommandBlock::new(Arc::clone(&shell), channel);
            let block = Shell::new("ide", WIDTHS, block);
            ports
                .attach("ide", base, COMMAND_PORTS.into(), block)
                .unwrap();
            let block = ControlBlock::new(Arc::clone(&shell), channel);
            let block = Shell::new("ide", WIDTHS, block);
            ports
                .attach("ide", control, CONTROL_PORTS.into(), block)
                .unwrap();
        }
        let [disk, disc, second] = storages;
        Self {
            host,
            shell,
            view: ports.view(),
            disk,
            disc,
            second,
            _bus: bus,
            _ports: ports,
        }
    }

    fn config(&self, offset: u16, data: &[u8]) {
        self.shell.with(|ide| ide.config_write(offset, data));
    }

    /// As firmware does.
    fn enable(&mut self) {
        self.config(0x40, &[0, 0x80]);
        self.config(0x42, &[0, 0x80]);
        self.config(0x20, &u32::from(BMIBA_AT).to_le_bytes());
        self.config(0x04, &[5, 0]);
    }

    fn get(&mut self, port: u16) -> u8 {
        let mut data = [0];
        self.view.read(port.into(), &mut data);
        data[0]
    }

    fn put(&mut self, port: u16, value: u8) {
        self.view.write(port.into(), &[value]);
    }

    /// Writes registers 2 to 6 of the primary channel, then the command.
    fn command(&mut self, registers: [u8; 5], code: u8) {
        // Device first: the others go to both drives, but a busy one is left alone.
        self.put(0x1f6, registers[4]);
        for (port, value) in (0x1f2..).zip(&registers[..4]) {
            self.put(port, *value);
        }
        self.put(0x1f7, code);
    }

    /// A 48-bit command of a number of sectors from `lba` on.
    fn command_ext(&mut self, lba: u64, count: u16, code: u8) {
        let (bytes, count) = (lba.to_le_bytes(), count.to_le_bytes());
        self.put(0x1f6, 0xe0);
        for half in [
            [count[1], bytes[3], bytes[4], bytes[5]],
            [count[0], bytes[0], bytes[1], bytes[2]],
        ] {
            for (port, value) in (0x1f2..).zip(half) {
                self.put(port, value);
            }
        }
        self.put(0x1f7, code);
    }

    fn status(&mut self) -> u8 {
        self.get(0x1f7)
    }

    /// Reads words as `rep insw` does.
    fn read_words(&mut self, words: usize) -> Vec<u8> {
        let mut data = vec![0x77; words * 2];
        self.view.read_string(0x1f0, 2, &mut data);
        data
    }

    fn write_words(&mut self, data: &[u8]) {
        self.view.write_string(0x1f0, 2, data);
    }

    /// The edges of the primary channel's interrupt since the last call.
    fn edges(&self) -> Vec<bool> {
        self.host.levels.take()
    }

    fn wake(&self) {
        self.shell.with(|ide| assert!(!ide.wake()));
    }

    /// A descriptor table at 0x1000 and its registers.
    fn table(&mut self, prds: &[(u32, u32)]) {
        for (index, (address, count)) in prds.iter().enumerate() {
            let last = u32::from(index + 1 == prds.len()) << 31;
            let prd = [address.to_le_bytes(), (count | last).to_le_bytes()].concat();
            self.host
                .memory
                .write(0x1000 + index as u64 * 8, &prd)
                .unwrap();
        }
        self.view
            .write((BMIBA_AT + 4).into(), &0x1000_u32.to_le_bytes());
        self.put(BMIBA_AT + 2, 0x06);
    }

    fn memory(&self, address: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.host.memory.read(address, &mut data).unwrap();
        data
    }

    /// A packet by PIO, with so many bytes a block; the data that came.
    fn packet(&mut self, packet: &[u8], limit: u16) -> Vec<u8> {
        self.send_packet(packet, limit, 0);
        let mut data = Vec::new();
        while self.get(0x3f6) & 0x08 != 0 {
            assert_eq!(self.get(0x1f2) & 3, 2, "data to the host");
            let len = u16::from_le_bytes([self.get(0x1f4), self.get(0x1f5)]);
            assert!(len > 0 && len <= limit);
            data.extend(&self.read_words(usize::from(len).div_ceil(2))[..len.into()]);
        }
        data
    }

    fn send_packet(&mut self, packet: &[u8], limit: u16, feature: u8) {
        let mut bytes = packet.to_vec();
        bytes.resize(12, 0);
        let [low, high] = limit.to_le_bytes();
        self.put(0x1f6, 0xb0);
        self.put(0x1f1, feature);
        self.command([0, 0, low, high, 0xb0], 0xa0);
        if self.get(0x3f6) & 0x08 != 0 {
            assert_eq!(self.get(0x1f2) & 3, 1, "a command from the host");
            self.write_words(&bytes);
        }
    }

    /// Status, and the key and codes that REQUEST SENSE tells after a packet.
    fn sense(&mut self) -> (u8, [u8; 3]) {
        let status = self.status();
        let data = self.packet(&[0x03, 0, 0, 0, 18], 0xfffe);
        assert_eq!((data.len(), data[0]), (18, 0x70));
        assert_eq!(self.status(), 0x50);
        (status, [data[2], data[12], data[13]])
    }
}

/// A sector, or a block of four, as [`storage`] made it.
fn sectors(first: u32, count: u32) -> Vec<u8> {
    let sector = |number: u32| {
        let mut data = vec![u8::try_from(number % 251).unwrap(); 512];
        data[..4].copy_from_slice(&number.to_le_bytes());
        data
    };
    (first..first + count).flat_map(sector).collect()
}
