//! Connections that the guest wants, made by another process: the jailed one asks over a socket pair of the kind
//! SEQPACKET, and gets descriptors back.
//!
//! | message | bytes, little-endian |
//! |---|---|
//! | request | wish: 8, port: 4 |
//! | answer | wish: 8, errno or 0: 4; with a descriptor when it is 0 |

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::connector::{Answer, Connector, PathConnector};

/// Bytes of either message.
const MESSAGE: usize = 12;

fn encode(wish: u64, value: u32) -> [u8; MESSAGE] {
    let mut message = [0; MESSAGE];
    let (front, back) = message.split_at_mut(8);
    front.copy_from_slice(&wish.to_le_bytes());
    back.copy_from_slice(&value.to_le_bytes());
    message
}

fn decode(message: [u8; MESSAGE]) -> Option<(u64, u32)> {
    let (wish, value) = message.split_first_chunk()?;
    let value = value.first_chunk()?;
    Some((u64::from_le_bytes(*wish), u32::from_le_bytes(*value)))
}

/// The end that asks.
#[derive(Debug)]
pub struct RemoteConnector(OwnedFd);

/// The end that connects. It trusts nothing that the other end says: a port is a number, and no answer waits.
#[derive(Debug)]
pub struct ConnectServer {
    socket: OwnedFd,
    connector: PathConnector,
}

impl ConnectServer {
    /// For a device whose [`Listener`](super::Listener) has this path; the descriptor is for
    /// [`RemoteConnector::new`].
    ///
    /// # Errors
    /// The host gives no sockets.
    pub fn new(path: &Path) -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let connector = PathConnector::new(path);
        Ok((Self { socket, connector }, theirs))
    }

    /// Serves one request; false when there was none. An event loop polls the descriptor before.
    ///
    /// # Errors
    /// The other end is gone, says what makes no sense, or does not take its answers: it is not to be served any
    /// more.
    pub fn turn(&self) -> io::Result<bool> {
        let mut message = [0; MESSAGE];
        let count = match rustix::net::recv(&self.socket, &mut message, RecvFlags::TRUNC) {
            Ok((_, count)) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let request = decode(message).filter(|_| count == MESSAGE);
        let Some((wish, port)) = request else {
            let kind = match count {
                0 => io::ErrorKind::UnexpectedEof,
                _ => io::ErrorKind::InvalidData,
            };
            return Err(kind.into());
        };
        match self.connector.connect(port) {
            Ok(connected) => self.give(wish, 0, Some(connected.as_fd()))?,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                self.give(wish, errno.cast_unsigned(), None)?;
            }
        }
        Ok(true)
    }

    fn give(&self, wish: u64, errno: u32, socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let message = encode(wish, errno);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let socket = socket.as_slice();
        if !socket.is_empty() && !control.push(SendAncillaryMessage::ScmRights(socket)) {
            return Err(Errno::NOBUFS.into());
        }
        let parts = [IoSlice::new(&message)];
        sendmsg(&self.socket, &parts, &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl AsFd for ConnectServer {
    /// Readable when there is a request.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl RemoteConnector {
    /// For the descriptor that [`ConnectServer::new`] gave.
    #[must_use]
    pub const fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl Connector for RemoteConnector {
    fn ask(&mut self, wish: u64, port: u32) -> io::Result<()> {
        // A message goes as a whole or not at all.
        rustix::io::write(&self.0, &encode(wish, port))?;
        Ok(())
    }

    fn answer(&mut self) -> Option<Answer> {
        let mut message = [0; MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let parts = &mut [IoSliceMut::new(&mut message)];
        let received = recvmsg(&self.0, parts, &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
        let socket = control
            .drain()
            .filter_map(|part| match part {
                RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
                _ => None,
            })
            .flatten()
            .next();
        let (wish, errno) = decode(message).filter(|_| received.bytes == MESSAGE)?;
        let socket = socket.ok_or_else(|| io::Error::from_raw_os_error(errno.cast_signed()));
        Some(Answer { wish, socket })
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}
