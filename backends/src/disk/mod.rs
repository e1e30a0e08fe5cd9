//! Disks: what stands behind a device as [`Storage`].
//!
//! [`open`] finds the files of an image, in the process that knows names. A [`Disk`] is made of them, in the process of
//! the VM, which opens nothing. It takes requests and moves data between the files and guest RAM:
//!
//! | image | by | threads |
//! |---|---|---|
//! | raw, block device | io_uring | none |
//! | the same, where the host forbids io_uring | `preadv`, `pwritev`, `fallocate`, `fdatasync` | [`Worker`]s |
//! | qcow2 with its backing files, vmdk (read only) | the crate imago, through a copy | [`Worker`]s |
//!
//! **Events.** The descriptor of [`Parts::event`] becomes readable when a request ends, and is made for an
//! edge-triggered event loop: nobody has to read it. What ends within [`start`](Storage::start) or
//! [`submit`](Storage::submit) already, as a read does that finds its data in the page cache, need not raise it: fetch
//! completions after each `start` until there are none.
//!
//! **Ordering.** A flush covers the writes whose completion was fetched before it was submitted.

mod event;
mod format;
mod image_mover;
mod limited;
mod manage;
mod open;
mod options;
mod pool;
mod qcow2_header;
mod qcow2_order;
mod raw;
mod ring_mover;
mod task;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use thiserror::Error;
use trivisor_buses::{
    BufferRequest, Completion, Geometry, Storage, StorageBusy, StorageOp, StorageRequest,
};
use trivisor_memory::GuestRam;

pub use format::{Format, UnknownFormat};
pub use limited::Limited;
pub use manage::{Info, ManageError, convert, create, info, peek};
pub use open::{OpenError, OpenOptions, Opened, open};
pub use options::{Cache, DiskOptions, Engine};
pub use pool::Worker;
pub(crate) use qcow2_order::{Blocks, Order};
pub use writer::Writer;

use crate::sys::buffers::{Buffers, Fit};
use image_mover::ImageExecutor;
use pool::Pool;
use raw::RawExecutor;
use ring_mover::RingMover;
use task::{Task, Work};
use writer::Writes;

