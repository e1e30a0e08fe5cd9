//! What a VM takes of the host's memory beside guest RAM.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use super::measure::{Machine, command};
use crate::failure::Failure;

/// Guest RAM of the demonstration: the default of `--memory`.
const RAM: u64 = 256 << 20;

/// Bytes (proportional set size) of control process and VM process while a guest waits for input.
pub(super) fn beside_ram(machine: Machine<'_>) -> Result<u64, Failure> {
    let measure = || -> std::io::Result<u64> {
        let mut child = command(machine, "serial")?.stdin(Stdio::piped()).spawn()?;
        let measured = while_it_waits(&mut child);
        if let Some(mut stdin) = child.stdin.take() {
            // One that has ended already needs no more lines.
            let _ended = stdin.write_all(b"exit\n");
        }
        child.wait()?;
        measured
    };
    measure().map_err(|error| {
        Failure::host(
            format!(
                "mode {}: its memory cannot be measured: {error}",
                machine.mode
            ),
            "see `trivisor check`",
        )
    })
}

fn while_it_waits(child: &mut Child) -> std::io::Result<u64> {
    let output = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
    let mut lines = BufReader::new(output).lines();
    loop {
        match lines.next().ok_or(std::io::ErrorKind::UnexpectedEof)?? {
            line if line.starts_with("ok serial") => break,
            _ => {}
        }
    }
    let pid = child.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let mut bytes = beside(&fs::read_to_string(format!("/proc/{pid}/smaps"))?);
    for child in children.split_whitespace() {
        bytes += beside(&fs::read_to_string(format!("/proc/{child}/smaps"))?);
    }
    Ok(bytes)
}

/// The sum of Pss over all mappings of /proc/PID/smaps but guest RAM, which is known by its size.
fn beside(smaps: &str) -> u64 {
    let (mut sum, mut is_ram) = (0, false);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some((start, end)) = first.split_once('-')
            && let (Ok(start), Ok(end)) =
                (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16))
        {
            is_ram = end.saturating_sub(start) == RAM;
        } else if first == "Pss:" && !is_ram {
            let kib: u64 = words
                .next()
                .and_then(|number| number.parse().ok())
                .unwrap_or(0);
            sum += kib << 10;
        }
    }
    sum
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
    }
}
