//! What disk and CD-ROM have in common: registers, interrupt, and the phases of a command.

use trivisor_buses::Dma;

use super::ata::Disk;
use super::atapi::Cdrom;
use super::bus_master::BusMaster;
use super::pio::Pio;
use super::regs::Error;
use super::task_file::TaskFile;
use crate::link::{Ended, Link};

/// Where a drive is in a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// No command.
    #[default]
    Idle,
    /// The host reads from the data port.
    DataIn,
    /// The host writes to it.
    DataOut,
    /// The bus master is to start.
    DmaWait,
    /// The storage works.
    Busy,
}

/// The side of a drive that the channel sees.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) file: TaskFile,
    /// An interrupt is pending.
    pub(super) intrq: bool,
    pub(super) phase: Phase,
    pub(super) pio: Pio,
}

impl Front {
    /// The command has ended well.
    pub(super) fn done(&mut self) {
        self.end();
        self.file.set_ready();
    }

    /// The command has ended with an error.
    pub(super) fn fail(&mut self, error: Error) {
        self.end();
        self.file.set_error(error);
    }

    pub(super) fn abort(&mut self) {
        self.fail(Error::new().with_abrt(true));
    }

    /// The command has ended well with the last block that the host read, whose interrupt it had.
    pub(super) fn done_quietly(&mut self) {
        let intrq = self.intrq;
        self.done();
        self.intrq = intrq;
    }

    /// The bus master has no more memory: the command does not go on, and nobody hears of it.
    pub(super) fn stall(&mut self) {
        self.done_quietly();
    }

    fn end(&mut self) {
        self.phase = Phase::Idle;
        self.pio = Pio::default();
        self.intrq = true;
    }

    /// Asks the host to read the block of `pio`.
    pub(super) fn data_in(&mut self, pio: Pio) {
        self.pio = pio;
        self.phase = Phase::DataIn;
        self.file.set_drq();
        self.intrq = true;
    }

    /// Asks the host to write the block of `pio`; the first one of a command comes without interrupt.
    pub(super) fn data_out(&mut self, pio: Pio, interrupt: bool) {
        self.pio = pio;
        self.phase = Phase::DataOut;
        self.file.set_drq();
        self.intrq |= interrupt;
    }

    /// Waits for the bus master: DMARQ is raised, so DRQ is set.
    pub(super) fn wait_dma(&mut self) {
        self.phase = Phase::DmaWait;
        self.file.set_drq();
    }

    /// The storage works.
    pub(super) fn busy(&mut self) {
        self.phase = Phase::Busy;
        self.file.set_bsy();
    }
}

/// What makes a drive a disk or a CD-ROM.
pub(super) trait Unit {
    /// Whether it is a packet device.
    fn is_packet(&self) -> bool;

    /// Does a command; the registers are those of `front`.
    fn command(&mut self, front: &mut Front, code: u8);

    /// The host has moved a block by the data port.
    fn block_moved(&mut self, front: &mut Front);

    /// The bus master is started while the drive waits for it.
    fn start_dma(&mut self, front: &mut Front, master: &mut BusMaster, dma: &dyn Dma);

    /// The storage has ended what it was asked for.
    fn ended(&mut self, front: &mut Front, master: &mut BusMaster, ended: Ended);

    /// Forgets the command. A hardware reset also takes settings back.
    fn reset(&mut self, hardware: bool);

    /// Its storage.
    fn link(&mut self) -> Option<&mut Link>;
}

/// Which of them.
#[derive(Debug)]
pub(super) enum Kind {
    Disk(Disk),
    Cdrom(Cdrom),
}

/// A drive.
#[derive(Debug)]
pub(super) struct Drive {
    pub(super) front: Front,
    pub(super) kind: Kind,
    /// It is to be reset when the storage has ended what it is doing.
    pub(super) resets: bool,
}

impl Drive {
    pub(super) fn new(kind: Kind) -> Self {
        let mut drive = Self {
            front: Front {
                file: TaskFile::signature(false, false),
                intrq: false,
                phase: Phase::Idle,
                pio: Pio::default(),
            },
            kind,
            resets: false,
        };
        drive.sign();
        drive
    }

