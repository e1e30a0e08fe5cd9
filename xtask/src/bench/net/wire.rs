//! The tap that the guest's card is on, and what is at its other end.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::thread::UnshareFlags;

use crate::{process, release};

/// The card's.
pub(super) const TAP: &str = "tap0";
/// The sender's.
const OTHER: &str = "tap1";
const BRIDGE: &str = "bridge0";
/// Frames that can wait in the tap.
const QUEUE: &str = "32768";

/// A bridge between both taps, in a network namespace of this thread; and a process that sends.
#[derive(Debug)]
pub(super) struct Wire {
    sender: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// Frames that the tap has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) from_guest: u64,
    /// On the way to the guest.
    pub(super) lost: u64,
}

/// Builds the sender; its path.
///
/// # Errors
/// When the build fails.
pub(super) fn build_sender() -> Result<PathBuf> {
    let folder = release::build(&["--package", "trivisor-backends", "--example", "frames"])?;
    Ok(folder.join("examples/frames"))
}

impl Wire {
    /// From here on this thread and what it starts are in a namespace of their own, which ends with them.
    ///
    /// # Errors
    /// When no namespace, tap or bridge can be made: that takes the right to, which root has.
    pub(super) fn lay(sender: &Path) -> Result<Self> {
        enter_namespace().context("a network namespace, which takes root's rights")?;
        for words in [
            // Without snooping it does not chat either.
            &format!("link add {BRIDGE} type bridge mcast_snooping 0"),
            &format!("tuntap add dev {TAP} mode tap"),
            &format!("tuntap add dev {OTHER} mode tap"),
            &format!("link set {TAP} txqueuelen {QUEUE} master {BRIDGE} up"),
            &format!("link set {OTHER} master {BRIDGE} up"),
            // What the guest sends ends at the bridge, for nobody has the address that it goes to.
            &format!("link set {OTHER} type bridge_slave flood off"),
            &format!("link set {BRIDGE} up"),
        ] {
            let words: Vec<_> = words.split(' ').collect();
            let _silent = process::output(&mut process::command("ip", &words))?;
        }
        let mut sender = Command::new(sender)
            .arg(OTHER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the sender")?;
        let orders = sender.stdin.take().context("no pipe")?;
        let answers = BufReader::new(sender.stdout.take().context("no pipe")?);
        Ok(Self {
            sender,
            orders,
            answers,
        })
    }

    /// Has frames sent; returns when all are in the tap's queue, or beyond.
    ///
    /// # Errors
    /// When the sender has ended.
    pub(super) fn send(&mut self, bytes: u64, count: u64) -> Result<()> {
        writeln!(self.orders, "{bytes} {count}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        ensure!(answer == "sent\n", "the sender has ended");
        Ok(())
    }

    /// # Errors
    /// When the kernel does not tell them.
    pub(super) fn counts(&self) -> Result<Counts> {
        let table = std::fs::read_to_string("/proc/thread-self/net/dev")?;
        counts(&table).context("/proc/net/dev")
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // It has ended by itself, or does so now.
        let _gone = self.sender.kill();
        let _gone = self.sender.wait();
    }
}

#[expect(
    deprecated,
    reason = "files stay shared, so nothing of it is unsafe here; its successor cannot be called from safe code"
)]
fn enter_namespace() -> Result<()> {
    rustix::thread::unshare(UnshareFlags::NEWNET)?;
    // Else the host chats on each interface that comes up, and filters what crosses the bridge.
    for (file, value) in [
        ("ipv6/conf/default/disable_ipv6", "1"),
        ("bridge/bridge-nf-call-iptables", "0"),
    ] {
        match std::fs::write(Path::new("/proc/sys/net").join(file), value) {
            // A kernel without it does not.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => result.with_context(|| file.to_owned())?,
        }
    }
    Ok(())
}

/// In a table of `NAME: ` with eight numbers each of what came from the interface and of what went to it: bytes,
/// packets, errors, lost, ...
fn counts(table: &str) -> Option<Counts> {
    let mut lines = table.lines();
    let line = lines.find_map(|line| line.trim_start().strip_prefix(TAP)?.strip_prefix(':'))?;
    let numbers: Vec<u64> = line
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    Some(Counts {
        from_guest: *numbers.get(1)?,
        lost: *numbers.get(11)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_taps_line_is_found() {
        let table = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  tap0:     640      10    1    2    0     0          0         0     6400     100    3    4    0     0       0          0
";
        let expected = Counts {
            from_guest: 10,
            lost: 4,
        };
        assert_eq!(counts(table), Some(expected));
        assert_eq!(counts("  tap1: 1 2 3"), None);
    }
}
