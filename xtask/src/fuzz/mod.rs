//! `cargo xtask fuzz`: the fuzz crate's targets, fed by its own engine or, with `--guided`, by libFuzzer.

mod coverage;
mod guided;

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::arguments::Arguments;
use crate::{process, workspace};

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// One target; all without it.
    target: Option<String>,
    /// For all targets together.
    seconds: u64,
    /// By libFuzzer.
    guided: bool,
}

impl Options {
    /// # Errors
    /// Unknown or wrong arguments.
    pub(crate) fn parse(mut arguments: Arguments) -> Result<Self> {
        let seconds = arguments.value("--seconds")?.unwrap_or(60);
        let guided = arguments.flag("--guided");
        let target = arguments.word();
        arguments.end()?;
        Ok(Self {
            target,
            seconds,
            guided,
        })
    }
}

/// # Errors
/// When an input makes a target panic.
pub(crate) fn run(options: Options) -> Result<()> {
    if options.guided {
        let target = options.target.context("--guided wants a target")?;
        return guided::run(&target, Duration::from_secs(options.seconds));
    }
    let mut fuzz = process::cargo(&["run", "--quiet", "--package", "trivisor-fuzz", "--"]);
    fuzz.args(options.target);
    fuzz.args(["--seconds", &options.seconds.to_string()]);
    process::run(&mut fuzz)
}

/// Runs all targets of a workspace that is built: asked for the one package, Cargo would build its
/// dependencies anew, with other features.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_built(seconds: u64) -> Result<()> {
    let fuzz = workspace::target().join("debug/trivisor-fuzz");
    let mut fuzz = Command::new(fuzz);
    fuzz.args(["--seconds", &seconds.to_string()]);
    process::run(fuzz.stdin(Stdio::null()))
}
