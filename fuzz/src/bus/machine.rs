//! A device that steps are made on, and what it has to keep.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use trivisor_buses::screen::{MAX_HEIGHT, MAX_WIDTH};
use trivisor_buses::testing::TestHost;
use trivisor_buses::{
    Clock, Fitted, FrameSink, MachineEvent, Motion, Msi, SavedState, Screen, Slots, TextGrid,
    WallClock,
};

use super::{BusFuzzer, Outside, Space, Step, World};
use crate::features::note;

/// What a step did, as far as anybody can see.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) data: Vec<u8>,
    pub(super) levels: Vec<bool>,
    pub(super) messages: Vec<Msi>,
    pub(super) events: Vec<MachineEvent>,
    pub(super) taken: Vec<usize>,
    /// What was on the screens, where somebody looked.
    pub(super) seen: Vec<Looked>,
}

/// How often a machine's screens are looked at: a picture takes time.
const MAX_LOOKS: u32 = 4;

/// What a screen showed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Looked {
    size: (u32, u32),
    /// Of all rows.
    hash: u64,
    text: Option<TextGrid>,
}

impl FrameSink for Looked {
    fn set_size(&mut self, width: u32, height: u32) {
        assert!((1..=MAX_WIDTH).contains(&width) && (1..=MAX_HEIGHT).contains(&height));
        self.size = (width, height);
    }

    fn row(&mut self, y: u32, rgb: &[u8]) {
        let (width, height) = self.size;
        assert!(y < height && Ok(rgb.len()) == usize::try_from(width * 3));
        let mut hasher = DefaultHasher::new();
        (self.hash, y, rgb).hash(&mut hasher);
        self.hash = hasher.finish();
    }
}

/// A device, fitted into a world of its own.
pub(super) struct Machine {
    world: World,
    fitted: Fitted,
    looks: u32,
}

impl Machine {
    pub(super) fn new(fuzzer: &BusFuzzer) -> Self {
        let world = World {
            host: TestHost::new(),
            outside: Outside(Arc::new(AtomicBool::new(true))),
            lines: Mutex::default(),
        };
        let mut slots = Slots::new(world.host.as_host());
        let fits = (fuzzer.fit)(&world, &mut slots);
        assert!(fits.is_ok(), "the device has to fit: {fits:?}");
        let fitted = slots.finish();
        for (_, component) in &fitted.components {
            component.start();
        }
        Self {
            world,
            fitted,
            looks: 0,
        }
    }

    /// A second one, in a world of the same time, restored from this one.
    pub(super) fn twin(&self, fuzzer: &BusFuzzer) -> Self {
        let mut twin = Self::new(fuzzer);
        twin.looks = self.looks;
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
        let edges = twin.answer(Vec::new(), Vec::new(), Vec::new());
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

    pub(super) fn go(&mut self, fuzzer: &BusFuzzer, step: &Step) -> Answer {
        let mut data = Vec::new();
        let mut taken = Vec::new();
        let mut seen = Vec::new();
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
            Step::ReadString(at, len, count) => {
                data.resize(len * count, 0x77);
                let mut ports = self.fitted.ports.view();
                ports.read_string(port(*at), *len, &mut data);
            }
            Step::WriteString(at, len, data) => {
                let mut ports = self.fitted.ports.view();
                ports.write_string(port(*at), *len, data);
            }
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
                taken.extend(self.type_and_move(bytes).map(usize::from));
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
                if self.looks < MAX_LOOKS {
                    self.looks += 1;
                    seen.extend(self.fitted.screens.iter().map(|screen| look(&**screen)));
                }
                components().for_each(|component| component.start());
            }
            Step::Damage(component, at, with) => self.damage(*component, *at, *with),
            // Made by the caller, of two machines.
            Step::Twin => {}
        }
        self.answer(data, taken, seen)
    }

    /// Each byte is a key, whose bit 7 releases it, and every four are motion.
    fn type_and_move(&self, bytes: &[u8]) -> impl Iterator<Item = bool> {
        let keyboard = self.fitted.keyboard.iter();
        let key = |byte: &u8| (u16::from(byte & 0x7f), byte & 0x80 == 0);
        let keys = keyboard.flat_map(move |keyboard| {
            let keys = bytes.iter().map(key);
            keys.map(|(code, pressed)| keyboard.key(code, pressed))
        });
        let pointer = self.fitted.pointer.iter();
        let motions = pointer.flat_map(move |pointer| {
            let (motions, _) = bytes.as_chunks();
            motions.iter().map(|[x, y, wheel, buttons]| {
                let [x, y, wheel] = [x, y, wheel].map(|byte| byte.cast_signed().into());
                pointer.report(Motion {
                    x,
                    y,
                    wheel,
                    buttons: *buttons,
                })
            })
        });
        keys.chain(motions)
    }

    fn answer(&self, data: Vec<u8>, taken: Vec<usize>, seen: Vec<Looked>) -> Answer {
        let host = &self.world.host;
        host.routes.take();
        Answer {
            data,
            levels: host.levels.take(),
            messages: host.messages.take(),
            events: host.events.take(),
            taken,
            seen,
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
    pub(super) fn note(&self) {
        for (index, saved) in self.save().iter().enumerate() {
            for (at, byte) in saved.data.iter().enumerate().take(64) {
                note((index, at, byte.checked_ilog2()));
            }
            note((index, saved.data.len()));
        }
    }
}

fn look(screen: &dyn Screen) -> Looked {
    let mut looked = Looked::default();
    screen.render(&mut looked);
    looked.text = screen.text();
    note((looked.size, looked.text.is_some()));
    looked
}

/// A port: the targets' are of 16 bits.
fn port(at: u64) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}
