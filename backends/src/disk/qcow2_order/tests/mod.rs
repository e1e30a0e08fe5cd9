//! Images whose process ends after any of its writes: what a flush acknowledged is there, and all that is referred to
//! is counted.

mod check;
mod cuts;
mod writes;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use imago::qcow2::Qcow2;
use imago::{FormatAccess, FormatCreateBuilder};
use trivisor_buses::{Segment, StorageOp};
use trivisor_memory::{GuestRam, RamLayout, RamOptions};

use crate::disk::image_mover::ImageExecutor;
use crate::disk::pool::Execute;
use crate::disk::task::Task;
use crate::sys::buffers::{Buffers, Fit};
use crate::sys::image_file::{ImageFile, Log};
use check::Check;

const SECTOR: u64 = 512;

/// Sectors of a small disk: eight tables of 64 clusters.
const SMALL: u64 = 512;

/// An image in a folder of its own.
struct Image {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Image {
    /// With the smallest clusters, so that it needs tables all the time, and counts of `width` bits.
    fn new(sectors: u64, width: usize) -> Self {
        let image = Self::empty();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&image.path)
            .unwrap();
        Qcow2::<ImageFile>::create_builder(ImageFile::new(file).unwrap())
            .size(sectors * SECTOR)
            .cluster_size(512)
            .refcount_width(width)
            .create()
            .unwrap();
        image
    }

    /// A folder for one.
    fn empty() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            path: directory.path().join("disk.qcow2"),
            _directory: directory,
        }
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn run(&self) -> Run {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.path)
            .unwrap();
        let before = fs::read(&self.path).unwrap();
        let file = ImageFile::ordered(file).unwrap();
        let (log, order) = (file.log.clone(), file.order());
        let mut image: Qcow2<ImageFile> = Qcow2::open_image(file, true).unwrap();
        image.set_data_file(None);
        image.set_backing(None);
        let ram = RamLayout::new(4 << 20).unwrap();
        Run {
            before,
            log,
            executor: ImageExecutor::new(FormatAccess::new(image), order),
            ram: GuestRam::new(ram, &RamOptions::default()).unwrap(),
        }
    }
}

/// A process that uses an image.
struct Run {
    /// The file's bytes at its start.
    before: Vec<u8>,
    log: Log,
    executor: ImageExecutor,
    ram: GuestRam,
}

/// What is known of a sector from one write of the file on.
#[derive(Debug, Clone)]
enum Known {
    /// It may read like this as well.
    May(u64, u64),
    /// It reads as it was made to read last.
    Is(u64, BTreeSet<u64>),
}

/// A thread of it with sectors of its own.
struct User<'a> {
    run: &'a Run,
    buffers: Buffers,
    /// Its place in RAM.
    address: u64,
    first: u64,
    /// Of each sector, from `first` on: numbers that it may be filled with once a flush has ended.
    now: Vec<BTreeSet<u64>>,
    /// With the number of writes that the file had seen.
    events: Vec<(usize, Known)>,
    next: u64,
}

#[derive(Debug, Clone)]
enum Action {
    Write(u64, u64),
    Zero(u64, u64, bool),
    Discard(u64, u64),
    Flush,
}

impl<'a> User<'a> {
    fn new(run: &'a Run, index: u64, first: u64, now: Vec<BTreeSet<u64>>) -> Self {
        Self {
            run,
            buffers: Buffers::new(run.ram.clone()),
            address: index << 20,
            first,
            now,
            events: Vec::new(),
            next: (index + 1) << 32,
        }
    }

    fn at(&self) -> usize {
        self.run.log.lock().unwrap().len()
    }

    fn may(&mut self, sector: u64, count: u64, number: u64, certain: bool) {
        let at = self.at();
        for sector in sector..sector + count {
            self.events
                .push((at, Known::May(self.first + sector, number)));
            let now = &mut self.now[usize::try_from(sector).unwrap()];
            if certain {
                now.clear();
            }
            now.insert(number);
        }
    }

