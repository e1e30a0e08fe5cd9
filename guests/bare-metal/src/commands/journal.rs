//! A journal on a virtio disk, for hosts that are cut off in the middle of it.

use alloc::vec::Vec;

use virtio_drivers::device::blk::{BlkReq, BlkResp, SECTOR_SIZE};

use super::block::Disk;
use crate::say;
use crate::script::{Failure, Words};
use crate::virtio;

/// Most sectors that are written at a time: as many as the driver's queue holds.
const DEPTH: u64 = 16;
/// FNV-1a, 64 bits.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// Room for a sector that is being written.
struct Write {
    request: BlkReq,
    sector: [u8; SECTOR_SIZE],
    response: BlkResp,
    /// What the driver calls it, until the disk has done it.
    token: Option<u16>,
}

/// `COUNT [STRIDE [FIRST]]`: writes the sectors FIRST to COUNT of a journal, counted from 1. Each lies STRIDE sectors
/// behind the one before; behind the last for which there is room the journal goes on at the disk's start.
///
/// A few are written at a time, then flushed; only then, `ok flushed` and the last one's number are printed.
pub fn journal(disk: Disk, words: &mut Words<'_>) -> Result<(), Failure> {
    // In this order: the driver is dropped first, which resets the device, then what the device may still be using.
    let mut writes: Vec<Write> = (0..DEPTH).map(|_| Write::default()).collect();
    let mut disk = disk;
    let count: u64 = words.number()?;
    let stride: u64 = words.number_or(1)?;
    let mut next: u64 = words.number_or(1)?;
    let room = disk.capacity().checked_div(stride).ok_or(Failure::Usage)?;
    // No two of a batch are for the same place.
    if room < DEPTH || next == 0 {
        return Err(Failure::Usage);
    }
    while next <= count {
        let batch = (1 + next % DEPTH).min(count - next + 1);
        for (number, write) in (next..next + batch).zip(&mut writes) {
            let place = usize::try_from((number - 1) % room * stride);
            write.start(&mut disk, place.map_err(|_| Failure::Usage)?, number)?;
        }
        for _ in 0..batch {
            finish(&mut disk, &mut writes)?;
        }
        disk.flush()?;
        next += batch;
        say!("ok flushed {}", next - 1);
    }
    say!("ok journal written={count}");
    Ok(())
}

impl Default for Write {
    fn default() -> Self {
        Self {
            request: BlkReq::default(),
            sector: [0; SECTOR_SIZE],
            response: BlkResp::default(),
            token: None,
        }
    }
}

impl Write {
    fn start(&mut self, disk: &mut Disk, place: usize, number: u64) -> Result<(), Failure> {
        self.sector = sector(number);
        let (request, response) = (&mut self.request, &mut self.response);
        // SAFETY: none of it is touched or moved before `finish`, and it outlives the driver (see `journal`).
        let token = unsafe { disk.write_blocks_nb(place, request, &self.sector, response) }?;
        self.token = Some(token);
        Ok(())
    }
}

/// Waits for one of them, in whatever order the disk does them.
fn finish(disk: &mut Disk, writes: &mut [Write]) -> Result<(), Failure> {
    let token = virtio::poll("write", || Ok(disk.peek_used()))?;
    let write = writes.iter_mut().find(|write| write.token == Some(token));
    let write = write.ok_or(Failure::Absent("write"))?;
    write.token = None;
    // SAFETY: the same as in `start`.
    unsafe {
        disk.complete_write_blocks(token, &write.request, &write.sector, &mut write.response)
    }?;
    Ok(())
}

/// A sector of the journal: its number over and over, and a checksum of that.
fn sector(number: u64) -> [u8; SECTOR_SIZE] {
    let mut sector = [0; SECTOR_SIZE];
    let (words, _) = sector.as_chunks_mut::<8>();
    if let Some((checksum, words)) = words.split_last_mut() {
        words.fill(number.to_le_bytes());
        let bytes = words.as_flattened().iter();
        let hash = bytes.fold(BASIS, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
        });
        *checksum = hash.to_le_bytes();
    }
    sector
}
