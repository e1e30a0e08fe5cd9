//! The way of a request: from its queue to the storage, and back with its status.

use trivisor_buses::{Completion, StorageBusy, StorageOp, StorageRequest};
use trivisor_memory::GuestRam;
use trivisor_virtio_device::{Chain, Io, QueueError};

use super::Block;
use super::core::{Job, Request};
use super::flight::{Pending, QueueSet};
use super::regs::{Features, Header, Range, Status};

impl Block {
    /// Hands over what the driver made available in `queues` and gives back what has ended, until the storage has no
    /// more to tell. No driver can make more available than its queues hold before it is told of used buffers; one that
    /// does so nevertheless has to ring again.
    pub(super) fn serve(&mut self, mut queues: QueueSet, io: &mut Io<'_>) {
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
    pub(super) fn give_back(&mut self, io: &mut Io<'_>) -> bool {
        let mut any = false;
        while let Some(Completion { id, result, .. }) = self.storage.complete() {
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
    pub(super) fn settle(&mut self, io: &mut Io<'_>) {
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
