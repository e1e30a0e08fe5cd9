//! Sectors on their way between disk and host: by the data port, through a buffer, or by DMA, which the storage does
//! with guest RAM itself.

use std::io::ErrorKind;

use trivisor_buses::{Dma, MAX_BUFFER, StorageOp};

use super::super::bus_master::BusMaster;
use super::super::drive::{Front, Phase};
use super::super::pio::Pio;
use super::super::regs::Error;
use super::commands::{Access, What};
use super::{Disk, Job, SECTOR, geometry};
use crate::link::{Ask, Ended};

/// Sectors that are moved at a time when they go through a buffer.
#[expect(clippy::cast_possible_truncation, reason = "the quotient is 256")]
const CHUNK: u32 = (MAX_BUFFER / SECTOR) as u32;

/// A command that moves sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Transfer {
    pub(in super::super) access: Access,
    /// The next sector that the storage has to do with.
    pub(in super::super) lba: u64,
    /// Sectors from there on.
    pub(in super::super) left: u32,
    /// Sectors a block of the data port.
    pub(in super::super) block: u8,
    /// The storage has all sectors: the rest is to store them.
    pub(in super::super) flushing: bool,
    /// Sectors that the storage has now.
    pub(in super::super) now: u32,
}

impl Transfer {
    const fn offset(&self) -> u64 {
        self.lba * SECTOR as u64
    }

    /// Sectors of the next buffer.
    fn chunk(&self) -> u32 {
        self.left.min(CHUNK)
    }

    /// The storage has done what it had.
    const fn advance(&mut self) {
        self.lba += self.now as u64;
        self.left = self.left.saturating_sub(self.now);
        self.now = 0;
    }

    /// Whether it can be in a phase, with such a buffer.
    pub(in super::super) fn fits(&self, phase: Phase, pio: &Pio) -> bool {
        let len = pio.buffer.len();
        match (phase, self.access.what) {
            (Phase::DataIn, What::ReadPio) => len.is_multiple_of(SECTOR),
            (Phase::DataOut, What::WritePio) => len == bytes(self.chunk()),
            (Phase::DmaWait, What::ReadDma | What::WriteDma) => len == 0 && self.left > 0,
            _ => false,
        }
    }

    const fn writes(&self) -> bool {
        matches!(self.access.what, What::WritePio | What::WriteDma)
    }

    const fn by_dma(&self) -> bool {
        matches!(self.access.what, What::ReadDma | What::WriteDma)
    }

    fn block_len(&self) -> usize {
        usize::from(self.block) * SECTOR
    }
}

fn bytes(sectors: u32) -> usize {
    // At most CHUNK sectors.
    usize::try_from(sectors).unwrap_or(0) * SECTOR
}

impl Disk {
    pub(super) fn begin(&mut self, front: &mut Front, access: Access) {
        let Access {
            what,
            ext,
            multiple,
        } = access;
        if multiple && self.multiple == 0 {
            return front.abort();
        }
        let writes = matches!(what, What::WritePio | What::WriteDma);
        if writes && self.link.geometry().read_only {
            return front.abort();
        }
        let range = geometry::range(&front.file, ext, self.geometry);
        let sectors = self.sectors();
        let inside = |(lba, left): &(u64, u32)| {
            lba.checked_add(u64::from(*left))
                .is_some_and(|end| end <= sectors)
        };
        let Some((lba, left)) = range.filter(inside) else {
            return front.fail(Error::new().with_idnf(true));
        };
        let transfer = Transfer {
            access,
            lba,
            left,
            block: if multiple { self.multiple } else { 1 },
            flushing: false,
            now: 0,
        };
        self.job = Job::Transfer(transfer);
        match what {
            What::ReadPio | What::Verify => self.load(front, transfer),
            What::WritePio => Self::take(front, transfer, false),
            What::ReadDma | What::WriteDma => front.wait_dma(),
        }
    }

    /// Fetches the next sectors into a buffer.
    fn load(&mut self, front: &mut Front, mut transfer: Transfer) {
        transfer.now = transfer.chunk();
        self.job = Job::Transfer(transfer);
        let mut buffer = front.pio.take();
        buffer.resize(bytes(transfer.now), 0);
        front.busy();
        self.link.ask(Ask::Buffer {
            op: StorageOp::Read,
            offset: transfer.offset(),
            buffer,
        });
    }

