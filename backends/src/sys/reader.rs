//! Reads into guest RAM from one descriptor, again and again into nearly the same places.
//!
//! Where frames are long, a card hands its tap dozens of buffers, of which one takes what it needs. The others are there
//! for the next frame, so where they are on the host is remembered.

#![expect(
    unsafe_code,
    reason = "guest RAM is no slice, so no safe wrapper takes it"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::retry_on_intr;
use trivisor_buses::Segment;
use trivisor_memory::GuestRam;

use super::runs::runs as guest_runs;
use super::vectored::own;
use crate::segments::written;

/// Runs of one call at most: `UIO_MAXIOV`.
const MAX_RUNS: usize = 1024;

/// Places in front that are no longer used, after which the others are moved there.
const SLACK: usize = 256;

/// One place to read into.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Known {
    segment: Segment,
    /// Runs of host memory that it is.
    runs: usize,
}

/// What the last read was for.
pub(crate) struct Reader {
    ram: GuestRam,
    known: Vec<Known>,
    runs: Vec<libc::iovec>,
    /// Places and runs in front that are no longer used.
    past: (usize, usize),
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

// SAFETY: the runs lie in RAM that `ram` keeps mapped, wherever it goes; no reference points into it.
unsafe impl Send for Reader {}

impl Reader {
    pub(crate) const fn new(ram: GuestRam) -> Self {
        Self {
            ram,
            known: Vec::new(),
            runs: Vec::new(),
            past: (0, 0),
        }
    }

