//! A device on its bus, driven by an input: accesses, time, the outside, save and restore.

mod machine;
#[cfg(test)]
mod tests;
pub(crate) mod words;
mod world;

use std::mem;
use std::time::Duration;

use trivisor_buses::FitError;
use trivisor_buses::Slots;

use self::machine::Machine;
pub use self::world::{Outside, World};
use crate::features::note;

/// Operations of one input at most.
const MAX_STEPS: usize = 512;

/// Where a device answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Ports.
    Ports,
    /// Memory.
    Memory,
}

/// How to fuzz a device.
#[derive(Debug)]
pub struct BusFuzzer {
    /// Where it answers.
    pub space: Space,
    /// Its first address.
    pub base: u64,
    /// How many addresses it has.
    pub size: u64,
    /// Offsets that are worth a visit; others are visited now and then.
    pub registers: &'static [u64],
    /// Puts it there.
    pub fit: fn(&World, &mut Slots) -> Result<(), FitError>,
}

/// One operation.
#[derive(Debug)]
enum Step {
    Read(u64, usize),
    Write(u64, Vec<u8>),
    /// So many accesses of so many bytes, by one instruction.
    ReadString(u64, usize, usize),
    WriteString(u64, usize, Vec<u8>),
    Advance(Duration),
    SetTime(Duration),
    Outside(bool),
    Push(Vec<u8>),
    EndOfInterrupt(u8),
    Press,
    Line(u8, bool),
    Reset,
    Pause,
    /// Saves a component, changes a byte or the length, and offers it back.
    Damage(u8, u8, u8),
    /// Restores a second device from the first, and lets both do the rest.
    Twin,
}

impl Step {
    const fn at(&self) -> Option<u64> {
        match self {
            Self::Read(at, _)
            | Self::Write(at, _)
            | Self::ReadString(at, ..)
            | Self::WriteString(at, ..) => Some(*at),
            _ => None,
        }
    }
}

/// Bytes of an input, zeroes behind its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }
}

impl BusFuzzer {
    /// Runs an input.
    ///
    /// # Panics
    /// When the device does, or does not keep what every device has to keep.
    pub fn run(&self, data: &[u8]) {
        let mut machines = vec![Machine::new(self)];
        let mut input = Input(data);
        for _ in 0..MAX_STEPS {
            if input.0.is_empty() {
                break;
            }
            let step = self.step(&mut input);
            if let (Step::Twin, [first, ..]) = (&step, &*machines) {
                let twin = first.twin(self);
                machines.truncate(1);
                machines.push(twin);
                continue;
            }
            let answers: Vec<_> = machines
                .iter_mut()
                .map(|machine| machine.go(self, &step))
                .collect();
            if let [first, second] = &*answers {
                assert_eq!(first, second, "a restored device differs after {step:x?}");
            }
            if let [first, ..] = &*answers {
                let refused = first.data.iter().all(|byte| *byte == 0xff);
                let told = first.levels.len() + first.messages.len() + first.events.len();
                let register = step.at().map(|at| self.register(at));
                note((mem::discriminant(&step), register, refused, told));
            }
        }
        if let [first, ..] = &*machines {
            first.twin(self);
            first.note();
        }
    }

