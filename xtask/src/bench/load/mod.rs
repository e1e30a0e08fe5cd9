//! What `bench block` and `bench net` have in common: a guest that keeps a device busy under several VMMs, in turns.

mod observe;
mod report;

use anyhow::{Context, Result, ensure};

use self::observe::Calls;
use super::contenders::Contender;

pub(super) use self::observe::{Ear, Load, field};
pub(super) use self::report::Section;

/// How often a peer may fail before it is left out: one loses a request now and then, and its guest waits for ever.
const ATTEMPTS: usize = 3;

/// Tries what a peer may fail at; ours may not.
fn patiently<T>(contender: &Contender, mut run: impl FnMut() -> Result<T>) -> Result<Option<T>> {
    for _ in 0..ATTEMPTS {
        match run() {
            Err(error) if !contender.is_ours() => {
                println!("failed, of {ATTEMPTS} times: {error:#}")
            }
            done => return done.map(Some),
        }
    }
    println!("{} is left out here", contender.name);
    Ok(None)
}

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
                calls: patiently(contender, || {
                    observe::calls(contender, &self.counted, self.device, &mut *hear)
                })?
                .unwrap_or_default(),
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

    fn measure(&self, contender: &Contender, row: &mut Row, ear: Ear<'_>) -> Result<()> {
        let loads = patiently(contender, || {
            let command = contender.doing(&self.measured, None)?;
            let loads = observe::loads(command, self.device, &mut *ear);
            loads.with_context(|| contender.name.to_owned())
        })?;
        let Some(loads) = loads else { return Ok(()) };
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
