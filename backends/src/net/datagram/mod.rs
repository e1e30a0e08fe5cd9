//! Frames over a socket that keeps them apart: sequenced packets or datagrams, one a frame, without a virtio-net
//! header. Straight between the socket and guest RAM, one system call a frame.

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;
use trivisor_buses::{Packets, Segment};
use trivisor_memory::GuestRam;

use super::{MAX_FRAME, frame_len, link_down};
use crate::sys::vectored;

/// One end of such a socket.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: OwnedFd,
    ram: GuestRam,
    /// Nothing to read means the end, and no empty frame.
    ends: bool,
    up: bool,
}

impl DatagramSocket {
    /// For a connected socket of the kinds SEQPACKET and DGRAM, which becomes non-blocking.
    ///
    /// # Errors
    /// It is of another kind, or the host refuses.
    pub fn new(socket: OwnedFd, ram: GuestRam) -> io::Result<Self> {
        let ends = match socket_type(&socket)? {
            SocketType::SEQPACKET => true,
            SocketType::DGRAM => false,
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            ram,
            ends,
            up: true,
        })
    }

    fn look(&mut self, error: io::Error) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected};
        if matches!(
            error.kind(),
            BrokenPipe | ConnectionRefused | ConnectionReset | NotConnected
        ) {
            self.up = false;
        }
        error
    }
}

impl Packets for DatagramSocket {
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
        frame_len(frame, MAX_FRAME)?;
        match vectored::write(&self.socket, &[], &self.ram, frame) {
            Ok(_all) => Ok(()),
            Err(error) => Err(self.look(error)),
        }
    }

    fn receive(&mut self, into: &[Segment], rest: &mut [u8]) -> io::Result<usize> {
        let has_room = Segment::total(into) > 0 || !rest.is_empty();
        // What was sent before the other end went is still there.
        match vectored::read(&self.socket, &self.ram, into, rest) {
            Ok(0) if self.ends && has_room => {
                self.up = false;
                Err(link_down())
            }
            Ok(count) => Ok(count),
            Err(error) => Err(self.look(error)),
        }
    }
}
