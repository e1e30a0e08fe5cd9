//! What stands behind a network card: a tap of the host, or a socket with somebody at its other end.
//!
//! Names are known to the control process: it opens a [tap](Tap::open), [connects a socket](connect) or [starts
//! passt](passt). The VM's process gets descriptors, and makes a [`Packets`] of each.

mod connect;
mod datagram;
pub mod passt;
mod stream;
mod tap;

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;
use trivisor_buses::{Packets, Segment};
use trivisor_memory::GuestRam;

pub use connect::{ConnectError, connect};
pub use datagram::DatagramSocket;
pub use stream::StreamSocket;
pub use tap::{HEADER_LEN, Tap, TapError};

/// Bytes of a frame at most, without a virtio-net header. An Ethernet header and the largest IP packet are 65550
/// (virtio 1.3, 5.1.6.3.1); this is what QEMU takes on its sockets.
pub const MAX_FRAME: usize = 4096 + 65536;

/// A cable to the other end of `socket`, with what frames it by the kind of the socket: stream, or datagrams and
/// sequenced packets. It becomes non-blocking. The second descriptor is for the event loop.
///
/// # Errors
/// The descriptor is no such socket, or the host refuses.
pub fn socket(socket: OwnedFd, ram: GuestRam) -> io::Result<(Box<dyn Packets>, OwnedFd)> {
    let watched = socket.try_clone()?;
    let packets: Box<dyn Packets> = if socket_type(&socket)? == SocketType::STREAM {
        Box::new(StreamSocket::new(socket, ram)?)
    } else {
        Box::new(DatagramSocket::new(socket, ram)?)
    };
    Ok((packets, watched))
}

/// A cable to the host's kernel, for a queue of a tap. The second descriptor is for the event loop.
///
/// # Errors
/// The descriptor is none of a tap, or the host refuses.
pub fn tap(queue: OwnedFd, ram: GuestRam) -> io::Result<(Box<dyn Packets>, OwnedFd)> {
    let watched = queue.try_clone()?;
    Ok((Box::new(Tap::new(queue, ram)?), watched))
}

/// Bytes of a frame that is to be sent, if it is none too long.
fn frame_len(frame: &[Segment], most: usize) -> io::Result<u32> {
    u32::try_from(Segment::total(frame))
        .ok()
        .filter(|len| usize::try_from(*len).is_ok_and(|len| len <= most))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the frame is too long"))
}

/// No link any more.
fn link_down() -> io::Error {
    io::ErrorKind::NotConnected.into()
}