    fn act(&mut self, action: &Action) {
        let mut segments = Vec::new();
        let (op, sector, count) = match *action {
            Action::Write(sector, count) => {
                self.next += 1;
                let mut data = Vec::new();
                data.resize_with(usize::try_from(count * SECTOR / 8).unwrap(), || {
                    self.next.to_le_bytes()
                });
                assert!(self.run.ram.write(self.address, data.as_flattened()));
                segments.push(Segment {
                    address: self.address,
                    len: u32::try_from(count * SECTOR).unwrap(),
                });
                self.may(sector, count, self.next, true);
                (StorageOp::Write, sector, count)
            }
            Action::Zero(sector, count, unmap) => {
                self.may(sector, count, 0, true);
                (StorageOp::WriteZeroes { unmap }, sector, count)
            }
            Action::Discard(sector, count) => {
                self.may(sector, count, 0, false);
                (StorageOp::Discard, sector, count)
            }
            Action::Flush => (StorageOp::Flush, 0, 0),
        };
        if segments.is_empty() {
            self.buffers.set_none();
        } else {
            self.buffers.set_guest(&segments, Fit::Copied).unwrap();
        }
        let mut task = Task::new(0, op, (self.first + sector) * SECTOR, count * SECTOR);
        let executor = &self.run.executor;
        executor.execute(&mut task, &mut self.buffers).unwrap();
        if matches!(action, Action::Flush) {
            let at = self.at();
            for (sector, now) in (self.first..).zip(&self.now) {
                self.events.push((at, Known::Is(sector, now.clone())));
            }
        }
    }
}

/// Cuts the log after each sector, and looks at what the file is then. `known` is what was stored before.
fn check_every_cut(
    before: Vec<u8>,
    log: &[(u64, Vec<u8>)],
    mut known: Vec<BTreeSet<u64>>,
    mut events: Vec<(usize, Known)>,
) -> Vec<BTreeSet<u64>> {
    events.sort_by_key(|(at, _)| *at);
    let mut events = events.into_iter().peekable();
    let mut file = before;
    for (at, (offset, data)) in log.iter().enumerate() {
        while let Some((_, event)) = events.next_if(|(from, _)| *from <= at) {
            learn(&mut known, event);
        }
        for (piece, data) in data.chunks(512).enumerate() {
            let start = usize::try_from(*offset).unwrap() + piece * 512;
            let end = start + data.len();
            if file.len() < end {
                file.resize(end, 0);
            }
            file[start..end].copy_from_slice(data);
            look(&file, &known).unwrap_or_else(|wrong| {
                panic!("write {at} of {} at {start:#x}: {wrong}", log.len())
            });
        }
    }
    for (_, event) in events {
        learn(&mut known, event);
    }
    look(&file, &known).unwrap();
    known
}

fn learn(known: &mut [BTreeSet<u64>], event: Known) {
    match event {
        Known::May(sector, number) => {
            known[usize::try_from(sector).unwrap()].insert(number);
        }
        Known::Is(sector, numbers) => known[usize::try_from(sector).unwrap()] = numbers,
    }
}

fn look(file: &[u8], known: &[BTreeSet<u64>]) -> Result<(), String> {
    let mut check = Check::new(file);
    check.run()?;
    for (sector, may) in (0..).zip(known) {
        let Some(data) = check.sector(sector) else {
            continue;
        };
        let (numbers, _) = data.as_chunks();
        let number = u64::from_le_bytes(numbers[0]);
        if !may.contains(&number) || numbers.iter().any(|other| *other != numbers[0]) {
            return Err(format!("sector {sector} has {number:#x}, not {may:x?}"));
        }
    }
    Ok(())
}

/// What a new disk has.
fn zeros(sectors: u64) -> Vec<BTreeSet<u64>> {
    vec![BTreeSet::from([0]); usize::try_from(sectors).unwrap()]
}
