mod connect;
mod data;
mod malformed;
mod setup;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use trivisor_buses::{StreamEnd, StreamEvent, StreamId};
use trivisor_memory::GuestRam;
use trivisor_virtio_device::testing::{DriverQueue, Rig, Ring, test_ram};
use trivisor_virtio_device::{Feature, Queue};

use super::regs::*;
use super::*;

const CID: u32 = 42;
/// Bytes that the host keeps for a stream.
const WINDOW: u32 = 4096;
/// The first port of a program.
const FIRST_PORT: u32 = 1 << 30;

/// One stream's other end.
#[derive(Debug, Default)]
struct Program {
    is_open: bool,
    /// What it was told when it was accepted.
    host_port: Option<u32>,
    to_guest: VecDeque<u8>,
    /// After `to_guest`.
    has_ended: bool,
    read_error: Option<io::ErrorKind>,
    from_guest: Vec<u8>,
    /// It does not take what comes, which is kept.
    is_slow: bool,
    kept: u32,
    forwarded: u32,
    reads_no_more: bool,
    ended: Vec<StreamEnd>,
    reads: u32,
}

#[derive(Debug, Default)]
struct Inner {
    events: VecDeque<StreamEvent>,
    last: u64,
    /// Ports at which nobody listens are not asked: `connect` fails.
    is_full: bool,
    /// Answers the guest's wishes in `connect`: with a program or without.
    at_once: Option<bool>,
    wishes: Vec<(StreamId, u32)>,
    programs: BTreeMap<u64, Program>,
    closed: Vec<StreamId>,
}

/// The host of a test: one for the device, one for the test.
#[derive(Debug, Clone)]
struct Host {
    ram: GuestRam,
    inner: Arc<Mutex<Inner>>,
}

impl Host {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    fn event(&self, event: StreamEvent) {
        self.inner().events.push_back(event);
    }

    /// A program asks for a port of the guest.
    fn ask(&self, port: u32) -> StreamId {
        let stream = self.inner().add();
        self.event(StreamEvent::Asked { stream, port });
        stream
    }

    fn with<R>(&self, stream: StreamId, change: impl FnOnce(&mut Program) -> R) -> R {
        change(self.inner().programs.get_mut(&stream.0).unwrap())
    }

    /// A program writes.
    fn write_to_guest(&self, stream: StreamId, data: &[u8]) {
        self.with(stream, |program| program.to_guest.extend(data));
        self.event(StreamEvent::Readable(stream));
    }

    /// A program takes what was kept for it.
    fn catch_up(&self, stream: StreamId) {
        self.with(stream, |program| {
            program.is_slow = false;
            program.forwarded = program
                .forwarded
                .wrapping_add(std::mem::take(&mut program.kept));
        });
        self.event(StreamEvent::Forwarded(stream));
    }

    fn is_closed(&self, stream: StreamId) -> bool {
        self.inner().closed.contains(&stream)
    }
}

impl Inner {
    fn add(&mut self) -> StreamId {
        self.last += 1;
        self.programs.insert(self.last, Program::default());
        StreamId(self.last)
    }

    fn open(&mut self, stream: StreamId) -> io::Result<&mut Program> {
        let program = self.programs.get_mut(&stream.0);
        let program = program.filter(|program| program.is_open);
        program.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn answer(&mut self, stream: StreamId, is_there: bool) {
        if is_there {
            self.programs.get_mut(&stream.0).unwrap().is_open = true;
            self.events.push_back(StreamEvent::Connected(stream));
        } else {
            self.programs.remove(&stream.0);
            self.events.push_back(StreamEvent::Gone(stream));
        }
    }
}

impl StreamHost for Host {
    fn next_event(&mut self) -> Option<StreamEvent> {
        self.inner().events.pop_front()
    }

    fn accept(&mut self, stream: StreamId, host_port: u32) -> io::Result<()> {
        let mut inner = self.inner();
        let program = inner.programs.get_mut(&stream.0);
        let program = program.ok_or(io::ErrorKind::NotConnected)?;
        assert_eq!(program.host_port.replace(host_port), None);
        program.is_open = true;
        Ok(())
    }

