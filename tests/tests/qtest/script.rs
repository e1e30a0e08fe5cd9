//! Steps, and how they are compared.
//!
//! | step | |
//! |---|---|
//! | `out8 PORT VALUE`, `out16`, `out32` | writes a port |
//! | `in8 PORT`, `in16`, `in32` | reads a port: the same on both |
//! | `in8 PORT = VALUE` | and it is this |
//! | `in8 PORT = OURS / THEIRS` | they differ, for a reason |
//! | `ins16 PORT COUNT` | reads as often, as `rep ins` does |
//! | `skip16 PORT COUNT` | the same, whatever it reads |
//! | `outs16 PORT BYTE COUNT` | writes words of this byte as often |
//! | `store ADDRESS BYTES` | writes memory |
//! | `load ADDRESS COUNT` | reads memory |
//! | `until8 PORT MASK VALUE` | waits until the bits of the mask are so |
//! | `reset` | resets the whole machine |
//!
//! Numbers are hexadecimal. `#` begins a comment; one behind a difference is its reason, and has to be there. Where a
//! step means a part of a value, `in8 PORT & MASK` reads it.

use std::fmt::Write as _;

/// One of the two implementations.
pub(crate) trait Machine {
    /// Reads 1, 2 or 4 bytes from a port.
    fn port_read(&mut self, port: u16, width: usize) -> u32;
    /// Writes 1, 2 or 4 bytes to a port.
    fn port_write(&mut self, port: u16, width: usize, value: u32);
    /// Reads a port several times, in one access if it can.
    fn port_read_string(&mut self, port: u16, width: usize, count: usize) -> Vec<u8> {
        let mut data = Vec::new();
        for _ in 0..count {
            let value = self.port_read(port, width);
            data.extend(&value.to_le_bytes()[..width]);
        }
        data
    }
    /// Reads memory.
    fn load(&mut self, address: u64, len: usize) -> Vec<u8>;
    /// Writes memory.
    fn store(&mut self, address: u64, data: &[u8]);
    /// Lets what is under way go on, for a moment.
    fn breathe(&mut self);
    /// Resets the whole machine.
    fn reset(&mut self);
}

/// Turns of [`Machine::breathe`] that a step waits at most.
const MOST_TURNS: usize = 10_000;

/// A step, but for what is read.
enum Step {
    Out(usize, u16, u32),
    In(usize, u16, u32),
    Ins(usize, u16, usize),
    Skip(usize, u16, usize),
    Outs(usize, u16, u8, usize),
    Store(u64, Vec<u8>),
    Load(u64, usize),
    Until(u16, u32, u32),
    Reset,
}

/// What a step reads.
#[derive(PartialEq)]
enum Wanted {
    Same,
    Value(u64),
    Differ(u64, u64),
}

/// How a script went.
pub(crate) struct Run {
    /// Steps done.
    pub(crate) steps: usize,
    /// Differences that were expected.
    pub(crate) differences: usize,
}