/// An image that cannot be a disk.
#[derive(Debug, Error)]
pub enum DiskError {
    /// Empty, or a part of a sector at its end.
    #[error("its {size} bytes are not a positive multiple of the sector of 512 bytes")]
    Size {
        /// Bytes of the image.
        size: u64,
    },
    /// The host does not say what it is.
    #[error("its size cannot be read")]
    Metadata(#[source] io::Error),
    /// Direct I/O works on larger blocks than a guest's sector, or (0) not at all.
    #[error("direct I/O needs blocks of {block} bytes there, a disk has sectors of 512")]
    Direct {
        /// Bytes; 0 if the file system has no direct I/O.
        block: u32,
    },
    /// Not what its format says.
    #[error("it is no valid {format} image")]
    Image {
        /// Its format.
        format: Format,
        /// What is wrong.
        source: io::Error,
    },
    /// No ring for another reason than that the host forbids it, or no descriptor.
    #[error("the host gives no means to read and write it")]
    Host(#[source] io::Error),
}

/// A disk, and what its owner has to run it.
#[derive(Debug)]
#[must_use]
pub struct Parts {
    /// The disk.
    pub disk: Disk,
    /// Becomes readable when requests have ended: belongs into the event loop, see [`trivisor_buses::Source`].
    pub event: OwnedFd,
    /// To be run in a thread each; none where io_uring serves.
    pub workers: Vec<Worker>,
    /// Where io_uring serves, what writes to the page cache: work of the thread that watches `event` and gives the
    /// device its turns. Without it io_uring does that, too, which takes longer on some file systems.
    pub writer: Option<Writer>,
}

/// An image behind a disk.
#[derive(Debug)]
pub struct Disk {
    geometry: Geometry,
    cache: Cache,
    depth: usize,
    fit: Fit,
    ram: GuestRam,
    event: Arc<OwnedFd>,
    mover: Mover,
    /// Those of the requests that are for the writer, where there is one.
    writes: Option<Writes>,
    /// Requests that `mover` has.
    under_way: usize,
    /// Ended and not fetched.
    ended: VecDeque<Completion>,
    /// For the next requests.
    #[expect(clippy::vec_box, reason = "they go from queue to queue, boxed")]
    spare: Vec<Box<Buffers>>,
}

/// Who moves the data.
#[derive(Debug)]
enum Mover {
    Ring(Box<RingMover>),
    Pool(Pool),
}

impl Disk {
    /// A raw image or block device. `file` is open for reading, and for writing unless `options` say read-only; with
    /// `O_DIRECT` if the host's page cache is not to be used. `ram` is where the segments of requests lie.
    ///
    /// # Errors
    /// When it is no whole number of sectors, does not fit direct I/O, or the host refuses.
    pub fn raw(file: File, ram: GuestRam, options: &DiskOptions) -> Result<Parts, DiskError> {
        let geometry = raw::geometry(&file, options.read_only)?;
        let fit = raw::fit(&file)?;
        let event = Arc::new(event::new().map_err(DiskError::Host)?);
        let ring = match options.engine {
            Engine::Threads => None,
            Engine::Auto => {
                RingMover::new(&file, &event, options.depth()).map_err(DiskError::Host)?
            }
        };
        let Some(ring) = ring else {
            let executor = Box::new(RawExecutor(file));
            let (pool, workers) = Pool::new(executor, Arc::clone(&event), options.workers.max(1));
            let mover = Mover::Pool(pool);
            return Self::parts(geometry, fit, ram, options, event, mover, workers);
        };
        let mover = Mover::Ring(Box::new(ring));
        let mut parts = Self::parts(geometry, fit, ram, options, event, mover, Vec::new())?;
        // Direct I/O does not wait.
        if fit == Fit::Any && !options.read_only {
            let (writes, writer) = Writes::new(file);
            parts.disk.writes = Some(writes);
            parts.writer = Some(writer);
        }
        Ok(parts)
    }

    /// An image of any format, see [`open`].
    ///
    /// # Errors
    /// As [`raw`](Self::raw); or the image is not what its format says.
    pub fn image(image: Opened, ram: GuestRam, options: &DiskOptions) -> Result<Parts, DiskError> {
        let options = DiskOptions {
            read_only: options.read_only || image.read_only,
            ..*options
        };
        let format = image.format();
        let image = match image.into_raw() {
            Ok(file) => return Self::raw(file, ram, &options),
            Err(image) => image,
        };
        let (access, order) = image
            .access()
            .map_err(|source| DiskError::Image { format, source })?;
        let geometry = Geometry {
            capacity: raw::checked_size(access.size())?,
            read_only: options.read_only,
            physical_block: 4096,
            can_discard: !options.read_only,
        };
        let event = Arc::new(event::new().map_err(DiskError::Host)?);
        let executor = Box::new(ImageExecutor::new(access, order));
        let (pool, workers) = Pool::new(executor, Arc::clone(&event), options.workers.max(1));
        let mover = Mover::Pool(pool);
        Self::parts(geometry, Fit::Copied, ram, &options, event, mover, workers)
    }

    fn parts(
        geometry: Geometry,
        fit: Fit,
        ram: GuestRam,
        options: &DiskOptions,
        event: Arc<OwnedFd>,
        mover: Mover,
        workers: Vec<Worker>,
    ) -> Result<Parts, DiskError> {
        let outer = event.try_clone().map_err(DiskError::Host)?;
        let disk = Self {
            geometry,
            cache: options.cache,
            depth: options.depth() as usize,
            fit,
            ram,
            event,
            mover,
            writes: None,
            under_way: 0,
            ended: VecDeque::new(),
            spare: Vec::new(),
        };
        Ok(Parts {
            disk,
            event: outer,
            workers,
            writer: None,
        })
    }

    /// The request's memory; none when there is nothing to do.
    fn admit(&mut self, request: &StorageRequest<'_>) -> io::Result<Option<Box<Buffers>>> {
        task::check(&self.geometry, request)?;
        let nothing = match request.op {
            StorageOp::Flush => self.geometry.read_only || self.cache == Cache::Unsafe,
            _ => request.len == 0,
        };
        if nothing {
            return Ok(None);
        }
        let mut buffers = self.spare_buffers();
        let set = match request.op {
            StorageOp::Read | StorageOp::Write => buffers.set_guest(request.segments, self.fit),
            _ => {
                buffers.set_none();
                Ok(())
            }
        };
        match set {
            Ok(()) => Ok(Some(buffers)),
            Err(error) => {
                self.spare.push(buffers);
                Err(error)
            }
        }
    }

    /// Lets the ring have what the writer has not begun.
    fn write_by_ring(&mut self) {
        let (Some(writes), Mover::Ring(ring)) = (&mut self.writes, &mut self.mover) else {
            return;
        };
        let mut any = false;
        while let Some((buffers, task)) = writes.withdraw() {
            any = true;
            if let Err((mut buffers, task)) = ring.push(buffers, task) {
                self.under_way -= 1;
                let buffer = buffers.take_own();
                self.spare.push(buffers);
                let (id, result) = (task.id, Err(Errno::IO.into()));
                self.ended.push_back(Completion { id, result, buffer });
            }
        }
        if any {
            ring.start(&self.event);
        }
    }

    fn spare_buffers(&mut self) -> Box<Buffers> {
        let spare = self.spare.pop();
        spare.unwrap_or_else(|| Box::new(Buffers::new(self.ram.clone())))
    }

    /// Hands a request to the mover; gives it back when the host takes nothing any more.
    fn push(&mut self, buffers: Box<Buffers>, task: Task) -> Result<(), Box<Buffers>> {
        if task.work == Work::Write
            && let Some(writes) = self.writes.as_mut().filter(|writes| writes.takes())
        {
            writes.push((buffers, task));
        } else {
            match &mut self.mover {
                Mover::Pool(pool) => pool.push(buffers, task),
                Mover::Ring(ring) => {
                    ring.push(buffers, task)
                        .map_err(|(buffers, _task)| buffers)?;
                }
            }
        }
        self.under_way += 1;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.under_way + self.ended.len() >= self.depth
    }

    /// The next request that the mover has ended.
    fn fetch(&mut self) -> Option<Completion> {
        let written = self.writes.as_mut().and_then(Writes::next);
        let ((mut buffers, task), result) = match (written, &mut self.mover) {
            (Some(written), _) => written,
            (None, Mover::Ring(ring)) => ring.next(&self.event)?,
            (None, Mover::Pool(pool)) => pool.next()?,
        };
        self.under_way -= 1;
        if task.work == Work::Read {
            buffers.mark_dirty();
        }
        let buffer = buffers.take_own();
        self.spare.push(buffers);
        let id = task.id;
        Some(Completion { id, result, buffer })
    }
}

impl Storage for Disk {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn submit(&mut self, request: &StorageRequest<'_>) -> Result<(), StorageBusy> {
        if self.is_full() {
            return Err(StorageBusy);
        }
        let StorageRequest {
            id,
            op,
            offset,
            len,
            ..
        } = *request;
        let result = match self.admit(request) {
            Ok(Some(buffers)) => match self.push(buffers, Task::new(id, op, offset, len)) {
                Ok(()) => return Ok(()),
                Err(buffers) => {
                    self.spare.push(buffers);
                    Err(Errno::IO.into())
                }
            },
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        self.ended.push_back(Completion::new(id, result));
        Ok(())
    }

    fn submit_buffer(&mut self, request: BufferRequest) -> Result<(), BufferRequest> {
        if self.is_full() {
            return Err(request);
        }
        let checked = task::check_buffer(&self.geometry, &request);
        let BufferRequest {
            id,
            op,
            offset,
            buffer,
        } = request;
        let len = buffer.len() as u64;
        let (result, buffer) = if checked.is_err() || len == 0 {
            (checked, buffer)
        } else {
            let mut buffers = self.spare_buffers();
            buffers.set_own(buffer, self.fit);
            match self.push(buffers, Task::new(id, op, offset, len)) {
                Ok(()) => return Ok(()),
                Err(mut buffers) => {
                    let buffer = buffers.take_own();
                    self.spare.push(buffers);
                    (Err(Errno::IO.into()), buffer)
                }
            }
        };
        self.ended.push_back(Completion { id, result, buffer });
        Ok(())
    }

    fn start(&mut self) {
        match &mut self.mover {
            Mover::Ring(ring) => ring.start(&self.event),
            Mover::Pool(pool) => pool.start(),
        }
    }

    fn complete(&mut self) -> Option<Completion> {
        if self.writes.as_ref().is_some_and(Writes::is_late) {
            self.write_by_ring();
        }
        self.ended.pop_front().or_else(|| self.fetch())
    }

    fn drain(&mut self) {
        self.start();
        // The writer may be the thread that waits here.
        self.write_by_ring();
        if let Some(writes) = &self.writes {
            writes.wait();
        }
        while let Some(completion) = self.fetch() {
            self.ended.push_back(completion);
        }
        while self.under_way > 0 {
            match &mut self.mover {
                Mover::Ring(ring) => ring.wait(),
                Mover::Pool(pool) => pool.wait(),
            }
            while let Some(completion) = self.fetch() {
                self.ended.push_back(completion);
            }
        }
    }
}
