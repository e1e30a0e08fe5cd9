//! A guest under load, from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

use super::super::contenders::Contender;
use super::super::measure::Watchdog;
use crate::process::shown;

/// What a load cost.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Load {
    /// Requests or frames.
    pub(in super::super) operations: f64,
    /// By the guest's time-stamp counter.
    pub(in super::super) seconds: f64,
    /// Of all processes of the VMM, the guest's own included.
    pub(in super::super) cpu_seconds: f64,
    /// When its parts began and ended, since the epoch.
    parts: Vec<Range<Duration>>,
}

/// What an operation asked of the host's kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls {
    /// System calls of all threads of all processes.
    pub(super) all: f64,
    /// Those of them that entered the guest, each of which ends with an exit to user space.
    pub(super) run: f64,
}

/// Who hears what the guest says, line by line.
pub(in super::super) type Ear<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

/// What the guest says of its loads.
struct Words {
    /// A part of a load begins, now that it has warmed up.
    begin: String,
    /// It has ended. A load of one part need not say so.
    end: String,
    /// The load has ended.
    done: String,
}

impl Words {
    fn of(device: &str) -> Self {
        Self {
            begin: format!("{device} load"),
            end: format!("{device} end"),
            done: format!("ok {device} load="),
        }
    }
}

/// Runs a guest to its end; the loads of its `device`.
///
/// # Errors
/// When one of them fails, or `ear` does.
pub(super) fn loads(mut command: Command, device: &str, ear: Ear<'_>) -> Result<Vec<Load>> {
    let name = shown(&command);
    let words = Words::of(device);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| name.clone())?;
    let _watchdog = Watchdog::new(child.id());
    let output = child.stdout.take().context("no pipe")?;
    let (mut loads, mut parts, mut cpu) = (Vec::new(), Vec::new(), 0);
    let mut tree = Tree::of(child.id());
    let mut before = None;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.starts_with("err ") {
            // A next one may want the same disk.
            child.kill()?;
            child.wait()?;
            bail!("`{name}`: {line}");
        }
        let is_done = line.starts_with(&words.done);
        if line == words.begin {
            before = Some((tree.nanoseconds(), now()?));
        } else if (is_done || line == words.end)
            && let Some((times, begin)) = before.take()
        {
            cpu += passed(&times, &tree.nanoseconds());
            parts.push(begin..now()?);
        }
        if is_done {
            loads.push(Load {
                operations: field(line, "operations")?,
                seconds: field::<f64>(line, "cycles")? / field::<f64>(line, "hz")?,
                cpu_seconds: number(std::mem::take(&mut cpu)) / 1e9,
                parts: std::mem::take(&mut parts),
            });
        }
        ear(line).with_context(|| name.clone())?;
    }
    let status = child.wait()?;
    ensure!(status.success(), "`{name}`: {status}");
    Ok(loads)
}

/// System calls of each operation of each load, by strace.
///
/// # Errors
/// When strace or a load fails.
pub(super) fn calls(
    contender: &Contender,
    script: &str,
    device: &str,
    ear: Ear<'_>,
) -> Result<Vec<Calls>> {
    let log = std::env::temp_dir().join(format!("trivisor-calls-{}", std::process::id()));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-ttt", "-o"]).arg(&log);
    let loads = loads(contender.doing(script, Some(strace))?, device, ear);
    let text = fs::read(&log)?;
    fs::remove_file(&log)?;
    let begun: Vec<_> = String::from_utf8_lossy(&text)
        .lines()
        .filter_map(begin_of_call)
        .collect();
    let loads = loads.with_context(|| format!("{} under strace", contender.name))?;
    Ok(loads.iter().map(|load| load.count(&begun)).collect())
}

impl Load {
    /// The calls, each with its time and whether it entered the guest, that began within a part.
    fn count(&self, begun: &[(f64, bool)]) -> Calls {
        let is_within = |time: &f64| {
            let mut parts = self.parts.iter();
            parts.any(|part| (part.start.as_secs_f64()..part.end.as_secs_f64()).contains(time))
        };
        let within = begun.iter().filter(|(time, _)| is_within(time));
        let run = within.clone().filter(|(_, run)| *run);
        Calls {
            all: number(within.clone().count() as u64) / self.operations,
            run: number(run.count() as u64) / self.operations,
        }
    }
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
pub(in super::super) fn field<T>(line: &str, name: &str) -> Result<T>
where
    T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
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

/// A process and all below it. The kernel may leave out a child when it is asked for them, so that they are remembered.
struct Tree {
    processes: BTreeSet<u32>,
}

impl Tree {
    fn of(root: u32) -> Self {
        Self {
            processes: BTreeSet::from([root]),
        }
    }

