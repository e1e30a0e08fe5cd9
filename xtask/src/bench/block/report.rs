//! What `bench block` writes.

use std::fmt::Write;

use super::super::contenders::{PV, QEMU};
use super::super::report::{median, medians, versions};
use super::{Kind, Load, MILLISECONDS, Row};

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
- Reads at depth 1 are one exit and one system call each. KVM's way from the guest's store to user space and back takes two thirds
  of the time, most of it in KVM's instruction emulator, io_uring 4 %. QEMU's iothread polls the ring for up to 32 µs before it
  asks for a notification: under steady load it needs no exit, and a second processor.
- Buffered writes cannot be begun without blocking on ext4, so io_uring leaves each to a worker of the kernel, whose clean-up
  then interrupts the vCPU's thread that submitted it: at depth 1 two exits a request instead of one.
";

/// The section.
pub(super) fn write(rows: &[Row], rounds: usize) -> String {
    let mut text = BEFORE.to_owned();
    text.push_str(&medians(rounds));
    let _infallible = writeln!(
        text,
        "Each load ran for {MILLISECONDS} ms a round.\n{}",
        tables(rows)
    );
    let named: Vec<_> = rows
        .iter()
        .map(|row| (row.name, row.version.as_str()))
        .collect();
    text.push_str(versions(&named).trim_start());
    text.push_str(PROFILE);
    text
}

/// The tables alone.
pub(super) fn tables(rows: &[Row]) -> String {
    let per_load = |of: fn(&Load) -> f64| {
        move |row: &Row, kind: usize| {
            let loads = row.rounds.get(kind)?;
            Some(median(loads.iter().map(of).collect()))
        }
    };
    let rate = per_load(|load| load.operations / load.seconds / 1e3);
    let cpu = per_load(|load| load.cpu_seconds / load.operations * 1e6);
    let calls = |row: &Row, kind: usize| Some(row.calls.get(kind)?.all);
    let entries = |row: &Row, kind: usize| Some(row.calls.get(kind)?.run);
    [
        table("thousand requests a second", rows, true, &rate),
        table("CPU of the host, µs a request", rows, true, &cpu),
        table("system calls a request", rows, false, &calls),
        table("entries a request", rows, false, &entries),
        best(rows, &rate, &cpu),
    ]
    .join("\n")
}

/// A figure of a contender and a kind of load, if it was to be had.
type Figure<'a> = &'a dyn Fn(&Row, usize) -> Option<f64>;

/// A line a kind of load, a column a contender.
fn table(title: &str, rows: &[Row], ratios: bool, figure: Figure<'_>) -> String {
    let mut text = format!("| {title} |");
    for row in rows {
        let _infallible = write!(text, " {} |", row.name);
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(rows.len()));
    text.push('\n');
    let base = rows.iter().find(|row| row.name == QEMU);
    for (index, kind) in Kind::all().enumerate() {
        let _infallible = write!(text, "| {} |", kind.name());
        let base = base.and_then(|row| figure(row, index));
        for row in rows {
            let _infallible = match (figure(row, index), base.filter(|_| ratios)) {
                (Some(value), Some(base)) => write!(text, " {value:.2} ({:.2}) |", value / base),
                (Some(value), None) => write!(text, " {value:.2} |"),
                (None, _) => write!(text, " - |"),
            };
        }
        text.push('\n');
    }
    text
}

/// Ours against the fastest of the others.
fn best(rows: &[Row], rate: Figure<'_>, cpu: Figure<'_>) -> String {
    let Some(ours) = rows.iter().find(|row| row.name == PV) else {
        return String::new();
    };
    let mut text = String::from(
        "| trivisor pv against | the fastest peer | rate | CPU |\n|---|---|---|---|\n",
    );
    for (index, kind) in Kind::all().enumerate() {
        let peers = rows.iter().filter(|row| !row.name.starts_with("trivisor"));
        let fastest = peers
            .filter_map(|row| Some((rate(row, index)?, row)))
            .max_by(|(left, _), (right, _)| left.total_cmp(right));
        let Some((_, peer)) = fastest else { continue };
        let ratio = |figure: Figure<'_>| {
            figure(ours, index)
                .zip(figure(peer, index))
                .map_or(f64::NAN, |(ours, its)| ours / its)
        };
        let _infallible = writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} |",
            kind.name(),
            peer.name,
            ratio(rate),
            ratio(cpu)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::super::contenders::QEMU;
    use super::super::observe::{Calls, load_for_tests};
    use super::*;

    fn row(name: &'static str, operations: f64) -> Row {
        let load = load_for_tests;
        Row {
            name,
            version: "1".to_owned(),
            rounds: vec![vec![load(operations), load(operations * 100.0), load(0.0)]; 8],
            calls: vec![Calls { all: 2.5, run: 0.5 }; 8],
        }
    }

    #[test]
    fn tables_have_medians_and_ratios() {
        let rows = [row(PV, 3000.0), row(QEMU, 1000.0), row("alioth", 2000.0)];
        let tables = tables(&rows);
        for line in [
            "| read 4 KiB, depth 1 | 3.00 (3.00) | 1.00 (1.00) | 2.00 (2.00) |",
            "| write 128 KiB, depth 32 | 500.00 (0.33) | 1500.00 (1.00) | 750.00 (0.50) |",
            "| read 4 KiB, depth 32 | 2.50 | 2.50 | 2.50 |",
            "| read 4 KiB, depth 32 | 0.50 | 0.50 | 0.50 |",
            "| write 4 KiB, depth 1 | alioth | 1.50 | 0.67 |",
        ] {
            assert!(tables.contains(line), "{line}\n{tables}");
        }
        assert!(write(&rows, 3).contains("\nVersions: trivisor pv 1, QEMU pc 1, alioth 1.\n"));
    }
}
