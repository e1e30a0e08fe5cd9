//! A disk in memory, whose requests end when the test says.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trivisor_memory::GuestRam;

use crate::segment::Segment;
use crate::storage::{
    BufferRequest, Completion, Geometry, Storage, StorageBusy, StorageOp, StorageRequest,
};

/// A disk in memory. Its clones are the same disk: one for the device, one for the test.
#[derive(Debug, Clone)]
pub struct MemoryStorage(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    ram: GuestRam,
    geometry: Geometry,
    /// What reads see, and what is left after the power was cut.
    bytes: Vec<u8>,
    stable: Vec<u8>,
    submitted: VecDeque<Held>,
    begun: VecDeque<Held>,
    ended: VecDeque<Completion>,
    seen: Vec<(StorageOp, u64, u64)>,
    starts: usize,
    // How it misbehaves.
    hold: bool,
    most: usize,
    failure: Option<io::ErrorKind>,
    loses: bool,
}

#[derive(Debug)]
struct Held {
    id: u64,
    op: StorageOp,
    offset: u64,
    len: u64,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Segments(Vec<Segment>),
    Buffer(Vec<u8>),
}

impl MemoryStorage {
    /// So many sectors of zeros. Each request ends when it is begun, until the test says otherwise.
    #[must_use]
    pub fn new(ram: GuestRam, sectors: u32) -> Self {
        let capacity = u64::from(sectors) * 512;
        let bytes = vec![0; usize::try_from(capacity).unwrap_or(0)];
        Self(Arc::new(Mutex::new(Inner {
            ram,
            geometry: Geometry {
                capacity,
                read_only: false,
                physical_block: 512,
                can_discard: true,
            },
            stable: bytes.clone(),
            bytes,
            submitted: VecDeque::new(),
            begun: VecDeque::new(),
            ended: VecDeque::new(),
            seen: Vec::new(),
            starts: 0,
            hold: false,
            most: usize::MAX,
            failure: None,
            loses: false,
        })))
    }

    /// Changes what it is. More capacity than it began with cannot be read or written.
    pub fn change(&self, change: impl FnOnce(&mut Geometry)) {
        change(&mut self.inner().geometry);
    }

    /// Whether requests that are begun wait for [`end`](Self::end) or a drain.
    pub fn hold(&self, hold: bool) {
        self.inner().hold = hold;
    }

    /// Puts `data` on the disk, and beyond the power's cut, from byte `offset` on.
    ///
    /// # Panics
    /// When the disk is smaller.
    pub fn put(&self, offset: usize, data: &[u8]) {
        let inner = &mut *self.inner();
        for bytes in [&mut inner.bytes, &mut inner.stable] {
            let part = bytes.get_mut(offset..offset + data.len());
            part.expect("the disk has the range").copy_from_slice(data);
        }
    }

    /// Takes no more than `most` requests at a time.
    pub fn limit(&self, most: usize) {
        self.inner().most = most;
    }

    /// Requests fail from now on with this error, or succeed.
    pub fn fail(&self, failure: Option<io::ErrorKind>) {
        self.inner().failure = failure;
    }

    /// A drain ends requests without a completion.
    pub fn lose(&self) {
        self.inner().loses = true;
    }

    /// Requests that were begun and wait.
    #[must_use]
    pub fn held(&self) -> usize {
        self.inner().begun.len()
    }

    /// Ends the request that is number `index` of those that wait; false when there is none.
    pub fn end(&self, index: usize) -> bool {
        let mut inner = self.inner();
        let held = inner.begun.remove(index);
        held.map(|held| inner.perform(held)).is_some()
    }

    /// What it was given since the last call: operation, offset and length.
    #[must_use]
    pub fn take_seen(&self) -> Vec<(StorageOp, u64, u64)> {
        std::mem::take(&mut self.inner().seen)
    }

    /// How often it was started since the last call.
    #[must_use]
    pub fn take_starts(&self) -> usize {
        std::mem::take(&mut self.inner().starts)
    }

    /// A sector as reads see it: the byte that it is full of, if it is of one.
    #[must_use]
    pub fn sector(&self, number: usize) -> Option<u8> {
        uniform(&self.inner().bytes, number)
    }

