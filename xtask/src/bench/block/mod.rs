//! `cargo xtask bench block`: the same guest keeps the same disk busy under several VMMs, in turns.

mod observe;
mod report;

use anyhow::{Context, Result, ensure};

use self::observe::{Calls, Load};
use super::contenders::{self, Contender};
use super::devices::Image;
use super::document;
use super::start::Options;
use crate::setup;

/// How long each load is measured.
const MILLISECONDS: u64 = 500;
/// Requests of each load while system calls are counted, which slows all down.
const COUNTED: u64 = 2000;

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

/// All that was measured of a contender: for each kind the rounds, and what was counted.
#[derive(Debug)]
struct Row {
    name: &'static str,
    version: String,
    rounds: Vec<Vec<Load>>,
    calls: Vec<Calls>,
}

pub(super) fn run(options: &Options) -> Result<()> {
    setup::run_for_bench()?;
    let image = Image::new()?;
    let contenders = contenders::with_disk(&image.name())?;
    let mut rows = Vec::new();
    for contender in &contenders {
        println!("counting the system calls of {}", contender.name);
        rows.push(Row {
            name: contender.name,
            version: contender.version.clone(),
            rounds: vec![Vec::new(); Kind::all().count()],
            calls: observe::calls(contender, &script(&format!("ops {COUNTED}")))?,
        });
    }
    let script = script(&format!("ms {MILLISECONDS}"));
    for round in 0..options.rounds {
        println!("round {} of {}", round + 1, options.rounds);
        // Who goes first changes, for each finds what the one before left behind.
        for turn in 0..contenders.len() {
            let index = (round + turn) % contenders.len();
            if let (Some(contender), Some(row)) = (contenders.get(index), rows.get_mut(index)) {
                measure(contender, &script, row)?;
            }
        }
    }
    document::put(&options.output, &report::write(&rows, options.rounds))?;
    println!("{}", report::tables(&rows));
    println!("written to {}", options.output.display());
    Ok(())
}

fn measure(contender: &Contender, script: &str, row: &mut Row) -> Result<()> {
    let loads = observe::loads(contender.doing(script, None)?)
        .with_context(|| contender.name.to_owned())?;
    ensure!(
        loads.len() == row.rounds.len(),
        "{}: {} loads instead of {}",
        contender.name,
        loads.len(),
        row.rounds.len()
    );
    for (rounds, load) in row.rounds.iter_mut().zip(loads) {
        rounds.push(load);
    }
    Ok(())
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
