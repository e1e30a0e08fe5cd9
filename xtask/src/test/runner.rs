//! The test runner: cargo-nextest where it is installed, else Cargo's own.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::Environment;
use crate::process::{self, cargo, shown};

/// How a test says that it was left out, and why.
const SKIPPED: &str = "skipped without ";
/// The crate whose tests are whole VMs.
const MACHINES: &str = "trivisor-tests";

/// Which tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// The crates' own.
    Crates,
    /// Examples in documents.
    Documents,
    /// Whole VMs, one at a time: two would share two processors.
    Machines,
}

/// Runs tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runner {
    nextest: bool,
    shard: Option<(u32, u32)>,
}

impl Runner {
    /// # Errors
    /// A shard without the runner that can cut.
    pub(super) fn find(shard: Option<(u32, u32)>) -> Result<Self> {
        let nextest = process::output(&mut cargo(&["nextest", "--version"])).is_ok();
        if shard.is_some() && !nextest {
            bail!("--shard needs cargo-nextest");
        }
        Ok(Self { nextest, shard })
    }

    /// # Errors
    /// When a test fails.
    pub(super) fn run(
        self,
        selection: Selection,
        environment: &Environment,
        skipped: &mut Skipped,
    ) -> Result<()> {
        let mut command = self.command(selection);
        environment.tell(&mut command);
        let mut view = if self.nextest && selection != Selection::Documents {
            View::Nextest { shown: true }
        } else {
            View::Cargo { shown: true }
        };
        watch(&mut command, |line| {
            skipped.count(line);
            if view.shows(line) {
                println!("{line}");
            }
        })
    }

    fn command(self, selection: Selection) -> Command {
        if selection == Selection::Documents {
            return cargo(&["test", "--doc", "--workspace"]);
        }
        let machines = selection == Selection::Machines;
        if !self.nextest {
            // Not the benches: their harness knows other arguments.
            let mut test = cargo(&["test", "--tests", "--no-fail-fast"]);
            if machines {
                test.args(["--package", MACHINES]);
            } else {
                test.args(["--workspace", "--exclude", MACHINES]);
            }
            test.args(["--", "--show-output"]);
            if machines {
                test.arg("--test-threads=1");
            }
            return test;
        }
        // Always the whole workspace, for one set of features; the filter picks.
        let mut nextest = cargo(&["nextest", "run", "--workspace", "--no-fail-fast"]);
        nextest.args(["--success-output", "immediate", "--color", "never"]);
        if machines {
            nextest.args(["--test-threads", "1"]);
            nextest.args(["--filterset", &format!("package({MACHINES})")]);
        } else {
            nextest.args(["--filterset", &format!("not package({MACHINES})")]);
        }
        if let Some((part, of)) = self.shard.filter(|_| machines) {
            nextest.args(["--partition", &format!("count:{part}/{of}")]);
            nextest.args(["--no-tests", "pass"]);
        }
        nextest
    }
}

/// Runs a command and gives each line of both of its streams away, in the order in which they come.
fn watch(command: &mut Command, mut line: impl FnMut(&str)) -> Result<()> {
    let (reader, writer) = std::io::pipe()?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let name = shown(command);
    let mut child = command.spawn().with_context(|| name.clone())?;
    // Our copies of the writing end go, or the stream would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    each_line(reader, &mut line)?;
    let status = child.wait()?;
    if !status.success() {
        bail!("`{name}`: {status}");
    }
    Ok(())
}

fn each_line(reader: impl Read, line: &mut impl FnMut(&str)) -> Result<()> {
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        line(String::from_utf8_lossy(&bytes).trim_end());
        bytes.clear();
    }
    Ok(())
}

/// What of a runner's output is shown. The output of tests that pass is asked for, since it says what
/// they left out, but it is long.
#[derive(Clone, Copy, Debug)]
enum View {
    Nextest { shown: bool },
    Cargo { shown: bool },
}

impl View {
    fn shows(&mut self, line: &str) -> bool {
        match self {
            Self::Nextest { shown } => {
                let (word, rest) = line.trim_start().split_once(' ').unwrap_or((line, ""));
                let status = word
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte == b'-');
                let status = status && !word.is_empty() && rest.trim_start().starts_with('[');
                if status && word == "PASS" {
                    *shown = false;
                    return true;
                }
                *shown |= status || line.starts_with("────") || word == "Summary";
                *shown
            }
            Self::Cargo { shown } => {
                match line {
                    "successes:" => *shown = false,
                    "failures:" => *shown = true,
                    _ if line.starts_with("test result:") => *shown = true,
                    _ => {}
                }
                *shown
            }
        }
    }
}

/// How many tests said that they were left out, by reason.
#[derive(Debug, Default)]
pub(super) struct Skipped(std::collections::BTreeMap<String, u32>);

impl Skipped {
    fn count(&mut self, line: &str) {
        let Some(rest) = line.trim_start().strip_prefix(SKIPPED) else {
            return;
        };
        let reason = rest.split(':').next().unwrap_or_default().to_owned();
        *self.0.entry(reason).or_default() += 1;
    }
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (reason, count) in &self.0 {
            writeln!(f, "{count} tests skipped without {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_of(mut view: View, text: &str) -> (Vec<&str>, Skipped) {
        let mut skipped = Skipped::default();
        let lines = text.lines().filter(|line| {
            skipped.count(line);
            view.shows(line)
        });
        (lines.collect(), skipped)
    }

    #[test]
    fn nextest_shows_failures_and_counts_what_passes_left_out() {
        let text = "    Starting 2 tests\n\
                    \x20       PASS [   0.005s] (1/2) a one\n\
                    \x20 stderr ───\n\
                    \x20   skipped without /dev/kvm: one\n\
                    \x20       FAIL [   0.005s] (2/2) a two\n\
                    \x20 stderr ───\n\
                    \x20   assertion\n\
                    ────────────\n\
                    \x20    Summary [   0.1s] 2 tests run";
        let (lines, skipped) = shown_of(View::Nextest { shown: true }, text);
        assert_eq!(lines.len(), 7);
        assert!(lines.iter().any(|line| line.ends_with("assertion")));
        assert!(lines.iter().all(|line| !line.contains(SKIPPED)));
        assert_eq!(skipped.to_string(), "1 tests skipped without /dev/kvm\n");
    }

    #[test]
    fn cargo_hides_what_passed_but_its_result() {
        let text = "running 1 test\ntest one ... ok\n\nsuccesses:\n\n---- one stdout ----\n\
                    skipped without --slow: one\n\nsuccesses:\n    one\n\ntest result: ok. 1 passed";
        let (lines, skipped) = shown_of(View::Cargo { shown: true }, text);
        assert_eq!(lines.last(), Some(&"test result: ok. 1 passed"));
        assert!(lines.iter().all(|line| !line.contains("stdout")));
        assert_eq!(skipped.to_string(), "1 tests skipped without --slow\n");
    }

    #[test]
    fn both_streams_come_and_a_failure_is_one() {
        let mut lines = Vec::new();
        let mut shell = process::command("sh", &["-c", "echo a; echo b >&2; exit 3"]);
        let error = watch(&mut shell, |line| lines.push(line.to_owned())).unwrap_err();
        assert_eq!(lines, ["a", "b"]);
        assert!(error.to_string().contains("exit status: 3"));
    }
}
