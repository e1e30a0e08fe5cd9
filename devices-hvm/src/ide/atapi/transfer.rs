//! Data of packet commands on its way to the host.

use std::io::ErrorKind;

use trivisor_buses::{Dma, MAX_BUFFER, StorageOp};

use super::super::bus_master::BusMaster;
use super::super::drive::Front;
use super::super::pio::Pio;
use super::{BLOCK, Cdrom, Job, Sense, set_reason};
use crate::link::{Ask, Ended};

/// Blocks that are moved at a time when they go through a buffer.
#[expect(clippy::cast_possible_truncation, reason = "the quotient is 64")]
const CHUNK: u32 = (MAX_BUFFER / BLOCK) as u32;

impl Cdrom {
    /// Gives the first `len` bytes of `data`.
    pub(super) fn answer(&mut self, front: &mut Front, mut data: Vec<u8>, len: usize) {
        data.truncate(len);
        if data.is_empty() {
            return self.good(front);
        }
        self.job = Job::Answer;
        if self.dma {
            front.pio = Pio::new(data, 0);
            return front.wait_dma();
        }
        if self.has_room(front) {
            self.give(front, data);
        }
    }

    pub(super) fn read(&mut self, front: &mut Front, lba: u32, blocks: u32) {
        if blocks == 0 {
            return self.good(front);
        }
        self.job = Job::Read { lba, left: blocks };
        if self.dma {
            return front.wait_dma();
        }
        if self.has_room(front) {
            self.load(front, lba, blocks, Vec::new());
        }
    }

    /// The host has said how many bytes it takes at a time; else the command is none (SFF-8020i, 7.1.7).
    fn has_room(&mut self, front: &mut Front) -> bool {
        if self.limit < 2 {
            self.job = Job::None;
            front.abort();
        }
        self.limit >= 2
    }

    fn load(&mut self, front: &mut Front, lba: u32, left: u32, mut buffer: Vec<u8>) {
        let blocks = usize::try_from(left.min(CHUNK)).unwrap_or(0);
        buffer.resize(blocks * BLOCK, 0);
        self.ask(
            front,
            Ask::Buffer {
                op: StorageOp::Read,
                offset: u64::from(lba) * BLOCK as u64,
                buffer,
            },
        );
    }

    /// Asks the disc, if it is still there.
    fn ask(&mut self, front: &mut Front, ask: Ask) {
        let gone = self.blocks() == 0;
        // The command has begun with another.
        if !gone && std::mem::take(&mut self.changed) {
            return self.check(front, Sense::DISC_CHANGED);
        }
        match &mut self.disc {
            Some(disc) if !gone => {
                front.busy();
                disc.ask(ask);
            }
            _ => self.check(front, self.no_disc()),
        }
    }

    /// Lets the host read `data`.
    fn give(&mut self, front: &mut Front, data: Vec<u8>) {
        front.data_in(Pio::new(data, 0));
        self.next_block(front);
    }

    fn next_block(&mut self, front: &mut Front) {
        let left = front.pio.left();
        let len = match usize::from(self.limit) {
            limit if limit < left => limit & !1,
            _ => left,
        };
        front.pio.next_block(len);
        front
            .file
            .set_byte_count(u16::try_from(len).unwrap_or(u16::MAX));
        set_reason(front, false, true);
        front.intrq = true;
    }

    /// The host has read a block.
    pub(super) fn block_read(&mut self, front: &mut Front) {
        if front.pio.left() > 0 {
            return self.next_block(front);
        }
        match self.job {
            Job::Read { lba, left } if left > 0 => {
                let buffer = front.pio.take();
                self.load(front, lba, left, buffer);
            }
            _ => self.good(front),
        }
    }

    /// The bus master is started for blocks.
    pub(super) fn read_by_dma(
        &mut self,
        front: &mut Front,
        master: &mut BusMaster,
        dma: &dyn Dma,
        lba: u32,
        left: u32,
    ) {
        let wanted = u64::from(left) * BLOCK as u64;
        let Ok(mut prds) = master.prds(dma, wanted) else {
            master.abort();
            return self.check(front, Sense::ABORTED);
        };
        master.more = prds.more;
        prds.truncate(prds.bytes - prds.bytes % BLOCK as u64);
        if prds.bytes == 0 {
            master.end();
            self.job = Job::None;
            return front.stall();
        }
        let blocks = u32::try_from(prds.bytes / BLOCK as u64).unwrap_or(left);
        self.job = Job::Read {
            lba,
            left: left - blocks,
        };
        self.ask(
            front,
            Ask::Segments {
                op: StorageOp::Read,
                offset: u64::from(lba) * BLOCK as u64,
                segments: prds.segments,
            },
        );
        if self.job == Job::None {
            master.more = false;
            master.end();
        }
    }

    /// The bus master is started for an answer, or for parameters.
    pub(super) fn buffer_by_dma(
        &mut self,
        front: &mut Front,
        master: &mut BusMaster,
        dma: &dyn Dma,
    ) {
        let mut buffer = front.pio.take();
        let wanted = buffer.len() as u64;
        let Ok(prds) = master.prds(dma, wanted) else {
            master.abort();
            return self.check(front, Sense::ABORTED);
        };
        let mut rest = &mut buffer[..];
        for segment in &prds.segments {
            let len = usize::try_from(segment.len).unwrap_or(usize::MAX);
            let Some(part) = rest.split_off_mut(..len) else {
                break;
            };
            let moved = match self.job {
                Job::Select { .. } => dma.read(segment.address, part),
                _ => dma.write(segment.address, part),
            };
            if moved.is_err() {
                master.abort();
                return self.check(front, Sense::ABORTED);
            }
        }
        master.more = prds.more;
        master.end();
        if prds.bytes < wanted {
            self.job = Job::None;
            return front.stall();
        }
        match self.job {
            Job::Select { header } => self.select(front, &buffer, header),
            _ => self.good(front),
        }
    }

    /// The disc has given blocks, or has not.
    pub(super) fn read_ended(
        &mut self,
        front: &mut Front,
        master: &mut BusMaster,
        (result, buffer): Ended,
    ) {
        let by_dma = self.dma;
        let gone = self.successor.is_some();
        self.succeed();
        let Job::Read { lba, left } = self.job else {
            return;
        };
        let failure = match result {
            _ if gone => Some(self.no_disc()),
            Err(error) if by_dma && error.kind() == ErrorKind::InvalidInput => {
                master.abort();
                return self.check(front, Sense::ABORTED);
            }
            Err(_) => Some(Sense::UNREADABLE),
            Ok(()) => None,
        };
        if let Some(sense) = failure {
            if by_dma {
                master.more = false;
                master.end();
            }
            return self.check(front, sense);
        }
        if !by_dma {
            let blocks = left.min(CHUNK);
            self.job = Job::Read {
                lba: lba + blocks,
                left: left - blocks,
            };
            return self.give(front, buffer);
        }
        master.end();
        if left > 0 {
            // The memory was too small.
            self.job = Job::None;
            return front.stall();
        }
        self.good(front);
    }
}