    fn parts(&mut self) -> (&mut Front, &mut dyn Unit) {
        let unit: &mut dyn Unit = match &mut self.kind {
            Kind::Disk(disk) => disk,
            Kind::Cdrom(cdrom) => cdrom,
        };
        (&mut self.front, unit)
    }

    pub(super) fn unit(&mut self) -> &mut dyn Unit {
        self.parts().1
    }

    /// Does a command, but EXECUTE DEVICE DIAGNOSTIC and DEVICE RESET, which are the channel's.
    pub(super) fn command(&mut self, code: u8) {
        let (front, unit) = self.parts();
        front.file.error = 0;
        unit.command(front, code);
    }

    /// Reads the data port; zeros where no data is to be read.
    pub(super) fn read_data(&mut self, data: &mut [u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            let (front, unit) = self.parts();
            if front.phase != Phase::DataIn {
                rest.fill(0);
                return;
            }
            let moved = front.pio.read(rest);
            if front.pio.block_is_done() {
                unit.block_moved(front);
            }
            rest = rest.get_mut(moved..).unwrap_or_default();
        }
    }

    /// Writes the data port; what is no data is lost.
    pub(super) fn write_data(&mut self, data: &[u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            let (front, unit) = self.parts();
            if front.phase != Phase::DataOut {
                return;
            }
            let moved = front.pio.write(rest);
            if front.pio.block_is_done() {
                unit.block_moved(front);
            }
            rest = rest.get(moved..).unwrap_or_default();
        }
    }

    /// Goes on as far as storage and bus master let it; whether it went.
    pub(super) fn go_on(&mut self, selected: bool, master: &mut BusMaster, dma: &dyn Dma) -> bool {
        let resets = self.resets;
        let (front, unit) = self.parts();
        if let Some(ended) = unit.link().and_then(Link::poll) {
            if resets {
                self.finish_reset();
            } else {
                unit.ended(front, master, ended);
            }
            return true;
        }
        if selected && front.phase == Phase::DmaWait && master.is_active() {
            unit.start_dma(front, master, dma);
            return true;
        }
        false
    }

    /// A reset by the host: BSY stays until the storage, which may still write to the guest's memory, has ended.
    pub(super) fn soft_reset(&mut self) {
        self.front.file.set_bsy();
        self.front.intrq = false;
        self.front.phase = Phase::Busy;
        self.front.pio = Pio::default();
        self.resets = true;
        if !self.unit().link().is_some_and(|link| link.is_busy()) {
            self.finish_reset();
        }
    }

    fn finish_reset(&mut self) {
        self.resets = false;
        self.unit().reset(false);
        self.sign();
    }

    /// A reset of the machine.
    pub(super) fn hard_reset(&mut self) {
        let _aborted = self.unit().link().and_then(Link::drain);
        self.resets = false;
        self.unit().reset(true);
        self.sign();
    }

    /// Waits until the storage has nothing of the drive's.
    pub(super) fn settle(&mut self, master: &mut BusMaster) {
        while let Some(ended) = self.unit().link().and_then(Link::drain) {
            let resets = self.resets;
            let (front, unit) = self.parts();
            if resets {
                self.finish_reset();
            } else {
                unit.ended(front, master, ended);
            }
        }
    }

    /// The registers say what it is.
    pub(super) fn sign(&mut self) {
        let dev = self.front.file.device.dev();
        let packet = self.unit().is_packet();
        self.front.phase = Phase::Idle;
        self.front.pio = Pio::default();
        self.front.file = TaskFile::signature(packet, dev);
        self.front.intrq = false;
    }

    /// A packet device that is asked to identify itself as a disk shows by its registers that it is none (9.12).
    pub(super) fn show_packet_signature(front: &mut Front) {
        let signature = TaskFile::signature(true, front.file.device.dev());
        front.file.count = signature.count;
        front.file.lba_low = signature.lba_low;
        front.file.lba_mid = signature.lba_mid;
        front.file.lba_high = signature.lba_high;
    }
}
