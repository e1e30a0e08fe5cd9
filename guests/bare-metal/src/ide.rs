//! A disk behind the IDE function of a PIIX (Intel 290550, 2.4 and 2.6.3), driven by its bus master and interrupt as
//! an operating system does it: ATA/ATAPI-6, and Intel's Programming Interface for Bus Master IDE Controller 1.0, 3.1.
//!
//! One disk at a time is driven.

use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::apic;
use crate::cpu;
use crate::ioapic::{self, IoApic};
use crate::pages;
use crate::pci::{self, Access, Function};
use crate::port;
use crate::ring0;
use crate::script::{Failure, Words, expect};

/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// Most bytes of one command.
pub const BYTES: usize = 128 << 10;

/// Mass storage, IDE.
const CLASS: u32 = 0x0101;
const BMIBA: u8 = 4;
/// Where the driver puts its registers: at ports that some hosts let ring 3 use (see entry.s), and nothing else has.
const MASTER_PORTS: u16 = 0x1c00;
/// The function answers at ports, and may write to memory.
const COMMAND_PORTS_AND_MASTER: u16 = 0b101;

/// Command block, control block and ISA interrupt of each channel.
const CHANNELS: [(u16, u16, u8); 2] = [(0x1f0, 0x3f6, 14), (0x170, 0x376, 15)];

const ERROR: u16 = 1;
const COUNT: u16 = 2;
const LBA_LOW: u16 = 3;
const LBA_MID: u16 = 4;
const LBA_HIGH: u16 = 5;
const DEVICE: u16 = 6;
/// Status when read, Command when written.
const STATUS: u16 = 7;

const BSY: u8 = 0x80;
const DRQ: u8 = 0x08;
const ERR: u8 = 0x01;
/// With the bits that are always set.
const DEVICE_LBA: u8 = 0xe0;

const IDENTIFY_DEVICE: u8 = 0xec;
const READ_DMA: u8 = 0xc8;
const READ_DMA_EXT: u8 = 0x25;
const WRITE_DMA: u8 = 0xca;
const WRITE_DMA_EXT: u8 = 0x35;
const FLUSH_CACHE: u8 = 0xe7;
const SET_FEATURES: u8 = 0xef;
const SET_TRANSFER_MODE: u8 = 0x03;
const ULTRA_DMA_2: u8 = 0x42;

const BMIC: u16 = 0;
const BMIS: u16 = 2;
const BMIDTP: u16 = 4;
const START: u8 = 1;
/// From the disk into memory.
const TO_MEMORY: u8 = 8;
const ACTIVE: u8 = 1;
const MASTER_ERROR: u8 = 2;
const INTERRUPT: u8 = 4;

/// No region of a descriptor crosses a boundary of 64 KiB, nor does the table.
const BOUNDARY: usize = 0x1_0000;
/// End of table.
const LAST: u64 = 1 << 63;

const VECTOR: u8 = 0x39;
/// Seconds after which nothing will come any more.
const PATIENCE: u32 = 60;

/// Which way data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Read,
    Write,
}

/// A disk, with the memory that it reads from and writes to.
pub struct Disk {
    command: u16,
    control: u16,
    master: u16,
    device: u8,
    /// Sectors.
    pub capacity: u64,
    /// With 48-bit addresses.
    pub is_large: bool,
    /// The data of the next command.
    pub data: Vec<u8>,
    table: Vec<u64>,
    /// Bytes that the table describes.
    described: usize,
    interrupts: Interrupts,
}

