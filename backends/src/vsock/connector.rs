//! Connections that the guest wants.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::{SocketAddrUnix, connect};

use super::listener::stream_socket;

/// What became of a wish.
#[derive(Debug)]
pub struct Answer {
    /// The wish.
    pub wish: u64,
    /// The program's socket, connected and non-blocking.
    pub socket: io::Result<OwnedFd>,
}

/// Who can connect to a program of the host. No method waits.
pub trait Connector: Send {
    /// Asks for a stream to `port` of the host; the answer will name the `wish`.
    ///
    /// # Errors
    /// Nobody can be asked now.
    fn ask(&mut self, wish: u64, port: u32) -> io::Result<()>;

    /// The next answer.
    fn answer(&mut self) -> Option<Answer>;

    /// What becomes readable with an answer; nothing, where each is there once it was asked for.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Connects by paths itself: for the control process, and for a VM without a sandbox.
#[derive(Debug)]
pub struct PathConnector {
    path: PathBuf,
    answers: VecDeque<Answer>,
}

impl PathConnector {
    /// For a device whose [`Listener`](super::Listener) has this path.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            answers: VecDeque::new(),
        }
    }

    /// Connects to whoever listens at the device's path, `_` and `port`. Does not wait: a program whose queue is
    /// full refuses.
    ///
    /// # Errors
    /// Nobody listens there, or the host refuses.
    pub fn connect(&self, port: u32) -> io::Result<OwnedFd> {
        let mut path = OsString::from(&self.path);
        path.push(format!("_{port}"));
        let address = SocketAddrUnix::new(PathBuf::from(path))?;
        let socket = stream_socket()?;
        connect(&socket, &address)?;
        Ok(socket)
    }
}

impl Connector for PathConnector {
    fn ask(&mut self, wish: u64, port: u32) -> io::Result<()> {
        let socket = self.connect(port);
        self.answers.push_back(Answer { wish, socket });
        Ok(())
    }

    fn answer(&mut self) -> Option<Answer> {
        self.answers.pop_front()
    }
}
