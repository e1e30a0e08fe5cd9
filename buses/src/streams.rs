//! What stands behind a socket device: byte streams to programs of the host, many at a time.

use std::io;

use crate::segment::Segment;

/// One stream. Numbers are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// What happened on the host's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEvent {
    /// A program wants a stream to `port` of the guest: [`StreamHost::accept`] or [`StreamHost::close`] it.
    Asked {
        /// The new stream.
        stream: StreamId,
        /// Port of the guest.
        port: u32,
    },
    /// What [`StreamHost::connect`] asked for is there.
    Connected(StreamId),
    /// The stream is gone: nobody takes what [`StreamHost::connect`] asked for, or the program that asked did not
    /// wait for the answer.
    Gone(StreamId),
    /// There is something to read, or the end of it. Said once, until a read has found nothing.
    Readable(StreamId),
    /// [`StreamHost::forwarded`] has grown, or the program reads no more.
    Forwarded(StreamId),
    /// Work of the host side's own. It is part of the caller's fair share.
    Inside,
}

/// A direction, seen from the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// The guest reads no more.
    Read,
    /// The guest writes no more: the program reads to the end of what was written.
    Write,
}

/// The host's side of all streams of one device. No method waits: [`io::ErrorKind::WouldBlock`] says that there is
/// nothing now. A stream that is not there, or any more, is [`io::ErrorKind::NotConnected`].
///
/// One descriptor for all streams belongs to it, see [`Source`](crate::Source).
pub trait StreamHost: Send {
    /// What happened. A device that was woken asks until there is nothing, or comes back for the rest.
    fn next_event(&mut self) -> Option<StreamEvent>;

    /// The guest takes a stream that a program asked for, at `host_port` of the device.
    ///
    /// # Errors
    /// The program is gone, and the stream with it.
    fn accept(&mut self, stream: StreamId, host_port: u32) -> io::Result<()>;

    /// The guest wants a stream to `port` of the host. Its fate is told by an event, maybe at once: ask for events
    /// after this.
    ///
    /// # Errors
    /// There are too many streams already, or nobody could be asked.
    fn connect(&mut self, port: u32) -> io::Result<StreamId>;

    /// Moves bytes from the program into the segments; how many, 0 at their end.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`]: none now. Others: the stream is broken.
    fn read(&mut self, stream: StreamId, into: &[Segment]) -> io::Result<usize>;

    /// Moves all bytes of the segments to the program, or keeps them for it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`], and nothing was taken: more than the [`window`](Self::window) would be kept,
    /// so the guest does not obey its credit. Others: the stream is broken.
    fn write(&mut self, stream: StreamId, from: &[Segment]) -> io::Result<()>;

    /// Bytes that are kept for one stream at most: the guest's credit.
    fn window(&self) -> u32;

    /// Of the bytes written to a stream, those that the program's socket took, modulo 2^32. 0 for one that is not
    /// there.
    fn forwarded(&self, stream: StreamId) -> u32;

    /// Ends one direction, after what is kept.
    ///
    /// # Errors
    /// The stream is broken.
    fn shutdown(&mut self, stream: StreamId, end: StreamEnd) -> io::Result<()>;

    /// Ends a stream; there are no more events of it. What is kept still goes to the program.
    fn close(&mut self, stream: StreamId);
}
