//! A socket device, and programs that come, go, dawdle and break. The host checks that it is called as its contract says.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trivisor_buses::{Segment, StreamEnd, StreamEvent, StreamHost, StreamId};
use trivisor_devices_pv::vsock::regs::{Features, HOST_CID, Header, Op, RX, TX, TYPE_STREAM};
use trivisor_devices_pv::vsock::{Vsock, VsockOptions};
use trivisor_memory::GuestRam;
use trivisor_virtio_device::testing::Rig;

use super::{Input, Subject};
use crate::features::note;

/// The entry point; its input is a list of operations.
///
/// # Panics
/// When the device is wrong.
pub fn target(data: &[u8]) {
    super::run::<Host>(data);
}

/// Inputs that do each operation, and those that send each packet on a connection of either side.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::seeds();
    for ring in [0, 1] {
        let mut seed = vec![ring];
        seed.extend([0xff; 8]);
        let packet = |op: u8, host: u8, len: u8| [11, 0, 8, op, 0, host, 9, len, 0, 0, 0, 0];
        for round in 0..8_u8 {
            // Buffers; then the guest connects, a program answers, another asks.
            for _ in 0..4 {
                seed.extend([0, 0, 0, 0, 0, 100, 3]);
            }
            seed.extend([3, 0]);
            seed.extend(packet(1, 1, 0));
            seed.extend([11, 0, 1, 0, 5, 0, 11, 0, 0, 0, 5, 0]);
            seed.extend(packet(2, 0x80, 0));
            // Data from both programs, and to both.
            for stream in 0..2 {
                seed.extend([11, 0, 2, stream, 40, 5, 0]);
            }
            for host in [1, 0x80] {
                seed.extend(packet(5, host, 8));
                seed.extend(packet(round, host, 0));
            }
            seed.extend([11, 0, 4, round, round, 5, 0, 6, 0, 6, 1]);
        }
        seeds.push(seed);
    }
    seeds
}

const CID: u32 = 3;
const WINDOW: u32 = 64;

#[derive(Debug, Default)]
struct Program {
    is_open: bool,
    to_guest: VecDeque<u8>,
    from_guest: Vec<u8>,
    kept: u32,
    forwarded: u32,
    dawdles: bool,
    has_ended: bool,
    is_broken: bool,
}

#[derive(Debug, Default)]
struct Inner {
    last: u64,
    events: VecDeque<StreamEvent>,
    /// Those that the device has not closed.
    programs: BTreeMap<u64, Program>,
    wishes: VecDeque<StreamId>,
    refuses: bool,
}

/// The host's side.
#[derive(Debug, Clone)]
struct Host {
    ram: GuestRam,
    inner: Arc<Mutex<Inner>>,
}

impl Host {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn add(&mut self) -> StreamId {
        self.last += 1;
        self.programs.insert(self.last, Program::default());
        StreamId(self.last)
    }

    /// The device may use only what it has not closed.
    #[expect(clippy::expect_used, reason = "it is what is looked for")]
    fn program(&mut self, stream: StreamId) -> &mut Program {
        let program = self.programs.get_mut(&stream.0);
        program.expect("the device uses a stream that it has closed")
    }

    fn open(&mut self, stream: StreamId) -> io::Result<&mut Program> {
        let program = self.program(stream);
        assert!(program.is_open, "the device uses a stream that is not open");
        if program.is_broken {
            return Err(ErrorKind::BrokenPipe.into());
        }
        Ok(program)
    }

    fn answer(&mut self, stream: StreamId, is_there: bool) {
        // The device may have given it up.
        if let Some(program) = self.programs.get_mut(&stream.0) {
            program.is_open = is_there;
            self.events.push_back(if is_there {
                StreamEvent::Connected(stream)
            } else {
                StreamEvent::Gone(stream)
            });
        }
    }

    /// One of the open streams.
    fn pick(&self, which: u8) -> Option<StreamId> {
        let open = self.programs.iter().filter(|(_, it)| it.is_open);
        let (stream, _) = open.cycle().nth(which.into())?;
        Some(StreamId(*stream))
    }