    /// Asks the host for the next sectors.
    fn take(front: &mut Front, transfer: Transfer, interrupt: bool) {
        let mut buffer = front.pio.take();
        buffer.clear();
        buffer.resize(bytes(transfer.chunk()), 0);
        front.data_out(Pio::new(buffer, transfer.block_len()), interrupt);
    }

    /// The host has moved a block.
    pub(super) fn transfer_moved(&mut self, front: &mut Front, mut transfer: Transfer) {
        if front.pio.left() > 0 {
            front.pio.next_block(transfer.block_len());
            front.intrq = true;
        } else if transfer.writes() {
            let buffer = front.pio.take();
            transfer.now = transfer.chunk();
            self.job = Job::Transfer(transfer);
            front.busy();
            self.link.ask(Ask::Buffer {
                op: StorageOp::Write,
                offset: transfer.offset(),
                buffer,
            });
        } else if transfer.left > 0 {
            self.load(front, transfer);
        } else {
            // The interrupt came with the block.
            self.job = Job::None;
            front.done_quietly();
        }
    }

    /// The bus master is started.
    pub(super) fn transfer_by_dma(
        &mut self,
        front: &mut Front,
        mut transfer: Transfer,
        master: &mut BusMaster,
        dma: &dyn Dma,
    ) {
        let wanted = u64::from(transfer.left) * SECTOR as u64;
        let Ok(mut prds) = master.prds(dma, wanted) else {
            master.abort();
            self.job = Job::None;
            return front.abort();
        };
        master.more = prds.more;
        let sectors = prds.bytes / SECTOR as u64;
        prds.truncate(sectors * SECTOR as u64);
        if sectors == 0 {
            self.job = Job::None;
            master.end();
            return front.stall();
        }
        let op = if transfer.writes() {
            StorageOp::Write
        } else {
            StorageOp::Read
        };
        transfer.now = u32::try_from(sectors).unwrap_or(transfer.left);
        self.job = Job::Transfer(transfer);
        front.busy();
        self.link.ask(Ask::Segments {
            op,
            offset: transfer.offset(),
            segments: prds.segments,
        });
    }

    /// The storage has done what it was asked for.
    pub(super) fn transfer_ended(
        &mut self,
        front: &mut Front,
        mut transfer: Transfer,
        master: &mut BusMaster,
        (result, buffer): Ended,
    ) {
        if let Err(error) = result {
            let memory = transfer.by_dma() && error.kind() == ErrorKind::InvalidInput;
            return self.transfer_failed(front, &transfer, master, memory);
        }
        transfer.advance();
        if transfer.writes() && transfer.left == 0 && !self.write_cache && !transfer.flushing {
            transfer.flushing = true;
            self.job = Job::Transfer(transfer);
            return self.link.ask(Ask::Flush);
        }
        front.pio.buffer = buffer;
        self.job = Job::Transfer(transfer);
        match transfer.access.what {
            What::ReadPio => {
                let buffer = front.pio.take();
                front.data_in(Pio::new(buffer, transfer.block_len()));
            }
            What::Verify if transfer.left > 0 => self.load(front, transfer),
            What::WritePio if transfer.left > 0 => Self::take(front, transfer, true),
            What::Verify | What::WritePio => {
                self.job = Job::None;
                front.done();
            }
            What::ReadDma | What::WriteDma => {
                self.job = Job::None;
                master.end();
                if transfer.left > 0 {
                    // The memory was too small.
                    front.stall();
                } else {
                    front.done();
                }
            }
        }
    }

    fn transfer_failed(
        &mut self,
        front: &mut Front,
        transfer: &Transfer,
        master: &mut BusMaster,
        memory: bool,
    ) {
        self.job = Job::None;
        geometry::name(
            &mut front.file,
            transfer.lba,
            transfer.access.ext,
            self.geometry,
        );
        master.more = false;
        if memory {
            master.abort();
        } else if transfer.by_dma() {
            master.end();
        }
        if !transfer.writes() && !memory {
            front.fail(Error::new().with_unc(true));
        } else {
            front.abort();
        }
    }
}
