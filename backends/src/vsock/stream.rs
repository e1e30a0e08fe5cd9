//! One connection to a program of the host.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::Shutdown;
use trivisor_buses::{Segment, StreamEnd};
use trivisor_memory::GuestRam;

use super::host::WINDOW;
use crate::backlog::Backlog;
use crate::sys::vectored;

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The program has not said which port it wants.
    Handshake,
    /// The guest was asked.
    Asked,
    /// Bytes go in both directions.
    Open,
    /// The device has done with it; what is kept still goes to the program.
    Closing,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) socket: OwnedFd,
    pub(super) stage: Stage,
    kept: Backlog,
    forwarded: u32,
    /// The guest writes no more; the program is told after what is kept.
    write_ended: bool,
    /// The program takes no more.
    broken: bool,
}

impl Stream {
    pub(super) fn new(socket: OwnedFd, stage: Stage) -> Self {
        Self {
            socket,
            stage,
            kept: Backlog::default(),
            forwarded: 0,
            write_ended: false,
            broken: false,
        }
    }

    pub(super) fn forwarded(&self) -> u32 {
        self.forwarded
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.kept.is_empty()
    }

    pub(super) fn write(&mut self, ram: &GuestRam, from: &[Segment]) -> io::Result<()> {
        if self.write_ended || self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = u64::from(WINDOW).saturating_sub(self.kept.len() as u64);
        let total = Segment::total(from);
        if total > room {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut sent = 0;
        if self.kept.is_empty() && total > 0 {
            sent = match vectored::write(&self.socket, &[], ram, from) {
                Ok(sent) => sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            self.forwarded = self.forwarded.wrapping_add(length(sent));
        }
        self.kept.add_segments(ram, from, sent)
    }

    /// Gives the program what it takes of what is kept. True when that was something, or it takes no more, which the
    /// next write tells.
    pub(super) fn flush(&mut self) -> bool {
        if self.kept.is_empty() {
            return false;
        }
        let before = self.kept.len();
        let flushed = self.kept.flush(&self.socket);
        let moved = before - self.kept.len();
        self.forwarded = self.forwarded.wrapping_add(length(moved));
        if flushed.is_err() || (self.write_ended && self.end_writes().is_err()) {
            self.broken = true;
            self.kept = Backlog::default();
        }
        moved > 0 || self.broken
    }

    pub(super) fn shutdown(&mut self, end: StreamEnd) -> io::Result<()> {
        match end {
            StreamEnd::Read => end_of(rustix::net::shutdown(&self.socket, Shutdown::Read)),
            StreamEnd::Write => {
                self.write_ended = true;
                self.end_writes()
            }
        }
    }

    fn end_writes(&self) -> io::Result<()> {
        if self.kept.is_empty() {
            end_of(rustix::net::shutdown(&self.socket, Shutdown::Write))
        } else {
            Ok(())
        }
    }
}

/// The other end being gone already is no error.
fn end_of(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOTCONN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Modulo 2^32, as the guest counts.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the guest counts modulo 2^32"
)]
const fn length(bytes: usize) -> u32 {
    bytes as u32
}
