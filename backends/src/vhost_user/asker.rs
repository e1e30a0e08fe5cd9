//! Connections to a back-end, for a process that knows no path: it asks over a socket pair of the kind SEQPACKET, and
//! gets a descriptor back as soon as there is one.
//!
//! Either message is one byte, 0; the answer has a descriptor.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// The end that asks.
#[derive(Debug)]
pub struct Asker(OwnedFd);

impl Asker {
    /// For the descriptor that belongs to a [`BackEnd`](super::BackEnd).
    #[must_use]
    pub const fn new(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// Asks for a connection. Nobody who serves that is no error: there is none then.
    pub(super) fn ask(&self) {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let _gone = rustix::net::send(&self.0, &[0], flags);
    }

    /// The connection.
    pub(super) fn answer(&self) -> Option<OwnedFd> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let parts = &mut [IoSliceMut::new(&mut byte)];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        recvmsg(&self.0, parts, &mut control, flags).ok()?;
        let sockets = control.drain().filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        });
        sockets.flatten().next()
    }
}

impl AsFd for Asker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The end that is asked.
#[derive(Debug)]
pub(super) struct Asked(OwnedFd);

impl Asked {
    /// With the other end, for [`Asker::new`].
    pub(super) fn new() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self(ours), theirs))
    }

    /// Whether there is a request. `Err`: the other end says what makes no sense.
    pub(super) fn is_asked(&self) -> io::Result<bool> {
        let mut message = [0; 2];
        match rustix::net::recv(&self.0, &mut message, RecvFlags::TRUNC) {
            Ok((_, 1)) => Ok(true),
            Ok(_) => Err(io::ErrorKind::InvalidData.into()),
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn give(&self, connection: &OwnedFd) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let connections = [connection.as_fd()];
        if !control.push(SendAncillaryMessage::ScmRights(&connections)) {
            return Err(Errno::NOBUFS.into());
        }
        let parts = [IoSlice::new(&[0])];
        sendmsg(&self.0, &parts, &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl AsFd for Asked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
