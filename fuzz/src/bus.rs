//! A device on its bus, driven by an input: accesses, time, the outside, save and restore.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use trivisor_buses::routing::RouteError;
use trivisor_buses::testing::TestHost;
use trivisor_buses::{
    CharOutput, Clock, Fitted, Line, MachineEvent, Msi, SavedState, Slots, WallClock,
};

use crate::features::note;

/// Operations of one input at most.
const MAX_STEPS: usize = 512;

/// What stands around a device.
#[derive(Debug)]
pub struct World {
    /// Clocks, wires and guest memory.
    pub host: Arc<TestHost>,
    /// What stands behind the device.
    pub outside: Outside,
    lines: Mutex<Vec<Line>>,
}

impl World {
    /// The input drives this line, which leads to a pin of the device.
    pub fn add_line(&self, line: Line) {
        self.lines().push(line);
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A back-end that works, or takes nothing.
#[derive(Debug, Clone, Default)]
pub struct Outside(Arc<AtomicBool>);

impl Outside {
    /// Done, or refused.
    ///
    /// # Errors
    /// While it does not work.
    pub fn flush(&self) -> io::Result<()> {
        if self.works() {
            Ok(())
        } else {
            Err(io::ErrorKind::StorageFull.into())
        }
    }

    fn works(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl CharOutput for Outside {
    fn write(&mut self, bytes: &[u8]) -> usize {
        if self.works() { bytes.len() } else { 0 }
    }
}

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
    pub fit: fn(&World, &mut Slots) -> Result<(), RouteError>,
}

/// One operation.
#[derive(Debug)]
enum Step {
    Read(u64, usize),
    Write(u64, Vec<u8>),
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
            Self::Read(at, _) | Self::Write(at, _) => Some(*at),
            _ => None,
        }
    }
}

/// What a step did, as far as anybody can see.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    data: Vec<u8>,
    levels: Vec<bool>,
    messages: Vec<Msi>,
    events: Vec<MachineEvent>,
    taken: Vec<usize>,
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
                let at = self.offset(input);
                let len = width(input);
                Step::Write(at, input.bytes(len))
            }
            5..=9 => Step::Read(self.offset(input), width(input)),
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

fn width(input: &mut Input<'_>) -> usize {
    match input.byte() % 8 {
        exponent @ 0..=3 => 1 << exponent,
        4 => 3,
        _ => 1,
    }
}

/// A device, fitted into a world of its own.
struct Machine {
    world: World,
    fitted: Fitted,
}

impl Machine {
    fn new(fuzzer: &BusFuzzer) -> Self {
        let world = World {
            host: TestHost::new(),
            outside: Outside(Arc::new(AtomicBool::new(true))),
            lines: Mutex::default(),
        };
        let mut slots = Slots::new(world.host.as_host());
        let fits = (fuzzer.fit)(&world, &mut slots);
        assert_eq!(fits, Ok(()), "the device has to fit");
        let fitted = slots.finish();
        for (_, component) in &fitted.components {
            component.start();
        }
        Self { world, fitted }
    }

    /// A second one, in a world of the same time, restored from this one.
    fn twin(&self, fuzzer: &BusFuzzer) -> Self {
        let twin = Self::new(fuzzer);
        let host = &self.world.host;
        let now = Clock::now(&**host).0;
        twin.world.host.advance(Duration::from_nanos(now));
        twin.world.host.set_unix_time(WallClock::now(&**host));
        let works = self.world.outside.works();
        twin.world.outside.0.store(works, Ordering::Relaxed);
        for (line, new) in self.world.lines().iter().zip(twin.world.lines().iter_mut()) {
            new.restore_level(line.level());
        }
        for (saved, (name, component)) in self.save().iter().zip(&twin.fitted.components) {
            let restored = component.restore(saved);
            assert_eq!(restored, Ok(()), "{name} refuses its own state");
        }
        assert_eq!(
            twin.save(),
            self.save(),
            "a restored device saves other bytes"
        );
        let edges = twin.answer(Vec::new(), Vec::new());
        assert_eq!(
            (edges.levels, edges.messages, edges.events),
            (vec![], vec![], vec![]),
            "a restore makes no edge"
        );
        twin
    }

