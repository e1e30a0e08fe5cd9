//! Block device: a disk.
//!
//! Source: OASIS, Virtual I/O Device (VIRTIO) Version 1.3, 5.2.
//!
//! | feature | offered | |
//! |---|---|---|
//! | SEG_MAX | always | what a queue of the largest size can hold without indirect descriptors |
//! | BLK_SIZE | always | 512 bytes |
//! | TOPOLOGY | always | the storage's physical block |
//! | FLUSH | always | without it, each write is flushed before it ends |
//! | RO | when the storage is read-only | |
//! | MQ | with more than one queue | |
//! | DISCARD, WRITE_ZEROES | when the storage can, and is not read-only | one range a request, of 2 GiB at most |
//!
//! | request | effect | IOERR | UNSUPP |
//! |---|---|---|---|
//! | IN, OUT | moves sectors between disk and guest RAM | beyond the capacity, not whole sectors, a write to a read-only disk | |
//! | FLUSH | writes that have ended are stable | | |
//! | GET_ID | the serial number, 20 bytes, padded with NULs | less than 20 bytes to write to | |
//! | DISCARD | the contents are not needed any more | as IN; not one range; more than 2 GiB | unknown flags, or unmap |
//! | WRITE_ZEROES | zeros, and the storage is given back if unmap is set | as DISCARD | unknown flags |
//! | others, and those whose feature was not accepted | | | always |
//!
//! What the storage does not manage, also because a segment is not RAM, is IOERR. A transfer of no bytes succeeds. A
//! buffer without room for header and status cannot be answered: the device then needs a reset.
//!
//! A request's framing says nothing (2.7.4): the first 16 readable bytes are the header, the last writable one is the
//! status. The length in the used ring counts the bytes that are sure to be written from the front on (2.7.8.2): after a
//! read that failed it is 0, although the status behind the data is written.
//!
//! Requests are handed to the storage in the order of each queue, all that there are, and begun together; what the
//! storage has done by then is given back in the same turn, with one interrupt a queue. When the storage is busy, the
//! rest waits in the queue for the next completion.
//!
//! To stop, pause or reset waits until the storage has ended what it has ([`Storage::drain`]): a disk that hangs holds
//! up who resets it, for its requests may still write to guest RAM. What a storage never tells of is given back as IOERR.
//!
//! **Not modelled**: the switch between write-back and write-through (CONFIG_WCE), life time, secure erase, zones,
//! SCSI commands, drive geometry.
//!
//! **Relied on by**: Linux (`virtio_blk`), the `virtio-drivers` crate.

mod config;
mod core;
mod flight;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use trivisor_buses::{
    Completion, Geometry, RestoreError, SavedState, Segment, Storage, StorageBusy, StorageOp,
    StorageRequest,
};
use trivisor_memory::GuestRam;
use trivisor_virtio_device::{Chain, DeviceType, Io, QueueError, VirtioDevice};

pub use self::config::{BlockError, BlockOptions, LEAST_QUEUE_SIZE, MAX_QUEUES};
use self::core::{Disk, Job, Request};
use self::flight::{Flight, Pending, QueueSet};
use self::regs::{Features, Header, Range, SECTOR, Status};
pub use self::state::BlockStateV1;

/// What became of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockCounters {
    /// Reads that the storage was given.
    pub reads: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// Writes that the storage was given, of zeros too.
    pub writes: u64,
    /// Their bytes.
    pub written_bytes: u64,
    /// Flushes that the storage was given, without those behind writes.
    pub flushes: u64,
    /// Discards that the storage was given.
    pub discards: u64,
    /// Requests that the storage was not given: the guest asked for what cannot be.
    pub refused: u64,
    /// Requests that the storage did not manage.
    pub failed: u64,
    /// Times that the storage was busy.
    pub busy: u64,
}

