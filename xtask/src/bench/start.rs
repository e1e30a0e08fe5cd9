//! `cargo xtask bench start`: the same guest under several VMMs, in turns, so that the host's mood hits all alike.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::contenders::{self, Contender};
use super::devices::Devices;
use super::measure::{self, Calls, Start};
use super::{document, memory, report};
use crate::arguments::Arguments;
use crate::{setup, workspace};

const DEFAULT_ROUNDS: usize = 20;

/// What to run.
#[derive(Debug)]
pub(super) struct Options {
    /// As each benchmark likes it, where they are not said.
    pub(super) rounds: Option<usize>,
    pub(super) output: PathBuf,
}

impl Options {
    /// # Errors
    /// Wrong values.
    pub(super) fn parse(arguments: &mut Arguments) -> Result<Self> {
        let rounds = arguments.value("--rounds")?;
        ensure!(rounds != Some(0), "--rounds 0 measures nothing");
        let output = arguments.value::<PathBuf>("--output")?;
        let output = workspace::root().join(output.unwrap_or_else(|| "docs/benchmarks.md".into()));
        Ok(Self { rounds, output })
    }
}

/// All that was measured of a contender.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) version: String,
    pub(super) starts: Vec<Start>,
    /// Bytes beside guest RAM, at the peak; one a round. Empty where no guest can wait.
    pub(super) memory: Vec<u64>,
    pub(super) calls: Calls,
}

pub(super) fn run(options: &Options) -> Result<()> {
    setup::run_for_bench()?;
    let rounds = options.rounds.unwrap_or(DEFAULT_ROUNDS);
    let devices = Devices::make();
    if let Err(error) = &devices {
        println!("left out, for a tap cannot be made: all with virtio devices: {error:#}");
    }
    let contenders = contenders::all(devices.as_ref().ok())?;
    let mut rows: Vec<Row> = Vec::new();
    for contender in &contenders {
        // Also warms the page cache, so that no round pays for the first reading of a file.
        rows.push(Row {
            name: contender.name,
            version: contender.version.clone(),
            starts: Vec::new(),
            memory: Vec::new(),
            calls: measure::calls(contender)?,
        });
    }
    for round in 0..rounds {
        println!("round {} of {rounds}", round + 1);
        // Who goes first changes, for each finds what the one before left behind.
        for turn in 0..contenders.len() {
            let index = (round + turn) % contenders.len();
            if let (Some(contender), Some(row)) = (contenders.get(index), rows.get_mut(index)) {
                measure_one(contender, row)?;
            }
        }
    }
    document::put(&options.output, &report::write(&rows, rounds))?;
    println!("{}{}", report::table(&rows), report::devices(&rows));
    println!("written to {}", options.output.display());
    Ok(())
}

fn measure_one(contender: &Contender, row: &mut Row) -> Result<()> {
    row.starts.push(measure::start(contender)?);
    if let Some(command) = contender.waiting()? {
        row.memory.push(memory::peak_beside_ram(command)?);
    }
    Ok(())
}
