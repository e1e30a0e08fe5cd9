//! What stands behind a disk: blocks by number, moved without waiting.

use std::io;

use crate::segment::Segment;

/// What a disk is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageOp {
    /// From the disk into the segments.
    Read,
    /// From the segments to the disk.
    Write,
    /// What was written before it was begun is stored when this ends.
    Flush,
    /// The contents of the range are not needed any more.
    Discard,
    /// The range reads zeros from now on.
    WriteZeroes {
        /// The storage may be given back.
        unmap: bool,
    },
}

/// One request. It may end after, before or together with others.
#[derive(Debug, Clone, Copy)]
pub struct StorageRequest<'a> {
    /// What its completion will be called; unique among those under way.
    pub id: u64,
    /// What is to be done.
    pub op: StorageOp,
    /// The first byte on the disk; a multiple of 512. 0 for a flush.
    pub offset: u64,
    /// Bytes; those of the segments together for a read or write. 0 for a flush.
    pub len: u64,
    /// Guest RAM, for a read or write. Need not live longer than the call.
    pub segments: &'a [Segment],
}

/// Bytes of a [`BufferRequest`] at most.
pub const MAX_BUFFER: usize = 128 << 10;

/// A read or write between the disk and memory of the device, for what does not go to guest RAM as it is. The buffer
/// moves into the request, and comes back with its completion.
#[derive(Debug)]
pub struct BufferRequest {
    /// What its completion will be called; unique among those under way, those with segments included.
    pub id: u64,
    /// [`StorageOp::Read`] or [`StorageOp::Write`]; another fails.
    pub op: StorageOp,
    /// The first byte on the disk; a multiple of 512.
    pub offset: u64,
    /// The data: a multiple of 512 bytes, [`MAX_BUFFER`] at most.
    pub buffer: Vec<u8>,
}

/// The end of a request.
#[derive(Debug)]
pub struct Completion {
    /// The request.
    pub id: u64,
    /// Whether all of it was done: a short transfer is an error.
    pub result: io::Result<()>,
    /// The buffer of a [`BufferRequest`]; empty for others. After an error, what it holds is not defined.
    pub buffer: Vec<u8>,
}

impl Completion {
    /// The end of a request that had segments, or no data.
    #[must_use]
    pub const fn new(id: u64, result: io::Result<()>) -> Self {
        let buffer = Vec::new();
        Self { id, result, buffer }
    }
}

/// As many requests are under way as the storage can take: try again after a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the storage takes no more requests for now")]
pub struct StorageBusy;

/// What a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Bytes; a multiple of 512.
    pub capacity: u64,
    /// No writes.
    pub read_only: bool,
    /// Bytes of the smallest transfer that costs no more than itself: a power of two, 512 or more.
    pub physical_block: u32,
    /// Discard and write-zeroes are more than an error.
    pub can_discard: bool,
}

/// An image behind a disk. No method but [`drain`](Self::drain) waits for the host.
///
/// A descriptor that becomes readable with each completion belongs to it; who makes the storage hands that to
/// the machine's event loop beside the device, see [`Source`](crate::Source).
pub trait Storage: Send {
    /// What it is; the capacity may change while it is used.
    fn geometry(&self) -> Geometry;

    /// Takes a request. It may be held until [`start`](Self::start).
    ///
    /// # Errors
    /// When no more requests can be taken now.
    fn submit(&mut self, request: &StorageRequest<'_>) -> Result<(), StorageBusy>;

    /// Takes a request whose data is memory of the device. It may be held until [`start`](Self::start).
    ///
    /// # Errors
    /// The request, when no more can be taken now.
    fn submit_buffer(&mut self, request: BufferRequest) -> Result<(), BufferRequest>;

    /// Begins all that was submitted.
    fn start(&mut self);

    /// The next request that has ended.
    fn complete(&mut self) -> Option<Completion>;

    /// Waits until everything under way has ended; the completions are still to be fetched.
    fn drain(&mut self);
}

/// Why a disc is not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DiscError {
    /// There is no such drive.
    #[error("no drive for discs is there")]
    NoDrive,
    /// The guest uses the disc, and has been asked to let it go.
    #[error("the guest has locked the tray, and was asked to let the disc go")]
    Locked,
}

/// A drive whose disc somebody changes who stands before the machine.
pub trait DiscDrive: Send + Sync {
    /// Takes the disc out, or lays another one in: by force, or when the guest has not locked the tray; else the guest
    /// is asked to let it go. What stands behind the disc has to wake the drive.
    ///
    /// # Errors
    /// When the tray is locked.
    fn change_disc(&self, disc: Option<Box<dyn Storage>>, force: bool) -> Result<(), DiscError>;
}
