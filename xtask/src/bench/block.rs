//! `cargo xtask bench block`: the same guest keeps the same disk busy under several VMMs.

use anyhow::Result;

use super::load::{Section, Work};
use super::start::Options;
use super::{contenders, devices};
use crate::setup;

const DEFAULT_ROUNDS: usize = 7;
/// How long each load is measured.
const MILLISECONDS: u64 = 500;
/// Requests of each load while system calls are counted.
const COUNTED: u64 = 2000;

const BEFORE: &str = "\
## Disks

`cargo xtask bench block`. Each VMM gives the bare-metal guest a virtio disk: the same raw image of 64 MiB, all of it in the
page cache, without direct I/O. The guest drives it in ring 3, which runs at native speed on every host: it keeps one or 32
requests under way, at random places, begins all that it can with one notification, wants no interrupt, and polls for their end.

- **trivisor pv** is `--mode pv --disk IMAGE`, with its jail and without.
- **QEMU pc** is `virtio-blk-pci` with an iothread and `aio=io_uring`; **QEMU microvm** the same over MMIO.
- **alioth** is `alioth-cli`, with its default (a thread with epoll) and with `api=iouring`.

All take turns within a round, and who begins changes from round to round. Rates are by the guest's time-stamp counter. CPU time
is user and system time of all processes while the load runs: the guest, which polls, takes one processor all the time, so that
this falls with the time that a request takes and rises with the threads beside. System calls are strace's count over all threads,
in a run of its own, which changes how threads meet; entries are the KVM_RUN among them, each of which ends with an exit to user
space (a peer's notification ends in the kernel: ioeventfd). In brackets: the ratio to QEMU pc.
";

const PROFILE: &str = "
What limits trivisor pv, by perf on a PVM host:
- Under steady load no request needs a notification: the thread that serves the disk looks at the ring, for 100 µs at most after
  the last one, and takes a second processor for that. Where there is none (a busy host, and strace's runs, which slow each call)
  it sleeps; then a request costs what KVM takes to emulate the guest's store and to wake the thread, about 50 µs on a PVM host,
  and three system calls: of poll, of epoll, and the transfer.
- Reads of 4 KiB are one io_uring_enter for all that the guest has made available, of which the copy out of the page cache is a fifth; those of 128 KiB are
  that copy (10 to 13 µs): all VMMs meet there, whatever else they do.
- Buffered writes cannot be begun without blocking on ext4, so io_uring would leave each to a worker of the kernel, one after the
  other: 45 to 80 µs each, as the peers that use it show at depth 1. The serving thread makes the call itself: one system call a
  write, which is more than io_uring's at depth 32, for a fraction of the time.
";

/// What the guest does with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    what: &'static str,
    bytes: u64,
    depth: u64,
}

impl Kind {
    fn all() -> impl Iterator<Item = Self> {
        let kinds = ["read", "write"].into_iter().flat_map(|what| {
            let sizes = [4 << 10, 128 << 10].into_iter();
            sizes.flat_map(move |bytes| [1, 32].map(|depth| Self { what, bytes, depth }))
        });
        kinds.into_iter()
    }

    fn name(self) -> String {
        let Self { what, bytes, depth } = self;
        format!("{what} {} KiB, depth {depth}", bytes >> 10)
    }
}

/// All loads, one after the other; each until `end`.
fn script(end: &str) -> String {
    let loads = Kind::all()
        .map(|Kind { what, bytes, depth }| format!("block 0 load {what} {bytes} {depth} {end}; "));
    loads.collect::<String>() + "exit"
}

pub(super) fn run(options: &Options) -> Result<()> {
    setup::run_for_bench()?;
    let rounds = options.rounds.unwrap_or(DEFAULT_ROUNDS);
    let image = devices::Image::new()?;
    let contenders = contenders::with_disk(&image.name())?;
    let work = Work {
        device: "block",
        loads: Kind::all().count(),
        measured: script(&format!("ms {MILLISECONDS}")),
        counted: script(&format!("ops {COUNTED}")),
    };
    let rows = work.run(&contenders, rounds, &mut |_line| Ok(()))?;
    let section = Section {
        before: BEFORE,
        ran: format!("Each load ran for {MILLISECONDS} ms a round."),
        operation: "request",
        ours: contenders::PV,
        names: Kind::all().map(Kind::name).collect(),
        after: PROFILE,
    };
    section.put(&rows, rounds, &options.output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_has_every_load() {
        let script = script("ms 7");
        assert_eq!(script.matches("block 0 load").count(), 8);
        assert!(script.starts_with("block 0 load read 4096 1 ms 7; block 0 load read 4096 32"));
        assert!(script.ends_with("write 131072 32 ms 7; exit"));
    }
}