    /// Something happens to one of the open streams.
    fn happen(&mut self, which: u8, what: u8) {
        let Some(stream) = self.pick(which) else {
            return;
        };
        let program = self.program(stream);
        match what % 5 {
            0 => program.dawdles ^= true,
            1 => {
                program.forwarded = program.forwarded.wrapping_add(program.kept);
                program.kept = 0;
                self.events.push_back(StreamEvent::Forwarded(stream));
            }
            2 => {
                program.has_ended = true;
                self.events.push_back(StreamEvent::Readable(stream));
            }
            3 => {
                program.is_broken = true;
                self.events.push_back(StreamEvent::Forwarded(stream));
            }
            _ => self.events.push_back(StreamEvent::Gone(stream)),
        }
    }
}

fn bytes(segment: &Segment) -> usize {
    usize::try_from(segment.len).unwrap_or(usize::MAX)
}

impl StreamHost for Host {
    fn next_event(&mut self) -> Option<StreamEvent> {
        self.inner().events.pop_front()
    }

    fn accept(&mut self, stream: StreamId, host_port: u32) -> io::Result<()> {
        assert!((1 << 30..1 << 31).contains(&host_port), "port {host_port}");
        let mut inner = self.inner();
        let refuses = inner.refuses;
        let program = inner.program(stream);
        assert!(!program.is_open, "the device accepts twice");
        program.is_open = !refuses;
        if refuses {
            return Err(ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    fn connect(&mut self, port: u32) -> io::Result<StreamId> {
        let mut inner = self.inner();
        if inner.refuses {
            return Err(ErrorKind::QuotaExceeded.into());
        }
        let stream = inner.add();
        // Some ports are answered at once.
        match port % 4 {
            0 => inner.answer(stream, true),
            3 => inner.answer(stream, false),
            _ => inner.wishes.push_back(stream),
        }
        Ok(stream)
    }

    fn read(&mut self, stream: StreamId, into: &[Segment]) -> io::Result<usize> {
        assert!(Segment::total(into) > 0, "a read of no bytes");
        let mut inner = self.inner();
        let program = inner.open(stream)?;
        if program.to_guest.is_empty() && program.has_ended {
            return Ok(0);
        }
        let mut count = 0;
        for segment in into {
            let len = program.to_guest.len().min(bytes(segment));
            let data: Vec<u8> = program.to_guest.drain(..len).collect();
            if !self.ram.write(segment.address, &data) {
                return Err(ErrorKind::InvalidInput.into());
            }
            count += len;
        }
        if count == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }

    fn write(&mut self, stream: StreamId, from: &[Segment]) -> io::Result<()> {
        let mut inner = self.inner();
        let program = inner.open(stream)?;
        let room = WINDOW - program.kept;
        let total = u32::try_from(Segment::total(from)).unwrap_or(u32::MAX);
        if total > room {
            return Err(ErrorKind::WouldBlock.into());
        }
        let mut data = Vec::new();
        for segment in from {
            let mut part = vec![0; bytes(segment)];
            if !self.ram.read(segment.address, &mut part) {
                return Err(ErrorKind::InvalidInput.into());
            }
            data.extend(part);
        }
        program.from_guest.extend(data);
        if program.dawdles {
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
        self.inner().program(stream).forwarded
    }

    fn shutdown(&mut self, stream: StreamId, end: StreamEnd) -> io::Result<()> {
        note(end as u8);
        self.inner().open(stream).map(drop)
    }

    fn close(&mut self, stream: StreamId) {
        let mut inner = self.inner();
        inner.program(stream);
        inner.programs.remove(&stream.0);
        inner.events.retain(|event| of(event) != Some(stream));
    }
}

fn of(event: &StreamEvent) -> Option<StreamId> {
    match event {
        StreamEvent::Asked { stream, .. }
        | StreamEvent::Connected(stream)
        | StreamEvent::Gone(stream)
        | StreamEvent::Readable(stream)
        | StreamEvent::Forwarded(stream) => Some(*stream),
        StreamEvent::Inside => None,
    }
}

/// A packet of few ports, so that they meet; those with the highest bit are programs' own.
fn packet(input: &mut Input<'_>) -> (Header, Vec<u8>) {
    let op = Op(input.byte().into());
    let (guest, host) = (input.byte() % 4, input.byte());
    let odd = input.byte();
    let len = input.byte() % 72;
    let own = if host & 0x80 == 0 { 0 } else { 1 << 30 };
    let header = Header {
        src_cid: u64::from(CID) + u64::from(odd == 0),
        dst_cid: HOST_CID + u64::from(odd == 1),
        src_port: guest.into(),
        dst_port: own | u32::from(host & 0x07),
        len: u32::from(len) + u32::from(odd == 2),
        kind: TYPE_STREAM + u16::from(odd == 3),
        op,
        flags: input.byte().into(),
        buf_alloc: u32::from(input.byte()) << 2,
        fwd_cnt: input.byte().into(),
    };
    (header, vec![input.byte(); len.into()])
}

impl Subject for Host {
    type Device = Vsock;

    #[expect(clippy::expect_used, reason = "such a device can be")]
    fn make(ram: &GuestRam, _variant: u8) -> (Self, Vsock) {
        let host = Self {
            ram: ram.clone(),
            inner: Arc::default(),
        };
        let device = Vsock::new(VsockOptions::new(CID), Box::new(host.clone()));
        (host, device.expect("such a device can be"))
    }

    fn host(&mut self, rig: &mut Rig<Vsock>, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0 => {
                let port = u32::from(input.byte()) % 4;
                let mut inner = self.inner();
                let stream = inner.add();
                inner.events.push_back(StreamEvent::Asked { stream, port });
            }
            1 => {
                let is_there = input.byte() & 3 != 3;
                let mut inner = self.inner();
                if let Some(wish) = inner.wishes.pop_front() {
                    inner.answer(wish, is_there);
                }
            }
            2 => {
                let (which, len) = (input.byte(), input.byte());
                let mut inner = self.inner();
                if let Some(stream) = inner.pick(which) {
                    let data = vec![which; len.into()];
                    inner.program(stream).to_guest.extend(data);
                    inner.events.push_back(StreamEvent::Readable(stream));
                }
            }
            3 => self.inner().refuses ^= true,
            4 | 5 => self.inner().happen(input.byte(), input.byte()),
            6 => self.inner().events.push_back(StreamEvent::Inside),
            _ => {
                let (header, data) = packet(input);
                if rig.driver(TX).free() > 2 {
                    rig.submit(TX, &[&header.to_bytes(), &data], 0);
                    while let Some(reply) = rig.poll(RX) {
                        if let Some((head, _)) = reply.data.split_first_chunk() {
                            let answer = Header::parse(*head);
                            note((header.op, answer.op, answer.len.min(2)));
                        }
                    }
                }
            }
        }
        note(rig.device().connections().min(20));
        let (known, has) = (rig.device().connections(), self.inner().programs.len());
        assert!(known <= 1024 && has <= 1024 + 256, "{known}, {has}");
    }

    fn serves(&mut self, rig: &mut Rig<Vsock>) {
        rig.settle();
        self.inner().refuses = false;
        rig.reset();
        assert_eq!(rig.device().connections(), 0, "a reset leaves connections");
        assert!(self.inner().programs.is_empty(), "a reset leaves streams");
        let header = Header {
            src_cid: CID.into(),
            dst_cid: HOST_CID,
            src_port: 7,
            dst_port: 8,
            len: 0,
            kind: TYPE_STREAM,
            op: Op::REQUEST,
            flags: 0,
            buf_alloc: 100,
            fwd_cnt: 0,
        };
        let data = Header {
            op: Op::RW,
            len: 3,
            ..header
        };
        for _ in 0..2 {
            rig.driver(RX).add(&[], &[100]);
        }
        rig.kick(RX);
        rig.request(TX, &[&header.to_bytes()], 0);
        let features = Features::from_bits(rig.call(|_device, io| io.features()));
        if features.no_implied_stream() && !features.stream() {
            let refusal = rig.poll(RX).map(|reply| reply.data).unwrap_or_default();
            assert_eq!(refusal.get(30), Some(&3), "a stream that was not agreed on");
            return;
        }
        rig.request(TX, &[&data.to_bytes(), b"abc"], 0);
        let mut inner = self.inner();
        let last = StreamId(inner.last);
        let program = inner.program(last);
        assert_eq!(program.from_guest, b"abc");
        program.to_guest.extend(b"xyz");
        inner.events.push_back(StreamEvent::Readable(last));
        drop(inner);
        rig.settle();
        let mut next = || rig.poll(RX).map(|reply| reply.data).unwrap_or_default();
        assert_eq!(next().get(30), Some(&2), "no answer");
        assert_eq!(next().get(44..), Some(&b"xyz"[..]), "no data");
    }
}
