//! `cargo xtask bench block --mode hvm`: the same guest keeps the same IDE disk busy under several VMMs.

use anyhow::Result;

use super::load::{Section, Work};
use super::start::Options;
use super::{contenders, devices};
use crate::setup;

const DEFAULT_ROUNDS: usize = 7;
/// How long each load is measured.
const MILLISECONDS: u64 = 500;
/// Commands of each load while system calls are counted.
const COUNTED: u64 = 1000;

const BEFORE: &str = "\
## IDE disks

`cargo xtask bench block --mode hvm`. Each VMM gives the bare-metal guest a PIIX's IDE disk: the same raw image of 64 MiB, all of it
in the page cache, without direct I/O. The guest drives it in ring 3 by bus master, one command after the other, at random places,
and sleeps until the interrupt. A command is 14 accesses to ports, 11 writes and 3 reads: descriptor table, direction, status of the
bus master; device, Alternate Status, count and address; command, start; then status of the bus master, stop, Status.

- **trivisor hvm** is `--mode hvm --disk IMAGE,bus=ide`, with its jail and without.
- **QEMU pc** is `-drive if=ide` with `aio=io_uring`, and with its default, which is threads.

Rates, CPU time, system calls and entries are measured as above. In brackets: the ratio to QEMU pc.
";

const PROFILE: &str = "
What limits trivisor hvm, on a PVM host:
- An access to a port from ring 3 takes 25 µs there when it ends in user space, and 3 µs when KVM has what it needs: nearly all of a
  command's time is accesses. Seven of the eleven writes only keep a value for what follows. KVM posts them, and they are carried out
  with the next access that traps, so that a read is 7 exits instead of 14.
- A read whose data is in the page cache is done within the access that starts the bus master: the interrupt is pending when the
  guest goes on. Buffered writes are left to io_uring, whose thread of the kernel's takes about
  40 µs longer and brings the vCPU out of the guest once more: no vCPU waits for a disk.
";

/// What the guest does with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    what: &'static str,
    bytes: u64,
}

impl Kind {
    fn all() -> impl Iterator<Item = Self> {
        ["read", "write"]
            .into_iter()
            .flat_map(|what| [4 << 10, 128 << 10].map(|bytes| Self { what, bytes }))
    }

    fn name(self) -> String {
        format!("{} {} KiB", self.what, self.bytes >> 10)
    }
}

/// All loads, one after the other; each until `end`.
fn script(end: &str) -> String {
    let loads =
        Kind::all().map(|Kind { what, bytes }| format!("ide 0 load {what} {bytes} 1 {end}; "));
    loads.collect::<String>() + "exit"
}

pub(super) fn run(options: &Options) -> Result<()> {
    setup::run_for_bench()?;
    let rounds = options.rounds.unwrap_or(DEFAULT_ROUNDS);
    let image = devices::Image::new()?;
    let contenders = contenders::with_ide_disk(&image.name())?;
    let work = Work {
        device: "ide",
        loads: Kind::all().count(),
        measured: script(&format!("ms {MILLISECONDS}")),
        counted: script(&format!("ops {COUNTED}")),
    };
    let rows = work.run(&contenders, rounds, &mut |_line| Ok(()))?;
    let section = Section {
        before: BEFORE,
        ran: format!("Each load ran for {MILLISECONDS} ms a round."),
        operation: "command",
        ours: contenders::HVM,
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
        assert_eq!(script.matches("ide 0 load").count(), 4);
        assert!(script.starts_with("ide 0 load read 4096 1 ms 7; ide 0 load read 131072"));
        assert!(script.ends_with("write 131072 1 ms 7; exit"));
    }
}
