//! One start, from outside.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wait4::Wait4;

use super::contenders::Contender;
use crate::process::{self, shown};

/// After that a start has hung.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a start cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// From exec to the first byte of output.
    pub(super) first_output: Duration,
    /// From exec to the end of the process.
    pub(super) exit: Duration,
    /// Of all its processes, user and system.
    pub(super) cpu: Duration,
}

/// What a start asked of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    /// System calls of all threads of all processes.
    pub(super) all: u64,
    /// Those of them that entered the guest, each of which ends with an exit to user space.
    pub(super) run: u64,
}

/// Kills a process that outlives our patience; dropped, it does nothing any more.
#[derive(Debug)]
pub(super) struct Watchdog(#[expect(dead_code, reason = "its end is the message")] Sender<()>);

impl Watchdog {
    pub(super) fn new(pid: u32) -> Self {
        Self::with_patience(pid, PATIENCE)
    }

    pub(super) fn with_patience(pid: u32, patience: Duration) -> Self {
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            if receiver.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                let pid = pid.to_string();
                // Gone meanwhile is as good as killed.
                let _gone = process::run(&mut process::command("kill", &["-KILL", &pid]));
            }
        });
        Self(sender)
    }
}

/// Starts the guest and waits for its end.
///
/// # Errors
/// When it prints nothing.
pub(super) fn start(contender: &Contender) -> Result<Start> {
    let mut command = contender.command()?;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = shown(&command);
    let begin = Instant::now();
    let mut child = command.spawn().with_context(|| name.clone())?;
    let _watchdog = Watchdog::new(child.id());
    let mut output = child.stdout.take().context("no pipe")?;
    let mut first = [0];
    let len = output.read(&mut first)?;
    let first_output = begin.elapsed();
    let mut rest = Vec::new();
    output.read_to_end(&mut rest)?;
    let ended = child.wait4()?;
    let exit = begin.elapsed();
    let mut error = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut error)?;
    }
    ensure!(
        len == 1,
        "`{name}` printed nothing ({})\n{error}",
        ended.status
    );
    ensure!(
        ended.status.success(),
        "`{name}`: {}\n{error}",
        ended.status
    );
    Ok(Start {
        first_output,
        exit,
        cpu: ended.rusage.utime + ended.rusage.stime,
    })
}

/// Counts the system calls of one start.
///
/// # Errors
/// When strace fails or the guest does not end.
pub(super) fn calls(contender: &Contender) -> Result<Calls> {
    let log = std::env::temp_dir().join(format!("trivisor-calls-{}", std::process::id()));
    let mut strace = Command::new("strace");
    strace.arg("-f").arg("-o").arg(&log);
    let mut strace = contender.command_under(strace)?;
    let mut child = strace
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| shown(&strace))?;
    let _watchdog = Watchdog::new(child.id());
    let status = child.wait()?;
    ensure!(status.success(), "`{}`: {status}", shown(&strace));
    let text = std::fs::read(&log)?;
    std::fs::remove_file(&log)?;
    Ok(count(&String::from_utf8_lossy(&text)))
}

/// Counts in strace's log: a call is a line `PID NAME(...`; signals, ends and second halves are others.
fn count(log: &str) -> Calls {
    let mut calls = Calls::default();
    for line in log.lines() {
        let line = line.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let line = line.trim_start();
        let name = line.split('(').next().unwrap_or_default();
        let is_call = !name.is_empty()
            && name.len() < line.len()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        calls.all += u64::from(is_call);
        calls.run += u64::from(is_call && line.contains("KVM_RUN"));
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_once() {
        let log = "\
12 execve(\"/bin/x\", [\"x\"], 0x7ffd /* 9 vars */) = 0
12 ioctl(5, KVM_RUN <unfinished ...>
13 exit_group(0)     = ?
13 +++ exited with 0 +++
12 <... ioctl resumed>, 0) = 0
12 --- SIGCHLD {si_signo=SIGCHLD} ---
12 ioctl(5, KVM_GET_REGS, {rax=0}) = 0
";
        assert_eq!(count(log), Calls { all: 4, run: 1 });
    }
}
