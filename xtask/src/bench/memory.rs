//! What a VMM takes of the host's memory beside guest RAM.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::contenders::RAM;
use super::measure::Watchdog;
use crate::process::{self, shown};

/// Bytes that all processes of a VMM took at their peak, until its guest has greeted and waits.
///
/// The sum of the proportional set sizes of all mappings but guest RAM, and what the resident size has
/// once been above the present one. That counts RAM which was given back meanwhile too, so it errs upward.
///
/// # Errors
/// When the guest does not greet.
pub(super) fn peak_beside_ram(mut command: Command) -> Result<u64> {
    let name = shown(&command);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| name.clone())?;
    let watchdog = Watchdog::new(child.id());
    let output = child.stdout.take().context("no pipe")?;
    let mut lines = BufReader::new(output).split(b'\n');
    let greets = lines.any(|line| line.is_ok_and(|line| line.starts_with(b"trivisor-guest")));
    let measured = if greets {
        of_tree(child.id())
    } else {
        Ok(None)
    };
    // Asked politely first, so that a VMM of several processes ends all of them.
    let pid = child.id().to_string();
    let _gone = process::run(&mut process::command("kill", &["-TERM", &pid]));
    drop(lines);
    child.wait()?;
    drop(watchdog);
    match measured? {
        Some(bytes) => Ok(bytes),
        None => bail!("`{name}` did not bring its guest to its greeting"),
    }
}

/// A process and all below it.
fn of_tree(pid: u32) -> Result<Option<u64>> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mut sum = beside(&smaps) + above_present(&status);
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let children = fs::read_to_string(thread?.path().join("children"))?;
        for child in children.split_whitespace() {
            sum += of_tree(child.parse()?)?.unwrap_or_default();
        }
    }
    Ok(Some(sum))
}

/// The sum of Pss over all mappings of a `smaps` but guest RAM, which is known by its size.
fn beside(smaps: &str) -> u64 {
    let (mut sum, mut is_ram) = (0, false);
    for line in smaps.lines() {
        let first = line.split_whitespace().next().unwrap_or_default();
        if let Some(size) = size_of_mapping(first) {
            is_ram = size >= RAM;
        } else if first == "Pss:" && !is_ram {
            sum += kib(line);
        }
    }
    sum
}

fn size_of_mapping(word: &str) -> Option<u64> {
    let (start, end) = word.split_once('-')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    number(end)?.checked_sub(number(start)?)
}

/// How far the resident size of a `status` was once above the present one.
fn above_present(status: &str) -> u64 {
    let value = |name| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.map_or(0, kib)
    };
    value("VmHWM:").saturating_sub(value("VmRSS:"))
}

/// Bytes of a line as `Name:  12 kB`.
fn kib(line: &str) -> u64 {
    let number = line.split_whitespace().nth(1);
    number
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or_default()
        << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_ram_does_not_count() {
        let smaps = "55d0-55d1 r-xp 00000000 00:00 0 /bin/x\nSize: 4 kB\nPss: 3 kB\nPss_Dirty: 1 kB\n\
                     10000000-20000000 rw-p 00000000 00:00 0\nPss: 900 kB\n\
                     7f00-7f08 rw-p 00000000 00:00 0\nPss: 5 kB\n";
        assert_eq!(beside(smaps), 8 << 10);
        assert_eq!(above_present("VmHWM:\t 10 kB\nVmRSS:\t 7 kB\n"), 3 << 10);
    }

    #[test]
    fn a_guest_that_never_greets_is_an_error() {
        let error = peak_beside_ram(process::command("echo", &["hello"])).unwrap_err();
        assert!(error.to_string().contains("greeting"), "{error}");
    }
}
