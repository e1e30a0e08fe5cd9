//! One start of the bundled guest, measured from outside.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::control::Metrics;
use crate::failure::Failure;

/// Bytes of a request to the disk.
const REQUEST: f64 = 131_072.0;

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
    /// An image, how it is plugged in, and what the guest calls it.
    pub(super) disk: Option<(&'a Path, &'a str, &'a str)>,
}

/// `trivisor run` of this very binary.
pub(super) fn command(machine: Machine<'_>, script: &str) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["run", "--mode", machine.mode, "--timeout", "60", "--kernel"])
        .arg(machine.guest);
    if let Some((image, options, _)) = machine.disk {
        let mut disk = OsString::from(image);
        disk.push(options);
        command.arg("--disk").arg(disk);
    }
    if machine.mode == "pv" {
        command.arg("--rng");
    }
    command.args(["--cmdline-only", &format!("-- {script}")]);
    command.stdout(Stdio::piped()).stdin(Stdio::null());
    Ok(command)
}

/// Bytes a second that the guest reads of its disk for a while, in requests of 128 KiB; `None` without a disk.
pub(super) fn reads(machine: Machine<'_>) -> Result<Option<f64>, Failure> {
    let Some((_, _, name)) = machine.disk else {
        return Ok(None);
    };
    let failed = |what: String| {
        let what = format!("mode {}: its disk cannot be measured: {what}", machine.mode);
        Failure::host(what, "see the lines above and `trivisor check`")
    };
    let depth = if name == "ide" { 1 } else { 32 };
    let script = format!("{name} 0 load read {REQUEST} {depth} ms 300; exit");
    let output = command(machine, &script).and_then(|mut command| command.output());
    let output = output.map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("ok "));
    let number = |key: &str| -> Option<f64> {
        let mut words = line?.split_whitespace();
        words.find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok())
    };
    let rate = || Some(REQUEST * number("operations")? / (number("cycles")? / number("hz")?));
    rate()
        .map(Some)
        .ok_or_else(|| failed(text.trim_end().to_owned()))
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
