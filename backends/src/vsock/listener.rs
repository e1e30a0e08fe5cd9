//! The socket that programs of the host connect to: by its path, so in the control process alone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use thiserror::Error;

/// Programs that wait to be accepted at most.
const WAITING: i32 = 128;

/// A path that cannot be listened at.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another VM, or another program, listens there.
    #[error("the socket {} is in use", .path.display())]
    InUse {
        /// Its name.
        path: PathBuf,
    },
    /// There is a file of this name that is no socket, or a socket of another kind.
    #[error("{} is there already, and is no socket of a VM that has ended", .path.display())]
    Occupied {
        /// Its name.
        path: PathBuf,
    },
    /// The host refused something else: no such folder, no right, a name that is too long.
    #[error("the socket {} cannot be made", .path.display())]
    Host {
        /// Its name.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// A socket with its path, which is removed with this value.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
}

impl Listener {
    /// Listens at `path`. What a VM left there that was killed is removed.
    ///
    /// # Errors
    /// Somebody listens there, something else is there, or the host refuses.
    pub fn new(path: &Path) -> Result<Self, ListenError> {
        let refused = |error: Errno| ListenError::Host {
            path: path.to_owned(),
            source: error.into(),
        };
        let address = SocketAddrUnix::new(path).map_err(refused)?;
        let socket = stream_socket().map_err(refused)?;
        match bind(&socket, &address) {
            Err(Errno::ADDRINUSE) => {
                let asked = stream_socket().and_then(|socket| connect(socket, &address));
                let path = path.to_owned();
                match asked {
                    // Nobody listens. A file that is no socket refuses as well.
                    Err(Errno::CONNREFUSED) if is_socket(&path) => {}
                    Ok(()) | Err(Errno::AGAIN) => return Err(ListenError::InUse { path }),
                    Err(_) => return Err(ListenError::Occupied { path }),
                }
                std::fs::remove_file(&path).map_err(|source| ListenError::Host { path, source })?;
                bind(&socket, &address).map_err(refused)?;
            }
            bound => bound.map_err(refused)?,
        }
        let listener = Self {
            socket,
            path: path.to_owned(),
        };
        listen(&listener.socket, WAITING).map_err(refused)?;
        Ok(listener)
    }
}

impl AsFd for Listener {
    /// For the VM's process: a copy of it goes on listening after this value.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// A stream socket that does not block.
pub(super) fn stream_socket() -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

fn is_socket(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}
