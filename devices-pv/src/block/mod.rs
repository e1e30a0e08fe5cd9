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
mod counters;
mod flight;
pub mod regs;
mod serve;
mod state;

#[cfg(test)]
mod tests;

use trivisor_buses::{Geometry, RestoreError, SavedState, Segment, Storage};
use trivisor_virtio_device::{Chain, DeviceType, Io, VirtioDevice, read_config_bytes};

pub use self::config::{BlockError, BlockOptions, LEAST_QUEUE_SIZE, MAX_QUEUES};
use self::core::Disk;
pub use self::counters::BlockCounters;
use self::flight::{Flight, QueueSet};
pub use self::regs::ID_LEN;
use self::regs::{Features, SECTOR};
pub use self::state::BlockStateV1;

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
        read_config_bytes(&space, offset, data);
    }

    fn wants_bells(&self) -> bool {
        true
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
