//! Where the way leads through: a histogram of the addresses of all instructions that KVM emulated, and of all ports.
//!
//! Whole where KVM emulates ring 0; elsewhere it emulates accesses of devices only, and the histogram is of these.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use iced_x86::{
    Decoder, DecoderOptions, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, Register,
};

use super::measure;
use super::pcs::Pc;

/// A run of instructions is a loop if each was executed as often as this.
const LOOP: u64 = 1000;
/// Loops that are named one by one.
const SHOWN: usize = 8;
/// No instruction is longer, in bytes.
const LONGEST: u32 = 15;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// All of them.
    pub(super) instructions: u64,
    /// What they do, most first.
    pub(super) kinds: Vec<(&'static str, u64)>,
    /// The longest loops, longest first.
    pub(super) loops: Vec<Run>,
    /// Whose ports, and how many accesses; most first.
    pub(super) ports: Vec<(&'static str, u64)>,
}

/// Instructions one behind the other, executed about equally often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) last: u32,
    pub(super) instructions: u64,
    pub(super) rounds: u64,
    pub(super) kind: &'static str,
}

const CLEARING: &str = "clearing: loops that only store";
const SUMMING: &str = "check sums and searches: loops that only load";
const COPYING: &str = "copying: loops that load and store";
const PROBING: &str = "probing and polling: code around ports and CPUID";
const WAITING: &str = "waiting: loops on the time-stamp counter, PAUSE, HLT";
const COUNTING: &str = "loops without memory";
const REST: &str = "code that runs less than a thousand times";

pub(super) fn of(pc: &Pc, image: &Path) -> Result<Places> {
    let mut seen = BTreeMap::new();
    let words = ["-e", "kvm:kvm_emulate_insn"];
    read(pc, image, &words, "trace", |line| {
        if let Some((address, instruction)) = parse_instruction(line) {
            seen.entry(address).or_insert((0, instruction)).0 += 1;
        }
    })?;
    let mut ports = BTreeMap::new();
    let words = ["-e", "kvm:kvm_pio", "-e", "kvm:kvm_mmio"];
    read(pc, image, &words, "trace", |line| {
        *ports.entry(owner(line)).or_insert(0) += 1;
    })?;
    let mut places = sort(&seen);
    places.ports = most_first(ports);
    Ok(places)
}

fn read(
    pc: &Pc,
    image: &Path,
    words: &[&str],
    fields: &str,
    mut line_read: impl FnMut(&str),
) -> Result<()> {
    let mut printed = measure::recorded(pc, image, words, fields)?;
    let output = printed.child.stdout.take().context("no pipe")?;
    let mut output = BufReader::new(output);
    let mut line = String::new();
    while output.read_line(&mut line)? != 0 {
        line_read(line.trim());
        line.clear();
    }
    Ok(())
}

fn most_first(counts: BTreeMap<&'static str, u64>) -> Vec<(&'static str, u64)> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// A line as `CSBASE:RIP:BYTES (MODE)`, all in hexadecimal.
fn parse_instruction(line: &str) -> Option<(u32, Instruction)> {
    let (place, mode) = line.split_once(" (")?;
    let mut parts = place.splitn(3, ':');
    let mut number = || u64::from_str_radix(parts.next()?.trim(), 16).ok();
    let (base, rip) = (number()?, number()?);
    #[expect(clippy::cast_possible_truncation, reason = "firmware has 32 bits")]
    let address = base.wrapping_add(rip) as u32;
    let bytes: Vec<u8> = (parts.next()?.split_whitespace())
        .filter_map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect();
    let bits = match mode.split(')').next()? {
        "prot32" => 32,
        "prot64" => 64,
        _ => 16,
    };
    let instruction = Decoder::with_ip(bits, &bytes, rip, DecoderOptions::NONE).decode();
    Some((address, instruction))
}

fn sort(seen: &BTreeMap<u32, (u64, Instruction)>) -> Places {
    let mut kinds = BTreeMap::new();
    let mut loops = Vec::new();
    let mut run: Vec<(u32, u64, Instruction)> = Vec::new();
    let mut end = |run: &mut Vec<(u32, u64, Instruction)>| {
        if let Some(run) = close(run) {
            *kinds.entry(run.kind).or_insert(0) += run.instructions;
            loops.push(run);
        }
        run.clear();
    };
    for (&address, &(count, instruction)) in seen {
        let goes_on = run.last().is_some_and(|&(last, before, _)| {
            let alike = count * 10 > before * 7 && before * 10 > count * 7;
            address - last <= LONGEST && alike
        });
        if !goes_on {
            end(&mut run);
        }
        run.push((address, count, instruction));
    }
    end(&mut run);
    loops.sort_by_key(|run| std::cmp::Reverse(run.instructions));
    loops.truncate(SHOWN);
    Places {
        instructions: seen.values().map(|(count, _)| count).sum(),
        kinds: most_first(kinds),
        loops,
        ports: Vec::new(),
    }
}

fn close(run: &[(u32, u64, Instruction)]) -> Option<Run> {
    let (&(first, ..), &(last, ..)) = (run.first()?, run.last()?);
    let instructions: u64 = run.iter().map(|(_, count, _)| count).sum();
    let rounds = instructions / u64::try_from(run.len()).ok()?;
    let kind = kind(run.iter().map(|(.., instruction)| instruction), rounds);
    Some(Run {
        first,
        last,
        instructions,
        rounds,
        kind,
    })
}

