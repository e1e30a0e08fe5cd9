//! Frames over a stream socket, as QEMU's `-netdev stream` and passt speak it: a length of four bytes, big-endian,
//! and then the frame, without a virtio-net header.
//!
//! Sending is one system call a frame, out of guest RAM. Receiving reads ahead as much as the socket holds, up to
//! [`BUFFER`], so a system call brings many small frames; each is copied to the guest.

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use trivisor_buses::{Packets, Segment};
use trivisor_memory::GuestRam;

use super::{MAX_FRAME, frame_len, link_down};
use crate::backlog::Backlog;
use crate::segments;
use crate::sys::vectored;

/// Bytes of the length in front of a frame.
const LENGTH: usize = 4;

/// Bytes that are read ahead at most. Any frame fits.
const BUFFER: usize = 128 << 10;

const _: () = assert!(LENGTH + MAX_FRAME <= BUFFER);

/// One end of such a socket.
#[derive(Debug)]
pub struct StreamSocket {
    socket: OwnedFd,
    ram: GuestRam,
    /// The rest of a frame of which the socket took a part: one frame at most.
    unsent: Backlog,
    ahead: ReadAhead,
    up: bool,
}

impl StreamSocket {
    /// For a connected stream socket, which becomes non-blocking.
    ///
    /// # Errors
    /// The host refuses that.
    pub fn new(socket: OwnedFd, ram: GuestRam) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            ram,
            unsent: Backlog::default(),
            ahead: ReadAhead::default(),
            up: true,
        })
    }

    /// What cannot be gone on from ends the link: a part of a frame may be lost.
    fn broken(&mut self, error: io::Error) -> io::Error {
        if error.kind() != io::ErrorKind::WouldBlock {
            self.up = false;
        }
        error
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty()
            && let Err(error) = self.unsent.flush(&self.socket)
        {
            return Err(self.broken(error));
        }
        Ok(())
    }
}

impl Packets for StreamSocket {
    fn has_header(&self) -> bool {
        false
    }

    fn link_is_up(&self) -> bool {
        self.up
    }

    fn send(&mut self, frame: &[Segment]) -> io::Result<()> {
        if !self.up {
            return Err(link_down());
        }
        let length = frame_len(frame, MAX_FRAME)?.to_be_bytes();
        self.flush()?;
        if !self.unsent.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let sent = match vectored::write(&self.socket, &length, &self.ram, frame) {
            Ok(sent) => sent,
            // The frame's fault and not the link's.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => return Err(error),
            Err(error) => return Err(self.broken(error)),
        };
        let skip = self.unsent.add(&length, sent);
        match self.unsent.add_segments(&self.ram, frame, skip) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn receive(&mut self, into: &[Segment], rest: &mut [u8]) -> io::Result<usize> {
        // The device is woken when there is room, and then receives.
        if self.up {
            self.flush()?;
        }
        loop {
            match self.ahead.frame() {
                Ok(Some(frame)) => {
                    let filled = segments::fill(&self.ram, into, frame)?;
                    let more = frame.get(filled..).unwrap_or_default();
                    let fits = more.len().min(rest.len());
                    rest.split_at_mut(fits)
                        .0
                        .copy_from_slice(more.split_at(fits).0);
                    self.ahead.next();
                    return Ok(filled + fits);
                }
                Ok(None) if !self.up => return Err(link_down()),
                Ok(None) => {
                    if let Err(error) = self.ahead.fill(&self.socket) {
                        return Err(self.broken(error));
                    }
                }
                Err(error) => return Err(self.broken(error)),
            }
        }
    }
}

/// Bytes that were read and not yet handed on.
#[derive(Debug, Default)]
struct ReadAhead {
    /// Of length [`BUFFER`], from the first use on.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl ReadAhead {
    /// The first frame, when all of it is here.
    ///
    /// # Errors
    /// Its length cannot be one; what follows means nothing.
    fn frame(&self) -> io::Result<Option<&[u8]>> {
        let bytes = self.bytes.get(self.start..self.end).unwrap_or_default();
        let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        match usize::try_from(u32::from_be_bytes(*length)) {
            Ok(length) if length <= MAX_FRAME => Ok(rest.get(..length)),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the other end sent a frame that is too long",
            )),
        }
    }

    /// Goes on to the next frame.
    fn next(&mut self) {
        if let Ok(Some(frame)) = self.frame() {
            self.start += LENGTH + frame.len();
        }
    }

    /// Reads what there is room for; at least a byte.
    ///
    /// # Errors
    /// `WouldBlock`: there is nothing. `NotConnected`: the other end is gone. Others: the host's.
    fn fill(&mut self, socket: &OwnedFd) -> io::Result<()> {
        self.bytes.resize(BUFFER, 0);
        // Less than a frame, so there is room behind it.
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let room = self.bytes.get_mut(self.end..).unwrap_or_default();
        loop {
            match rustix::io::read(socket, &mut *room) {
                Ok(0) => return Err(link_down()),
                Ok(count) => {
                    self.end += count;
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
