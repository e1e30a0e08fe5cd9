//! Sockets by their paths: in the control process alone.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect as connect_to,
    socket_with,
};
use thiserror::Error;

/// A socket that cannot be used.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// There is nothing of this name. What to do: start the program that serves it first.
    #[error("there is no socket {}", .path.display())]
    Missing {
        /// Its name.
        path: PathBuf,
    },
    /// Nobody serves it any more.
    #[error("nobody serves the socket {}", .path.display())]
    Unserved {
        /// Its name.
        path: PathBuf,
    },
    /// The user may not connect to it.
    #[error("the socket {} must not be used", .path.display())]
    Permission {
        /// Its name.
        path: PathBuf,
    },
    /// The host refused something else: a name that is too long, a file that is no socket.
    #[error("the socket {} cannot be used", .path.display())]
    Host {
        /// Its name.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Connects to the socket at `path`, of whatever kind it is: stream, sequenced packets or datagrams. A socket of
/// datagrams gets a name of its own, so that it can be answered.
///
/// # Errors
/// When there is none, nobody serves it, it may not be used, or the host refuses.
pub fn connect(path: &Path) -> Result<OwnedFd, ConnectError> {
    let kinds = [SocketType::STREAM, SocketType::SEQPACKET, SocketType::DGRAM];
    let mut last = Errno::PROTOTYPE;
    for kind in kinds {
        match connect_as(path, kind) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
        if last != Errno::PROTOTYPE {
            break;
        }
    }
    let path = path.to_owned();
    Err(match last {
        Errno::NOENT => ConnectError::Missing { path },
        Errno::CONNREFUSED => ConnectError::Unserved { path },
        Errno::ACCESS | Errno::PERM => ConnectError::Permission { path },
        source => ConnectError::Host {
            path,
            source: source.into(),
        },
    })
}

fn connect_as(path: &Path, kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, kind, flags, None)?;
    if kind == SocketType::DGRAM {
        bind(&socket, &SocketAddrUnix::new_unnamed())?;
    }
    connect_to(&socket, &address)?;
    Ok(socket)
}
