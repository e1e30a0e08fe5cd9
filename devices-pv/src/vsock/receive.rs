//! Packets to the guest.

use std::io::ErrorKind;

use trivisor_virtio_device::{Io, QueueError};

use super::Vsock;
use super::core::Next;
use super::regs::{Header, Op, RX, Shutdown};

/// Bytes of data in a packet at most, as in Linux: one connection's turn.
const MAX_DATA: u64 = 64 << 10;
/// Of a header.
const HEADER: u64 = Header::LEN as u64;

impl Vsock {
    /// Whether the guest is to get a packet.
    pub(super) fn is_due(&self) -> bool {
        !self.refusals.is_empty() || self.table.is_due()
    }

    /// Sends what is due, `left` packets at most.
    pub(super) fn deliver(&mut self, left: &mut u32, io: &mut Io<'_>) {
        loop {
            while *left > 0 && self.is_due() && io.pop(RX, &mut self.chain) {
                match self.fill(io) {
                    Ok(Some(written)) => {
                        *left -= 1;
                        self.counters.to_guest += 1;
                        io.push(RX, self.chain.id(), written);
                    }
                    Ok(None) => io.unpop(RX, &self.chain),
                    Err(error) => {
                        io.fail(RX, error);
                        return;
                    }
                }
            }
            // What is used is not published yet, so more buffers than the queue holds cannot come; if nevertheless, the
            // driver has to ring again.
            let starved = self.is_due();
            if !io.want_notifications(RX, starved) || !starved || *left == 0 {
                return;
            }
        }
    }

    /// Writes a packet to `self.chain`; its bytes, or nothing when there was none.
    fn fill(&mut self, io: &mut Io<'_>) -> Result<Option<u32>, QueueError> {
        if let Some(header) = self.refusals.front() {
            self.chain.write(io.ram(), 0, &header.to_bytes())?;
            self.refusals.pop_front();
            return Ok(Some(Header::LEN));
        }
        while let Some(at) = self.table.take_due() {
            let Some((op, len)) = self.next_packet(at)? else {
                continue;
            };
            let cid = self.options.guest_cid.into();
            let Some(connection) = self.table.get_mut(at) else {
                continue;
            };
            let header = connection.packet(op, len, cid);
            self.chain.write(io.ram(), 0, &header.to_bytes())?;
            if op == Op::RST {
                self.counters.resets += 1;
                self.table.remove(at);
            } else {
                self.table.mark(at);
            }
            return Ok(Some(Header::LEN + len));
        }
        Ok(None)
    }

    /// Which packet it is, and the bytes of its data, which are then in place.
    fn next_packet(&mut self, at: usize) -> Result<Option<(Op, u32)>, QueueError> {
        while let Some(next) = self.table.get_mut(at).and_then(|found| found.next()) {
            match next {
                Next::Control(op) => return Ok(Some((op, 0))),
                Next::Data(credit) => {
                    if let Some(len) = self.read(at, credit)? {
                        return Ok(Some((Op::RW, len)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Moves data of a connection into the chain. Nothing: there is none, and the connection knows.
    fn read(&mut self, at: usize, credit: u32) -> Result<Option<u32>, QueueError> {
        let (id, have) = (self.chain.id(), self.chain.writable_len());
        let room = have.saturating_sub(HEADER);
        let room = room.min(MAX_DATA).min(credit.into());
        if room == 0 {
            let (len, wanted) = (have, HEADER + 1);
            return Err(QueueError::Short { id, len, wanted });
        }
        self.segments.clear();
        let segments = &mut self.segments;
        self.chain.writable_range(HEADER, room, segments)?;
        let Some(connection) = self.table.get_mut(at) else {
            return Ok(None);
        };
        let Some(stream) = connection.stream else {
            connection.readable = false;
            return Ok(None);
        };
        match self.host.read(stream, segments) {
            Ok(0) => {
                connection.readable = false;
                if connection.end_host(Shutdown::new().with_send(true)) {
                    self.close_stream(at);
                }
                Ok(None)
            }
            Ok(count) => {
                let len = (count as u64).min(room);
                self.counters.bytes_to_guest += len;
                Ok(u32::try_from(len).ok())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                connection.readable = false;
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err(self.not_ram()),
            Err(_broken) => {
                self.abort(at);
                Ok(None)
            }
        }
    }

    /// The data's segments are not what the host can reach.
    pub(super) fn not_ram(&self) -> QueueError {
        let first = self.segments.first().copied().unwrap_or_default();
        let (what, address) = ("the data of a packet", first.address);
        QueueError::NotRam { what, address }
    }
}