/// Runs `script` on both.
///
/// # Panics
/// With all that went wrong: what reads differently without being said to, or is said to and does not.
pub(crate) fn compare(script: &str, ours: &mut dyn Machine, theirs: &mut dyn Machine) -> Run {
    let mut run = Run {
        steps: 0,
        differences: 0,
    };
    let mut wrong = String::new();
    for (number, text) in script.lines().enumerate() {
        let (text, reason) = match text.split_once('#') {
            Some((step, reason)) => (step.trim(), reason.trim()),
            None => (text.trim(), ""),
        };
        if text.is_empty() {
            continue;
        }
        run.steps += 1;
        let (step, wanted) = parse(text);
        let (our, their) = (perform(&step, ours), perform(&step, theirs));
        let right = match wanted {
            Wanted::Same => our == their,
            Wanted::Value(value) => our == their && number_of(&our) == value,
            Wanted::Differ(a, b) => {
                assert!(
                    !reason.is_empty(),
                    "line {}: a difference without reason",
                    number + 1
                );
                run.differences += 1;
                a != b && number_of(&our) == a && number_of(&their) == b
            }
        };
        if !right {
            let line = number + 1;
            let (our, their) = (shown(&our), shown(&their));
            writeln!(wrong, "line {line}: {text}: ours {our}, QEMU's {their}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    run
}

fn perform(step: &Step, machine: &mut dyn Machine) -> Vec<u8> {
    match step {
        Step::Out(width, port, value) => {
            machine.port_write(*port, *width, *value);
            Vec::new()
        }
        Step::In(width, port, mask) => {
            let value = machine.port_read(*port, *width) & mask;
            value.to_le_bytes()[..*width].to_vec()
        }
        Step::Ins(width, port, count) => machine.port_read_string(*port, *width, *count),
        Step::Skip(width, port, count) => {
            machine.port_read_string(*port, *width, *count);
            Vec::new()
        }
        Step::Outs(width, port, byte, count) => {
            for _ in 0..*count {
                machine.port_write(*port, *width, u32::from_le_bytes([*byte; 4]));
            }
            Vec::new()
        }
        Step::Store(address, data) => {
            machine.store(*address, data);
            Vec::new()
        }
        Step::Load(address, count) => machine.load(*address, *count),
        Step::Until(port, mask, value) => {
            for _ in 0..MOST_TURNS {
                if machine.port_read(*port, 1) & mask == *value {
                    return Vec::new();
                }
                machine.breathe();
            }
            vec![0xee]
        }
        Step::Reset => {
            machine.reset();
            Vec::new()
        }
    }
}

fn parse(text: &str) -> (Step, Wanted) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |word: &str| {
        u64::from_str_radix(word, 16).unwrap_or_else(|error| panic!("{text}: {word}: {error}"))
    };
    let port = |word| u16::try_from(number(word)).expect("a port");
    let value = |word| u32::try_from(number(word)).expect("32 bits");
    let count = |word| usize::try_from(number(word)).expect("a count");
    let width = |name: &str| match name.trim_start_matches(char::is_alphabetic) {
        "8" => 1,
        "16" => 2,
        "32" => 4,
        _ => panic!("{text}: no width"),
    };
    let (head, wanted) = match words.iter().position(|word| *word == "=") {
        None => (&words[..], Wanted::Same),
        Some(at) => {
            let wanted = match words[at + 1..] {
                [both] => Wanted::Value(number(both)),
                [a, "/", b] => Wanted::Differ(number(a), number(b)),
                _ => panic!("{text}: what is wanted?"),
            };
            (&words[..at], wanted)
        }
    };
    let step = match *head {
        [name @ ("out8" | "out16" | "out32"), at, data] => {
            Step::Out(width(name), port(at), value(data))
        }
        [name @ ("in8" | "in16" | "in32"), at] => Step::In(width(name), port(at), u32::MAX),
        [name @ ("in8" | "in16" | "in32"), at, "&", mask] => {
            Step::In(width(name), port(at), value(mask))
        }
        [name @ ("ins16" | "ins32"), at, times] => Step::Ins(width(name), port(at), count(times)),
        [name @ "skip16", at, times] => Step::Skip(width(name), port(at), count(times)),
        [name @ ("outs16" | "outs32"), at, byte, times] => {
            let byte = u8::try_from(number(byte)).expect("a byte");
            Step::Outs(width(name), port(at), byte, count(times))
        }
        ["store", at, ref data @ ..] => {
            let digits = data.concat();
            let pairs = digits.as_bytes().chunks(2);
            let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16);
            let data = pairs.map(|pair| byte(pair).expect("digits")).collect();
            Step::Store(number(at), data)
        }
        ["load", at, times] => Step::Load(number(at), count(times)),
        ["reset"] => Step::Reset,
        ["until8", at, mask, wanted] => Step::Until(port(at), value(mask), value(wanted)),
        _ => panic!("{text}: not a step"),
    };
    (step, wanted)
}

/// The number that was read; of several, the first.
fn number_of(data: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes
        .iter_mut()
        .zip(data)
        .for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(bytes)
}

fn shown(data: &[u8]) -> String {
    match data.len() {
        0 => "done".into(),
        1..=4 => format!("{:x}", number_of(data)),
        _ => data.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        }),
    }
}
