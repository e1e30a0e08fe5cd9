//! The guest's output on its way to the terminal or a file.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use trivisor_backends::tail::OutputTail;

use crate::plan::Sink;

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;

/// The guest's output.
pub(crate) struct Output<'a> {
    sink: &'a Sink,
    /// The pipe from the VM process.
    guest: Option<OwnedFd>,
    tail: OutputTail,
    buffer: Vec<u8>,
}

impl<'a> Output<'a> {
    pub(crate) fn new(sink: &'a Sink, guest: Option<OwnedFd>) -> Self {
        Self {
            sink,
            guest,
            tail: OutputTail::default(),
            buffer: vec![0; CHUNK],
        }
    }

    /// The guest was started again.
    pub(crate) fn connect(&mut self, guest: Option<OwnedFd>) {
        self.guest = guest;
    }

    /// What to wait for.
    pub(crate) fn wanted(&self) -> Option<BorrowedFd<'_>> {
        self.guest.as_ref().map(|guest| guest.as_fd())
    }

    /// Moves what is there; false when there was nothing.
    pub(crate) fn pump(&mut self) -> bool {
        let Some(guest) = &self.guest else {
            return false;
        };
        match rustix::io::read(guest, &mut *self.buffer) {
            Ok(length @ 1..) => {
                let bytes = self.buffer.get(..length).unwrap_or_default();
                self.tail.push(bytes);
                // Nobody looks any more where this fails; the guest goes on.
                let _closed = match self.sink {
                    Sink::Stdio => {
                        let mut stdout = io::stdout().lock();
                        stdout.write_all(bytes).and_then(|()| stdout.flush())
                    }
                    Sink::File(file) => { file }.write_all(bytes),
                    Sink::None => Ok(()),
                };
                true
            }
            Err(rustix::io::Errno::INTR) => true,
            Err(rustix::io::Errno::AGAIN) => false,
            Ok(0) | Err(_) => {
                self.guest = None;
                false
            }
        }
    }

    /// Moves all that is left in the pipe.
    pub(crate) fn finish(&mut self) {
        while self.pump() {}
    }

    /// Prints a text of ours.
    pub(crate) fn show(&mut self, text: &str) {
        let mut stdout = io::stdout().lock();
        let _closed = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
    }

    /// The guest's last lines, where the user has not just seen them.
    pub(crate) fn last_lines(&self) -> String {
        if matches!(self.sink, Sink::Stdio) && io::stdout().is_terminal() {
            return String::new();
        }
        if self.tail.is_empty() {
            return String::new();
        }
        format!("\nits last lines:\n{}", self.tail)
    }
}
