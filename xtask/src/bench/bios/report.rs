//! What `bench bios` writes.

use std::fmt::Write;

use super::super::report::{median, medians, mib, versions};
use super::Row;
use super::measure::Start;
use super::pcs::{Pc, WITH_VGA};
use super::places::{self, Places};

pub(super) const HEADING: &str = "## Firmware";
/// What the part begins with that only `--where` writes.
pub(super) const PLACES: &str = "### Where the instructions go";

const BEFORE: &str = "

`cargo xtask bench bios --grub --where`, as root. The same SeaBIOS boots the same disk on each PC: one processor, 256 MiB, an IDE
disk. The boot sector, and GRUB where it would show its prompt (normal mode, about to read its configuration), end the run by a
write to the debug-exit port, so that times count from exec to the end of the process.

- **trivisor hvm** is `--mode hvm`, with its jail; it always has a VGA.
- **QEMU pc -vga std** is Debian's with `-nodefaults` and the same VGA, which its option ROM serves; **QEMU pc** has no VGA.

Instructions are those that KVM emulates, which on a PVM host is all that firmware executes; exits are returns of KVM_RUN; both
by KVM's tracepoints, in a run of their own, which hardly differs from another; GRUB's times are of that run. (KVM's own count of
exits has besides a break every 1024 emulated instructions, some 5200 for each PC here, and whatever interrupts the host.) CPU time
is user and system time of all processes; that outside of KVM_RUN is sampled by perf (`cpu-clock`, 5 kHz). Memory is the sum of the
proportional set sizes without guest RAM, at its peak, with a boot sector that waits. In brackets: the ratio to QEMU pc -vga std.
";

const AFTER: &str = "
More than nine tenths of the instructions are SeaBIOS's own loops over memory, a byte a round: it clears 548 KiB below the EBDA, what is left
between option ROMs and its own segment, twice, and sums up its segment and the option ROM; the option ROM sums itself up once more.
No board can spare these, and they are the same for all. Nothing polls or waits to speak of. What a board can spare is exits. Writes to the VGA's window and ports, to the clock's index, and those of the option
ROM to a debug console that is not there are posted: KVM keeps them in a ring that is emptied before anything else is looked at.
What remains is SeaBIOS asking: PCI configuration, A20 and CMOS index whenever it changes modes, 256 bytes of EDID. The histograms
are perf's records of every instruction, of which it loses a few on a busy host.
";

/// The section.
pub(super) fn write(pcs: &[Pc], tables: &[(&str, Vec<Row>)], rounds: usize) -> String {
    let mut text = format!("{HEADING}{BEFORE}");
    text.push_str(&medians(rounds));
    for (medium, rows) in tables {
        text.push_str(&table(medium, rows));
        text.push('\n');
    }
    let named: Vec<_> = pcs
        .iter()
        .map(|pc| (pc.name, pc.version.as_str()))
        .collect();
    text.push_str(versions(&named).trim_start());
    text.push_str(AFTER);
    text
}

fn table(medium: &str, rows: &[Row]) -> String {
    let mut text = format!(
        "| to {medium} | instructions, thousands | exits | exit, ms | CPU, ms | CPU outside of KVM_RUN, ms | memory, MiB |\n\
         |---|---|---|---|---|---|---|\n"
    );
    let base = rows.iter().find(|row| row.name == WITH_VGA);
    for row in rows {
        let with_ratio = |of: &dyn Fn(&Row) -> f64, digits: usize| {
            let (value, base) = (of(row), base.map_or(f64::NAN, of));
            format!("{value:.digits$} ({:.2})", value / base)
        };
        let ms = |of: fn(&Start) -> std::time::Duration| {
            move |row: &Row| {
                median(
                    row.starts
                        .iter()
                        .map(|start| of(start).as_secs_f64() * 1e3)
                        .collect(),
                )
            }
        };
        let sampled = if row.outside.is_empty() {
            "-".to_owned()
        } else {
            format!("{:.1}", median(row.outside.clone()))
        };
        let memory = if row.memory.is_empty() {
            "-".to_owned()
        } else {
            format!(
                "{:.2}",
                median(row.memory.iter().map(|bytes| mib(*bytes)).collect())
            )
        };
        let _infallible = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {sampled} | {memory} |",
            row.name,
            with_ratio(&|row| float(row.counts.instructions) / 1e3, 0),
            with_ratio(&|row| float(row.counts.exits), 0),
            with_ratio(&ms(|start| start.exit), 0),
            with_ratio(&ms(|start| start.cpu), 0),
        );
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "counts of millions")]
fn float(count: u64) -> f64 {
    count as f64
}

/// The histogram of a PC.
pub(super) fn places(name: &str, places: &Places) -> String {
    let share = |count: u64| 100.0 * float(count) / float(places.instructions.max(1));
    let mut text =
        format!("\n{PLACES}: {name}\n\n| what they do | instructions | % |\n|---|---|---|\n");
    for (kind, count) in &places.kinds {
        let _infallible = writeln!(text, "| {kind} | {count} | {:.1} |", share(*count));
    }
    text.push_str("\n| loop at | in | rounds | instructions | % | |\n|---|---|---|---|---|---|\n");
    for run in &places.loops {
        let what = run.kind.split(':').next().unwrap_or_default();
        let _infallible = writeln!(
            text,
            "| {:#x} to {:#x} | {} | {} | {} | {:.1} | {what} |",
            run.first,
            run.last,
            places::code(run.first),
            run.rounds,
            run.instructions,
            share(run.instructions),
        );
    }
    let accesses: Vec<_> = (places.ports.iter())
        .map(|(owner, count)| format!("{owner} {count}"))
        .collect();
    let _infallible = writeln!(
        text,
        "\nAccesses to ports and devices' memory, whether they are exits, posted, or ended by KVM's own chips: {}.",
        accesses.join(", ")
    );
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::measure::Counts;
    use super::*;

    #[test]
    fn the_table_compares_with_the_same_devices() {
        let row = |name, instructions, exits, ms| Row {
            name,
            counts: Counts {
                instructions,
                exits,
            },
            starts: vec![Start {
                exit: Duration::from_millis(ms),
                cpu: Duration::from_millis(ms),
            }],
            outside: Vec::new(),
            memory: vec![4 << 20],
        };
        let rows = [
            row("ours", 5_400_000, 1700, 50),
            row(WITH_VGA, 5_000_000, 3400, 100),
        ];
        let table = table("a boot sector", &rows);
        let ours = "| ours | 5400 (1.08) | 1700 (0.50) | 50 (0.50) | 50 (0.50) | - | 4.00 |";
        assert_eq!(table.lines().nth(2), Some(ours));
    }
}