    /// A sector as it is after the power was cut.
    #[must_use]
    pub fn stable_sector(&self, number: usize) -> Option<u8> {
        uniform(&self.inner().stable, number)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn uniform(bytes: &[u8], number: usize) -> Option<u8> {
    let sector = bytes.chunks(512).nth(number)?;
    let first = *sector.first()?;
    sector.iter().all(|byte| *byte == first).then_some(first)
}

impl Inner {
    fn perform(&mut self, mut held: Held) {
        let result = match self.failure {
            Some(kind) => Err(kind.into()),
            None => self.transfer(&mut held),
        };
        let buffer = match held.data {
            Data::Segments(_) => Vec::new(),
            Data::Buffer(buffer) => buffer,
        };
        let id = held.id;
        self.ended.push_back(Completion { id, result, buffer });
    }

    fn take(&mut self, held: Held) {
        self.seen.push((held.op, held.offset, held.len));
        self.submitted.push_back(held);
    }

    fn is_full(&self) -> bool {
        self.submitted.len() + self.begun.len() >= self.most
    }

    fn transfer(&mut self, held: &mut Held) -> io::Result<()> {
        let size = |number: u64| usize::try_from(number).map_err(io::Error::other);
        let range = size(held.offset)?..size(held.offset + held.len)?;
        let bytes = self
            .bytes
            .get_mut(range)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        match (held.op, &mut held.data) {
            (StorageOp::Flush, _) => self.stable.clone_from(&self.bytes),
            (StorageOp::Discard, _) => bytes.fill(0xdd),
            (StorageOp::WriteZeroes { .. }, _) => bytes.fill(0),
            (StorageOp::Read, Data::Buffer(buffer)) => buffer.copy_from_slice(bytes),
            (StorageOp::Write, Data::Buffer(buffer)) => bytes.copy_from_slice(buffer),
            (StorageOp::Read | StorageOp::Write, Data::Segments(segments)) => {
                let mut rest = bytes;
                for segment in segments {
                    let part = rest.split_off_mut(..size(segment.len.into())?);
                    let part = part.ok_or(io::ErrorKind::InvalidInput)?;
                    let moved = if held.op == StorageOp::Read {
                        self.ram.write(segment.address, part)
                    } else {
                        self.ram.read(segment.address, part)
                    };
                    if !moved {
                        return Err(io::ErrorKind::InvalidInput.into());
                    }
                }
                if !rest.is_empty() {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
            }
        }
        Ok(())
    }
}

impl Storage for MemoryStorage {
    fn geometry(&self) -> Geometry {
        self.inner().geometry
    }

    fn submit(&mut self, request: &StorageRequest<'_>) -> Result<(), StorageBusy> {
        let mut inner = self.inner();
        if inner.is_full() {
            return Err(StorageBusy);
        }
        let StorageRequest {
            id,
            op,
            offset,
            len,
            segments,
        } = *request;
        inner.take(Held {
            id,
            op,
            offset,
            len,
            data: Data::Segments(segments.to_vec()),
        });
        Ok(())
    }

    fn submit_buffer(&mut self, request: BufferRequest) -> Result<(), BufferRequest> {
        let mut inner = self.inner();
        if inner.is_full() {
            return Err(request);
        }
        let BufferRequest {
            id,
            op,
            offset,
            buffer,
        } = request;
        inner.take(Held {
            id,
            op,
            offset,
            len: buffer.len() as u64,
            data: Data::Buffer(buffer),
        });
        Ok(())
    }

    fn start(&mut self) {
        let mut inner = self.inner();
        inner.starts += 1;
        while let Some(held) = inner.submitted.pop_front() {
            if inner.hold {
                inner.begun.push_back(held);
            } else {
                inner.perform(held);
            }
        }
    }

    fn complete(&mut self) -> Option<Completion> {
        self.inner().ended.pop_front()
    }

    fn drain(&mut self) {
        let mut inner = self.inner();
        while let Some(held) = inner.begun.pop_front() {
            if !inner.loses {
                inner.perform(held);
            }
        }
    }
}
