//! What `bench block` and `bench net` have in common: a guest that keeps a device busy under several VMMs, in turns.

mod observe;
mod report;

use anyhow::{Context, Result, ensure};

use self::observe::Calls;
use super::contenders::Contender;

pub(super) use self::observe::{Ear, Load, field};
pub(super) use self::report::Section;

/// How often a peer may fail while its system calls are counted.
const ATTEMPTS: usize = 3;

/// All that was measured of a contender: for each load the rounds, and what was counted.
#[derive(Debug)]
pub(super) struct Row {
    name: &'static str,
    version: String,
    rounds: Vec<Vec<Load>>,
    calls: Vec<Calls>,
}

/// A guest's work.
#[derive(Debug)]
pub(super) struct Work {
    /// What the guest calls the device.
    pub(super) device: &'static str,
    /// How many loads a script has.
    pub(super) loads: usize,
    /// What is measured.
    pub(super) measured: String,
    /// The same loads, shorter, for strace slows all down.
    pub(super) counted: String,
}

impl Work {
    /// Has it done by all contenders, so many times each. Each run is heard by an ear of its own.
    ///
    /// # Errors
    /// When a load fails under one of them.
    pub(super) fn run(
        &self,
        contenders: &[Contender],
        rounds: usize,
        hear: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for contender in contenders {
            println!("counting the system calls of {}", contender.name);
            rows.push(Row {
                name: contender.name,
                version: contender.version.clone(),
                rounds: vec![Vec::new(); self.loads],
                calls: self.count(contender, hear)?,
            });
        }
        for round in 0..rounds {
            println!("round {} of {rounds}", round + 1);
            // Who goes first changes, for each finds what the one before left behind.
            for turn in 0..contenders.len() {
                let index = (round + turn) % contenders.len();
                if let (Some(contender), Some(row)) = (contenders.get(index), rows.get_mut(index)) {
                    self.measure(contender, row, hear)?;
                }
            }
        }
        Ok(rows)
    }

    /// What a contender asked of the host's kernel; nothing where a peer fails under strace each time, which slows
    /// calls so much that a request is lost here and there.
    fn count(&self, contender: &Contender, ear: Ear<'_>) -> Result<Vec<Calls>> {
        let mut attempt = || observe::calls(contender, &self.counted, self.device, &mut *ear);
        for _ in 1..ATTEMPTS {
            match attempt() {
                Err(error) if !contender.is_ours() => println!("once more: {error:#}"),
                counted => return counted,
            }
        }
        attempt().or_else(|error| {
            println!("its calls are not counted: {error:#}");
            Ok(Vec::new())
        })
    }

    fn measure(&self, contender: &Contender, row: &mut Row, ear: Ear<'_>) -> Result<()> {
        let command = contender.doing(&self.measured, None)?;
        let loads =
            observe::loads(command, self.device, ear).with_context(|| contender.name.to_owned())?;
        ensure!(
            loads.len() == self.loads,
            "{}: {} loads instead of {}",
            contender.name,
            loads.len(),
            self.loads
        );
        for (rounds, load) in row.rounds.iter_mut().zip(loads) {
            rounds.push(load);
        }
        Ok(())
    }
}