/// What a run of instructions is about.
fn kind<'a>(run: impl Iterator<Item = &'a Instruction>, rounds: u64) -> &'static str {
    let mut factory = InstructionInfoFactory::new();
    let (mut loads, mut stores, mut waits, mut asks) = (false, false, false, false);
    for instruction in run {
        match instruction.mnemonic() {
            Mnemonic::In | Mnemonic::Out | Mnemonic::Insb | Mnemonic::Insw => asks = true,
            Mnemonic::Insd | Mnemonic::Outsb | Mnemonic::Outsw | Mnemonic::Cpuid => asks = true,
            Mnemonic::Rdtsc | Mnemonic::Pause | Mnemonic::Hlt => waits = true,
            _ => {}
        }
        for memory in factory.info(instruction).used_memory() {
            let base = memory.base().full_register32();
            if matches!(base, Register::ESP | Register::EBP) {
                continue;
            }
            let access = memory.access();
            loads |= matches!(
                access,
                OpAccess::Read | OpAccess::CondRead | OpAccess::ReadWrite
            );
            stores |= matches!(
                access,
                OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite
            );
        }
    }
    match (loads, stores) {
        _ if asks => PROBING,
        _ if waits => WAITING,
        _ if rounds < LOOP => REST,
        (true, true) => COPYING,
        (true, false) => SUMMING,
        (false, true) => CLEARING,
        (false, false) => COUNTING,
    }
}

/// Whose code stands at `address`.
pub(super) const fn code(address: u32) -> &'static str {
    match address {
        0x7c00..=0x7dff => "boot sector",
        0xc_0000..=0xc_ffff => "option ROM of the VGA",
        0xe_0000..=0xf_ffff | 0xff00_0000.. => "SeaBIOS",
        0x10_0000.. => "SeaBIOS, moved up",
        _ => "SeaBIOS, moved down",
    }
}

/// Whose port or memory a line as `pio_write at 0x70 size 1 ...` or `mmio write len 2 gpa 0xb8000 ...` tells of.
fn owner(line: &str) -> &'static str {
    let port = line.split_once(" at 0x").map(|(_, rest)| rest);
    let memory = line.split_once(" gpa 0x").map(|(_, rest)| rest);
    let number = |text: &str| {
        let digits = text.split(' ').next()?;
        u64::from_str_radix(digits, 16).ok()
    };
    match (port.and_then(number), memory.and_then(number)) {
        (Some(port), _) => match port {
            0x20..=0x21 | 0xa0..=0xa1 | 0x4d0..=0x4d1 => "8259s",
            0x40..=0x43 | 0x61 => "8254",
            0x60 | 0x64 => "keyboard controller",
            0x70..=0x71 => "clock and CMOS RAM",
            0x92 => "A20 gate",
            0x170..=0x177 | 0x1f0..=0x1f7 | 0x376 | 0x3f6 => "IDE",
            0x1ce..=0x1d0 | 0x3b0..=0x3df => "VGA",
            0x402 => "debug console",
            0x510..=0x51b => "firmware configuration",
            0xcf8..=0xcff => "PCI configuration",
            0x600..=0x63f => "power management",
            _ => "other ports",
        },
        (_, Some(0xa_0000..=0xb_ffff)) => "VGA's window",
        (_, Some(0xfee0_0000..=0xfee0_0fff)) => "local APIC",
        (_, Some(_)) => "memory of PCI functions",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_told_by_what_they_do() {
        let mut seen = BTreeMap::new();
        let mut add = |line: &str, count| {
            let (address, instruction) = parse_instruction(line).unwrap();
            seen.insert(address, (count, instruction));
        };
        // memset of SeaBIOS, its check sum, a port, something that runs once.
        add("0:ea65f:85 c9 (prot32)", 5000);
        add("0:ea661:74 06 (prot32)", 5000);
        add("0:ea663:49 (prot32)", 5000);
        add("0:ea664:88 14 08 (prot32)", 5000);
        add("0:ea58d:39 d0 (prot32)", 2000);
        add("0:ea591:02 08 (prot32)", 2000);
        add("f0000:e000:ec (real)", 7);
        add("f0000:e05b:2e 66 83 3e c8 61 00 (real)", 1);
        let places = sort(&seen);
        assert_eq!(places.instructions, 24_008);
        let kinds = [(CLEARING, 20_000), (SUMMING, 4000), (PROBING, 7), (REST, 1)];
        assert_eq!(places.kinds, kinds);
        let first = places.loops[0];
        assert_eq!((first.first, first.last), (0xea65f, 0xea664));
        assert_eq!(code(first.first), "SeaBIOS");
    }

    #[test]
    fn ports_have_owners() {
        let pio = "pio_write at 0xcf8 size 4 count 1 val 0x80000000";
        assert_eq!(owner(pio), "PCI configuration");
        let mmio = "mmio write len 2 gpa 0xb8000 val 0x720";
        assert_eq!(owner(mmio), "VGA's window");
        assert_eq!(
            owner("mmio read len 1 gpa 0xfebff000 val 0xff"),
            "memory of PCI functions"
        );
    }
}
