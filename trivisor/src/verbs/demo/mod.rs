//! `trivisor demo`: the bundled guest in every mode, and what it cost.

mod firmware;
mod measure;
mod memory;

use std::fs;
use std::time::Duration;

use measure::{Machine, Start, reads, start};

use crate::failure::Failure;

/// The bare-metal guest, an ELF with a PVH note.
const GUEST: &[u8] = include_bytes!(env!("TRIVISOR_BUNDLED_GUEST"));

/// Each mode, how it is given the disk, and what the guest calls that.
const MODES: [(&str, Option<(&str, &str)>); 3] = [
    ("basic", None),
    ("pv", Some(("", "block"))),
    ("hvm", Some((",bus=ide", "ide"))),
];

/// Starts by firmware: they take seconds.
const BOOTS: u32 = 3;

/// Bytes of the disk, which is empty.
const DISK: u64 = 64 << 20;

/// The table.
pub(crate) fn demo(rounds: u32) -> Result<String, Failure> {
    let failed = |error: std::io::Error| {
        Failure::host(
            format!("the demonstration failed: {error}"),
            "see `trivisor check`",
        )
    };
    let folder = tempfile::tempdir().map_err(failed)?;
    let guest = folder.path().join("guest.elf");
    fs::write(&guest, GUEST).map_err(failed)?;
    let disk = folder.path().join("disk.img");
    fs::File::create(&disk)
        .and_then(|file| file.set_len(DISK))
        .map_err(failed)?;
    let machines = MODES.map(|(mode, disk_of_it)| Machine {
        mode,
        guest: &guest,
        disk: disk_of_it.map(|(options, name)| (disk.as_path(), options, name)),
    });
    let mut starts = [const { Vec::new() }; MODES.len()];
    // In turns, so that the host's mood hits all alike.
    for _ in 0..rounds.max(1) {
        for (machine, starts) in machines.iter().zip(&mut starts) {
            starts.push(start(*machine, folder.path())?);
        }
    }
    let columns = machines.into_iter().zip(starts).map(|(machine, starts)| {
        Ok(Column {
            mode: machine.mode,
            starts,
            boots: Vec::new(),
            beside_ram: memory::beside_ram(machine)?,
            reads: reads(machine)?,
        })
    });
    let mut columns = columns.collect::<Result<Vec<_>, Failure>>()?;
    let boots = (0..rounds.clamp(1, BOOTS)).map(|_| firmware::to_boot_sector(folder.path()));
    // A host without SeaBIOS has the rest to show all the same.
    let (boots, note) = match boots.collect::<Result<Vec<_>, _>>() {
        Ok(boots) => (boots, String::new()),
        Err(failure) => (Vec::new(), format!("\n{}", failure.report())),
    };
    if let Some(hvm) = columns.last_mut() {
        hvm.boots = boots;
    }
    Ok(table(&columns) + &note)
}

/// What one mode cost.
struct Column {
    mode: &'static str,
    starts: Vec<Start>,
    /// Times to a boot sector, where there is firmware.
    boots: Vec<Duration>,
    /// Bytes of both processes beside guest RAM.
    beside_ram: u64,
    /// Bytes a second that the guest reads of its disk.
    reads: Option<f64>,
}

/// The median of some; of none, none.
fn middle<T: Ord + Copy>(mut all: Vec<T>) -> Option<T> {
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}

impl Column {
    fn median<T: Ord + Copy + Default>(&self, of: impl Fn(&Start) -> T) -> T {
        middle(self.starts.iter().map(of).collect()).unwrap_or_default()
    }

    fn cells(&self) -> [String; ROWS.len()] {
        let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
        #[expect(clippy::cast_precision_loss, reason = "a table shows two digits")]
        let mib = self.beside_ram as f64 / f64::from(1 << 20);
        let nothing = || "-".to_owned();
        [
            self.mode.to_owned(),
            ms(self.median(|start| start.first_output)),
            ms(self.median(|start| start.exit)),
            middle(self.boots.clone()).map_or_else(nothing, ms),
            ms(self.median(|start| start.cpu)),
            format!("{mib:.2} MiB"),
            self.median(|start| start.exits).to_string(),
            self.median(|start| start.emulated_instructions).to_string(),
            (self.reads).map_or_else(nothing, |rate| format!("{:.2} GB/s", rate / 1e9)),
        ]
    }
}

const ROWS: [&str; 9] = [
    "mode",
    "start to first output",
    "start to exit",
    "start to a boot sector",
    "CPU time",
    "memory beside guest RAM",
    "exits of the guest",
    "emulated instructions",
    "disk, reads of 128 KiB",
];

fn table(columns: &[Column]) -> String {
    let cells: Vec<_> = columns.iter().map(Column::cells).collect();
    let rounds = columns.first().map_or(0, |column| column.starts.len());
    let mut text = format!(
        "The bundled guest, 1 processor, 256 MiB; in mode pv a virtio disk and an entropy source, in mode hvm an IDE disk and, to a boot sector, SeaBIOS. Medians of {rounds} starts.\n\n"
    );
    for (row, name) in ROWS.iter().enumerate() {
        text += &format!("{name:<24}");
        for column in &cells {
            text += &format!("  {:>14}", column.get(row).map_or("", String::as_str));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_medians() {
        let start = |ms| Start {
            first_output: Duration::from_millis(ms),
            exit: Duration::from_millis(2 * ms),
            cpu: Duration::from_millis(ms),
            exits: ms,
            emulated_instructions: 10 * ms,
        };
        let column = Column {
            mode: "basic",
            starts: [3, 9, 1].map(start).into(),
            boots: [2700, 2500, 2600].map(Duration::from_millis).into(),
            beside_ram: 3 << 19,
            reads: Some(4.3e9),
        };
        let table = table(&[column]);
        for wanted in [
            "3.00 ms",
            "6.00 ms",
            "2600.00 ms",
            "1.50 MiB",
            "Medians of 3",
            " 30\n",
            "4.30 GB/s",
        ] {
            assert!(table.contains(wanted), "{wanted:?} is not in\n{table}");
        }
    }
}
