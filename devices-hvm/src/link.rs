//! A drive's way to its storage: one request at a time.

use std::io;

use trivisor_buses::{BufferRequest, Geometry, Segment, Storage, StorageOp, StorageRequest};

/// What a storage is asked for.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Moves data between storage and this buffer.
    Buffer {
        op: StorageOp,
        offset: u64,
        buffer: Vec<u8>,
    },
    /// Moves data between storage and guest RAM.
    Segments {
        op: StorageOp,
        offset: u64,
        segments: Vec<Segment>,
    },
    /// What was written is stored.
    Flush,
}

/// A request that has ended: whether it succeeded, and its buffer.
pub(crate) type Ended = (io::Result<()>, Vec<u8>);

/// The storage with what it is doing.
pub(crate) struct Link {
    storage: Box<dyn Storage>,
    /// Not taken by the storage yet.
    waiting: Option<Ask>,
    /// Taken, by the number that it has there.
    flying: Option<u64>,
    next: u64,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link")
            .field("waiting", &self.waiting)
            .field("flying", &self.flying)
            .finish_non_exhaustive()
    }
}

impl Link {
    pub(crate) fn new(storage: Box<dyn Storage>) -> Self {
        Self {
            storage,
            waiting: None,
            flying: None,
            next: 0,
        }
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.storage.geometry()
    }

    pub(crate) const fn is_busy(&self) -> bool {
        self.waiting.is_some() || self.flying.is_some()
    }

    /// Hands over a request. There is one at a time.
    pub(crate) fn ask(&mut self, ask: Ask) {
        self.waiting = Some(ask);
        self.submit();
    }

    /// What has ended, if it has.
    pub(crate) fn poll(&mut self) -> Option<Ended> {
        self.submit();
        while let Some(completion) = self.storage.complete() {
            if self.flying == Some(completion.id) {
                self.flying = None;
                return Some((completion.result, completion.buffer));
            }
        }
        None
    }

    /// Waits until there is nothing under way, and says how it ended.
    pub(crate) fn drain(&mut self) -> Option<Ended> {
        if !self.is_busy() {
            return None;
        }
        // A storage that is full of what nobody waits for has room after a drain.
        for _ in 0..2 {
            self.storage.drain();
            if let Some(ended) = self.poll() {
                return Some(ended);
            }
        }
        self.waiting = None;
        self.flying = None;
        Some((Err(io::ErrorKind::BrokenPipe.into()), Vec::new()))
    }

    fn submit(&mut self) {
        let Some(ask) = self.waiting.take() else {
            return;
        };
        let id = self.next;
        match self.try_submit(id, ask) {
            Ok(()) => {
                self.flying = Some(id);
                self.next = id.wrapping_add(1);
                self.storage.start();
            }
            Err(ask) => self.waiting = Some(ask),
        }
    }

    fn try_submit(&mut self, id: u64, ask: Ask) -> Result<(), Ask> {
        match ask {
            Ask::Buffer { op, offset, buffer } => {
                let request = BufferRequest {
                    id,
                    op,
                    offset,
                    buffer,
                };
                let result = self.storage.submit_buffer(request);
                result.map_err(|request| Ask::Buffer {
                    op,
                    offset,
                    buffer: request.buffer,
                })
            }
            Ask::Segments {
                op,
                offset,
                segments,
            } => {
                let request = StorageRequest {
                    id,
                    op,
                    offset,
                    len: Segment::total(&segments),
                    segments: &segments,
                };
                let result = self.storage.submit(&request);
                result.map_err(|_busy| Ask::Segments {
                    op,
                    offset,
                    segments,
                })
            }
            Ask::Flush => {
                let request = StorageRequest {
                    id,
                    op: StorageOp::Flush,
                    offset: 0,
                    len: 0,
                    segments: &[],
                };
                self.storage.submit(&request).map_err(|_busy| Ask::Flush)
            }
        }
    }
}
