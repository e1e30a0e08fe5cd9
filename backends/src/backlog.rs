//! Bytes that a stream socket had no room for.

use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;
use trivisor_buses::Segment;
use trivisor_memory::GuestRam;

use crate::segments;

/// Bytes that wait for room, oldest first. Who adds some bounds them.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    bytes: Vec<u8>,
    /// Of those, what has gone.
    gone: usize,
}

impl Backlog {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.gone
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds what of `bytes` is behind the first `skip`; the rest of `skip`.
    pub(crate) fn add(&mut self, bytes: &[u8], skip: usize) -> usize {
        self.compact();
        let skipped = skip.min(bytes.len());
        self.bytes.extend(bytes.iter().skip(skipped));
        skip - skipped
    }

    /// Adds what of the segments is behind the first `skip` bytes.
    ///
    /// # Errors
    /// A segment is not RAM; nothing was added.
    pub(crate) fn add_segments(
        &mut self,
        ram: &GuestRam,
        from: &[Segment],
        skip: usize,
    ) -> io::Result<()> {
        self.compact();
        segments::append(ram, from, skip, &mut self.bytes)
    }

    /// What has gone takes no room while the rest waits.
    fn compact(&mut self) {
        self.bytes.drain(..self.gone);
        self.gone = 0;
    }

    /// Gives `fd` what it takes now.
    ///
    /// # Errors
    /// The host's, except for a full socket.
    pub(crate) fn flush(&mut self, fd: impl AsFd) -> io::Result<()> {
        while let Some(rest) = self.bytes.get(self.gone..).filter(|rest| !rest.is_empty()) {
            match rustix::io::write(&fd, rest) {
                Ok(count) => self.gone += count,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if self.is_empty() {
            // The memory goes as well: most streams never need any.
            *self = Self::default();
        }
        Ok(())
    }
}
