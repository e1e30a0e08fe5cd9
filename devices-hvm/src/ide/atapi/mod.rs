//! A CD-ROM drive (SFF-8020i; MMC-2 for what is newer).

mod answers;
mod disc;
mod execute;
mod identify;
mod packet;
mod sense;
mod transfer;

use trivisor_buses::Dma;

use super::ata::TransferMode;
use super::bus_master::BusMaster;
use super::drive::{Drive, Front, Unit};
use super::pio::Pio;
use super::regs::Reason;
use crate::link::{Ended, Link};
pub(super) use execute::MAX_PARAMETERS;
pub(super) use packet::PACKET_LEN;
pub(super) use sense::Sense;

/// Bytes of a block.
pub(super) const BLOCK: usize = 2048;

/// Command codes of a packet device (ATA/ATAPI-6, chapter 8).
mod command {
    pub(super) const READ_SECTORS: u8 = 0x20;
    pub(super) const PACKET: u8 = 0xa0;
    pub(super) const IDENTIFY_PACKET_DEVICE: u8 = 0xa1;
    pub(super) const CHECK_POWER_MODE: u8 = 0xe5;
    pub(super) const IDENTIFY_DEVICE: u8 = 0xec;
    pub(super) const SET_FEATURES: u8 = 0xef;
}

/// What the drive is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Job {
    /// Nothing.
    #[default]
    None,
    /// Data of an ATA command: no packet, so no phase of status follows.
    Identify,
    /// Takes a packet.
    Packet,
    /// Gives an answer, which is in the buffer.
    Answer,
    /// Reads blocks: the next one, and how many there are from there on.
    Read { lba: u32, left: u32 },
    /// Takes parameters of MODE SELECT, with a header of 4 or 8 bytes.
    Select { header: u8 },
}

/// A CD-ROM drive.
#[derive(Debug)]
pub(super) struct Cdrom {
    // Wiring.
    /// The disc in the tray.
    pub(super) disc: Option<Link>,
    /// The disc that takes its place when the storage has ended what it is doing.
    pub(super) successor: Option<Option<Link>>,
    // Guest-visible state.
    pub(super) mode: TransferMode,
    pub(super) tray_open: bool,
    /// The guest does not let the disc go.
    pub(super) locked: bool,
    /// What REQUEST SENSE tells.
    pub(super) sense: Sense,
    /// The disc is another than the guest knows of.
    pub(super) changed: bool,
    /// The next event of GET EVENT STATUS NOTIFICATION.
    pub(super) event: u8,
    /// The packet's data goes by DMA.
    pub(super) dma: bool,
    /// Bytes of a block of the data port at most.
    pub(super) limit: u16,
    pub(super) job: Job,
}

impl Cdrom {
    pub(super) fn new(disc: Option<Link>) -> Self {
        Self {
            disc,
            successor: None,
            mode: TransferMode::DEFAULT,
            tray_open: false,
            locked: false,
            sense: Sense::NONE,
            changed: false,
            event: 0,
            dma: false,
            limit: 0,
            job: Job::None,
        }
    }

    /// The packet command has ended well.
    fn good(&mut self, front: &mut Front) {
        self.job = Job::None;
        self.sense = Sense::NONE;
        front.done();
        status_phase(front);
    }

    /// The packet command has failed.
    fn check(&mut self, front: &mut Front, sense: Sense) {
        self.job = Job::None;
        self.sense = sense;
        front.abort();
        // CHK is ERR; the sense key stands in the upper half of Error.
        front.file.error = sense.key << 4;
        status_phase(front);
    }

    fn packet(&mut self, front: &mut Front) {
        let feature = front.file.feature.now;
        if feature & 2 != 0 {
            return front.abort(); // no overlapped commands
        }
        self.dma = feature & 1 != 0;
        self.limit = match front.file.byte_count() {
            0xffff => 0xfffe,
            limit => limit,
        };
        self.job = Job::Packet;
        front.data_out(Pio::new(vec![0; PACKET_LEN], PACKET_LEN), false);
        set_reason(front, true, false);
    }

    fn set_features(&mut self, front: &mut Front) {
        const TRANSFER_MODE: u8 = 0x03;
        let mode = TransferMode::parse(front.file.count.now);
        match (front.file.feature.now, mode) {
            (TRANSFER_MODE, Some(mode)) if mode.is_pio() => front.done(),
            (TRANSFER_MODE, Some(mode)) => {
                self.mode = mode;
                front.done();
            }
            _ => front.abort(),
        }
    }
}

/// Interrupt Reason.
fn set_reason(front: &mut Front, command: bool, to_host: bool) {
    let tag = Reason::from_bits(front.file.count.now).tag();
    let reason = Reason::new().with_tag(tag).with_cd(command);
    front.file.count.now = reason.with_io(to_host).into_bits();
}

fn status_phase(front: &mut Front) {
    set_reason(front, true, true);
}

impl Unit for Cdrom {
    fn is_packet(&self) -> bool {
        true
    }

    fn command(&mut self, front: &mut Front, code: u8) {
        self.job = Job::None;
        match code {
            command::PACKET => self.packet(front),
            command::IDENTIFY_PACKET_DEVICE => {
                self.job = Job::Identify;
                front.data_in(Pio::new(self.identify(), 512));
            }
            command::IDENTIFY_DEVICE | command::READ_SECTORS => {
                Drive::show_packet_signature(front);
                front.abort();
            }
            command::SET_FEATURES => self.set_features(front),
            command::CHECK_POWER_MODE => {
                front.file.count.now = 0xff;
                front.done();
            }
            // STANDBY IMMEDIATE, IDLE IMMEDIATE, STANDBY, IDLE, SLEEP.
            0xe0..=0xe3 | 0xe6 => front.done(),
            _ => front.abort(),
        }
    }

    fn block_moved(&mut self, front: &mut Front) {
        match self.job {
            Job::Packet => self.execute(front),
            Job::Answer | Job::Read { .. } => self.block_read(front),
            Job::Select { header } => {
                let data = front.pio.take();
                self.select(front, &data, header);
            }
            Job::Identify | Job::None => {
                self.job = Job::None;
                front.done_quietly();
            }
        }
    }

    fn start_dma(&mut self, front: &mut Front, master: &mut BusMaster, dma: &dyn Dma) {
        match self.job {
            Job::Read { lba, left } => self.read_by_dma(front, master, dma, lba, left),
            _ => self.buffer_by_dma(front, master, dma),
        }
    }

    fn ended(&mut self, front: &mut Front, master: &mut BusMaster, ended: Ended) {
        self.read_ended(front, master, ended);
    }

    fn reset(&mut self, hardware: bool) {
        self.job = Job::None;
        self.sense = Sense::NONE;
        if hardware {
            self.mode = TransferMode::DEFAULT;
            self.locked = false;
            self.tray_open = false;
            self.changed = false;
            self.event = 0;
            self.dma = false;
            self.limit = 0;
        }
        self.succeed();
    }

    fn link(&mut self) -> Option<&mut Link> {
        self.disc.as_mut()
    }
}
