//! One start of the bundled guest, measured from outside.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::control::Metrics;
use crate::failure::Failure;

/// What a start cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    pub(crate) first_output: Duration,
    pub(crate) exit: Duration,
    /// Of all processes.
    pub(crate) cpu: Duration,
    pub(crate) exits: u64,
    pub(crate) emulated_instructions: u64,
}

/// A machine of the demonstration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine<'a> {
    pub(super) mode: &'static str,
    pub(super) guest: &'a Path,
    /// An image, where the mode has virtio devices.
    pub(super) disk: Option<&'a Path>,
}

/// `trivisor run` of this very binary.
pub(super) fn command(machine: Machine<'_>, script: &str) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["run", "--mode", machine.mode, "--timeout", "60", "--kernel"])
        .arg(machine.guest);
    if let Some(disk) = machine.disk {
        command.arg("--disk").arg(disk).arg("--rng");
    }
    command.args(["--cmdline-only", &format!("-- {script}")]);
    command.stdout(Stdio::piped()).stdin(Stdio::null());
    Ok(command)
}

/// A guest that prints and ends.
pub(super) fn start(machine: Machine<'_>, folder: &Path) -> Result<Start, Failure> {
    let metrics = folder.join("metrics.json");
    let failed = |what: String| {
        Failure::host(
            format!("mode {}: {what}", machine.mode),
            "see the lines above and `trivisor check`",
        )
    };
    let run = || -> std::io::Result<(Start, Option<i32>)> {
        let mut command = command(machine, "hello; exit")?;
        command.arg("--metrics").arg(&metrics);
        let begin = Instant::now();
        let mut child = command.spawn()?;
        let mut output = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        let mut first = [0];
        let has_output = output.read(&mut first)?;
        let first_output = begin.elapsed();
        let mut rest = Vec::new();
        output.read_to_end(&mut rest)?;
        let status = child.wait()?;
        let exit = begin.elapsed();
        if has_output == 0 || !status.success() {
            return Ok((Start::nothing(), status.code()));
        }
        let metrics: Metrics = serde_json::from_slice(&std::fs::read(&metrics)?)?;
        let start = Start {
            first_output,
            exit,
            cpu: Duration::from_nanos(metrics.cpu_ns),
            exits: metrics.counters.exits,
            emulated_instructions: metrics.counters.emulated_instructions,
        };
        Ok((start, Some(0)))
    };
    match run() {
        Ok((start, Some(0))) => Ok(start),
        Ok((_, code)) => Err(failed(format!("the guest did not start (status {code:?})"))),
        Err(error) => Err(failed(error.to_string())),
    }
}

impl Start {
    const fn nothing() -> Self {
        Self {
            first_output: Duration::ZERO,
            exit: Duration::ZERO,
            cpu: Duration::ZERO,
            exits: 0,
            emulated_instructions: 0,
        }
    }
}
