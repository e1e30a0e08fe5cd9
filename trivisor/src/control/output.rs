//! The guest's output. The VM process writes to terminal, pipe or file itself, by a descriptor of its own that
//! never blocks it; only where none can be had (standard output is a socket) its bytes are relayed here.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;
use rustix::pipe::PipeFlags;

use crate::plan::Sink;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// Bytes that are written at once: `PIPE_BUF`, which a pipe with room takes whole.
const PART: usize = 4096;

/// Bytes that wait for room at most, texts of ours among them; further texts are dropped and counted.
const MAX_KEPT: usize = 2 * CHUNK;

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
    /// Bytes that standard output had no room for; no more are read while there are some.
    kept: Vec<u8>,
    /// Standard output for texts of ours, where it is not relayed; opened for the first of them.
    own: Option<OwnedFd>,
    /// Texts that there was no room for.
    dropped: u64,
}

impl Output {
    pub(crate) const fn new(relay: Option<OwnedFd>) -> Self {
        Self {
            relay,
            kept: Vec::new(),
            own: None,
            dropped: 0,
        }
    }

    /// The guest was started again: its output is relayed from here.
    pub(crate) fn connect(&mut self, relay: Option<OwnedFd>) {
        self.relay = relay;
    }

    /// What to wait for.
    pub(crate) fn wanted(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        if self.kept.is_empty() {
            let relay = self.relay.as_ref()?;
            return Some((relay.as_fd(), PollFlags::IN));
        }
        Some((rustix::stdio::stdout(), PollFlags::OUT))
    }

    /// Moves what can be moved, without waiting; false when nothing moved.
    pub(crate) fn pump(&mut self) -> bool {
        let read = self.kept.is_empty() && self.read();
        let room = !self.kept.is_empty() && has_room(None);
        room && self.write() || read
    }

    /// Moves all that is left, unless its reader takes nothing for as long as `patience`, or `hurry` becomes
    /// readable. The guest must not write any more.
    pub(crate) fn finish(&mut self, patience: Duration, hurry: BorrowedFd<'_>) {
        let wait = Some((patience, hurry));
        while self.pump() || (!self.kept.is_empty() && has_room(wait) && self.pump()) {}
    }

    /// Prints a text of ours, as soon as there is room for it.
    pub(crate) fn show(&mut self, text: &str) {
        if self.kept.len() + text.len() > MAX_KEPT {
            self.dropped += 1;
            return;
        }
        if self.own.is_none() && self.relay.is_none() {
            self.own = reopen_stdout();
        }
        self.kept.extend(text.bytes());
        self.pump();
        if self.dropped > 0 && self.kept.is_empty() {
            let dropped = std::mem::take(&mut self.dropped);
            self.show(&format!(
                "\r\n[{dropped} texts were dropped: nobody took them]\r\n"
            ));
        }
    }

    fn read(&mut self) -> bool {
        let Some(relay) = &self.relay else {
            return false;
        };
        let mut buffer = vec![0; CHUNK];
        match rustix::io::read(relay, &mut *buffer) {
            Ok(length @ 1..) => {
                buffer.truncate(length);
                self.kept = buffer;
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            Ok(0) | Err(_) => {
                self.relay = None;
                false
            }
        }
    }

    fn write(&mut self) -> bool {
        let taken = match &self.own {
            Some(own) => rustix::io::write(own, &self.kept),
            None => self.write_shared(),
        };
        match taken {
            Ok(taken) => {
                self.kept.drain(..taken);
                taken > 0
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            // Nobody looks any more; the guest goes on.
            Err(_) => {
                self.kept.clear();
                true
            }
        }
    }

    /// To the descriptor that others have, too, so it may block; where poll finds room it takes this much.
    fn write_shared(&self) -> rustix::io::Result<usize> {
        let part = self.kept.get(..PART).unwrap_or(&self.kept);
        let stdout = rustix::stdio::stdout();
        match rustix::net::send(stdout, part, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(Errno::NOTSOCK) => rustix::io::write(stdout, part),
            taken => taken,
        }
    }
}

/// Standard output has room. Waits for it so long, unless the descriptor becomes readable.
fn has_room(wait: Option<(Duration, BorrowedFd<'_>)>) -> bool {
    let stdout = rustix::stdio::stdout();
    let mut fds = vec![PollFd::from_borrowed_fd(stdout, PollFlags::OUT)];
    let mut patience = Timespec::default();
    if let Some((time, hurry)) = wait {
        fds.push(PollFd::from_borrowed_fd(hurry, PollFlags::IN));
        patience = Timespec::try_from(time).unwrap_or_default();
    }
    let found = rustix::event::poll(&mut fds, Some(&patience));
    found.is_ok() && fds.first().is_some_and(|fd| !fd.revents().is_empty())
}
