//! Starting passt, which connects a VM to the host's network without any right: it takes the guest's frames
//! apart and speaks TCP, UDP and ICMP by sockets of its own. It answers ARP and DHCP as well. See `passt(1)`.
//!
//! It gets its end of a socket pair as a descriptor, so there is no path that anybody else could connect to. It goes
//! into the background by itself once it is ready, and ends with the socket: when the VM's process has
//! gone and nobody holds the other end any more.

#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use thiserror::Error;

use crate::sys::inherit::inherit;

/// It is ready after some 40 ms; a busy host may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of what it says about a failure that are kept.
const MAX_SAID: u64 = 16 << 10;

/// The guest's queries to this address go to the host's resolver. That often listens at the loopback address, which
/// the guest does not get to otherwise. Newer versions offer it by DHCP where they have none else.
const RESOLVER: &str = "169.254.1.1";

/// passt cannot be used.
#[derive(Debug, Error)]
pub enum PasstError {
    /// There is no such program, or none that may be run. What to do: install the package `passt`.
    #[error("the program passt is not installed")]
    Missing,
    /// The host does not start it.
    #[error("passt cannot be started")]
    Start(#[source] io::Error),
    /// It gave up. What to do stands in what it said: a port in use, no network.
    #[error("passt gave up: {said}")]
    GaveUp {
        /// Its last words.
        said: String,
    },
    /// It is not ready after 20 seconds.
    #[error("passt is not ready after {} seconds", PATIENCE.as_secs())]
    NotReady,
}

/// A port of the host's loopback address that leads to one of the guest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// UDP instead of TCP.
    pub udp: bool,
    /// Port on the host; not 0.
    pub host: u16,
    /// Port of the guest; not 0.
    pub guest: u16,
}

/// A text that is no [`Forward`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is no forward: tcp:HOSTPORT:GUESTPORT or udp:HOSTPORT:GUESTPORT, ports from 1 to 65535"
)]
pub struct ForwardError {
    text: String,
}

impl FromStr for Forward {
    type Err = ForwardError;

    fn from_str(text: &str) -> Result<Self, ForwardError> {
        let parse = || {
            let (protocol, ports) = text.split_once(':')?;
            let (host, guest) = ports.split_once(':')?;
            let port = |digits: &str| {
                let is_number = digits.bytes().all(|letter| letter.is_ascii_digit());
                digits.parse().ok().filter(|port| *port != 0 && is_number)
            };
            Some(Self {
                udp: match protocol {
                    "tcp" => false,
                    "udp" => true,
                    _ => return None,
                },
                host: port(host)?,
                guest: port(guest)?,
            })
        };
        parse().ok_or_else(|| ForwardError { text: text.into() })
    }
}

/// passt on its way to being ready.
#[derive(Debug)]
pub struct Starting {
    /// It ends when passt is ready, or has given up.
    child: Child,
    has_ended: bool,
}

/// Starts passt, without access to the host's loopback address. The descriptor is the VM's end, for
/// [`StreamSocket`](super::StreamSocket): passt lives as long as any copy of it. Frames may be sent at once.
///
/// # Errors
/// It is not installed, or the host does not start it.
pub fn start(forwards: &[Forward]) -> Result<(Starting, OwnedFd), PasstError> {
    start_command(Command::new("passt"), forwards)
}

fn start_command(
    mut command: Command,
    forwards: &[Forward],
) -> Result<(Starting, OwnedFd), PasstError> {
    let flags = SocketFlags::CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|error| PasstError::Start(error.into()))?;
    let number = inherit(&mut command, theirs);
    command.args(["--quiet", "--no-map-gw", "--dns-forward", RESOLVER]);
    command.args(["--fd", &number.to_string()]);
    for forward in forwards {
        let option = if forward.udp { "-u" } else { "-t" };
        let ports = format!("127.0.0.1/{}:{}", forward.host, forward.guest);
        command.args([option, &ports]);
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            // Folders of the search path that may not be looked into are the host's other way to say so.
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => PasstError::Missing,
            _ => PasstError::Start(error),
        })?;
    let starting = Starting {
        child,
        has_ended: false,
    };
    Ok((starting, ours))
}

impl Starting {
    /// Waits until passt is ready.
    ///
    /// # Errors
    /// It gave up, for the reason that it names, or takes too long; it is then killed.
    pub fn wait(mut self) -> Result<(), PasstError> {
        let said = self.listen()?;
        let status = self.child.wait().map_err(PasstError::Start)?;
        self.has_ended = true;
        if status.success() {
            return Ok(());
        }
        let said = reason(&said).unwrap_or_else(|| status.to_string());
        Err(PasstError::GaveUp { said })
    }

    /// What it says until it is in the background or at its end.
    fn listen(&mut self) -> Result<Vec<u8>, PasstError> {
        let mut said = Vec::new();
        let Some(mut stderr) = self.child.stderr.take() else {
            return Ok(said);
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).unwrap_or_default();
            match poll(&mut [PollFd::new(&stderr, PollFlags::IN)], Some(&left)) {
                Ok(0) => return Err(PasstError::NotReady),
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(PasstError::Start(error.into())),
            }
            let mut part = [0; 1024];
            let count = stderr.read(&mut part).map_err(PasstError::Start)?;
            if count == 0 {
                return Ok(said);
            }
            let room = MAX_SAID.saturating_sub(said.len() as u64);
            said.extend(
                part.iter()
                    .take(count)
                    .take(usize::try_from(room).unwrap_or(0)),
            );
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if !self.has_ended {
            // It has no more use for anybody; that it is gone already is no error.
            let _killed = self.child.kill();
            let _status = self.child.wait();
        }
    }
}

/// The last line that says something, fit to be shown.
fn reason(said: &[u8]) -> Option<String> {
    let said = String::from_utf8_lossy(said);
    let is_noise = |line: &&str| {
        line.is_empty() || line.ends_with("to syslog") || line.starts_with("Don't run as root")
    };
    let line = said.lines().map(str::trim).rfind(|line| !is_noise(line))?;
    let shown = line.chars().filter(|letter| !letter.is_control()).take(300);
    Some(shown.collect())
}
