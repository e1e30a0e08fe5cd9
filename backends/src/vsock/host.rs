//! All streams of one device.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, EventFlags};
use trivisor_buses::{Segment, StreamEnd, StreamEvent, StreamHost, StreamId};
use trivisor_memory::GuestRam;

use super::connector::Connector;
use super::stream::{Stage, Stream};
use crate::sys::vectored;

/// Streams of a device at most, with those that are being made or ended.
pub const MAX_STREAMS: usize = 256;

/// Programs at most that have connected and not said which port they want. One more, and the oldest is turned away: so
/// it does no harm to dawdle, and there is no need for a clock.
pub const MAX_HANDSHAKES: usize = 32;

/// Bytes that are kept for a program that does not read, a stream: two of the largest packets of Linux's driver.
pub const WINDOW: u32 = 128 << 10;

/// Numbers below are no streams, but what else the epoll set watches.
pub(super) const LISTENER: u64 = 0;
pub(super) const CONNECTOR: u64 = 1;
const FIRST_STREAM: u64 = 2;

/// By their numbers. `None`: the connector was asked for it.
pub(super) type Streams = HashMap<u64, Option<Stream>>;

/// The UNIX sockets behind a device.
pub struct Host {
    pub(super) ram: GuestRam,
    /// All that is watched: the listener, the connector and a socket a stream.
    pub(super) epoll: OwnedFd,
    pub(super) listener: OwnedFd,
    pub(super) connector: Box<dyn Connector>,
    pub(super) streams: Streams,
    /// Number of the next stream.
    next: u64,
    /// Not told yet.
    pub(super) events: VecDeque<StreamEvent>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("listener", &self.listener)
            .field("streams", &self.streams.len())
            .field("events", &self.events.len())
            .finish_non_exhaustive()
    }
}

impl Host {
    /// For the socket of a [`Listener`](super::Listener), which becomes non-blocking. The second descriptor is for
    /// the event loop: it becomes readable with each change.
    ///
    /// # Errors
    /// The host refuses a descriptor.
    pub fn new(
        listener: OwnedFd,
        connector: Box<dyn Connector>,
        ram: GuestRam,
    ) -> io::Result<(Self, OwnedFd)> {
        rustix::io::ioctl_fionbio(&listener, true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let watched = epoll.try_clone()?;
        let host = Self {
            ram,
            epoll,
            listener,
            connector,
            streams: HashMap::new(),
            next: FIRST_STREAM,
            events: VecDeque::new(),
        };
        host.watch(&host.listener, LISTENER, readable())?;
        if let Some(descriptor) = host.connector.descriptor() {
            host.watch(descriptor, CONNECTOR, readable())?;
        }
        Ok((host, watched))
    }

    pub(super) fn watch(&self, fd: impl AsFd, number: u64, flags: EventFlags) -> io::Result<()> {
        let data = epoll::EventData::new_u64(number);
        Ok(epoll::add(&self.epoll, fd, data, flags)?)
    }

    /// A number for a new stream.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }
}

impl StreamHost for Host {
    fn next_event(&mut self) -> Option<StreamEvent> {
        if self.events.is_empty() {
            self.gather();
        }
        self.events.pop_front()
    }

    fn accept(&mut self, stream: StreamId, host_port: u32) -> io::Result<()> {
        let Some(Some(asked)) = self.streams.get_mut(&stream.0) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if asked.stage != Stage::Asked {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let line = format!("OK {host_port}\n");
        let written = rustix::io::write(&asked.socket, line.as_bytes());
        // From now on both directions count. What came before is told again.
        let watched = epoll::modify(
            &self.epoll,
            &asked.socket,
            epoll::EventData::new_u64(stream.0),
            both_directions(),
        );
        asked.stage = Stage::Open;
        if written == Ok(line.len()) && watched.is_ok() {
            Ok(())
        } else {
            self.streams.remove(&stream.0);
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    fn connect(&mut self, port: u32) -> io::Result<StreamId> {
        if self.streams.len() >= MAX_STREAMS && !self.drop_closing() {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let number = self.number();
        self.connector.ask(number, port)?;
        self.streams.insert(number, None);
        if self.connector.descriptor().is_none() {
            self.take_answers();
        }
        Ok(StreamId(number))
    }

    fn read(&mut self, stream: StreamId, into: &[Segment]) -> io::Result<usize> {
        vectored::read(
            &open(&mut self.streams, stream)?.socket,
            &self.ram,
            into,
            &mut [],
        )
    }

    fn write(&mut self, stream: StreamId, from: &[Segment]) -> io::Result<()> {
        open(&mut self.streams, stream)?.write(&self.ram, from)
    }

    fn window(&self) -> u32 {
        WINDOW
    }

    fn forwarded(&self, stream: StreamId) -> u32 {
        let stream = self.streams.get(&stream.0).and_then(Option::as_ref);
        stream.map_or(0, Stream::forwarded)
    }

    fn shutdown(&mut self, stream: StreamId, end: StreamEnd) -> io::Result<()> {
        open(&mut self.streams, stream)?.shutdown(end)
    }

    fn close(&mut self, stream: StreamId) {
        self.events.retain(|event| of(event) != Some(stream));
        match self.streams.get_mut(&stream.0) {
            Some(Some(open)) if !open.is_flushed() => open.stage = Stage::Closing,
            // The kernel forgets the socket in the epoll set, and an answer to a wish that is not there is dropped.
            _ => drop(self.streams.remove(&stream.0)),
        }
    }
}

/// A stream that bytes may go through.
fn open(streams: &mut Streams, stream: StreamId) -> io::Result<&mut Stream> {
    match streams.get_mut(&stream.0) {
        Some(Some(open)) if open.stage == Stage::Open => Ok(open),
        _ => Err(io::ErrorKind::NotConnected.into()),
    }
}

/// Each time that there is something more to read.
pub(super) fn readable() -> EventFlags {
    EventFlags::IN | EventFlags::ET
}

/// What an open stream waits for; each change is told once.
pub(super) fn both_directions() -> EventFlags {
    readable() | EventFlags::OUT | EventFlags::RDHUP
}

/// The stream of an event.
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