    /// As [`vectored::read`](super::vectored::read).
    ///
    /// # Errors
    /// As there.
    pub(crate) fn read(
        &mut self,
        file: BorrowedFd<'_>,
        into: &[Segment],
        rest: &mut [u8],
    ) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(retry_on_intr(|| rustix::io::read(file, &mut *rest))?);
        }
        if let Err(error) = self.look_up(into) {
            self.forget();
            return Err(error);
        }
        let known = self.runs.len();
        if known - self.past.1 < MAX_RUNS && !rest.is_empty() {
            self.runs.push(own(rest));
        }
        let read = self.read_runs(file);
        self.runs.truncate(known);
        let read = read?;
        written(&self.ram, into, read);
        Ok(read)
    }

    /// Reads into all runs.
    fn read_runs(&self, file: BorrowedFd<'_>) -> io::Result<usize> {
        let runs = self.runs.get(self.past.1..).unwrap_or_default();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "MAX_RUNS at most"
        )]
        let count = runs.len().min(MAX_RUNS) as libc::c_int;
        loop {
            // SAFETY: each run lies in RAM that `self.ram` keeps mapped, and that no reference of this process points
            // into, or is the `rest` that `read` has borrowed; so the kernel may write to it.
            let read = unsafe { libc::readv(file.as_raw_fd(), runs.as_ptr(), count) };
            if let Ok(read) = usize::try_from(read) {
                return Ok(read);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    fn forget(&mut self) {
        self.known.clear();
        self.runs.clear();
        self.past = (0, 0);
    }

    /// Makes the runs those behind `into`.
    fn look_up(&mut self, into: &[Segment]) -> io::Result<()> {
        self.drop_front(into);
        let have = self.known.len() - self.past.0;
        for segment in into.iter().skip(have) {
            let before = self.runs.len();
            for run in guest_runs(&self.ram, *segment)? {
                self.runs.push(run?);
            }
            self.known.push(Known {
                segment: *segment,
                runs: self.runs.len() - before,
            });
        }
        Ok(())
    }

    /// Leaves of what is known that with which `into` begins, and nothing where it goes on otherwise.
    fn drop_front(&mut self, into: &[Segment]) {
        let known = self.known.get(self.past.0..).unwrap_or_default();
        let first = into.first();
        let gone = known.iter().position(|known| Some(&known.segment) == first);
        let (gone, rest) = known.split_at(gone.unwrap_or(known.len()));
        let goes_on = rest.len() <= into.len()
            && rest
                .iter()
                .zip(into)
                .all(|(known, segment)| known.segment == *segment);
        if !goes_on || rest.is_empty() {
            self.forget();
            return;
        }
        self.past.0 += gone.len();
        self.past.1 += gone.iter().map(|known| known.runs).sum::<usize>();
        if self.past.0 > SLACK {
            self.known.drain(..self.past.0);
            self.runs.drain(..self.past.1);
            self.past = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::net::SocketType;

    use super::*;
    use crate::testing::{RAM, pair, ram, segment};

    #[test]
    fn each_read_goes_where_it_is_told() {
        let ram = ram();
        let mut reader = Reader::new(ram.clone());
        let (from, to) = pair(SocketType::SEQPACKET);
        let at = |index: u64| segment(0x1000 * index, 4);
        // One used up, two used up, none, others, fewer, more, and the same ones in another order.
        let reads: [&[u64]; 8] = [
            &[1, 2, 3],
            &[2, 3, 4],
            &[4, 5, 6, 7],
            &[4, 5, 6, 7],
            &[8, 9],
            &[8],
            &[8, 9, 1],
            &[9, 8, 1],
        ];
        for (round, places) in (1..).zip(reads) {
            let into: Vec<_> = places.iter().map(|place| at(*place)).collect();
            let data: Vec<u8> = (0..4 * into.len())
                .map(|byte| u8::try_from(byte).unwrap() ^ (round << 4))
                .collect();
            rustix::io::write(&from, &data).unwrap();
            assert_eq!(reader.read(to.as_fd(), &into, &mut []).unwrap(), data.len());
            for (place, expected) in into.iter().zip(data.chunks(4)) {
                let mut found = [0; 4];
                assert!(ram.read(place.address, &mut found));
                assert_eq!(found, expected, "round {round}");
            }
        }
    }

    #[test]
    fn what_places_have_no_room_for_is_the_caller_s() {
        let ram = ram();
        let mut reader = Reader::new(ram.clone());
        let (from, to) = pair(SocketType::SEQPACKET);
        let reads: [(&[Segment], &[u8]); 4] = [
            (&[segment(0, 4), segment(0x1000, 2)], b"abcdefgh"),
            (&[segment(0, 4), segment(0x1000, 2)], b"1234"),
            (&[], b"ijkl"),
            (&[segment(0x1000, 2)], b"mno"),
        ];
        for (into, data) in reads {
            rustix::io::write(&from, data).unwrap();
            let mut rest = [0; 4];
            assert_eq!(
                reader.read(to.as_fd(), into, &mut rest).unwrap(),
                data.len()
            );
            let mut found = Vec::new();
            crate::segments::append(&ram, into, 0, &mut found).unwrap();
            found.extend(rest);
            assert_eq!(found[..data.len()], *data);
        }
        rustix::io::write(&from, b"longer").unwrap();
        assert_eq!(
            reader.read(to.as_fd(), &[], &mut [0; 4]).unwrap(),
            4,
            "cut off"
        );
    }

    #[test]
    fn many_reads_keep_little() {
        let mut reader = Reader::new(ram());
        let (from, to) = pair(SocketType::SEQPACKET);
        for first in 0..3000 {
            let into: Vec<_> = (first..first + 5)
                .map(|place| segment(0x100 * (place % 500), 8))
                .collect();
            rustix::io::write(&from, &[1; 6]).unwrap();
            assert_eq!(reader.read(to.as_fd(), &into, &mut []).unwrap(), 6);
            assert!(reader.known.len() <= SLACK + 6);
        }
    }

    #[test]
    fn places_that_are_no_ram_are_told_and_forgotten() {
        let mut reader = Reader::new(ram());
        let (from, to) = pair(SocketType::SEQPACKET);
        rustix::io::write(&from, &[1; 6]).unwrap();
        let wrong = [segment(0, 4), segment(RAM, 4)];
        let error = reader.read(to.as_fd(), &wrong, &mut []).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(
            reader.read(to.as_fd(), &[segment(0, 6)], &mut []).unwrap(),
            6
        );
    }
}
