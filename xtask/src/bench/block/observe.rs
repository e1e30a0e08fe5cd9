//! A guest under load, from outside.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

use super::super::contenders::Contender;
use super::super::measure::Watchdog;
use crate::process::shown;

/// The guest says so when it begins, and has warmed up.
const BEGIN: &str = "block load";
const END: &str = "ok block load=";

/// What a load cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Load {
    /// Requests.
    pub(super) operations: f64,
    /// By the guest's time-stamp counter.
    pub(super) seconds: f64,
    /// Of all processes of the VMM, the guest's own included.
    pub(super) cpu_seconds: f64,
    /// When it began and ended, since the epoch.
    begin: Duration,
    end: Duration,
}

/// What a request asked of the host's kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls {
    /// System calls of all threads of all processes.
    pub(super) all: f64,
    /// Those of them that entered the guest, each of which ends with an exit to user space.
    pub(super) run: f64,
}

/// Runs a guest to its end; its loads.
///
/// # Errors
/// When one of them fails.
pub(super) fn loads(mut command: Command) -> Result<Vec<Load>> {
    let name = shown(&command);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| name.clone())?;
    let _watchdog = Watchdog::new(child.id());
    let output = child.stdout.take().context("no pipe")?;
    let ticks_a_second = number(rustix::param::clock_ticks_per_second());
    let mut loads = Vec::new();
    let mut before = None;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.starts_with("err ") {
            bail!("`{name}`: {line}");
        }
        if line == BEGIN {
            before = Some((ticks_of_tree(child.id())?, now()?));
        } else if line.starts_with(END)
            && let Some((before, begin)) = before.take()
        {
            let after = ticks_of_tree(child.id())?;
            loads.push(Load {
                operations: field(line, "operations")?,
                seconds: field(line, "cycles")? / field(line, "hz")?,
                cpu_seconds: number(after.saturating_sub(before)) / ticks_a_second,
                begin,
                end: now()?,
            });
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "`{name}`: {status}");
    Ok(loads)
}

/// System calls of each request of each load, by strace.
///
/// # Errors
/// When strace or a load fails.
pub(super) fn calls(contender: &Contender, script: &str) -> Result<Vec<Calls>> {
    let log = std::env::temp_dir().join(format!("trivisor-calls-{}", std::process::id()));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-ttt", "-o"]).arg(&log);
    let loads = loads(contender.doing(script, Some(strace))?);
    let text = fs::read(&log)?;
    fs::remove_file(&log)?;
    let begun: Vec<_> = String::from_utf8_lossy(&text)
        .lines()
        .filter_map(begin_of_call)
        .collect();
    let loads = loads.with_context(|| format!("{} under strace", contender.name))?;
    Ok(loads
        .iter()
        .map(|load| {
            let (begin, end) = (load.begin.as_secs_f64(), load.end.as_secs_f64());
            let within = begun.iter().filter(|(time, _)| (begin..end).contains(time));
            let run = within.clone().filter(|(_, run)| *run);
            Calls {
                all: number(within.clone().count() as u64) / load.operations,
                run: number(run.count() as u64) / load.operations,
            }
        })
        .collect())
}

/// When the call in a line of strace's log began, `PID TIME NAME(...`, and whether it entered the guest; signals, ends
/// and second halves are others.
fn begin_of_call(line: &str) -> Option<(f64, bool)> {
    let mut words = line.split_whitespace();
    let (_pid, time, call) = (words.next()?, words.next()?, words.next()?);
    let (name, _) = call.split_once('(')?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_call = !name.is_empty() && name.bytes().all(is_name);
    is_call.then_some((time.parse().ok()?, line.contains("KVM_RUN")))
}

fn now() -> Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

/// The value of a word `NAME=VALUE`.
fn field(line: &str, name: &str) -> Result<f64> {
    let mut words = line.split_whitespace();
    let value = words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let value = value.with_context(|| format!("no {name} in {line:?}"))?;
    Ok(value.parse()?)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "what is counted here stays far below 2^52"
)]
const fn number(count: u64) -> f64 {
    count as f64
}

/// Of a process and all below it.
fn ticks_of_tree(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let mut sum = ticks(&stat).context("/proc/PID/stat")?;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may have ended meanwhile.
        let children = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            sum += ticks_of_tree(child.parse()?)?;
        }
    }
    Ok(sum)
}

/// User and system time of all threads, those that have ended too: the 14th and 15th field. The second, the name, may
/// hold blanks and parentheses.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system) = (fields.next()?, fields.next()?);
    Some(user.parse::<u64>().ok()? + system.parse::<u64>().ok()?)
}

/// One of a second, with a second and a half of CPU time.
#[cfg(test)]
pub(super) const fn load_for_tests(operations: f64) -> Load {
    Load {
        operations,
        seconds: 1.0,
        cpu_seconds: 1.5,
        begin: Duration::ZERO,
        end: Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_where_they_begin() {
        let times: Vec<_> = "\
12 1.5 execve(\"/bin/x\", [\"x\"], 0x7ffd /* 9 vars */) = 0
12 2.25 ioctl(5, KVM_RUN <unfinished ...>
13 3.0 +++ exited with 0 +++
12 3.5 <... ioctl resumed>, 0) = 0
12 4.0 --- SIGCHLD {si_signo=SIGCHLD} ---"
            .lines()
            .map(begin_of_call)
            .collect();
        assert_eq!(
            times,
            [Some((1.5, false)), Some((2.25, true)), None, None, None]
        );
    }

    #[test]
    fn a_name_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 30 12 1 2 3";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn a_load_is_read_from_the_guest() {
        let script = "echo block load; echo ok block load=read bytes=4096 depth=1 operations=500 cycles=2000 hz=1000";
        let guest = |script: &str| loads(crate::process::command("sh", &["-c", script]));
        let found = guest(script).unwrap();
        assert_eq!(found.len(), 1);
        assert!((found[0].operations - 500.0).abs() < 1e-9);
        assert!((found[0].seconds - 2.0).abs() < 1e-9);
        assert!(guest("echo err block timeout request").is_err());
        assert!(guest("false").is_err());
    }
}
