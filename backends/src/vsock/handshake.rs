//! What a program says first: `CONNECT port\n`.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

/// Bytes of the line at most: 8 of CONNECT, 10 of the largest port, the line feed, and a carriage return.
const LINE: usize = 20;

/// What is known of the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A part of it is still to come.
    Unfinished,
    /// All of it was there, and nothing behind it was read.
    Port(u32),
    /// It is another, or none will come.
    Wrong,
}

/// Reads the line when all of it is there, and else nothing. `ended`: the program sends no more.
pub(super) fn read(socket: &OwnedFd, ended: bool) -> io::Result<Line> {
    let mut seen = [0; LINE];
    let count = match recv(socket, &mut seen, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, count)) => count,
        Err(Errno::AGAIN | Errno::INTR) if !ended => return Ok(Line::Unfinished),
        Err(error) => return Err(error.into()),
    };
    let line = seen.iter().take(count);
    let Some(length) = line.clone().position(|letter| *letter == b'\n') else {
        let is_lost = ended || count == LINE || count == 0;
        return Ok(if is_lost {
            Line::Wrong
        } else {
            Line::Unfinished
        });
    };
    let text: Vec<u8> = line.copied().take(length).collect();
    let Some(port) = parse(&text) else {
        return Ok(Line::Wrong);
    };
    let mut taken = [0; LINE];
    let (line, _) = taken.split_at_mut(length + 1);
    let (_, count) = recv(socket, line, RecvFlags::DONTWAIT)?;
    Ok(if count == length + 1 {
        Line::Port(port)
    } else {
        Line::Wrong
    })
}

/// The port of a line, without its end.
fn parse(line: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(line).ok()?;
    let digits = text
        .strip_suffix('\r')
        .unwrap_or(text)
        .strip_prefix("CONNECT ")?;
    let is_number = digits.bytes().all(|letter| letter.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_a_port_is_a_port() {
        for (line, port) in [
            ("CONNECT 1234", Some(1234)),
            ("CONNECT 0", Some(0)),
            ("CONNECT 4294967295\r", Some(u32::MAX)),
            ("CONNECT 4294967296", None),
            ("CONNECT +1", None),
            ("CONNECT -1", None),
            ("CONNECT ", None),
            ("CONNECT", None),
            ("connect 1", None),
            ("CONNECT 1 2", None),
            (" CONNECT 1", None),
            ("", None),
        ] {
            assert_eq!(parse(line.as_bytes()), port, "{line:?}");
        }
        assert_eq!(parse(b"CONNECT \xff"), None);
    }
}
