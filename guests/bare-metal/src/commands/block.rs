//! Virtio block devices.

use alloc::boxed::Box;
use alloc::vec;

use virtio_drivers::device::blk::{BlkReq, BlkResp, SECTOR_SIZE, VirtIOBlk};
use virtio_drivers::transport::DeviceType;

use super::journal::journal;
use super::{Command, block_load};
use crate::pin::Pin;
use crate::say;
use crate::script::{Failure, Words, expect};
use crate::virtio::{self, Bus, Device, Identity};

pub const COMMANDS: &[Command] = &[Command {
    name: "block",
    usage: "DISK info | read SECTOR COUNT | write SECTOR COUNT BYTE | flush | interrupt COUNT | \
        load read|write BYTES DEPTH ops|ms NUMBER | journal COUNT [STRIDE [FIRST]]",
    run: block,
}];

/// Most sectors of one request.
const SECTORS: usize = 2048;

/// A disk and its driver.
pub type Disk = VirtIOBlk<Identity, Bus>;

/// A disk that one sector at a time is read from.
pub struct Read {
    disk: Disk,
    request: Box<BlkReq>,
    sector: Box<[u8; SECTOR_SIZE]>,
    response: Box<BlkResp>,
    token: Option<u16>,
}

impl Read {
    /// Sets the disk up.
    pub fn open(device: &Device) -> Result<Self, Failure> {
        Ok(Self {
            disk: Disk::new(device.open()?)?,
            request: Box::default(),
            sector: Box::new([0; SECTOR_SIZE]),
            response: Box::default(),
            token: None,
        })
    }

    /// Starts to read a sector.
    pub fn start(&mut self, sector: usize) -> Result<(), Failure> {
        let (request, response) = (&mut self.request, &mut self.response);
        // SAFETY: the boxes are not touched before `finish`, and outlive the driver's queue: it is declared first, so
        // that it is dropped first, which resets the device.
        let token = unsafe {
            self.disk
                .read_blocks_nb(sector, request, &mut self.sector[..], response)
        };
        self.token = Some(token?);
        Ok(())
    }

    /// Waits until the disk has done it, without an interrupt.
    pub fn finish(&mut self) -> Result<(), Failure> {
        let token = self.token.take().ok_or(Failure::Absent("request"))?;
        virtio::poll("request", || Ok(self.disk.peek_used()))?;
        // SAFETY: the same boxes as in `start`.
        unsafe {
            self.disk.complete_read_blocks(
                token,
                &self.request,
                &mut self.sector[..],
                &mut self.response,
            )
        }?;
        Ok(())
    }

    /// Reads ISR status, which clears it.
    pub fn isr(&mut self) -> u32 {
        self.disk.ack_interrupt().bits()
    }
}

fn block(mut words: Words<'_>) -> Result<(), Failure> {
    let device = virtio::device(DeviceType::Block, &mut words)?;
    let what = words.word().ok_or(Failure::Usage)?;
    match what {
        "interrupt" => return interrupt(&device, words),
        "load" => return block_load::run(&device, words),
        _ => {}
    }
    let mut disk = Disk::new(device.open()?)?;
    match what {
        "info" => {
            let mut id = [0; 20];
            let length = disk.device_id(&mut id)?;
            let id = id.get(..length).unwrap_or_default();
            say!(
                "ok block sectors={} readonly={} id={}",
                disk.capacity(),
                disk.readonly(),
                crate::script::text(id)
            );
        }
        "read" => {
            let (sector, count) = range(&mut words)?;
            let mut data = vec![0; count * SECTOR_SIZE];
            disk.read_blocks(sector, &mut data)?;
            let sum: u64 = data.iter().map(|byte| u64::from(*byte)).sum();
            let first = data.first().copied().unwrap_or(0);
            say!("ok block read={count} at={sector} first={first:#x} sum={sum}");
        }
        "write" => {
            let (sector, count) = range(&mut words)?;
            let data = vec![words.number()?; count * SECTOR_SIZE];
            disk.write_blocks(sector, &data)?;
            say!("ok block written={count} at={sector}");
        }
        "flush" => {
            disk.flush()?;
            say!("ok block flushed");
        }
        "journal" => journal(disk, &mut words)?,
        _ => return Err(Failure::Usage),
    }
    Ok(())
}

fn range(words: &mut Words<'_>) -> Result<(usize, usize), Failure> {
    let (sector, count) = (words.number()?, words.number()?);
    match count {
        1..=SECTORS => Ok((sector, count)),
        _ => Err(Failure::Usage),
    }
}

/// Reads sector 0 again and again, and waits for the pin each time.
fn interrupt(device: &Device, mut words: Words<'_>) -> Result<(), Failure> {
    let count: u64 = words.number()?;
    let mut disk = Read::open(device)?;
    let mut pin = Pin::route(device.pin)?;
    for _ in 0..count {
        disk.start(0)?;
        pin.wait()?;
        expect("isr", 1_u8, disk.isr())?;
        disk.finish()?;
        pin.end_low()?;
    }
    pin.expect_none()?;
    say!("ok block interrupts={count} pin={}", device.pin);
    Ok(())
}
