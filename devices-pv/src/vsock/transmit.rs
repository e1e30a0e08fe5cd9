//! Packets of the guest.

use std::io::ErrorKind;

use trivisor_buses::StreamEnd;
use trivisor_virtio_device::{Io, QueueError};

use super::core::{Connection, Key, Stage};
use super::regs::{Features, HOST_CID, Header, Op, Shutdown, TX, TYPE_STREAM};
use super::{MAX_REFUSALS, Vsock};

/// What became of a packet.
enum Taken {
    /// It was dealt with.
    Yes,
    /// It wants an answer that there is no place for.
    NoRoom,
}

impl Vsock {
    /// Takes what the driver sent, `left` packets at most.
    pub(super) fn transmit(&mut self, left: &mut u32, io: &mut Io<'_>) {
        self.blocked = false;
        io.want_notifications(TX, false);
        loop {
            while *left > 0 && io.pop(TX, &mut self.chain) {
                match self.take(io) {
                    Ok(Taken::Yes) => {
                        *left -= 1;
                        io.push(TX, self.chain.id(), 0);
                    }
                    Ok(Taken::NoRoom) => {
                        io.unpop(TX, &self.chain);
                        self.blocked = true;
                        return;
                    }
                    Err(error) => {
                        io.fail(TX, error);
                        return;
                    }
                }
            }
            // As for the other queue, see there.
            if !io.want_notifications(TX, true) || *left == 0 {
                return;
            }
        }
    }

    /// Takes the packet in `self.chain`.
    fn take(&mut self, io: &Io<'_>) -> Result<Taken, QueueError> {
        let mut bytes = [0; Header::LEN as usize];
        self.chain.read(io.ram(), 0, &mut bytes)?;
        let header = Header::parse(bytes);
        if header.src_cid != u64::from(self.options.guest_cid) {
            // Nobody to answer.
            self.counters.foreign += 1;
            return Ok(Taken::Yes);
        }
        let behind = self.chain.readable_len() - u64::from(Header::LEN);
        let is_whole = u64::from(header.len) <= behind;
        let is_known = header.dst_cid == HOST_CID
            && header.kind == TYPE_STREAM
            && has_streams(Features::from_bits(io.features()));
        let key = Key {
            guest: header.src_port,
            host: header.dst_port,
        };
        let found = self.table.find(key).filter(|_| is_known);
        if header.op == Op::RST {
            // A reset is never answered.
            if let Some(at) = found {
                self.close_stream(at);
                self.table.remove(at);
            }
        } else if let Some(at) = found {
            if is_whole {
                self.take_known(at, &header)?;
            } else {
                self.abort(at);
            }
        } else if self.refusals.len() >= MAX_REFUSALS {
            return Ok(Taken::NoRoom);
        } else if !(is_known && is_whole && header.op == Op::REQUEST && self.connect(key, &header))
        {
            self.refuse(&header);
        }
        self.counters.from_guest += 1;
        Ok(Taken::Yes)
    }

    /// The guest wants a connection. False: it cannot have one.
    fn connect(&mut self, key: Key, header: &Header) -> bool {
        if self.table.is_full() {
            return false;
        }
        let Ok(stream) = self.host.connect(key.host) else {
            return false;
        };
        let window = self.host.window();
        let mut connection = Connection::new(key, stream, Stage::Connecting, window);
        connection.hear(header);
        self.table.insert(connection);
        self.asked_host = true;
        true
    }

    /// A packet of a connection.
    fn take_known(&mut self, at: usize, header: &Header) -> Result<(), QueueError> {
        let Some(connection) = self.table.get_mut(at) else {
            return Ok(());
        };
        connection.hear(header);
        match (connection.stage, header.op) {
            // The reset that is due answers all.
            (Stage::Over, _) => {}
            (Stage::Open, Op::RW) => self.write(at, header.len)?,
            (Stage::Open, Op::SHUTDOWN) => self.shutdown(at, Shutdown::from_bits(header.flags)),
            (Stage::Asked, Op::RESPONSE) if !connection.owed.request() => self.accept(at),
            (_, Op::CREDIT_UPDATE) => {}
            (_, Op::CREDIT_REQUEST) => connection.owed.set_credit_update(true),
            _ => self.abort(at),
        }
        self.table.mark(at);
        Ok(())
    }

    /// The guest takes what a program asked for.
    fn accept(&mut self, at: usize) {
        let Some(connection) = self.table.get_mut(at) else {
            return;
        };
        let port = connection.key.host;
        connection.stage = Stage::Open;
        let stream = connection.stream;
        if stream.is_none_or(|stream| self.host.accept(stream, port).is_err()) {
            self.abort(at);
        }
        // What the program has sent already may be told at once.
        self.asked_host = true;
    }

    /// Data for the program.
    fn write(&mut self, at: usize, len: u32) -> Result<(), QueueError> {
        let Some(connection) = self.table.get_mut(at) else {
            return Ok(());
        };
        if connection.guest_ended.send() {
            self.abort(at);
            return Ok(());
        }
        // What was under way when the guest heard that nobody reads it is lost.
        let Some(stream) = connection.stream else {
            return Ok(());
        };
        self.segments.clear();
        let (behind, segments) = (u64::from(Header::LEN), &mut self.segments);
        self.chain.readable_range(behind, len.into(), segments)?;
        match self.host.write(stream, segments) {
            Ok(()) => {
                self.counters.bytes_from_guest += u64::from(len);
                connection.took(len);
                connection.set_forwarded(self.host.forwarded(stream));
            }
            // More than the guest has credit for.
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.abort(at),
            Err(error) if error.kind() == ErrorKind::InvalidInput => return Err(self.not_ram()),
            Err(_broken) => self.program_reads_no_more(at),
        }
        Ok(())
    }

    /// The guest hears of it; what the program has written it can still read.
    pub(super) fn program_reads_no_more(&mut self, at: usize) {
        let ended = Shutdown::new().with_receive(true);
        if let Some(connection) = self.table.get_mut(at)
            && connection.end_host(ended)
        {
            self.close_stream(at);
        }
    }

    /// The guest ends directions. The last one ends the connection, which the reset confirms.
    fn shutdown(&mut self, at: usize, ended: Shutdown) {
        let Some(connection) = self.table.get_mut(at) else {
            return;
        };
        if connection.end_guest(ended) {
            self.abort(at);
            return;
        }
        let Some(stream) = connection.stream else {
            return;
        };
        let ends = [
            (ended.receive(), StreamEnd::Read),
            (ended.send(), StreamEnd::Write),
        ];
        for (_, end) in ends.iter().filter(|(is_ended, _)| *is_ended) {
            if self.host.shutdown(stream, *end).is_err() {
                self.abort(at);
                return;
            }
        }
    }

    /// Answers a packet of no connection with a reset, from where it was sent to.
    fn refuse(&mut self, header: &Header) {
        let refusal = Header {
            src_cid: header.dst_cid,
            dst_cid: header.src_cid,
            src_port: header.dst_port,
            dst_port: header.src_port,
            len: 0,
            kind: header.kind,
            op: Op::RST,
            flags: 0,
            buf_alloc: 0,
            fwd_cnt: 0,
        };
        // Many packets of one connection want one reset.
        if !self.refusals.contains(&refusal) {
            self.counters.resets += 1;
            self.refusals.push_back(refusal);
        }
    }
}

/// 5.10.3.2: without any bit, streams are implied.
const fn has_streams(features: Features) -> bool {
    features.stream() || !features.no_implied_stream()
}
