//! `cargo xtask test`: everything that CI checks, stage by stage.

mod runner;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::arguments::Arguments;
use crate::guests::{Foreign, Guests};
use crate::process::{self, cargo};
use crate::{fuzz, guests, setup, tidy, workspace};
use runner::{Runner, Selection, Skipped};

/// For all targets together: replays of the corpora and some minutes of new inputs.
const FUZZ_SECONDS: u64 = 120;

/// What to run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Leave out what needs /dev/kvm.
    no_kvm: bool,
    /// Add what takes long.
    slow: bool,
    /// Of the tests with whole VMs, only the k-th of n parts, and nothing else.
    shard: Option<(u32, u32)>,
}

impl Options {
    /// # Errors
    /// Unknown or wrong arguments.
    pub(crate) fn parse(mut arguments: Arguments) -> Result<Self> {
        let no_kvm = arguments.flag("--no-kvm");
        let slow = arguments.flag("--slow");
        let shard = arguments.value::<String>("--shard")?;
        let shard = shard.as_deref().map(parse_shard).transpose()?;
        ensure!(slow || shard.is_none(), "--shard goes with --slow");
        arguments.end()?;
        Ok(Self {
            no_kvm,
            slow,
            shard,
        })
    }
}

fn parse_shard(text: &str) -> Result<(u32, u32)> {
    let (part, of) = text.split_once('/').context("--shard K/N")?;
    let (part, of) = (part.parse::<u32>()?, of.parse::<u32>()?);
    ensure!(
        (1..=of).contains(&part),
        "--shard {text}: the first number goes from 1 to the second"
    );
    Ok((part, of))
}

/// Runs the stages; the first that fails ends the run.
///
/// # Errors
/// The stage's name and what went wrong.
pub(crate) fn run(options: Options) -> Result<()> {
    let mut stages = Stages::default();
    let slow = options.slow && !options.no_kvm;
    let set_up = if slow {
        setup::run_for_slow
    } else {
        setup::run
    };
    stages.run("setup", set_up)?;
    if options.shard.is_none_or(|(part, _)| part == 1) {
        checks(&mut stages)?;
    }
    stages.run("build", || {
        process::run(&mut cargo(&["build", "--workspace", "--all-targets"]))
    })?;
    let guests = stages.run("guests", guests::make)?;
    let foreign = if slow {
        Some(stages.run("foreign images", guests::download_foreign)?)
    } else {
        None
    };
    let runner = Runner::find(options.shard)?;
    let environment = Environment {
        options,
        guests,
        foreign,
    };
    let mut skipped = Skipped::default();
    if options.shard.is_none_or(|(part, _)| part == 1) {
        let mut tests = |name, selection| {
            stages.run(name, || runner.run(selection, &environment, &mut skipped))
        };
        tests("unit tests", Selection::Crates)?;
        tests("doc tests", Selection::Documents)?;
    }
    stages.run("VM tests", || {
        runner.run(Selection::Machines, &environment, &mut skipped)
    })?;
    if options.shard.is_none_or(|(part, _)| part == 1) {
        stages.run("fuzz", || fuzz::run_built(FUZZ_SECONDS))?;
    }
    print!("{stages}");
    print!("{skipped}");
    println!("all passed");
    Ok(())
}

/// What needs no test to run.
fn checks(stages: &mut Stages) -> Result<()> {
    stages.run("format", || {
        process::run(&mut cargo(&["fmt", "--all", "--check"]))?;
        let format =
            |guest| process::run(&mut cargo(&["fmt", "--manifest-path", guest, "--check"]));
        guests::MANIFESTS.into_iter().try_for_each(format)
    })?;
    stages.run("tidy", tidy::run)?;
    stages.run("clippy", || {
        let deny = ["--", "--deny", "warnings"];
        let mut whole = cargo(&["clippy", "--workspace", "--all-targets"]);
        process::run(whole.args(deny))?;
        let target = workspace::target().join("guests");
        guests::MANIFESTS.into_iter().try_for_each(|guest| {
            let mut guest = cargo(&["clippy", "--release", "--manifest-path", guest]);
            process::run(guest.arg("--target-dir").arg(&target).args(deny))
        })
    })?;
    stages.run("documents", || {
        let mut doc = cargo(&["doc", "--workspace", "--no-deps"]);
        process::run(doc.env("RUSTDOCFLAGS", "--deny warnings"))
    })
}

/// What the tests are told.
#[derive(Debug)]
struct Environment {
    options: Options,
    guests: Guests,
    /// With `--slow`.
    foreign: Option<Foreign>,
}

impl Environment {
    fn tell(&self, command: &mut Command) {
        let trivisor: PathBuf = workspace::target().join("debug/trivisor");
        command.env("TRIVISOR_BIN", trivisor);
        // Tests find the same programs as the set-up did. They come from a path, so they make one.
        if let Ok(path) = std::env::join_paths(process::search_path()) {
            command.env("PATH", path);
        }
        self.guests.announce(command);
        if let Some(foreign) = &self.foreign {
            foreign.announce(command);
        }
        for (wanted, variable) in [
            (self.options.no_kvm, "TRIVISOR_NO_KVM"),
            (self.options.slow, "TRIVISOR_SLOW"),
        ] {
            if wanted {
                command.env(variable, "1");
            } else {
                command.env_remove(variable);
            }
        }
    }
}

/// The stages so far, with the seconds of each.
#[derive(Debug, Default)]
struct Stages(Vec<(&'static str, f64)>);

impl Stages {
    fn run<T>(&mut self, name: &'static str, stage: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("== {name}");
        let start = Instant::now();
        let result = stage();
        let seconds = start.elapsed().as_secs_f64();
        self.0.push((name, seconds));
        match result {
            Ok(value) => {
                println!("== {name}: {seconds:.1} s");
                Ok(value)
            }
            Err(error) => {
                print!("{self}");
                bail!("stage `{name}` failed after {seconds:.1} s: {error:#}")
            }
        }
    }
}

impl std::fmt::Display for Stages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:>8}  stage", "seconds")?;
        for (name, seconds) in &self.0 {
            writeln!(f, "{seconds:>8.1}  {name}")?;
        }
        let total: f64 = self.0.iter().map(|stage| stage.1).sum();
        writeln!(f, "{total:>8.1}  in all")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_counted_from_one() {
        assert_eq!(parse_shard("1/1").unwrap(), (1, 1));
        assert_eq!(parse_shard("2/3").unwrap(), (2, 3));
        for wrong in ["0/2", "3/2", "1", "1/x", ""] {
            assert!(parse_shard(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_failing_stage_gives_its_name() {
        let mut stages = Stages::default();
        stages.run("first", || Ok(())).unwrap();
        let error = stages.run("second", || -> Result<()> { bail!("broken") });
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with("stage `second` failed after ") && text.ends_with(": broken"));
        assert_eq!(stages.0.len(), 2);
    }
}
