//! The guest's output. The VM process writes to terminal, pipe or file itself, by a descriptor of its own that
//! never blocks it; only where none can be had (standard output is a socket) its bytes are relayed here.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::pipe::PipeFlags;

use crate::plan::Sink;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// Both ends of the guest's output.
#[derive(Debug)]
pub(crate) struct Ends {
    /// Where the VM process writes.
    pub(crate) guest: OwnedFd,
    /// What is to be relayed to standard output.
    pub(crate) relay: Option<OwnedFd>,
}

impl Ends {
    /// For a sink; `None`: nobody wants the output.
    pub(crate) fn new(sink: &Sink) -> io::Result<Option<Self>> {
        let own = |file: &File| Ok::<OwnedFd, io::Error>(file.try_clone()?.into());
        let guest = match sink {
            Sink::None => return Ok(None),
            Sink::File(file) => own(file)?,
            Sink::Stdio => match reopen_stdout() {
                Some(stdout) => stdout,
                None => {
                    let (relay, guest) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
                    rustix::io::ioctl_fionbio(&relay, true)?;
                    return Ok(Some(Self {
                        guest,
                        relay: Some(relay),
                    }));
                }
            },
        };
        Ok(Some(Self { guest, relay: None }))
    }
}

/// Standard output for the VM process. A pipe or a terminal is opened once more, for flags of its own: that
/// it does not block must not be seen by others who have it open. A regular file never blocks, and its
/// position has to be shared with them.
fn reopen_stdout() -> Option<OwnedFd> {
    let stdout = rustix::stdio::stdout();
    let mode = rustix::fs::fstat(stdout).ok()?.st_mode;
    match FileType::from_raw_mode(mode) {
        FileType::RegularFile => rustix::io::fcntl_dupfd_cloexec(stdout, 3).ok(),
        FileType::Fifo | FileType::CharacterDevice => {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::open("/proc/self/fd/1", flags, Mode::empty()).ok()
        }
        _ => None,
    }
}

/// The control process's part of the output.
#[derive(Debug)]
pub(crate) struct Output {
    relay: Option<OwnedFd>,
}

impl Output {
    pub(crate) const fn new(relay: Option<OwnedFd>) -> Self {
        Self { relay }
    }

    /// What to wait for.
    pub(crate) fn wanted(&self) -> Option<BorrowedFd<'_>> {
        self.relay.as_ref().map(AsFd::as_fd)
    }

    /// Moves what is there; false when there was nothing.
    pub(crate) fn pump(&mut self) -> bool {
        let Some(relay) = &self.relay else {
            return false;
        };
        let mut buffer = vec![0; CHUNK];
        match rustix::io::read(relay, &mut *buffer) {
            Ok(length @ 1..) => {
                // Nobody looks any more where this fails; the guest goes on.
                let _closed = print(buffer.get(..length).unwrap_or_default());
                true
            }
            Err(rustix::io::Errno::INTR) => true,
            Err(rustix::io::Errno::AGAIN) => false,
            Ok(0) | Err(_) => {
                self.relay = None;
                false
            }
        }
    }

    /// Moves all that is left.
    pub(crate) fn finish(&mut self) {
        while self.pump() {}
    }

    /// Prints a text of ours.
    pub(crate) fn show(text: &str) {
        let _closed = print(text.as_bytes());
    }
}

fn print(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}
