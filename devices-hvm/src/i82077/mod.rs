//! Floppy disk controller, 82077AA as a PC AT has it, with two drives.
//!
//! Source: Intel, 82077AA CHMOS Single-Chip Floppy Disk Controller, order number 290166, 2.1 (registers), 2.2 (reset), 4.0
//! (phases), 5.0 (commands), 6.0 (status registers).
//!
//! | port from 0x3f0 on | read | write | reset |
//! |---|---|---|---|
//! | 0, 1 | SRA, SRB: not driven, ones | - | - |
//! | 2 | DOR | drive, reset, gate of DRQ and INT, motors | 0x00 |
//! | 3 | TDR; bits 7:2 are not driven | tape | 0x00 |
//! | 4 | MSR | DSR: data rate, precompensation, reset | 0x00, 0x02 |
//! | 5 | FIFO: result, data | FIFO: command, data | - |
//! | 7 | DIR: bit 7 disk change; the rest is not driven | CCR: data rate | -, 2 |
//!
//! | command | bytes | result |
//! |---|---|---|
//! | READ DATA, WRITE DATA | 9 | ST0 ST1 ST2 C H R N, interrupt |
//! | FORMAT TRACK | 6 | the same |
//! | READ ID | 2 | the same |
//! | SEEK, RECALIBRATE | 3, 2 | interrupt |
//! | SENSE INTERRUPT STATUS | 1 | ST0 PCN; none pending: 0x80 |
//! | SENSE DRIVE STATUS | 2 | ST3 |
//! | SPECIFY, CONFIGURE, PERPENDICULAR MODE | 3, 4, 2 | - |
//! | VERSION, LOCK | 1 | 0x90; the lock in bit 4 |
//! | DUMPREG | 1 | 10 bytes |
//! | any other | 1 | 0x80 |
//!
//! A command ends as soon as the storage has done its sectors: until then RQM is clear and no access waits. Data goes through
//! the DMA channel, or with ND through the FIFO, where each byte makes an edge of the interrupt. A channel that is closed
//! holds the command until it is opened. A reset ends a command at once; where the storage is still at it, RQM stays clear
//! until that has ended.
//!
//! A disk is an image of one of nine sizes, from 160 to 2880 KiB ([`Format`]), of sectors with 512 bytes and MFM, that are
//! found at the rate of its drive alone.
//!
//! **Not modelled**: timing, overruns and CRC errors; the FIFO's thresholds (a sector is buffered); FM and other sizes of
//! sectors; power down; PS/2 and Model 30 mode, and with them SRA and SRB (2.1.1, 2.1.2: in AT mode "the data bus pins are
//! held in a high impedance state"); READ TRACK, VERIFY, RELATIVE SEEK, SCAN and the commands for deleted data, which are
//! invalid; IDs that FORMAT TRACK gives to sectors that the image does not have are lost. READ ID finds sector 1. Where no
//! index pulse comes, for there is no disk or its motor stands, commands end with MA at once, not never.
//!
//! **Differs from QEMU's** `isa-fdc`, where the datasheet is on our side:
//! - A chip in reset has RQM clear, and leaving it is told of by four interrupts (2.2, 7.4); QEMU's runs from the start.
//! - SE is set by a seek alone, C, H and R of a result name the next sector (tables 5-5 and 6-1).
//! - No implied seek without EIS; what is not found is ND, on another cylinder with WC (table 6-2).
//! - DUMPREG gives back what SPECIFY was given (table 5-1).
//! - A write that ends within a sector fills it with zeros (5.1.3).
//!
//! **Relied on by**: SeaBIOS 1.16 (`floppy.c`), by way of it syslinux, started from a floppy disk.

mod command;
mod config;
mod core;
mod dreq;
mod drive;
mod fifo;
mod format;
mod ports;
pub mod regs;
mod restore;
mod state;
mod transfer;

#[cfg(test)]
mod tests;

use thiserror::Error;
use trivisor_buses::{
    AccessError, Component, DmaChannel, Line, PortDevice, RestoreError, SavedState, Storage, Wake,
};

pub use self::config::DriveConfig;
use self::core::{Core, Phase};
use self::dreq::Dreq;
use self::drive::{Disk, Drive};
pub use self::format::{DriveKind, Format, SECTOR, SizeError};
pub use self::ports::{DATA_RATE_PORTS, DataRatePort, PORTS};
use self::regs::{Tdr, offset};
pub use self::state::I82077StateV1;

/// Why a disk is not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DiskError {
    /// There is no such drive.
    #[error("no floppy drive is there")]
    NoDrive,
    /// No disk has this size.
    #[error(transparent)]
    Size(#[from] SizeError),
}

