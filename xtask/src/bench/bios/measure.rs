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

/// Samples all its threads by the CPU clock: milliseconds of CPU time outside of KVM_RUN.
pub(super) fn outside(pc: &Pc, image: &Path) -> Result<f64> {
    let rate = HERTZ.to_string();
    let words = ["-e", "cpu-clock", "-F", &rate, "-g"];
    let mut printed = recorded(pc, image, &words, "ip,sym")?;
    let mut text = String::new();
    let output = printed.child.stdout.as_mut().context("no pipe")?;
    std::io::Read::read_to_string(output, &mut text)?;
    let samples = u32::try_from(
        text.split("\n\n")
            .filter(|sample| is_outside(sample))
            .count(),
    )?;
    Ok(f64::from(samples) * 1e3 / f64::from(HERTZ))
}

/// A sample is a block of lines, the innermost frame first.
fn is_outside(sample: &str) -> bool {
    let sample = sample.trim_matches('\n');
    // The way back from a thunk, by which KVM's emulator calls what an instruction does, is often not found: then not
    // even the entry into the kernel is there, as it is in any other system call.
    let lost = sample.contains("__x86_indirect_thunk") && !sample.contains("entry_SYSCALL");
    !sample.is_empty() && !lost && !sample.contains("kvm_arch_vcpu_ioctl_run")
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
        for (sample, outside) in [
            ("", false),
            (
                "\tffffffff81000001 x86_emulate_insn\n\tffffffff81000002 kvm_arch_vcpu_ioctl_run\n\t7f00 ioctl",
                false,
            ),
            (
                "\tffffffff82204bc6 __x86_indirect_thunk_rax\n\t7f00 ioctl",
                false,
            ),
            (
                "\tffffffff82204bc6 __x86_indirect_thunk_rax\n\tffffffff81000130 entry_SYSCALL_64_after_hwframe",
                true,
            ),
            (
                "\t761954 trivisor_memory::mapping::FileMapping::size\n",
                true,
            ),
        ] {
            assert_eq!(is_outside(sample), outside, "{sample}");
        }
    }
}