impl Disk {
    /// Sets up the disk that the next word counts: 0 and 1 on the first channel, 2 and 3 on the second.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(words: &mut Words<'_>) -> Result<Self, Failure> {
        let number: u8 = words.number()?;
        let channel = CHANNELS.get(usize::from(number / 2));
        let (command, control, irq) = *channel.ok_or(Failure::Usage)?;
        let function = function()?;
        let function_command = function.command();
        function.set_command(function_command & !COMMAND_PORTS_AND_MASTER);
        function.set_ports(BMIBA, MASTER_PORTS);
        function.set_command(function_command | COMMAND_PORTS_AND_MASTER);
        let master = MASTER_PORTS + 8 * u16::from(number / 2);
        let mut disk = Self {
            command,
            control,
            master,
            device: DEVICE_LBA | (number % 2) << 4,
            capacity: 0,
            is_large: false,
            data: vec![0; BYTES],
            // A page: it crosses no boundary.
            table: vec![0; pages::SIZE / 8],
            described: 0,
            interrupts: Interrupts::route(irq)?,
        };
        // Interrupts on, no look at what was there before.
        port::write_u8(control, 0);
        disk.identify()?;
        disk.set_mode()?;
        Ok(disk)
    }

    /// Selects the disk and waits until it takes a command.
    fn select(&self) -> Result<(), Failure> {
        port::write_u8(self.command + DEVICE, self.device);
        self.wait_ready(0).map(|_| ())
    }

    /// Alternate Status, once the disk is not busy and wants data to be moved or not, as `drq` says.
    fn wait_ready(&self, drq: u8) -> Result<u8, Failure> {
        let start = cpu::tsc();
        loop {
            let status = port::read_u8(self.control);
            if status & (BSY | DRQ) == drq || status & (BSY | ERR) == ERR {
                return Ok(status);
            }
            if cpu::tsc().wrapping_sub(start) >> 38 != 0 {
                return Err(Failure::Timeout("disk"));
            }
        }
    }

    fn identify(&mut self) -> Result<(), Failure> {
        port::write_u8(self.command + DEVICE, self.device);
        // Nothing is there: a floating bus, or zeros for the missing one of two.
        if matches!(port::read_u8(self.command + STATUS), 0 | 0xff) {
            return Err(Failure::Absent("disk"));
        }
        let seen = self.interrupts.seen();
        port::write_u8(self.command + STATUS, IDENTIFY_DEVICE);
        self.interrupts.wait(seen)?;
        self.check_status(DRQ)?;
        let words: Vec<u16> = (0..SECTOR / 2)
            .map(|_| port::read_u16(self.command))
            .collect();
        let number = |first: usize, count: usize| {
            let words = words.get(first..first + count).unwrap_or_default();
            let words = words.iter().rev();
            words.fold(0, |value: u64, word| value << 16 | u64::from(*word))
        };
        self.is_large = number(83, 1) & 1 << 10 != 0;
        self.capacity = if self.is_large {
            number(100, 4)
        } else {
            number(60, 2)
        };
        Ok(())
    }

    fn set_mode(&mut self) -> Result<(), Failure> {
        self.select()?;
        port::write_u8(self.command + ERROR, SET_TRANSFER_MODE);
        port::write_u8(self.command + COUNT, ULTRA_DMA_2);
        self.finish_command(SET_FEATURES)
    }

    /// Stores what was written.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.select()?;
        self.finish_command(FLUSH_CACHE)
    }

    /// A command that moves no data.
    fn finish_command(&mut self, command: u8) -> Result<(), Failure> {
        let seen = self.interrupts.seen();
        port::write_u8(self.command + STATUS, command);
        self.interrupts.wait(seen)?;
        self.check_status(0)
    }

    /// Reads Status, which ends the interrupt.
    fn check_status(&self, drq: u8) -> Result<(), Failure> {
        let status = port::read_u8(self.command + STATUS);
        let mismatch = status & (BSY | DRQ | ERR) != drq;
        if mismatch && status & ERR != 0 {
            return expect("error", 0_u8, port::read_u8(self.command + ERROR));
        }
        expect("status", drq, status & (BSY | DRQ | ERR))
    }

    /// The table describes the first `bytes` of `data`.
    fn describe(&mut self, bytes: usize) {
        if self.described == bytes {
            return;
        }
        let mut at = self.data.as_ptr().expose_provenance();
        let mut left = bytes;
        for entry in &mut self.table {
            let size = left.min(BOUNDARY - at % BOUNDARY);
            left -= size;
            // 64 KiB are 0.
            let count = (size % BOUNDARY) as u64;
            *entry = at as u64 | count << 32 | if left == 0 { LAST } else { 0 };
            at += size;
            if left == 0 {
                break;
            }
        }
        self.described = bytes;
    }

    /// Moves the first `bytes` of `data` from or to the sectors from `lba` on.
    ///
    /// # Errors
    /// What the disk or the bus master says, or [`Failure::Timeout`].
    pub fn transfer(&mut self, way: Way, lba: u64, bytes: usize) -> Result<(), Failure> {
        self.describe(bytes);
        let direction = if way == Way::Read { TO_MEMORY } else { 0 };
        let table = self.table.as_ptr().expose_provenance() as u64;
        let [a, b, c, d, ..] = table.to_le_bytes();
        port::write_u32(self.master + BMIDTP, u32::from_le_bytes([a, b, c, d]));
        port::write_u8(self.master + BMIC, direction);
        port::write_u8(self.master + BMIS, MASTER_ERROR | INTERRUPT);

        let sectors = (bytes / SECTOR) as u64;
        let is_large = lba + sectors > 1 << 28 || sectors > 256;
        let address = lba.to_le_bytes();
        let [count, count_high, ..] = sectors.to_le_bytes();
        let high = if is_large { 0 } else { address[3] & 0xf };
        port::write_u8(self.command + DEVICE, self.device | high);
        self.wait_ready(0)?;
        if is_large {
            port::write_u8(self.command + COUNT, count_high);
            port::write_u8(self.command + LBA_LOW, address[3]);
            port::write_u8(self.command + LBA_MID, address[4]);
            port::write_u8(self.command + LBA_HIGH, address[5]);
        }
        port::write_u8(self.command + COUNT, count);
        port::write_u8(self.command + LBA_LOW, address[0]);
        port::write_u8(self.command + LBA_MID, address[1]);
        port::write_u8(self.command + LBA_HIGH, address[2]);
        let command = match (way, is_large) {
            (Way::Read, false) => READ_DMA,
            (Way::Read, true) => READ_DMA_EXT,
            (Way::Write, false) => WRITE_DMA,
            (Way::Write, true) => WRITE_DMA_EXT,
        };
        let seen = self.interrupts.seen();
        port::write_u8(self.command + STATUS, command);
        port::write_u8(self.master + BMIC, direction | START);

        self.interrupts.wait(seen)?;
        let status = port::read_u8(self.master + BMIS);
        port::write_u8(self.master + BMIC, direction);
        self.check_status(0)?;
        let status = status & (INTERRUPT | MASTER_ERROR | ACTIVE);
        expect("bus master", INTERRUPT, status)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What is under way may still use the memory; a timeout alone leaves something.
        port::write_u8(self.master + BMIC, 0);
    }
}

