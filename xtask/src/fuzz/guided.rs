//! libFuzzer: the targets' binary with counters on its edges, a run of it, and what it says of it.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::coverage::{self, Coverage};
use crate::{process, workspace};

/// What it is built for: named, so that build scripts and macros get no counters.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// An edge has a counter and an address; comparisons are told to libFuzzer. With a static relocation model the table
/// of addresses is in the file as it will be in memory.
const RUSTFLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 -Crelocation-model=static";

/// Bytes of an input at most: what our own engine keeps to.
const MAX_LEN: u32 = 4096;

/// MiB that the process may have.
const MAX_MEMORY: u32 = 512;

/// Seconds after which an input does not end. The binary itself takes an input for a finding that needs more than a
/// second of a processor's time; this is by the clock, and machines are shared.
const MAX_RUN: u32 = 20;

/// Builds, runs one target, and prints what came of it.
///
/// # Errors
/// When it cannot be built, or an input is found that makes the target panic, is slow or takes too much memory.
pub(super) fn run(target: &str, time: Duration) -> Result<()> {
    let built = build()?;
    let place = Place::prepare(target)?;
    // Its own: the other may be built anew while it runs, and then has other edges.
    let binary = place.0.join("fuzzer");
    fs::copy(&built, &binary).with_context(|| built.display().to_string())?;
    let mut fuzzer = place.command(&binary, target);
    fuzzer
        .arg(place.0.join("corpus"))
        .arg(place.0.join("inputs"))
        .arg(format!("-dict={}", place.0.join("dictionary").display()))
        .arg(format!("-max_total_time={}", time.as_secs()))
        .arg(format!("-timeout={MAX_RUN}"))
        .arg(format!("-rss_limit_mb={MAX_MEMORY}"))
        .arg(format!("-artifact_prefix={}/found-", place.0.display()))
        .arg("-print_final_stats=1");
    let log = place.0.join("log");
    let file = File::create(&log).with_context(|| log.display().to_string())?;
    let child = fuzzer.stdout(file.try_clone()?).stderr(file).spawn()?;
    let (status, memory) = watch(child, time)?;
    let text = fs::read(&log)?;
    let told = Told::parse(&String::from_utf8_lossy(&text));
    if let Some(found) = place.found()? {
        bail!(
            "{target}: {status}; the end of {}:\n{}\ninput, to be kept in fuzz/corpus/{target}/NAME.hex:\n{}",
            log.display(),
            last_lines(&text),
            hexadecimal(&fs::read(found)?)
        );
    }
    let told = match told {
        Some(told) if status.success() => told,
        _ => bail!(
            "{target}: {status}; the end of the log:\n{}",
            last_lines(&text)
        ),
    };
    let coverage = place.coverage(&binary, target)?;
    let uncovered = place.0.join("uncovered");
    fs::write(&uncovered, coverage.uncovered())?;
    let report = Report {
        target,
        told,
        memory,
        coverage,
    };
    print!("{report}");
    println!("lines that no input reached: {}", uncovered.display());
    Ok(())
}

/// Builds the binary; returns where it is.
fn build() -> Result<PathBuf> {
    let folder = workspace::target().join("guided");
    let mut cargo = process::cargo(&["build", "--quiet", "--package", "trivisor-fuzz"]);
    cargo.args(["--bin", "trivisor-fuzz-guided", "--features", "guided"]);
    // Checks of overflows and assertions stay on.
    cargo.args(["--target", TRIPLE, "--config", "profile.dev.opt-level=3"]);
    cargo.arg("--target-dir").arg(&folder);
    cargo.env("RUSTFLAGS", RUSTFLAGS);
    process::run(&mut cargo)?;
    Ok(folder.join(TRIPLE).join("debug/trivisor-fuzz-guided"))
}

/// The folder of a run.
struct Place(PathBuf);

impl Place {
    /// Makes it anew, with what the target starts from.
    fn prepare(target: &str) -> Result<Self> {
        let folder = workspace::target().join("guided/runs").join(target);
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        fs::create_dir_all(folder.join("corpus"))?;
        let words = ["run", "--quiet", "--package", "trivisor-fuzz", "--", target];
        process::run(process::cargo(&words).arg("--export").arg(&folder))?;
        Ok(Self(folder))
    }

    fn command(&self, binary: &Path, target: &str) -> Command {
        let mut command = Command::new(binary);
        command
            .env("TRIVISOR_FUZZ_TARGET", target)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .current_dir(&self.0)
            .arg(format!("-max_len={MAX_LEN}"));
        command
    }

    /// The input that ended the run.
    fn found(&self) -> Result<Option<PathBuf>> {
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("found-") {
                return Ok(Some(entry.path()));
            }
        }
        Ok(None)
    }

    /// Runs what was kept once more, and asks which edges it reached: a merge writes them down.
    fn coverage(&self, binary: &Path, target: &str) -> Result<Coverage> {
        let (merged, control) = (self.0.join("merged"), self.0.join("edges"));
        fs::create_dir_all(&merged)?;
        let mut merge = self.command(binary, target);
        merge
            .args([
                "-merge=1".to_owned(),
                format!("-merge_control_file={}", control.display()),
            ])
            .arg(&merged)
            .args([self.0.join("corpus"), self.0.join("inputs")]);
        process::run_logged(&mut merge, &self.0.join("log"))?;
        let file = fs::read(binary).with_context(|| binary.display().to_string())?;
        let reached = coverage::reached(&fs::read_to_string(control)?)?;
        Coverage::of(binary, &coverage::addresses(&file)?, &reached)
    }
}

