//! One way from exec to the end, from outside.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use wait4::Wait4;

use super::super::measure::Watchdog;
use super::media::STATUS;
use super::pcs::Pc;
use crate::process::{self, shown};

/// After that a PC has hung: GRUB takes minutes where ring 0 is emulated.
const PATIENCE: Duration = Duration::from_secs(1200);

/// Samples a second.
const HERTZ: u32 = 4999;

/// What it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// From exec to the end of the process.
    pub(super) exit: Duration,
    /// Of all its processes, user and system.
    pub(super) cpu: Duration,
}

/// What KVM counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Instructions that it emulated: all of ring 0 on a PVM host.
    pub(super) instructions: u64,
    /// Returns of KVM_RUN.
    pub(super) exits: u64,
}

/// CPU time that was not the guest's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Outside {
    /// Milliseconds outside of KVM_RUN, ...
    pub(super) ms: f64,
    /// ... and besides those on the very way out of it: what the kernel does there with interrupts switched off, of which
    /// the clock tells only behind.
    pub(super) door_ms: f64,
}

pub(super) fn start(pc: &Pc, image: &Path) -> Result<Start> {
    finish(&mut pc.command(image))
}

/// Runs it to the end that the guest brings about.
fn finish(command: &mut Command) -> Result<Start> {
    let name = shown(command);
    let begin = Instant::now();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| name.clone())?;
    let _watchdog = Watchdog::with_patience(child.id(), PATIENCE);
    let ended = child.wait4()?;
    let exit = begin.elapsed();
    ensure!(
        ended.status.code() == Some(STATUS),
        "`{name}`: {} instead of {STATUS}: the guest did not get there",
        ended.status
    );
    Ok(Start {
        exit,
        cpu: ended.rusage.utime + ended.rusage.stime,
    })
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("trivisor-{name}-{}", std::process::id()))
}

/// Counts by KVM's tracepoints, which makes the start a little longer.
pub(super) fn counts(pc: &Pc, image: &Path) -> Result<(Counts, Start)> {
    let log = file("counts");
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ",", "-e", "kvm:kvm_emulate_insn"]);
    perf.args(["-e", "kvm:kvm_userspace_exit", "-o"]).arg(&log);
    let start = finish(&mut pc.command_under(perf, image))?;
    let text = std::fs::read_to_string(&log)?;
    std::fs::remove_file(&log)?;
    let counts = parse_counts(&text);
    let counts = counts.with_context(|| format!("what perf counted, as root:\n{text}"))?;
    Ok((counts, start))
}

/// Lines as `COUNT,,kvm:EVENT,...`.
fn parse_counts(text: &str) -> Option<Counts> {
    let count = |event| {
        let line = text.lines().find(|line| line.contains(event))?;
        line.split(',').next()?.parse().ok()
    };
    Some(Counts {
        instructions: count("kvm_emulate_insn")?,
        exits: count("kvm_userspace_exit")?,
    })
}

/// Runs it under `perf record` with these words, and prints each record's fields.
pub(super) fn recorded(pc: &Pc, image: &Path, words: &[&str], fields: &str) -> Result<Printed> {
    let data = file("perf-data");
    let mut perf = Command::new("perf");
    perf.args(["record", "-q"]).args(words).arg("-o").arg(&data);
    finish(&mut pc.command_under(perf, image))?;
    let mut script = process::command("perf", &["script", "-F", fields, "-i"]);
    script
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let child = script.spawn().with_context(|| shown(&script))?;
    Ok(Printed { child, data })
}

/// What `perf script` prints.
#[derive(Debug)]
pub(super) struct Printed {
    pub(super) child: std::process::Child,
    data: PathBuf,
}

impl Drop for Printed {
    fn drop(&mut self) {
        // It has ended, or nobody reads it any more.
        let _gone = self.child.kill();
        let _status = self.child.wait();
        let _gone = std::fs::remove_file(&self.data);
    }
}

/// Samples all its threads by the CPU clock.
pub(super) fn outside(pc: &Pc, image: &Path) -> Result<Outside> {
    let rate = HERTZ.to_string();
    let words = ["-e", "cpu-clock", "-F", &rate, "-g"];
    let mut printed = recorded(pc, image, &words, "ip,sym")?;
    let mut text = String::new();
    let output = printed.child.stdout.as_mut().context("no pipe")?;
    std::io::Read::read_to_string(output, &mut text)?;
    Ok(sort_samples(&text))
}

/// A sample is a block of lines, the innermost frame first.
fn sort_samples(text: &str) -> Outside {
    let (mut outside, mut door) = (0_u32, 0_u32);
    for sample in text.split("\n\n") {
        let sample = sample.trim_matches('\n');
        if sample.is_empty() || sample.contains("kvm_arch_vcpu_ioctl_run") {
            continue;
        }
        let innermost = sample.lines().next().unwrap_or_default();
        if innermost.ends_with("ioctl") {
            door += 1;
        } else {
            outside += 1;
        }
    }
    let ms = |samples: u32| f64::from(samples) * 1e3 / f64::from(HERTZ);
    Outside {
        ms: ms(outside),
        door_ms: ms(door),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        let text = "# started on\n\n5436657,,kvm:kvm_emulate_insn,33,100.00,,\n1699,,kvm:kvm_userspace_exit,33,100.00,,\n";
        let counts = Counts {
            instructions: 5_436_657,
            exits: 1699,
        };
        assert_eq!(parse_counts(text), Some(counts));
        assert_eq!(
            parse_counts("<not counted>,,kvm:kvm_emulate_insn,0\n"),
            None
        );
    }

    #[test]
    fn samples_are_told_apart() {
        let text = "\
\tffffffff81000001 x86_emulate_insn
\tffffffff81000002 kvm_arch_vcpu_ioctl_run
\t           fdd6b __GI___ioctl

\t           fdd6b __GI___ioctl
\t    55b6ec7734d0 [unknown]

\t          761954 trivisor_memory::mapping::FileMapping::size

";
        let outside = sort_samples(text);
        assert!((outside.ms - 1e3 / 4999.0).abs() < 1e-9, "{outside:?}");
        assert!((outside.door_ms - outside.ms).abs() < 1e-9);
    }
}
