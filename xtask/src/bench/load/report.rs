//! The tables of `bench block` and `bench net`.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use super::super::contenders::QEMU;
use super::super::document;
use super::super::report::{median, medians, versions};
use super::{Load, Row};

/// A benchmark's words.
#[derive(Debug)]
pub(in super::super) struct Section {
    /// Its heading, and what it does.
    pub(in super::super) before: &'static str,
    /// How long each load was measured.
    pub(in super::super) ran: String,
    /// What one operation is called.
    pub(in super::super) operation: &'static str,
    /// Whom to hold against the fastest peer.
    pub(in super::super) ours: &'static str,
    /// The loads.
    pub(in super::super) names: Vec<String>,
    /// What was found out besides.
    pub(in super::super) after: &'static str,
}

impl Section {
    /// Puts it into the document, and shows its tables.
    ///
    /// # Errors
    /// When the document cannot be written.
    pub(in super::super) fn put(&self, rows: &[Row], rounds: usize, output: &Path) -> Result<()> {
        document::put(output, &self.write(rows, rounds))?;
        println!("{}", self.tables(rows));
        println!("written to {}", output.display());
        Ok(())
    }

    /// The section.
    fn write(&self, rows: &[Row], rounds: usize) -> String {
        let named: Vec<_> = rows
            .iter()
            .map(|row| (row.name, row.version.as_str()))
            .collect();
        [
            self.before,
            &medians(rounds),
            &self.ran,
            "\n\n",
            &self.tables(rows),
            &versions(&named),
            self.after,
        ]
        .concat()
    }

    /// The tables alone.
    fn tables(&self, rows: &[Row]) -> String {
        let per_load = |of: fn(&Load) -> f64| {
            move |row: &Row, kind: usize| {
                let loads = row.rounds.get(kind).filter(|loads| !loads.is_empty())?;
                Some(median(loads.iter().map(of).collect()))
            }
        };
        let rate = per_load(|load| load.operations / load.seconds / 1e3);
        let cpu = per_load(|load| load.cpu_seconds / load.operations * 1e6);
        let calls = |row: &Row, kind: usize| Some(row.calls.get(kind)?.all);
        let entries = |row: &Row, kind: usize| Some(row.calls.get(kind)?.run);
        let one = self.operation;
        [
            self.table(&format!("thousand {one}s a second"), rows, true, &rate),
            self.table(&format!("CPU of the host, µs a {one}"), rows, true, &cpu),
            self.table(&format!("system calls a {one}"), rows, false, &calls),
            self.table(&format!("entries a {one}"), rows, false, &entries),
            self.best(rows, &rate, &cpu),
        ]
        .join("\n")
    }

    /// A line a load, a column a contender.
    fn table(&self, title: &str, rows: &[Row], ratios: bool, figure: Figure<'_>) -> String {
        let mut text = format!("| {title} |");
        for row in rows {
            let _infallible = write!(text, " {} |", row.name);
        }
        text.push_str("\n|---|");
        text.push_str(&"---|".repeat(rows.len()));
        text.push('\n');
        let base = rows.iter().find(|row| row.name == QEMU);
        for (index, name) in self.names.iter().enumerate() {
            let _infallible = write!(text, "| {name} |");
            let base = base.and_then(|row| figure(row, index));
            for row in rows {
                let _infallible = match (figure(row, index), base.filter(|_| ratios)) {
                    (Some(value), Some(base)) => {
                        write!(text, " {value:.2} ({:.2}) |", value / base)
                    }
                    (Some(value), None) => write!(text, " {value:.2} |"),
                    (None, _) => write!(text, " - |"),
                };
            }
            text.push('\n');
        }
        text
    }

    /// Ours against the fastest of the others.
    fn best(&self, rows: &[Row], rate: Figure<'_>, cpu: Figure<'_>) -> String {
        let Some(ours) = rows.iter().find(|row| row.name == self.ours) else {
            return String::new();
        };
        let mut text = format!(
            "| {} against | the fastest peer | rate | CPU |\n|---|---|---|---|\n",
            self.ours
        );
        for (index, name) in self.names.iter().enumerate() {
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
                "| {name} | {} | {:.2} | {:.2} |",
                peer.name,
                ratio(rate),
                ratio(cpu)
            );
        }
        text
    }
}

/// A figure of a contender and a load, if it was to be had.
type Figure<'a> = &'a dyn Fn(&Row, usize) -> Option<f64>;

#[cfg(test)]
mod tests {
    use super::super::super::contenders::PV;
    use super::super::observe::{Calls, load_for_tests};
    use super::*;

    fn row(name: &'static str, operations: f64) -> Row {
        let load = load_for_tests;
        Row {
            name,
            version: "1".to_owned(),
            rounds: vec![vec![load(operations), load(operations * 100.0), load(0.0)]; 2],
            calls: vec![Calls { all: 2.5, run: 0.5 }; 2],
        }
    }

    #[test]
    fn tables_have_medians_and_ratios() {
        let section = Section {
            before: "## Loads\n",
            ran: "For a second.".to_owned(),
            operation: "request",
            ours: PV,
            names: vec!["read".to_owned(), "write".to_owned()],
            after: "\nMore.\n",
        };
        let rows = [row(PV, 3000.0), row(QEMU, 1000.0), row("alioth", 2000.0)];
        let tables = section.tables(&rows);
        for line in [
            "| thousand requests a second | trivisor pv | QEMU pc | alioth |",
            "| read | 3.00 (3.00) | 1.00 (1.00) | 2.00 (2.00) |",
            "| CPU of the host, µs a request | trivisor pv | QEMU pc | alioth |",
            "| write | 500.00 (0.33) | 1500.00 (1.00) | 750.00 (0.50) |",
            "| read | 2.50 | 2.50 | 2.50 |",
            "| write | 0.50 | 0.50 | 0.50 |",
            "| write | alioth | 1.50 | 0.67 |",
        ] {
            assert!(tables.contains(line), "{line}\n{tables}");
        }
        let text = section.write(&rows, 3);
        assert!(text.starts_with("## Loads\n\nMedians of 3 rounds"));
        assert!(text.ends_with("\nVersions: trivisor pv 1, QEMU pc 1, alioth 1.\n\nMore.\n"));
    }
}
