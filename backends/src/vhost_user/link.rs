//! A connection to a back-end: whole messages with their descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use thiserror::Error;

use super::message::{HEADER, Header, MAX_PAYLOAD, MessageError};

/// Descriptors of a message at most.
pub(super) const MAX_DESCRIPTORS: usize = 8;

/// What a wait for the next bytes takes at most.
const PATIENCE: Duration = Duration::from_millis(500);

/// A connection that cannot be gone on with.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The other end is closed.
    #[error("the connection is closed")]
    Closed,
    /// The other end takes no more, or the host refuses.
    #[error("the connection is broken")]
    Host(#[source] io::Error),
    /// The other end does not speak the protocol.
    #[error("it does not speak vhost-user as we know it")]
    Message(#[from] MessageError),
    /// No answer in time.
    #[error("it does not answer")]
    Silent,
    /// The guest was promised more by the one before.
    #[error("it offers less than the one before")]
    Less,
}

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
    pub(super) descriptor: Option<OwnedFd>,
}

#[derive(Debug)]
pub(super) struct Link {
    socket: OwnedFd,
    /// What has come of the next answer.
    bytes: [u8; HEADER + MAX_PAYLOAD],
    have: usize,
    header: Option<Header>,
    descriptor: Option<OwnedFd>,
}

/// Makes a socket fit for a [`Link`]: a wait on it ends after half a second.
pub(super) fn prepare(socket: &OwnedFd) -> io::Result<()> {
    rustix::io::ioctl_fionbio(socket, false)?;
    set_socket_timeout(socket, Timeout::Recv, Some(PATIENCE))?;
    Ok(())
}

impl Link {
    /// On a socket that was [prepared](prepare).
    pub(super) const fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            bytes: [0; HEADER + MAX_PAYLOAD],
            have: 0,
            header: None,
            descriptor: None,
        }
    }

    pub(super) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Sends a message; never waits, for no back-end has as many unread that there is no room.
    pub(super) fn send(
        &self,
        bytes: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), LinkError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(LinkError::Host(Errno::NOBUFS.into()));
        }
        let parts = [IoSlice::new(bytes)];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::io::retry_on_intr(|| sendmsg(&self.socket, &parts, &mut control, flags)) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => Err(LinkError::Host(io::ErrorKind::WriteZero.into())),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(LinkError::Closed),
            Err(error) => Err(LinkError::Host(error.into())),
        }
    }

    /// The next answer; none when it is not all there. With `wait` half a second is waited for
    /// each part of it.
    pub(super) fn receive(&mut self, wait: bool) -> Result<Option<Received>, LinkError> {
        loop {
            let end = HEADER + self.header.map_or(0, |header| header.len);
            if self.have < end {
                if !self.read(end, wait)? {
                    return Ok(None);
                }
                continue;
            }
            match self.header {
                Some(header) => {
                    let payload = self.bytes.get(HEADER..end).unwrap_or_default().to_vec();
                    (self.have, self.header) = (0, None);
                    return Ok(Some(Received {
                        header,
                        payload,
                        descriptor: self.descriptor.take(),
                    }));
                }
                None => {
                    let bytes = self.bytes.first_chunk().copied().unwrap_or_default();
                    self.header = Some(Header::parse(bytes)?);
                }
            }
        }
    }

    /// Reads up to `end`; false when there is nothing.
    fn read(&mut self, end: usize, wait: bool) -> Result<bool, LinkError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let room = self.bytes.get_mut(self.have..end).unwrap_or_default();
        let mut flags = RecvFlags::CMSG_CLOEXEC;
        if !wait {
            flags |= RecvFlags::DONTWAIT;
        }
        let received = recvmsg(
            &self.socket,
            &mut [IoSliceMut::new(room)],
            &mut control,
            flags,
        );
        let count = match received {
            Ok(received) => received.bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(false),
            Err(Errno::CONNRESET) => return Err(LinkError::Closed),
            Err(error) => return Err(LinkError::Host(error.into())),
        };
        // One is all that an answer has; others are closed.
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = part {
                for descriptor in descriptors {
                    self.descriptor.get_or_insert(descriptor);
                }
            }
        }
        if count == 0 {
            return Err(LinkError::Closed);
        }
        self.have += count;
        Ok(true)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