/// A disk.
pub struct Block {
    // Configuration.
    options: BlockOptions,
    offered: Features,
    queue_sizes: Vec<u16>,
    geometry: Geometry,
    // Wiring.
    storage: Box<dyn Storage>,
    // Guest-visible state.
    disk: Disk,
    /// The capacity was restored, and may have changed since.
    restored: bool,
    // Work, none of it across a pause.
    chain: Chain,
    segments: Vec<Segment>,
    flight: Flight,
    /// Writes that have ended and wait for their flush, by what the storage calls them.
    unflushed: Vec<u64>,
    /// Queues whose next request the storage had no room for.
    blocked: QueueSet,
    /// Queues with used buffers that the driver has not been told of.
    used: QueueSet,
    /// Something was submitted and not started.
    submitted: bool,
    counters: BlockCounters,
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block")
            .field("options", &self.options)
            .field("disk", &self.disk)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Block {
    /// A disk with what `storage` holds.
    ///
    /// # Errors
    /// When options or storage are none that a disk can have.
    pub fn new(options: BlockOptions, storage: Box<dyn Storage>) -> Result<Self, BlockError> {
        let geometry = storage.geometry();
        options.check(&geometry)?;
        let queue_sizes = vec![options.queue_size; options.queues.into()];
        let most = queue_sizes.iter().map(|size| usize::from(*size)).sum();
        Ok(Self {
            offered: options.features(&geometry),
            queue_sizes,
            disk: Disk {
                capacity: geometry.capacity / SECTOR,
                read_only: geometry.read_only,
            },
            geometry,
            options,
            storage,
            restored: false,
            chain: Chain::default(),
            segments: Vec::new(),
            flight: Flight::new(most),
            unflushed: Vec::new(),
            blocked: QueueSet::default(),
            used: QueueSet::default(),
            submitted: false,
            counters: BlockCounters::default(),
        })
    }

    /// What became of requests so far.
    #[must_use]
    pub const fn counters(&self) -> BlockCounters {
        self.counters
    }

    /// The host has changed the storage's capacity: the driver is told of the new one.
    pub fn resize(&mut self, io: &mut Io<'_>) {
        let capacity = self.storage.geometry().capacity / SECTOR;
        if std::mem::replace(&mut self.disk.capacity, capacity) != capacity {
            io.config_changed();
        }
    }

    /// Hands over what the driver made available in `queues` and gives back what has ended, until the storage has no
    /// more to tell. No driver can make more available than its queues hold before it is told of used buffers; one that
    /// does so nevertheless has to ring again.
    fn serve(&mut self, mut queues: QueueSet, io: &mut Io<'_>) {
        let mut left = self.flight.most();
        loop {
            while let Some(queue) = queues.pop() {
                self.take_requests(queue, &mut left, io);
            }
            self.start();
            if !self.give_back(io) {
                break;
            }
            queues = std::mem::take(&mut self.blocked);
        }
        self.publish(io);
    }

    /// Submits up to `left` requests of a queue.
    fn take_requests(&mut self, queue: u16, left: &mut usize, io: &mut Io<'_>) {
        self.blocked.remove(queue);
        io.want_notifications(queue, false);
        loop {
            while *left > 0 && io.pop(queue, &mut self.chain) {
                if self.begin(queue, io).is_err() {
                    self.counters.busy += 1;
                    io.unpop(queue, &self.chain);
                    self.blocked.insert(queue);
                    return;
                }
                *left -= 1;
            }
            // True: the driver was faster than our wish to hear of the next one.
            if !io.want_notifications(queue, true) || *left == 0 {
                return;
            }
        }
    }

    /// Begins the request in `self.chain`, or answers it at once.
    fn begin(&mut self, queue: u16, io: &mut Io<'_>) -> Result<(), StorageBusy> {
        let (request, status) = match read_request(&self.chain, io.ram()) {
            Ok(read) => read,
            Err(error) => {
                io.fail(queue, error);
                return Ok(());
            }
        };
        let features = Features::from_bits(io.features());
        let (chain, ram) = (&self.chain, io.ram());
        let range = || {
            let mut bytes = [0; Range::LEN];
            chain.read(ram, Header::LEN as u64, &mut bytes).ok()?;
            Some(Range::parse(bytes))
        };
        let job = self.disk.job(request, features, range);
        let pending = Pending {
            queue,
            id: chain.id(),
            done: request.written(job.map_or(0, Job::fills)),
            failed: request.written(0),
            status,
            flush: job.is_ok_and(Job::is_write) && !features.flush(),
        };
        let answer = match job {
            Ok(Job::Storage { op, offset, len }) => match self.submit(pending, op, offset, len)? {
                Ok(()) => return Ok(()),
                Err(_not_ram) => Status::IoErr,
            },
            Ok(Job::Identify) => match chain.write(ram, 0, &self.options.id()) {
                Ok(()) => Status::Ok,
                Err(_not_ram) => Status::IoErr,
            },
            Ok(Job::Nothing) => Status::Ok,
            Err(status) => status,
        };
        self.counters.refused += u64::from(answer != Status::Ok);
        self.finish(&pending, answer, io);
        Ok(())
    }

    /// Gives the storage a request whose data stands in `self.chain`.
    fn submit(
        &mut self,
        pending: Pending,
        op: StorageOp,
        offset: u64,
        len: u64,
    ) -> Result<Result<(), QueueError>, StorageBusy> {
        self.segments.clear();
        let segments = &mut self.segments;
        let framed = match op {
            StorageOp::Read => self.chain.writable_range(0, len, segments),
            StorageOp::Write => {
                let header = Header::LEN as u64;
                self.chain.readable_range(header, len, segments)
            }
            StorageOp::Flush | StorageOp::Discard | StorageOp::WriteZeroes { .. } => Ok(()),
        };
        if framed.is_err() {
            return Ok(framed);
        }
        let id = self.flight.insert(pending).ok_or(StorageBusy)?;
        let request = StorageRequest {
            id,
            op,
            offset,
            len,
            segments: &self.segments,
        };
        if let Err(busy) = self.storage.submit(&request) {
            self.flight.remove(id);
            return Err(busy);
        }
        self.submitted = true;
        self.counters.count(op, len);
        Ok(Ok(()))
    }

    /// Lets the storage begin what it was given, with the flushes that are due.
    fn start(&mut self) {
        while let Some(id) = self.unflushed.last() {
            let flush = StorageRequest {
                id: *id,
                op: StorageOp::Flush,
                offset: 0,
                len: 0,
                segments: &[],
            };
            if self.storage.submit(&flush).is_err() {
                break;
            }
            self.submitted = true;
            self.unflushed.pop();
        }
        if std::mem::take(&mut self.submitted) {
            self.storage.start();
        }
    }

    /// Answers what the storage has ended; whether there was anything.
    fn give_back(&mut self, io: &mut Io<'_>) -> bool {
        let mut any = false;
        while let Some(Completion { id, result }) = self.storage.complete() {
            let Some(pending) = self.flight.get_mut(id) else {
                continue;
            };
            any = true;
            if result.is_ok() && std::mem::take(&mut pending.flush) {
                self.unflushed.push(id);
                continue;
            }
            if let Some(pending) = self.flight.remove(id) {
                self.counters.failed += u64::from(result.is_err());
                let status = result.map_or(Status::IoErr, |()| Status::Ok);
                self.finish(&pending, status, io);
            }
        }
        any
    }

    /// Gives one buffer back to the driver, which is told of it later.
    fn finish(&mut self, pending: &Pending, status: Status, io: &mut Io<'_>) {
        let Pending { queue, id, .. } = *pending;
        if io.ram().write(pending.status, &[status as u8]) {
            let failed = status != Status::Ok;
            io.push(
                queue,
                id,
                if failed { pending.failed } else { pending.done },
            );
            self.used.insert(queue);
        } else {
            let (what, address) = ("the status of a request", pending.status);
            io.fail(queue, QueueError::NotRam { what, address });
        }
    }

    fn publish(&mut self, io: &mut Io<'_>) {
        while let Some(queue) = self.used.pop() {
            io.publish(queue);
        }
    }

    /// Waits until the storage has nothing of ours.
    fn settle(&mut self, io: &mut Io<'_>) {
        while !self.flight.is_empty() {
            self.start();
            self.storage.drain();
            if !self.give_back(io) {
                break;
            }
        }
        self.unflushed.clear();
        while let Some(lost) = self.flight.remove_any() {
            self.counters.failed += 1;
            self.finish(&lost, Status::IoErr, io);
        }
        self.publish(io);
    }
}

impl BlockCounters {
    const fn count(&mut self, op: StorageOp, bytes: u64) {
        match op {
            StorageOp::Read => {
                self.reads += 1;
                self.read_bytes += bytes;
            }
            StorageOp::Write | StorageOp::WriteZeroes { .. } => {
                self.writes += 1;
                self.written_bytes += bytes;
            }
            StorageOp::Flush => self.flushes += 1,
            StorageOp::Discard => self.discards += 1,
        }
    }
}

/// What stands in a buffer, and the address of its status.
fn read_request(chain: &Chain, ram: &GuestRam) -> Result<(Request, u64), QueueError> {
    let mut header = [0; Header::LEN];
    chain.read(ram, 0, &mut header)?;
    let len = chain.writable_len();
    let last = chain.writable().last().copied().unwrap_or_default();
    let address = last.address.checked_add(last.len.saturating_sub(1).into());
    let (in_len, address) = len.checked_sub(1).zip(address).ok_or_else(|| {
        let (id, wanted) = (chain.id(), 1);
        QueueError::Short { id, len, wanted }
    })?;
    let request = Request {
        header: Header::parse(header),
        out_len: chain.readable_len().saturating_sub(Header::LEN as u64),
        in_len,
    };
    Ok((request, address))
}

impl VirtioDevice for Block {
    fn device_type(&self) -> DeviceType {
        DeviceType::Block
    }

