//! `trivisor demo`: the bundled guest in every mode that exists, and what it cost.

mod measure;
mod memory;

use std::fs;
use std::time::Duration;

use measure::{Machine, Start, start};

use crate::failure::Failure;

/// The bare-metal guest, an ELF with a PVH note.
const GUEST: &[u8] = include_bytes!(env!("TRIVISOR_BUNDLED_GUEST"));

/// Modes of this version, and whether they have virtio devices.
const MODES: [(&str, bool); 2] = [("basic", false), ("pv", true)];

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
    let machines = MODES.map(|(mode, has_virtio)| Machine {
        mode,
        guest: &guest,
        disk: has_virtio.then_some(disk.as_path()),
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
            beside_ram: memory::beside_ram(machine)?,
        })
    });
    Ok(table(&columns.collect::<Result<Vec<_>, Failure>>()?))
}

/// What one mode cost.
struct Column {
    mode: &'static str,
    starts: Vec<Start>,
    /// Bytes of both processes beside guest RAM.
    beside_ram: u64,
}

impl Column {
    fn median<T: Ord + Copy + Default>(&self, of: impl Fn(&Start) -> T) -> T {
        let mut all: Vec<T> = self.starts.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or_default()
    }

    fn cells(&self) -> [String; 7] {
        let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
        #[expect(clippy::cast_precision_loss, reason = "a table shows two digits")]
        let mib = self.beside_ram as f64 / f64::from(1 << 20);
        [
            self.mode.to_owned(),
            ms(self.median(|start| start.first_output)),
            ms(self.median(|start| start.exit)),
            ms(self.median(|start| start.cpu)),
            format!("{mib:.2} MiB"),
            self.median(|start| start.exits).to_string(),
            self.median(|start| start.emulated_instructions).to_string(),
        ]
    }
}

const ROWS: [&str; 7] = [
    "mode",
    "start to first output",
    "start to exit",
    "CPU time",
    "memory beside guest RAM",
    "exits of the guest",
    "emulated instructions",
];

fn table(columns: &[Column]) -> String {
    let cells: Vec<[String; 7]> = columns.iter().map(Column::cells).collect();
    let rounds = columns.first().map_or(0, |column| column.starts.len());
    let mut text = format!(
        "The bundled guest, 1 processor, 256 MiB, in mode pv a disk and an entropy source; medians of {rounds} starts.\n\n"
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
            beside_ram: 3 << 19,
        };
        let table = table(&[column]);
        for wanted in ["3.00 ms", "6.00 ms", "1.50 MiB", "medians of 3", " 30\n"] {
            assert!(table.contains(wanted), "{wanted:?} is not in\n{table}");
        }
    }
}