/// Resident memory in KiB.
#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    /// After a quarter of the time.
    quarter: u64,
    /// Shortly before the end.
    end: u64,
    /// The most there was.
    peak: u64,
}

/// Waits for the end, and looks at the memory every second.
fn watch(mut child: Child, time: Duration) -> Result<(ExitStatus, Memory)> {
    let (start, process) = (Instant::now(), child.id());
    let mut memory = Memory::default();
    let (end, ended) = mpsc::channel();
    // Nobody hears it where this has given up.
    let waiter = thread::spawn(move || end.send(child.wait()).is_ok());
    let status = loop {
        match ended.recv_timeout(Duration::from_secs(1)) {
            Ok(status) => break status?,
            Err(RecvTimeoutError::Disconnected) => bail!("nobody waits for the fuzzer"),
            Err(RecvTimeoutError::Timeout) => {}
        }
        // Gone when the process ends in between.
        let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        if let (Some(now), Some(peak)) = (kibibytes(&text, "VmRSS:"), kibibytes(&text, "VmHWM:")) {
            memory.end = now;
            memory.peak = peak;
            if start.elapsed() <= time / 4 {
                memory.quarter = now;
            }
        }
    };
    waiter.join().ok().context("the waiter panicked")?;
    Ok((status, memory))
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What libFuzzer says at the end.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    executions: u64,
    per_second: u64,
    /// Edges reached, of all code there is.
    edges: u64,
    /// Inputs kept.
    corpus: u64,
}

impl Told {
    fn parse(log: &str) -> Option<Self> {
        let number = |name: &str| {
            let line = log.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse().ok()
        };
        // "#1000 DONE   cov: 345 ft: 1234 corp: 56/7890b lim: ..."
        let last = log.lines().rfind(|line| line.contains(" cov: "))?;
        let behind = |name: &str| {
            let mut words = last.split_whitespace();
            words.find(|word| *word == name)?;
            words.next()?.split('/').next()?.parse().ok()
        };
        Some(Self {
            executions: number("stat::number_of_executed_units:")?,
            per_second: number("stat::average_exec_per_sec:")?,
            edges: behind("cov:")?,
            corpus: behind("corp:")?,
        })
    }
}

/// What came of a run.
struct Report<'a> {
    target: &'a str,
    told: Told,
    memory: Memory,
    coverage: Coverage,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            target,
            told,
            memory,
            coverage,
        } = self;
        let Told {
            executions,
            per_second,
            edges,
            corpus,
        } = told;
        writeln!(f, "{coverage}")?;
        writeln!(
            f,
            "{target}: {edges} edges of all code, {corpus} inputs kept"
        )?;
        let [quarter, end, peak] =
            [memory.quarter, memory.end, memory.peak].map(|kibibytes| kibibytes.div_ceil(1024));
        let (folder, share) = coverage.of_target(target);
        writeln!(
            f,
            "| {target} | {executions} | {per_second} | {folder} | {share} | {quarter} | {end} | {peak} |"
        )
    }
}

fn last_lines(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn hexadecimal(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes
        .chunks(48)
        .map(line)
        .collect::<Vec<String>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_run_is_understood() {
        let log = "INFO: Loaded 1 modules   (36423 inline 8-bit counters): 36423\n\
            #2\tINITED cov: 11 ft: 12 corp: 1/1b exec/s: 0 rss: 40Mb\n\
            #4096\tpulse  cov: 345 ft: 1234 corp: 56/7890b lim: 4096 exec/s: 2048 rss: 41Mb\n\
            #5000\tDONE   cov: 350 ft: 1240 corp: 57/8000b lim: 4096 exec/s: 2500 rss: 41Mb\n\
            Done 5000 runs in 2 second(s)\n\
            stat::number_of_executed_units: 5000\n\
            stat::average_exec_per_sec:     2500\n";
        let told = Told {
            executions: 5000,
            per_second: 2500,
            edges: 350,
            corpus: 57,
        };
        assert_eq!(Told::parse(log), Some(told));
        assert_eq!(Told::parse("#2\tINITED cov: 11 corp: 1/1b\n"), None);
    }

    #[test]
    fn memory_is_read_from_a_status() {
        let status = "VmPeak:\t  9000 kB\nVmHWM:\t  3000 kB\nVmRSS:\t  2000 kB\n";
        assert_eq!(kibibytes(status, "VmHWM:"), Some(3000));
        assert_eq!(kibibytes(status, "VmRSS:"), Some(2000));
        assert_eq!(kibibytes("", "VmRSS:"), None);
    }
}
