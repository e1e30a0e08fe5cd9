//! Clients of the control socket until each has said what it wants. None of them is waited for: all are
//! polled, and each has one deadline for its whole request.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use rustix::net::SocketFlags;

use crate::control::calls::Call;

/// A longer request is none: the longest call has the path of a file.
const MAX_REQUEST: usize = 8192;

/// Clients that may be in the middle of a request; more have to queue in the socket's backlog.
const MAX_CLIENTS: usize = 32;

/// How long a client may take for its request, however it comes in pieces.
const TIME_TO_ASK: Duration = Duration::from_secs(2);

/// How long nobody is let in after the host refused: without descriptors, the next try fails as well.
const PAUSE: Duration = Duration::from_millis(200);

/// A client that has not said all.
#[derive(Debug)]
struct Client {
    stream: UnixStream,
    line: Vec<u8>,
    deadline: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    asking: Vec<Client>,
    /// Until then nobody is let in.
    paused_until: Option<Instant>,
}

impl Clients {
    /// Whether to wait for new ones.
    pub(crate) fn welcome(&self) -> bool {
        self.asking.len() < MAX_CLIENTS && self.paused_until.is_none()
    }

    /// What to read from.
    pub(crate) fn streams(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.asking.iter().map(|client| client.stream.as_fd())
    }

    /// When to call [`turn`](Self::turn) though nobody said anything.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let patience = self.asking.iter().map(|client| client.deadline);
        patience.chain(self.paused_until).min()
    }

    /// Lets in who waits. `accept` gives non-blocking streams.
    pub(crate) fn admit(
        &mut self,
        now: Instant,
        mut accept: impl FnMut() -> io::Result<UnixStream>,
    ) {
        while self.welcome() {
            match accept() {
                Ok(stream) => self.asking.push(Client {
                    stream,
                    line: Vec::new(),
                    deadline: now + TIME_TO_ASK,
                }),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    // That client has gone; the next one may be there.
                    ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                    _ => self.paused_until = Some(now + PAUSE),
                },
            }
        }
    }

    /// Takes what they said: who has asked for what. Who says nothing sensible in time is hung up on.
    pub(crate) fn turn(&mut self, now: Instant) -> Vec<(UnixStream, Call)> {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let mut calls = Vec::new();
        for mut client in std::mem::take(&mut self.asking) {
            match client.listen() {
                Heard::All(call) => calls.push((client.stream, call)),
                Heard::Part if client.deadline > now => self.asking.push(client),
                Heard::Part | Heard::Nonsense => {}
            }
        }
        calls
    }
}

/// What a client has said so far.
enum Heard {
    Part,
    All(Call),
    Nonsense,
}

impl Client {
    fn listen(&mut self) -> Heard {
        let mut part = [0; MAX_REQUEST];
        let ended = match self.stream.read(&mut part) {
            Ok(length) => {
                self.line.extend(part.iter().take(length));
                length == 0
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => return Heard::Part,
                _ => return Heard::Nonsense,
            },
        };
        if self.line.len() > MAX_REQUEST {
            return Heard::Nonsense;
        }
        if !ended && !self.line.ends_with(b"\n") {
            return Heard::Part;
        }
        serde_json::from_slice(&self.line).map_or(Heard::Nonsense, Heard::All)
    }
}

/// The next client of a listener that does not block.
pub(crate) fn accept(listener: &UnixListener) -> io::Result<UnixStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::accept_with(listener, flags)?.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rustix::io::Errno;

    use super::*;

    /// Lets one client in; the test is its other end.
    fn enter(clients: &mut Clients, now: Instant) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut theirs = Some(theirs);
        clients.admit(now, || {
            theirs.take().ok_or_else(|| ErrorKind::WouldBlock.into())
        });
        ours
    }

    #[test]
    fn a_request_may_come_in_pieces() {
        let (now, mut clients) = (Instant::now(), Clients::default());
        let mut client = enter(&mut clients, now);
        for piece in ["\"po", "wer-but"] {
            client.write_all(piece.as_bytes()).unwrap();
            assert!(clients.turn(now).is_empty());
        }
        client.write_all(b"ton\"\n").unwrap();
        let calls = clients.turn(now);
        assert!(matches!(calls.as_slice(), [(_, Call::PowerButton)]));
        assert_eq!(clients.streams().count(), 0);
        assert_eq!(clients.deadline(), None);
    }

    #[test]
    fn one_that_drips_holds_up_nobody_and_has_one_deadline() {
        let (start, mut clients) = (Instant::now(), Clients::default());
        let mut slow = enter(&mut clients, start);
        let mut quick = enter(&mut clients, start);
        assert_eq!(clients.deadline(), Some(start + TIME_TO_ASK));
        // The other one is heard, though the first has not said all.
        slow.write_all(b"\"").unwrap();
        quick.write_all(b"\"info\"\n").unwrap();
        let calls = clients.turn(start);
        assert!(matches!(calls.as_slice(), [(_, Call::Info)]));
        // No byte of it buys time.
        slow.write_all(b"i").unwrap();
        assert!(clients.turn(start + TIME_TO_ASK / 2).is_empty());
        assert_eq!(clients.deadline(), Some(start + TIME_TO_ASK));
        slow.write_all(b"n").unwrap();
        assert!(clients.turn(start + TIME_TO_ASK).is_empty());
        assert_eq!(clients.streams().count(), 0);
        assert_eq!(
            slow.read(&mut [0]).unwrap(),
            0,
            "it is hung up on, not kept"
        );
    }

    #[test]
    fn a_request_is_bounded() {
        let (now, mut clients) = (Instant::now(), Clients::default());
        let mut client = enter(&mut clients, now);
        client.write_all(&[b' '; 10 * MAX_REQUEST]).unwrap();
        assert!(clients.turn(now).is_empty());
        assert!(clients.turn(now).is_empty());
        assert_eq!(clients.streams().count(), 0);
    }

    #[test]
    fn only_so_many_are_heard_at_once() {
        let (now, mut clients) = (Instant::now(), Clients::default());
        let mut ends = Vec::new();
        clients.admit(now, || {
            let (ours, theirs) = UnixStream::pair()?;
            theirs.set_nonblocking(true)?;
            ends.push(ours);
            Ok(theirs)
        });
        assert_eq!(ends.len(), MAX_CLIENTS);
        assert!(!clients.welcome());
        // Each goes at its deadline, and makes room.
        assert!(clients.turn(now + TIME_TO_ASK).is_empty());
        assert!(clients.welcome());
    }

    #[test]
    fn an_accept_that_fails_is_not_tried_at_once_again() {
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            let (now, mut clients) = (Instant::now(), Clients::default());
            let mut tries = 0;
            clients.admit(now, || {
                tries += 1;
                Err(error.into())
            });
            assert_eq!(tries, 1, "{error}");
            assert!(!clients.welcome(), "{error}");
            assert_eq!(clients.deadline(), Some(now + PAUSE));
            assert!(clients.turn(now + PAUSE / 2).is_empty());
            assert!(!clients.welcome(), "{error}");
            assert!(clients.turn(now + PAUSE).is_empty());
            assert!(clients.welcome(), "{error}");
            assert_eq!(clients.deadline(), None);
        }
        // These are the client's affair.
        let (now, mut clients) = (Instant::now(), Clients::default());
        let mut errors = [Errno::CONNABORTED, Errno::INTR, Errno::AGAIN].into_iter();
        clients.admit(now, || Err(errors.next().unwrap().into()));
        assert!(clients.welcome());
    }
}
