//! What `bench start` writes.

use std::fmt::Write;
use std::time::Duration;

use super::contenders;
use super::measure::Start;
use super::start::Row;

const BEFORE: &str = "\
## Start-up

Each VMM boots the bare-metal guest with one processor, 256 MiB and a serial port on standard output. The guest writes its
greeting and resets through the keyboard controller; it is so small that what is measured is the VMM and KVM.

- **floor** is `kvm/examples/floor.rs`: the fewest ioctls that start this guest, in one process, without a check.
- **trivisor** is `trivisor run --mode basic`, with its jail, which takes two processes, and without, in one; **trivisor pv** is
  `--mode pv` with a disk (a raw image) and a network card (a tap) over PCI, with its jail.
- **alioth** is `alioth-cli` from crates.io, without and with the same disk and card, **QEMU** is Debian's, with `-nodefaults`; QEMU boots through its firmware.

All take turns within a round, and who begins changes from round to round, so that a busy host hits all alike. Times count from
exec; CPU time is user and system time of all processes. Memory is the sum of the proportional set sizes of all processes
without guest RAM, at its peak, while a guest waits; the floor's guest cannot wait. System calls are strace's count over all
threads; entries are the KVM_RUN among them, and each ends with an exit to user space. In brackets: the ratio to the floor.
";

const PROFILE: &str = "
What trivisor without a jail does beside the floor, by a trace of its calls on a PVM host with nothing else to do:
- The command line takes 170 µs, of which 30 are work and the rest the first touch of the pages for it.
- A thread is started before the guest is; it starts the one for the control socket, and ends as that for console and requests. 60 µs
  are its start, and what shares one lock of the process's memory with it.
- It asks KVM meanwhile for the CPU's features (270 µs where CPUID is an exit, as on a virtual host; the floor waits for that), and sets the filter
  of MSRs by which SYSCALL is repaired on PVM: a grace period of 300 µs, milliseconds on a busy host, of which the first entry waits for the rest.
- At the end the threads tell each other, 150 µs; 3 ms more where the folder of running VMs is not on a tmpfs, but on ext4.
- Of its memory 2.9 MiB are text and constants: 40 first touches, around each of which the host maps 64 KiB. What is used of them is a third.
- With its jail, it starts a second process, and its two threads have a filter of system calls compiled each, 160 to 190 µs.
";

/// Where it was measured.
pub(super) fn medians(rounds: usize) -> String {
    let kind = if contenders::is_pvm() {
        "a host whose KVM is backed by PVM, where the guest's ring 0 is emulated and entries are dear"
    } else {
        "a host whose KVM uses VT-x or AMD-V"
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "\nMedians of {rounds} rounds on {kind}, with {cpus} processors. Only the ratios travel from machine to machine.\n\n"
    )
}

/// The section.
pub(super) fn write(rows: &[Row], rounds: usize) -> String {
    let mut text = BEFORE.to_owned();
    text.push_str(&medians(rounds));
    text.push_str(&table(rows));
    text.push_str(&devices(rows));
    let named: Vec<_> = rows
        .iter()
        .map(|row| (row.name, row.version.as_str()))
        .collect();
    text.push_str(&versions(&named));
    text.push_str(PROFILE);
    text
}

/// The line of versions.
pub(super) fn versions(named: &[(&str, &str)]) -> String {
    let named: Vec<_> = named
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    format!("\nVersions: {}.\n", named.join(", "))
}