    fn connect(&mut self, port: u32) -> io::Result<StreamId> {
        let mut inner = self.inner();
        if inner.is_full {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let stream = inner.add();
        inner.wishes.push((stream, port));
        if let Some(is_there) = inner.at_once {
            inner.answer(stream, is_there);
        }
        Ok(stream)
    }

    fn read(&mut self, stream: StreamId, into: &[Segment]) -> io::Result<usize> {
        let mut inner = self.inner();
        let program = inner.open(stream)?;
        program.reads += 1;
        if let Some(error) = program.read_error {
            return Err(error.into());
        }
        if program.to_guest.is_empty() {
            return if program.has_ended {
                Ok(0)
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            };
        }
        let mut count = 0;
        for segment in into {
            let len = program.to_guest.len().min(segment.len as usize);
            let data: Vec<u8> = program.to_guest.iter().copied().take(len).collect();
            if !self.ram.write(segment.address, &data) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            program.to_guest.drain(..len);
            count += len;
        }
        Ok(count)
    }

    fn write(&mut self, stream: StreamId, from: &[Segment]) -> io::Result<()> {
        let mut inner = self.inner();
        let program = inner.open(stream)?;
        if program.reads_no_more {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let total = u32::try_from(Segment::total(from)).unwrap();
        if total > WINDOW - program.kept {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut data = Vec::new();
        for segment in from {
            let mut part = vec![0; segment.len as usize];
            if !self.ram.read(segment.address, &mut part) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            data.extend(part);
        }
        program.from_guest.extend(data);
        if program.is_slow {
            program.kept += total;
        } else {
            program.forwarded = program.forwarded.wrapping_add(total);
        }
        Ok(())
    }

    fn window(&self) -> u32 {
        WINDOW
    }

    fn forwarded(&self, stream: StreamId) -> u32 {
        let mut inner = self.inner();
        inner.open(stream).map_or(0, |program| program.forwarded)
    }

    fn shutdown(&mut self, stream: StreamId, end: StreamEnd) -> io::Result<()> {
        self.inner().open(stream)?.ended.push(end);
        Ok(())
    }

    fn close(&mut self, stream: StreamId) {
        let mut inner = self.inner();
        assert!(!inner.closed.contains(&stream), "closed twice");
        inner.closed.push(stream);
        if let Some(program) = inner.programs.get_mut(&stream.0) {
            program.is_open = false;
        }
    }
}

/// A device with its host and its driver.
struct Bench {
    host: Host,
    rig: Rig<Vsock>,
}

/// A connection, seen from the guest.
#[derive(Debug, Clone, Copy)]
struct Ends {
    guest: u32,
    host: u32,
    stream: StreamId,
}

impl Bench {
    fn new() -> Self {
        Self::with(Ring::Split, 0)
    }

    fn with(ring: Ring, features: u64) -> Self {
        let mut bench = Self::bare(ring, features);
        bench.fill(32, 1024);
        bench
    }

    /// Without buffers to receive.
    fn bare(ring: Ring, features: u64) -> Self {
        let ram = test_ram();
        let host = Host {
            ram: ram.clone(),
            inner: Arc::default(),
        };
        let device = Vsock::new(VsockOptions::new(CID), Box::new(host.clone())).unwrap();
        let rig = Rig::with_ram(ram, device, ring, features);
        Self { host, rig }
    }

    /// Adds buffers to receive.
    fn fill(&mut self, count: usize, len: u32) {
        for _ in 0..count {
            self.rig.driver(RX).add(&[], &[len]);
        }
        self.rig.kick(RX);
    }

    /// Sends a packet. It has to come back.
    fn send(&mut self, header: Header, data: &[u8]) {
        self.post(header, data);
        assert!(self.sent(), "the packet is stuck");
    }

    /// Sends a packet.
    fn post(&mut self, header: Header, data: &[u8]) {
        self.rig.submit(TX, &[&header.to_bytes(), data], 0);
    }

    /// Whether a packet came back.
    fn sent(&mut self) -> bool {
        let reply = self.rig.poll(TX);
        reply
            .inspect(|reply| assert_eq!(reply.written, 0))
            .is_some()
    }

    /// The next packet for the guest.
    fn packet(&mut self) -> Option<(Header, Vec<u8>)> {
        let reply = self.rig.poll(RX)?;
        let (header, data) = reply.data.split_first_chunk().unwrap();
        let header = Header::parse(*header);
        assert_eq!(header.len as usize, data.len());
        Some((header, data.to_vec()))
    }

    /// What all packets for the guest are.
    fn ops(&mut self) -> Vec<Op> {
        std::iter::from_fn(|| self.packet())
            .map(|(header, _)| header.op)
            .collect()
    }

    /// The data of all packets for the guest, which have no other.
    fn data(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some((header, data)) = self.packet() {
            assert_eq!(header.op, Op::RW);
            all.extend(data);
        }
        all
    }

    /// The guest connects to a program.
    fn connect(&mut self, guest: u32, host: u32) -> Ends {
        self.send(request(guest, host), &[]);
        let (stream, port) = *self.host.inner().wishes.last().unwrap();
        assert_eq!(port, host);
        self.host.inner().answer(stream, true);
        self.rig.settle();
        assert_eq!(self.ops(), [Op::RESPONSE]);
        Ends {
            guest,
            host,
            stream,
        }
    }

    /// A program connects to the guest.
    fn accept(&mut self, guest: u32) -> Ends {
        let stream = self.host.ask(guest);
        self.rig.settle();
        let (header, _) = self.packet().unwrap();
        assert_eq!((header.op, header.dst_port), (Op::REQUEST, guest));
        let host = header.src_port;
        let ends = Ends {
            guest,
            host,
            stream,
        };
        self.send(ends.header(Op::RESPONSE), &[]);
        assert_eq!(
            self.host.with(stream, |program| program.host_port),
            Some(host)
        );
        ends
    }

    fn rw(&mut self, ends: Ends, data: &[u8]) {
        self.send(ends.rw(data), data);
    }

    fn broken(&self) -> u16 {
        self.rig.broken().expect("it is not broken").0
    }
}

impl Ends {
    fn header(self, op: Op) -> Header {
        Header {
            op,
            ..request(self.guest, self.host)
        }
    }

    fn rw(self, data: &[u8]) -> Header {
        Header {
            len: u32::try_from(data.len()).unwrap(),
            ..self.header(Op::RW)
        }
    }

    fn shutdown(self, receive: bool, send: bool) -> Header {
        let flags = Shutdown::new().with_receive(receive).with_send(send);
        Header {
            flags: flags.into_bits(),
            ..self.header(Op::SHUTDOWN)
        }
    }

    /// The guest has taken `fwd_cnt` bytes.
    fn credit(self, buf_alloc: u32, fwd_cnt: u32) -> Header {
        Header {
            buf_alloc,
            fwd_cnt,
            ..self.header(Op::CREDIT_UPDATE)
        }
    }
}

/// The guest asks for a connection, and has much room.
fn request(guest: u32, host: u32) -> Header {
    Header {
        src_cid: CID.into(),
        dst_cid: HOST_CID,
        src_port: guest,
        dst_port: host,
        len: 0,
        kind: TYPE_STREAM,
        op: Op::REQUEST,
        flags: 0,
        buf_alloc: 1 << 20,
        fwd_cnt: 0,
    }
}

/// Both rings, with notifications by flag and by index, with and without indirect tables.
fn rings() -> impl Iterator<Item = (Ring, u64)> {
    let ways = [
        0,
        Feature::EventIndex.bit(),
        Feature::EventIndex.bit() | Feature::IndirectDescriptors.bit(),
        Feature::InOrder.bit(),
    ];
    let each = move |ring| ways.map(|way| (ring, way));
    Ring::ALL.into_iter().flat_map(each)
}

fn bytes(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| u8::try_from(at % 251).unwrap() ^ seed)
        .collect()
}
