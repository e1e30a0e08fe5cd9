//! Disks on real files, each by io_uring and by threads.

mod buffers;
mod failures;
mod images;
pub(super) mod killed;
mod limits;
pub(super) mod manage;
mod model;
mod raw;
mod writer;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;
use trivisor_buses::{Segment, Storage, StorageBusy, StorageOp, StorageRequest};
use trivisor_memory::{GuestRam, RamLayout, RamOptions};

use super::{Disk, DiskError, DiskOptions, Engine, Parts, Writer};

/// Bytes of the guest's RAM.
const RAM: u64 = 4 << 20;

/// A disk with its machine.
struct Rig {
    disk: Disk,
    event: OwnedFd,
    ram: GuestRam,
    workers: Vec<JoinHandle<()>>,
    writer: Option<Writer>,
    ended: HashMap<u64, io::Result<()>>,
    next: u64,
}

fn ram() -> GuestRam {
    GuestRam::new(RamLayout::new(RAM).unwrap(), &RamOptions::default()).unwrap()
}

/// A file of `bytes` zeros in a folder of its own.
fn image(bytes: u64) -> (TempDir, File) {
    let directory = tempfile::tempdir().unwrap();
    let file = open(&directory, 0);
    file.set_len(bytes).unwrap();
    (directory, file)
}

fn open(directory: &TempDir, flags: i32) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(flags)
        .open(directory.path().join("disk.img"))
        .unwrap()
}

fn engines() -> [DiskOptions; 2] {
    [Engine::Auto, Engine::Threads].map(|engine| DiskOptions {
        engine,
        ..DiskOptions::default()
    })
}

impl Rig {
    fn raw(file: &File, options: &DiskOptions) -> Self {
        Self::try_raw(file, options).unwrap()
    }

    fn try_raw(file: &File, options: &DiskOptions) -> Result<Self, DiskError> {
        let ram = ram();
        let parts = Disk::raw(file.try_clone().unwrap(), ram.clone(), options)?;
        if options.engine == Engine::Auto && !parts.workers.is_empty() {
            eprintln!("skipped without io_uring: threads were tested instead");
        }
        Ok(Self::new(parts, ram))
    }

    fn new(parts: Parts, ram: GuestRam) -> Self {
        let workers = parts.workers.into_iter();
        Self {
            disk: parts.disk,
            event: parts.event,
            ram,
            workers: workers.map(|worker| worker.spawn().unwrap()).collect(),
            writer: parts.writer,
            ended: HashMap::new(),
            next: 0,
        }
    }

    fn submit(
        &mut self,
        op: StorageOp,
        offset: u64,
        segments: &[Segment],
    ) -> Result<u64, StorageBusy> {
        self.submit_range(op, offset, Segment::total(segments), segments)
    }

    fn submit_range(
        &mut self,
        op: StorageOp,
        offset: u64,
        len: u64,
        segments: &[Segment],
    ) -> Result<u64, StorageBusy> {
        let id = self.next;
        self.disk.submit(&StorageRequest {
            id,
            op,
            offset,
            len,
            segments,
        })?;
        self.next += 1;
        Ok(id)
    }

    /// Takes what has ended.
    fn fetch(&mut self) {
        while let Some(completion) = self.disk.complete() {
            let before = self.ended.insert(completion.id, completion.result);
            assert!(before.is_none(), "{} ended twice", completion.id);
        }
    }

    /// As an event loop does: fetches after the start, then at each event.
    fn wait(&mut self, id: u64) -> io::Result<()> {
        self.disk.start();
        self.fetch();
        loop {
            if let Some(result) = self.ended.remove(&id) {
                return result;
            }
            self.wait_event();
            self.fetch();
        }
    }

    fn wait_event(&self) {
        let timeout = Timespec {
            tv_sec: 60,
            tv_nsec: 0,
        };
        let mut polled = [PollFd::new(&self.event, PollFlags::IN)];
        assert_eq!(poll(&mut polled, Some(&timeout)).unwrap(), 1, "no event");
        rustix::io::read(&self.event, &mut [0; 8]).unwrap();
    }

    fn transfer(&mut self, op: StorageOp, offset: u64, segments: &[Segment]) -> io::Result<()> {
        let id = self.submit(op, offset, segments).unwrap();
        self.wait(id)
    }

    fn range(&mut self, op: StorageOp, offset: u64, len: u64) -> io::Result<()> {
        let id = self.submit_range(op, offset, len, &[]).unwrap();
        self.wait(id)
    }

    /// Bytes of guest RAM.
    fn memory(&self, address: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        assert!(self.ram.read(address, &mut data));
        data
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // A disk of no use ends the workers.
        let (_directory, file) = image(512);
        let options = DiskOptions::default();
        self.disk = Disk::raw(file, self.ram.clone(), &options).unwrap().disk;
        for worker in self.workers.drain(..) {
            worker.join().unwrap();
        }
    }
}

const fn segment(address: u64, len: u32) -> Segment {
    Segment { address, len }
}

/// The kind of an error.
fn kind(result: io::Result<()>) -> io::ErrorKind {
    result.unwrap_err().kind()
}

/// Bytes of a file.
fn bytes(file: &File, offset: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    file.read_exact_at(&mut data, offset).unwrap();
    data
}

/// `len` bytes that repeat only after a prime number of them.
fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..251_u8)
        .map(|byte| byte.wrapping_mul(7).wrapping_add(seed))
        .cycle()
        .take(len)
        .collect()
}