/// The table alone.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| | first output, ms | exit, ms | CPU, ms | memory, MiB | system calls | entries |\n\
         |---|---|---|---|---|---|---|\n",
    );
    let floor = rows.first();
    for row in rows {
        let time = |of: fn(&Start) -> Duration| {
            let base = floor.map_or(f64::NAN, |floor| milliseconds(floor, of));
            let ms = milliseconds(row, of);
            format!("{ms:.2} ({:.2})", ms / base)
        };
        let memory: Vec<_> = row.memory.iter().map(|bytes| mib(*bytes)).collect();
        let memory = if memory.is_empty() {
            "-".to_owned()
        } else {
            format!("{:.2}", median(memory))
        };
        let _infallible = writeln!(
            text,
            "| {} | {} | {} | {} | {memory} | {} | {} |",
            row.name,
            time(|start| start.first_output),
            time(|start| start.exit),
            time(|start| start.cpu),
            row.calls.all,
            row.calls.run,
        );
    }
    text
}

/// What the virtio devices cost: ours against none, and against the peer's.
pub(super) fn devices(rows: &[Row]) -> String {
    let named = |name| rows.iter().find(|row| row.name == name);
    let (Some(pv), Some(basic), Some(peer)) = (
        named(contenders::PV),
        named(contenders::BASIC),
        named(contenders::ALIOTH_WITH_DEVICES),
    ) else {
        return String::new();
    };
    let ratio =
        |base: &Row, of: fn(&Start) -> Duration| milliseconds(pv, of) / milliseconds(base, of);
    let both = |base| {
        format!(
            "{:.2} x to the first output and {:.2} x to the exit",
            ratio(base, |start| start.first_output),
            ratio(base, |start| start.exit)
        )
    };
    format!(
        "\nMode pv with a disk and a network card takes, of mode basic, {}; of alioth with the same devices, {}.\n",
        both(basic),
        both(peer)
    )
}

/// Median.
fn milliseconds(row: &Row, of: fn(&Start) -> Duration) -> f64 {
    median(
        row.starts
            .iter()
            .map(|start| of(start).as_secs_f64() * 1e3)
            .collect(),
    )
}

pub(super) fn mib(bytes: u64) -> f64 {
    // KiB of a process fit 32 bits up to 4 TiB.
    f64::from(u32::try_from(bytes >> 10).unwrap_or(u32::MAX)) / 1024.0
}

pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.get(middle.wrapping_sub(1))) {
        (Some(high), Some(low)) if values.len().is_multiple_of(2) => f64::midpoint(*low, *high),
        (Some(value), _) => *value,
        (None, _) => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::super::measure::Calls;
    use super::*;

    #[test]
    fn the_table_has_medians_and_ratios() {
        let row = |name, ms: &[u64], memory: &[u64]| Row {
            name,
            version: "1".to_owned(),
            starts: ms
                .iter()
                .map(|&ms| Start {
                    first_output: Duration::from_millis(ms),
                    exit: Duration::from_millis(2 * ms),
                    cpu: Duration::from_millis(ms),
                })
                .collect(),
            memory: memory.to_vec(),
            calls: Calls { all: 40, run: 2 },
        };
        let rows = [
            row("floor", &[2, 100, 1], &[]),
            row("other", &[3, 2, 4, 3], &[3 << 19]),
        ];
        let table = table(&rows);
        let lines: Vec<_> = table.lines().skip(2).collect();
        let floor = "| floor | 2.00 (1.00) | 4.00 (1.00) | 2.00 (1.00) | - | 40 | 2 |";
        let other = "| other | 3.00 (1.50) | 6.00 (1.50) | 3.00 (1.50) | 1.50 | 40 | 2 |";
        assert_eq!(lines, [floor, other]);
        assert!(write(&rows, 4).contains("\nVersions: floor 1, other 1.\n"));
        assert_eq!(devices(&rows), "");
        let rows = [
            row(contenders::PV, &[3], &[]),
            row(contenders::BASIC, &[2], &[]),
            row(contenders::ALIOTH_WITH_DEVICES, &[6], &[]),
        ];
        let ratios = devices(&rows);
        assert!(
            ratios.contains(
                "of mode basic, 1.50 x to the first output and 1.50 x to the exit; of alioth"
            ) && ratios.contains("0.50 x"),
            "{ratios}"
        );
    }
}
