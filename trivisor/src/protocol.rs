//! Between control process and VM process: fixed messages over a socket pair, one a packet.
//!
//! The VM process may have been taken over by its guest, so the control process believes nothing: a packet
//! that it cannot decode, or that is out of place, ends the VM.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// No message is longer: a crash report has some 800 bytes.
const MAX_MESSAGE: usize = 8192;

/// What the control process asks for. Each is answered by one [`Report::Answer`], in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    Pause,
    Resume,
    PowerButton,
    Stop,
    Counters,
    /// The guest is to give up this many bytes.
    Balloon {
        bytes: u64,
    },
    /// What the screen shows, as characters or as a picture.
    Screen {
        text: bool,
    },
}

/// What the VM process tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The guest runs.
    Running,
    /// The guest cannot be started.
    Failed(Failure),
    /// A request is carried out, or a part of it.
    Answer(Answer),
    /// What the screen shows at the end, in pieces, where that was asked for from the start.
    LastScreen(Piece),
    /// The run is over.
    Ended { end: End, counters: Counters },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    /// The machine has no such thing.
    Absent,
    Counters(Counters),
    /// A piece of what the screen shows; more of them follow until it is complete.
    Screen(Piece),
    /// The screen shows no characters.
    Graphics,
}

/// What a screen shows, in pieces: first what it is, then its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Piece {
    /// Three bytes a pixel follow, row by row.
    Picture { width: u32, height: u32 },
    /// So many bytes of text follow.
    Text { bytes: u32 },
    /// The next of them, at most [`PIECE`].
    Bytes(Vec<u8>),
}

/// Bytes of a piece.
pub(crate) const PIECE: usize = 8000;

/// Bytes of a screen's text: the largest text mode that there is, were each character to take three.
pub(crate) const MAX_TEXT: usize = 30_000;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    PowerOff,
    Reset,
    Stopped,
    DebugExit(u32),
    Crashed {
        /// What happened, with registers.
        report: String,
        /// The end of the guest's output.
        last_lines: String,
    },
    HostFailed(Failure),
}

/// Counts since the start of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) exits: u64,
    pub(crate) user_exits: u64,
    pub(crate) emulated_instructions: u64,
    pub(crate) io_exits: u64,
    pub(crate) mmio_exits: u64,
    pub(crate) halt_exits: u64,
    pub(crate) interrupts: u64,
    pub(crate) unclaimed_ports: u64,
    pub(crate) unclaimed_mmio: u64,
    /// CPU time of the VM process, in nanoseconds.
    pub(crate) cpu_ns: u64,
}

/// CPU time of this process so far, in nanoseconds.
pub(crate) fn cpu_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// One end of the socket pair.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Both ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(a), Self(b)))
    }

    /// Sends a message, and waits for room: only for who trusts the other end.
    pub(crate) fn send(&self, message: &impl Serialize) -> io::Result<()> {
        self.pass(message, SendFlags::NOSIGNAL)
    }

    /// Sends a message or, when the other end has left too many unread, nothing of it: `WouldBlock`.
    pub(crate) fn send_now(&self, message: &impl Serialize) -> io::Result<()> {
        self.pass(message, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    fn pass(&self, message: &impl Serialize, flags: SendFlags) -> io::Result<()> {
        let packet = postcard::to_allocvec(message).map_err(io::Error::other)?;
        rustix::net::send(&self.0, &packet, flags)?;
        Ok(())
    }

    /// Takes a message; `None`: the other end is closed. `WouldBlock` when there is none now.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        let mut packet = [0; MAX_MESSAGE];
        let mut take = || rustix::net::recv(&self.0, &mut packet, RecvFlags::DONTWAIT);
        let (length, _) = match take() {
            // The other end went while a message of ours was unread. The kernel says so once, and before
            // it hands out what the other end had sent.
            Err(rustix::io::Errno::CONNRESET) => take()?,
            taken => taken?,
        };
        if length == 0 {
            return Ok(None);
        }
        let packet = packet.get(..length).unwrap_or_default();
        match postcard::take_from_bytes(packet) {
            Ok((message, [])) => Ok(Some(message)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_and_in_order() {
        let (a, b) = Channel::pair().unwrap();
        assert_eq!(
            b.receive::<Request>().unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        a.send(&Request::Pause).unwrap();
        a.send(&Request::Stop).unwrap();
        assert_eq!(b.receive::<Request>().unwrap(), Some(Request::Pause));
        assert_eq!(b.receive::<Request>().unwrap(), Some(Request::Stop));
        let long = Report::Failed(Failure::host("x".repeat(3000), ""));
        b.send(&long).unwrap();
        assert_eq!(a.receive::<Report>().unwrap(), Some(long));
        drop(a);
        assert_eq!(b.receive::<Request>().unwrap(), None);
    }

    #[test]
    fn the_last_words_arrive_though_a_request_crossed_them() {
        let (a, b) = Channel::pair().unwrap();
        a.send(&Request::Counters).unwrap();
        b.send(&Report::Running).unwrap();
        drop(b);
        assert_eq!(a.receive::<Report>().unwrap(), Some(Report::Running));
        assert_eq!(a.receive::<Report>().unwrap(), None);
    }

    #[test]
    fn a_full_channel_takes_a_message_whole_or_not_at_all() {
        let (a, b) = Channel::pair().unwrap();
        let mut sent = 0;
        let full = loop {
            match a.send_now(&Request::Pause) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        for _ in 0..sent {
            assert_eq!(b.receive::<Request>().unwrap(), Some(Request::Pause));
        }
        a.send_now(&Request::Stop).unwrap();
        assert_eq!(b.receive::<Request>().unwrap(), Some(Request::Stop));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let (a, b) = Channel::pair().unwrap();
        for packet in [&[0xff; 16][..], &[0, 0][..], &[2][..]] {
            rustix::net::send(&a.0, packet, SendFlags::NOSIGNAL).unwrap();
            let error = b.receive::<Report>().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{packet:?}");
        }
    }
}