    /// CPU time of each, that of threads that have ended left out: those of a VMM stay.
    fn nanoseconds(&mut self) -> BTreeMap<u32, u64> {
        let mut times = BTreeMap::new();
        while let Some(process) = self
            .processes
            .iter()
            .copied()
            .find(|process| !times.contains_key(process))
        {
            let mut sum = 0;
            let threads = fs::read_dir(format!("/proc/{process}/task"));
            // Process or thread may have ended meanwhile.
            for thread in threads.into_iter().flatten().flatten() {
                let read = |file| fs::read_to_string(thread.path().join(file)).unwrap_or_default();
                sum += nanoseconds(&read("schedstat"));
                let children = read("children");
                let children = children.split_whitespace().map(str::parse::<u32>);
                self.processes.extend(children.flatten());
            }
            times.insert(process, sum);
        }
        times
    }
}

/// Of those that were there both times.
fn passed(before: &BTreeMap<u32, u64>, after: &BTreeMap<u32, u64>) -> u64 {
    let each = after.iter().filter_map(|(process, after)| {
        let before = before.get(process)?;
        Some(after.saturating_sub(*before))
    });
    each.sum()
}

/// On a processor: the first field (Linux, `Documentation/scheduler/sched-stats.rst`).
fn nanoseconds(schedstat: &str) -> u64 {
    let first = schedstat.split_whitespace().next();
    first.and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// One of a second, with a second and a half of CPU time.
#[cfg(test)]
pub(super) const fn load_for_tests(operations: f64) -> Load {
    Load {
        operations,
        seconds: 1.0,
        cpu_seconds: 1.5,
        parts: Vec::new(),
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
    fn the_time_on_a_processor_is_the_first_field() {
        assert_eq!(nanoseconds("1234 99 7\n"), 1234);
        assert_eq!(nanoseconds(""), 0);
    }

    #[test]
    fn a_process_that_came_later_does_not_count() {
        let (before, after) = ([(1, 10), (2, 5)], [(1, 30), (2, 5), (3, 100)]);
        assert_eq!(passed(&before.into(), &after.into()), 20);
        let own = std::process::id();
        let times = Tree::of(own).nanoseconds();
        assert!(times.get(&own).is_some_and(|time| *time > 0));
    }

    #[test]
    fn calls_between_parts_are_none_of_the_load() {
        let second = Duration::from_secs;
        let load = Load {
            parts: vec![second(1)..second(2), second(3)..second(4)],
            ..load_for_tests(2.0)
        };
        let begun = [
            (0.5, false),
            (1.5, true),
            (2.5, true),
            (3.5, false),
            (4.5, false),
        ];
        let calls = load.count(&begun);
        assert!((calls.all - 1.0).abs() < 1e-9 && (calls.run - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_load_is_read_from_the_guest() {
        let script = "echo block load; echo block end; echo block load; \
            echo ok block load=read bytes=4096 depth=1 operations=500 cycles=2000 hz=1000";
        let guest = |script: &str, ear: Ear<'_>| {
            loads(crate::process::command("sh", &["-c", script]), "block", ear)
        };
        let mut heard = 0;
        let mut ear = |_: &str| {
            heard += 1;
            Ok(())
        };
        let found = guest(script, &mut ear).unwrap();
        assert_eq!(heard, 4);
        assert_eq!(found.len(), 1);
        assert!((found[0].operations - 500.0).abs() < 1e-9);
        assert!((found[0].seconds - 2.0).abs() < 1e-9);
        assert_eq!(found[0].parts.len(), 2);
        assert!(guest("echo err block timeout request", &mut |_| Ok(())).is_err());
        assert!(guest("false", &mut |_| Ok(())).is_err());
        assert!(guest(script, &mut |_| bail!("no")).is_err());
    }
}
