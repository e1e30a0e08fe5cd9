//! `cargo xtask bench net`: the same guest keeps the same tap busy under several VMMs.

mod wire;

use anyhow::{Context, Result, ensure};

use self::wire::Wire;
use super::contenders;
use super::load::{Section, Work, field};
use super::start::Options;
use crate::setup;

const DEFAULT_ROUNDS: usize = 7;
/// How long sending is measured.
const MILLISECONDS: u64 = 250;
/// How often frames pile up and are received, and how many milliseconds they have for piling up.
const TIMES: u64 = 10;
const PILE: u64 = 80;
/// The same while system calls are counted.
const COUNTED: u64 = 4000;
const COUNTED_TIMES: u64 = 1;

/// As much as Linux gives a card at once: headers of Ethernet, IPv4 and TCP, and 45 segments.
const SEGMENTS: u64 = 14 + 20 + 20 + 45 * 1448;

const BEFORE: &str = "\
## Networks

`cargo xtask bench net`. Each VMM gives the bare-metal guest a virtio network card on the same tap, which is in a network
namespace without anything else. The guest drives one queue of it in ring 3, which runs at native speed on every host. It takes
checksums, uncut segments and mergeable buffers where they are offered, keeps 256 buffers with the device, of 64 KiB segments 63,
rings for all that it can at once where the device wants that, wants no interrupt, and polls. Frames of 64 and 1514 bytes are
sent and received, and 45 segments of TCP with 1448 bytes each in one frame of 64 KiB, which nobody cuts.

- **send**: the frames go to a bridge of the host, which forgets them. The tap must have counted each.
- **receive**: so many frames wait in the tap's queue before the measurement (8192, 8192, 512) that it takes some ms; the
  sender, which has no part in it, then has nothing to do. The guest must get each.

Contenders:

- **trivisor pv** is `--mode pv --net tap=TAP`, with its jail and without.
- **QEMU pc** is `virtio-net-pci` on `-netdev tap` without vhost, **QEMU microvm** the same over MMIO.
- **alioth** is `alioth-cli`, with its default (a thread with epoll) and with `api=iouring`. It has no mergeable buffers.

All take turns, and times, calls and entries are counted, as with disks.
";

const PROFILE: &str = "
What limits trivisor pv, by perf and by calls alone on a PVM host:
- A frame into the tap takes the kernel 1.4 µs by a writev of its own, 1.0 µs when io_uring is handed 16 or more at once. That is
  why frames that wait together are handed over together, and what is left is the kernel's: the tap, the bridge.
- A frame out of the tap takes the kernel 0.8 µs either way, so each is a read: io_uring would spare system calls and no time.
  How long a frame is shows when it is there, and a driver that takes uncut segments with mergeable buffers may have to be given
  44 of them (1536 bytes). A list of so many costs 0.1 µs a frame; so short frames are read into the device's own memory and
  copied, and buffers are gathered for as many bytes as the last frames had where these were long, of which nothing is copied.
- Frames that have waited for buffers are read on the thread of the vCPU that adds them, a ring at a time: guest and device
  take turns, which costs each frame what the guest does with the one before, and no other thread's CPU time.
- 64 KiB fill 16 buffers of 4096 bytes, and of the 11 µs the kernel's copy is 3. Most of the rest goes with the buffers: 0.2 µs
  each in the guest, 0.1 µs in the device, and an exit for each ring of 16 frames. alioth has no mergeable buffers, so that its
  frame is one buffer; and its io_uring has no system call a frame.
";

/// What the guest does with the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    what: &'static str,
    name: &'static str,
    bytes: u64,
    /// Frames that pile up.
    pile: u64,
}

impl Kind {
    fn all() -> impl Iterator<Item = Self> {
        let frames = [
            ("64 bytes", 64, 8192),
            ("1514 bytes", 1514, 8192),
            ("64 KiB", SEGMENTS, 512),
        ];
        ["send", "receive"].into_iter().flat_map(move |what| {
            frames.map(|(name, bytes, pile)| Self {
                what,
                name,
                bytes,
                pile,
            })
        })
    }

    fn is_sent(self) -> bool {
        self.what == "send"
    }
}

/// All loads, one after the other: sending until `end`, receiving so often.
fn script(end: &str, times: u64) -> String {
    let loads = Kind::all().map(|kind| {
        let Kind {
            what, bytes, pile, ..
        } = kind;
        let how = if kind.is_sent() {
            end.to_owned()
        } else {
            format!("{pile} {times} {PILE}")
        };
        format!("net 0 load {what} {bytes} {how}; ")
    });
    loads.collect::<String>() + "exit"
}

/// What the host does at the other end of the wire, as the guest goes on from load to load.
#[derive(Debug)]
struct Host {
    wire: Wire,
    /// Loads that have ended.
    ended: usize,
    /// Frames from the guest up to the last check.
    taken: u64,
    /// What the guest has sent since then.
    sent: u64,
}

impl Host {
    fn hear(&mut self, line: &str) -> Result<()> {
        let kind = Kind::all().nth(self.ended % Kind::all().count());
        let kind = kind.context("there are loads")?;
        if line == "net ready" {
            self.check_sent()?;
            return self.wire.send(kind.bytes, kind.pile);
        }
        if line.starts_with("ok net load=") {
            self.ended += 1;
            self.sent += field::<u64>(line, "sent")?;
        }
        Ok(())
    }

    /// Compares counts while the guest sends nothing: from one load to send to the next, it does not wait for us.
    fn check_sent(&mut self) -> Result<()> {
        let counts = self.wire.counts()?;
        ensure!(counts.lost == 0, "the tap lost {} frames", counts.lost);
        let taken = counts.from_guest - self.taken;
        let sent = self.sent;
        ensure!(taken == sent, "{taken} frames of {sent} were there");
        (self.taken, self.sent) = (counts.from_guest, 0);
        Ok(())
    }
}

pub(super) fn run(options: &Options) -> Result<()> {
    setup::run_for_bench()?;
    let rounds = options.rounds.unwrap_or(DEFAULT_ROUNDS);
    // Built while there still is a network.
    let sender = wire::build_sender()?;
    let contenders = contenders::with_tap(wire::TAP)?;
    let mut host = Host {
        wire: Wire::lay(&sender)?,
        ended: 0,
        taken: 0,
        sent: 0,
    };
    let work = Work {
        device: "net",
        loads: Kind::all().count(),
        measured: script(&format!("ms {MILLISECONDS}"), TIMES),
        counted: script(&format!("ops {COUNTED}"), COUNTED_TIMES),
    };
    let rows = work.run(&contenders, rounds, &mut |line| host.hear(line))?;
    let names = Kind::all().map(|kind| format!("{} {}", kind.what, kind.name));
    let section = Section {
        before: BEFORE,
        ran: format!(
            "Each frame was sent for {MILLISECONDS} ms a round, and received {TIMES} times."
        ),
        operation: "frame",
        ours: contenders::PV,
        names: names.collect(),
        after: PROFILE,
    };
    section.put(&rows, rounds, &options.output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_has_every_load() {
        let script = script("ms 7", 3);
        assert_eq!(script.matches("net 0 load send").count(), 3);
        assert_eq!(script.matches("net 0 load receive").count(), 3);
        assert!(script.starts_with("net 0 load send 64 ms 7; net 0 load send 1514"));
        assert!(script.ends_with("net 0 load receive 65214 512 3 80; exit"));
    }
}