    /// Inputs that visit each register at each width, before and after a restore.
    #[must_use]
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        let registers = u8::try_from(self.registers.len()).unwrap_or(u8::MAX);
        let visit = |value: u8| {
            (0..registers).flat_map(move |register| {
                let write = |width: u8| {
                    let data = [value; 8];
                    let len = 1_usize << width;
                    [&[0, register, width], data.get(..len).unwrap_or_default()].concat()
                };
                let read = |width| vec![5, register, width];
                [write(0), read(0), write(2), read(2), write(1), read(3)].concat()
            })
        };
        let seed = |value, middle: &[u8]| {
            let mut seed: Vec<u8> = visit(value).collect();
            seed.extend(middle);
            seed.extend(visit(!value));
            seed
        };
        vec![
            seed(0, &[15, 1]),
            seed(1, &[10, 9, 30, 15, 1, 12, 3, 0x41, 0x42, 0x43, 12, 1]),
            seed(0xff, &[14, 0, 11, 1]),
            seed(0x5a, &[13, 4, 1, 15, 1, 13, 4, 0, 12, 2, 0x5a]),
            seed(0x80, &[15, 0, 0, 3, 0x10, 14, 3, 1, 2, 3, 4, 5]),
        ]
    }

    /// What every device's dictionary has: a read of each register at each width, time, and what happens around it.
    #[must_use]
    pub fn dictionary(&self) -> Vec<Vec<u8>> {
        let registers = self.registers.iter();
        let reads = registers
            .flat_map(|at| (0..4).map(move |width| words::read(self.registers, *at, width)));
        let around = [
            words::TWIN,
            words::LOOK,
            words::RESET,
            words::FAIL,
            words::WORK,
            words::PRESS,
        ];
        // A microsecond, a millisecond, a second, five hours.
        let time = [10, 20, 30, 44].map(words::advance);
        let around = around.iter().map(|word| word.to_vec());
        reads
            .chain(around)
            .chain(time.map(Vec::from))
            .chain([words::push(&[0x1e, 0x9e, 0x77, 0x01])])
            .collect()
    }

    /// Which of the registers stands at an address; `None`: another byte of the device, or a neighbour.
    fn register(&self, at: u64) -> Option<usize> {
        let offsets = self.registers.iter();
        offsets
            .map(|offset| self.base + offset)
            .position(|register| register == at)
    }

    fn step(&self, input: &mut Input<'_>) -> Step {
        match input.byte() % 16 {
            0..=4 => {
                let (at, kind) = (self.offset(input), input.byte());
                if let Some((len, count)) = self.string(kind, input) {
                    let pattern: [u8; 4] = input.array();
                    let data = pattern.into_iter().cycle().take(len * count);
                    return Step::WriteString(at, len, data.collect());
                }
                Step::Write(at, input.bytes(width(kind)))
            }
            5..=9 => {
                let (at, kind) = (self.offset(input), input.byte());
                match self.string(kind, input) {
                    Some((len, count)) => Step::ReadString(at, len, count),
                    None => Step::Read(at, width(kind)),
                }
            }
            10 => {
                let [value, shift] = input.array();
                // 512 steps of at most 52 days each.
                Step::Advance(Duration::from_nanos(u64::from(value) << (shift % 45)))
            }
            11 => Step::Outside(!input.byte().is_multiple_of(2)),
            12 => match input.byte() % 4 {
                1 => Step::Press,
                2 => Step::EndOfInterrupt(input.byte()),
                _ => {
                    let len = input.byte() % 40;
                    Step::Push(input.bytes(len.into()))
                }
            },
            13 => {
                let [line, level] = input.array();
                Step::Line(line, level & 1 != 0)
            }
            14 => match input.byte() % 4 {
                3 => {
                    let [a, b, c, d, more] = input.array();
                    let seconds = u64::from(u32::from_le_bytes([a, b, c, d])) << (more % 4);
                    Step::SetTime(Duration::from_secs(seconds))
                }
                2 => Step::Pause,
                _ => Step::Reset,
            },
            _ => match input.byte() % 4 {
                1 => Step::Twin,
                _ => {
                    let [component, at, with] = input.array();
                    Step::Damage(component, at, with)
                }
            },
        }
    }

    /// Bytes of an access, and how many there are, where an access is one of a string of them: ports alone have that.
    fn string(&self, kind: u8, input: &mut Input<'_>) -> Option<(usize, usize)> {
        (kind % 8 == words::STRING && self.space == Space::Ports).then(|| {
            let [exponent, count] = input.array();
            (1 << (exponent % 3), usize::from(count) + 1)
        })
    }

    /// An address: one of a register, or any at the device and just around it.
    fn offset(&self, input: &mut Input<'_>) -> u64 {
        let choice = usize::from(input.byte());
        let register = choice
            .checked_rem(self.registers.len())
            .filter(|_| choice < 0xc0)
            .and_then(|choice| self.registers.get(choice));
        let offset = register.copied().unwrap_or_else(|| {
            let any = u64::from(u16::from_le_bytes(input.array()));
            any % (self.size + 4)
        });
        self.base + offset
    }
}

fn width(kind: u8) -> usize {
    match kind % 8 {
        exponent @ 0..=3 => 1 << exponent,
        4 => 3,
        _ => 1,
    }
}

/// A module a device: the entry point of its `FUZZER`; its seeds, those of the fuzzer and others; its dictionary, that of
/// the fuzzer and other words, which are a seed as well, one behind the other.
macro_rules! device {
    ($(#[doc = $what:literal] $name:ident = $fuzzer:expr $(, seeds: $more:expr)? $(, words: $words:expr)?;)*) => {
        $(#[doc = $what]
        pub mod $name {
            use super::*;

            static FUZZER: BusFuzzer = $fuzzer;

            /// The entry point; its input is a list of operations.
            ///
            /// # Panics
            /// As [`BusFuzzer::run`] does.
            pub fn target(data: &[u8]) {
                FUZZER.run(data);
            }

            /// Inputs that visit each register.
            #[must_use]
            pub fn seeds() -> Vec<Vec<u8>> {
                let seeds = FUZZER.seeds().into_iter();
                $(let seeds = seeds.chain($more);)?
                $(let seeds = seeds.chain([$words.concat()]);)?
                seeds.collect()
            }

            /// Operations that the device knows.
            #[must_use]
            pub fn dictionary() -> Vec<Vec<u8>> {
                let words = FUZZER.dictionary().into_iter();
                $(let words = words.chain($words);)?
                words.collect()
            }
        })*
    };
}
pub(crate) use device;