fn function() -> Result<Function, Failure> {
    pci::functions(Access::Ports)
        .find(|function| function.read(8) >> 16 == CLASS)
        .ok_or(Failure::Absent("ide"))
}

/// A channel's interrupt: an edge, as on the ISA bus. It waits until it is waited for: some hosts forget, when they
/// interrupt ring 3, that it may use ports.
struct Interrupts {
    ioapic: IoApic,
    pin: u8,
    count: &'static AtomicU32,
    /// Seconds.
    ticks: &'static AtomicU32,
}

impl Interrupts {
    fn route(irq: u8) -> Result<Self, Failure> {
        let ioapic = IoApic::find().ok_or(Failure::Absent("io_apic"))?;
        apic::enable();
        let pin = ioapic::pin_of(irq);
        ioapic.route(pin, VECTOR, false);
        let ticks = apic::start_periodic(1);
        let count = ring0::interrupts(VECTOR);
        Ok(Self {
            ioapic,
            pin,
            count,
            ticks,
        })
    }

    fn seen(&self) -> u32 {
        self.count.load(Ordering::SeqCst)
    }

    /// Sleeps until one has come after those that were `seen`; it may have come already.
    fn wait(&self, seen: u32) -> Result<(), Failure> {
        let start = self.ticks.load(Ordering::SeqCst);
        while self.seen() == seen {
            if self.ticks.load(Ordering::SeqCst).wrapping_sub(start) > PATIENCE {
                return Err(Failure::Timeout("interrupt"));
            }
            ring0::wait(self.count, seen);
        }
        expect("interrupts", 1_u8, self.seen().wrapping_sub(seen))
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.ioapic.mask(self.pin);
        apic::stop_timer();
    }
}