    fn features(&self) -> u64 {
        self.offered.into_bits()
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.queue_sizes
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        let space = self.options.space(&self.disk, &self.geometry);
        let mut rest = space.get(offset..).unwrap_or_default().iter();
        data.fill_with(|| rest.next().copied().unwrap_or(0));
    }

    fn notify(&mut self, queue: u16, io: &mut Io<'_>) {
        self.serve(QueueSet::of(queue), io);
    }

    fn wake(&mut self, io: &mut Io<'_>) -> bool {
        if std::mem::take(&mut self.restored) {
            self.resize(io);
        }
        self.give_back(io);
        let blocked = std::mem::take(&mut self.blocked);
        self.serve(blocked, io);
        false
    }

    fn pause(&mut self, io: &mut Io<'_>) {
        self.stop(None, io);
    }

    fn stop(&mut self, queue: Option<u16>, io: &mut Io<'_>) {
        self.settle(io);
        let mut others = std::mem::take(&mut self.blocked);
        if let Some(queue) = queue {
            // No completion is to come, so nobody else would look at them.
            others.remove(queue);
            self.serve(others, io);
        }
    }

    fn reset(&mut self) {
        self.disk.capacity = self.storage.geometry().capacity / SECTOR;
        self.restored = false;
    }

    fn save(&self) -> SavedState {
        let capacity = self.disk.capacity;
        SavedState::encode(state::KIND, state::VERSION, &BlockStateV1 { capacity })
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let BlockStateV1 { capacity } = state.decode(state::KIND, state::VERSION)?;
        self.disk.capacity = capacity;
        self.restored = true;
        Ok(())
    }
}