/// The controller with its drives and wires.
#[derive(Debug)]
pub struct I82077 {
    // Wiring.
    line: Line,
    dreq: Dreq,
    // Guest-visible state, and the disks.
    core: Core,
}

impl I82077 {
    /// A controller after reset; `line` leads to ISA interrupt 6, `channel` is DMA's channel 2. Its disks wake it, and the
    /// channel when it is opened.
    ///
    /// # Errors
    /// When a disk has no floppy disk's size.
    pub fn new(
        drives: [Option<DriveConfig>; 2],
        line: Line,
        channel: Box<dyn DmaChannel>,
    ) -> Result<Self, SizeError> {
        let [first, second] = drives.map(|drive| drive.map(make).transpose());
        Ok(Self {
            line,
            dreq: Dreq::new(channel),
            core: Core::new([first?, second?]),
        })
    }

    /// Takes the disk out of a drive, or lays another one in. What the guest has under way there fails.
    ///
    /// # Errors
    /// When there is no such drive, or no disk of this size. Nothing has changed then.
    pub fn change_disk(
        &mut self,
        drive: usize,
        disk: Option<Box<dyn Storage>>,
    ) -> Result<(), DiskError> {
        let place = self.core.drives.get_mut(drive).and_then(Option::as_mut);
        let place = place.ok_or(DiskError::NoDrive)?;
        place.disk = disk.map(Disk::new).transpose()?;
        place.changed = true;
        self.core.disk_gone(drive);
        self.go_on();
        Ok(())
    }

    /// Goes on with a command as far as that goes, and drives the lines.
    fn go_on(&mut self) {
        self.core.go_on(&mut self.dreq);
        self.line.set_level(self.interrupts());
    }

    /// INT behind its gate: the only place that knows.
    const fn interrupts(&self) -> bool {
        self.core.interrupt && self.core.dor.gate() && self.core.dor.run()
    }

    /// A byte goes through the FIFO; without DMA the next one is an edge of its own.
    fn pulse(&mut self) {
        if self.core.phase == Phase::Execution {
            self.line.set_level(false);
        }
    }
}

fn make(config: DriveConfig) -> Result<Drive, SizeError> {
    let disk = config.disk.map(Disk::new).transpose()?;
    Ok(Drive::new(config.kind, disk))
}

impl PortDevice for I82077 {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        *byte = match offset {
            offset::SRA | offset::SRB => 0xff,
            offset::DOR => self.core.dor.into_bits(),
            offset::TDR => self.core.tdr.into_bits() | 0xfc,
            offset::MSR_DSR => self.core.msr().into_bits(),
            offset::FIFO => {
                self.pulse();
                let byte = self.core.read_fifo().ok_or(AccessError::Value);
                self.go_on();
                byte?
            }
            offset::DIR_CCR => self.core.dir().into_bits(),
            _ => return Err(AccessError::NoRegister),
        };
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        match offset {
            offset::SRA | offset::SRB => return Err(AccessError::ReadOnly),
            offset::DOR => self.core.write_dor(*byte),
            offset::TDR => self.core.tdr = Tdr::from_bits(*byte & 3),
            offset::MSR_DSR => self.core.write_dsr(*byte),
            offset::FIFO => {
                self.pulse();
                let taken = self.core.write_fifo(*byte);
                self.go_on();
                return taken.then_some(()).ok_or(AccessError::Value);
            }
            offset::DIR_CCR => self.core.write_ccr(*byte),
            _ => return Err(AccessError::NoRegister),
        }
        self.go_on();
        Ok(())
    }
}

impl Wake for I82077 {
    fn wake(&mut self) -> bool {
        self.go_on();
        false
    }
}

impl Component for I82077 {
    fn start(&mut self) {
        self.go_on();
    }

    fn pause(&mut self) {
        self.core.settle();
        // The channel saves the level that it is given here; nothing moves yet.
        self.dreq.set(self.core.wants_dma());
        self.line.set_level(self.interrupts());
    }

    fn reset(&mut self) {
        self.core.settle();
        self.core.hard_reset();
        self.go_on();
    }

    fn save(&self) -> SavedState {
        SavedState::encode(
            state::KIND,
            state::VERSION,
            &I82077StateV1::from(&self.core),
        )
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let state: I82077StateV1 = state.decode(state::KIND, state::VERSION)?;
        state.restore(&mut self.core)?;
        self.dreq.restore(self.core.wants_dma());
        let level = self.interrupts();
        self.line.restore_level(level);
        Ok(())
    }
}
