//! What other verbs ask of a running VM, by its control socket: a line of JSON each way.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::control::ending::GRACE;
use crate::control::registry;
use crate::failure::Failure;
use crate::protocol::{Chord, Counters};

/// A VM answers at once; one that has not by then is stuck. Longer than a VM process that was told to stop may take.
const PATIENCE: Duration = GRACE.saturating_add(Duration::from_secs(5));

/// No reply is longer: the longest thing in it is the text of a screen.
const MAX_REPLY: usize = 1 << 16;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Call {
    Info,
    Pause,
    Resume,
    PowerButton,
    Stop,
    /// The guest is to give up this many bytes.
    Balloon {
        bytes: u64,
    },
    /// A picture of the screen into this file, which the VM's control process writes.
    Picture {
        file: PathBuf,
    },
    /// The characters on the screen.
    Text,
    /// The disc in the CD drive is taken out, or another one laid in.
    Disc {
        file: Option<PathBuf>,
        force: bool,
    },
    /// These keys are pressed, and released; without one: were those before taken?
    Press(Chord),
    /// The terminal of the console has this size.
    TerminalSize {
        columns: u16,
        rows: u16,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    Done,
    /// Not now; it can be asked again.
    Busy,
    Refused(String),
    /// It failed, and the user can do something about it.
    Failed(Failure),
    Info(Box<Info>),
    Text(String),
}

/// A running VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Info {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) vm_pid: u32,
    pub(crate) mode: String,
    pub(crate) state: String,
    pub(crate) cpus: u8,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    pub(crate) seconds: u64,
    pub(crate) counters: Counters,
}

/// Writes the reply to a client that does not block. A socket that nothing was written to has room for it; who
/// has gone, or has filled it otherwise, does not care.
pub(crate) fn reply(mut client: &UnixStream, reply: &Reply) {
    // Strings, numbers and lists of them always have a JSON form.
    let line = serde_json::to_string(reply).unwrap_or_default() + "\n";
    let _gone = client.write_all(line.as_bytes());
}

/// Asks a running VM.
pub(crate) fn call(name: &str, call: Call) -> Result<Reply, Failure> {
    let stream = registry::connect(name).map_err(|_| missing(name))?;
    exchange(&stream, call, PATIENCE).map_err(|error| {
        Failure::host(
            format!("VM {name:?} does not answer: {error}"),
            "it may have ended just now; see `trivisor ps`",
        )
    })
}

/// Asks a VM that may not be there, and waits no longer than this.
pub(crate) fn ask(name: &str, call: Call, patience: Duration) -> io::Result<Reply> {
    exchange(&registry::connect(name)?, call, patience)
}

fn missing(name: &str) -> Failure {
    let names = registry::running();
    let advice = if names.is_empty() {
        "no VM of this user is running".into()
    } else {
        format!("running: {}", names.join(", "))
    };
    Failure::usage(format!("no VM with the name {name:?}"), advice)
}

fn exchange(mut stream: &UnixStream, call: Call, patience: Duration) -> io::Result<Reply> {
    let deadline = Instant::now() + patience;
    let mut line = serde_json::to_vec(&call)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reply = Vec::new();
    let mut part = [0; 4096];
    while !reply.ends_with(b"\n") && reply.len() < MAX_REPLY {
        let rest = deadline.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(rest))?;
        match stream.read(&mut part) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => reply.extend(part.iter().take(length)),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted | ErrorKind::WouldBlock => {}
                _ => return Err(error),
            },
        }
    }
    Ok(serde_json::from_slice(&reply)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_in_pieces_has_one_deadline() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"\"do").unwrap();
        theirs.write_all(b"ne\"\n").unwrap();
        assert_eq!(exchange(&ours, Call::Stop, PATIENCE).unwrap(), Reply::Done);
        let dripping = std::thread::spawn(move || {
            while theirs.write_all(b" ").is_ok() {
                std::thread::yield_now();
            }
        });
        let error = exchange(&ours, Call::Info, Duration::from_millis(50)).unwrap_err();
        let wanted = [
            ErrorKind::TimedOut,
            ErrorKind::InvalidData,
            ErrorKind::UnexpectedEof,
        ];
        assert!(wanted.contains(&error.kind()), "{error}");
        drop(ours);
        dripping.join().unwrap();
    }
}