    fn save(&self) -> Vec<SavedState> {
        let components = self.fitted.components.iter();
        components.map(|(_, component)| component.save()).collect()
    }

    fn go(&mut self, fuzzer: &BusFuzzer, step: &Step) -> Answer {
        let mut data = Vec::new();
        let mut taken = Vec::new();
        let components = || {
            self.fitted
                .components
                .iter()
                .map(|(_, component)| component)
        };
        match step {
            Step::Read(at, len) => {
                data.resize(*len, 0x77);
                match fuzzer.space {
                    Space::Ports => self.fitted.ports.view().read(*at, &mut data),
                    Space::Memory => self.fitted.mmio.view().read(*at, &mut data),
                }
            }
            Step::Write(at, data) => match fuzzer.space {
                Space::Ports => self.fitted.ports.view().write(*at, data),
                Space::Memory => self.fitted.mmio.view().write(*at, data),
            },
            Step::Advance(by) => self.world.host.advance(*by),
            Step::SetTime(to) => self.world.host.set_unix_time(*to),
            Step::Outside(works) => {
                self.world.outside.0.store(*works, Ordering::Relaxed);
                if *works {
                    self.fitted
                        .consoles
                        .iter()
                        .for_each(|console| console.output_ready());
                }
            }
            Step::Push(bytes) => {
                for console in &self.fitted.consoles {
                    let room = console.room();
                    taken.push(console.push(bytes));
                    assert!(taken.iter().all(|taken| *taken <= room));
                }
            }
            Step::EndOfInterrupt(vector) => {
                self.fitted
                    .eoi
                    .iter()
                    .for_each(|target| target.end_of_interrupt(*vector));
            }
            Step::Press => self
                .fitted
                .power_button
                .iter()
                .for_each(|button| button.press()),
            Step::Line(line, level) => {
                let lines = &mut *self.world.lines();
                let line = usize::from(*line).checked_rem(lines.len());
                if let Some(line) = line.and_then(|line| lines.get_mut(line)) {
                    line.set_level(*level);
                }
            }
            Step::Reset => components().for_each(|component| component.reset()),
            Step::Pause => {
                components().for_each(|component| component.pause());
                components().for_each(|component| component.start());
            }
            Step::Damage(component, at, with) => self.damage(*component, *at, *with),
            // Made by the caller, of two machines.
            Step::Twin => {}
        }
        self.answer(data, taken)
    }

    fn answer(&self, data: Vec<u8>, taken: Vec<usize>) -> Answer {
        let host = &self.world.host;
        host.routes.take();
        Answer {
            data,
            levels: host.levels.take(),
            messages: host.messages.take(),
            events: host.events.take(),
            taken,
        }
    }

    /// Offers damaged state.
    fn damage(&self, component: u8, at: u8, with: u8) {
        let components = &self.fitted.components;
        let chosen = usize::from(component).checked_rem(components.len());
        let Some((name, component)) = chosen.and_then(|chosen| components.get(chosen)) else {
            return;
        };
        let before = component.save();
        let mut damaged = before.clone();
        match damaged.data.get_mut(usize::from(at)) {
            Some(byte) => *byte ^= with,
            None if with & 1 == 0 => damaged.data.push(with),
            None => drop(damaged.data.pop()),
        }
        match component.restore(&damaged) {
            Err(_) => assert_eq!(
                component.save(),
                before,
                "{name}: what is refused leaves no trace"
            ),
            Ok(()) => {
                let after = component.save();
                let again = component.restore(&after);
                assert_eq!(
                    (again, component.save()),
                    (Ok(()), after),
                    "{name}: taken, not kept"
                );
            }
        }
    }

    /// Notes the rough shape of its state.
    fn note(&self) {
        for (index, saved) in self.save().iter().enumerate() {
            for (at, byte) in saved.data.iter().enumerate().take(64) {
                note((index, at, byte.checked_ilog2()));
            }
            note((index, saved.data.len()));
        }
    }
}
