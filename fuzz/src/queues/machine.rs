//! Both sides of a queue.

use std::mem;

use trivisor_memory::{GuestRam, RamLayout, RamOptions};
use trivisor_virtio_device::queue::{HeldV1, Queue, QueueError, QueueStateV1};
use trivisor_virtio_device::{Area, Chain, Feature};

use super::{INDIRECT, Input, NEXT, WRITE};
use crate::features::note;

const RAM: u64 = 1 << 20;
/// Descriptor, driver and device area.
const AREAS: [u64; 3] = [0x1000, 0x2000, 0x3000];
/// Indirect tables, which overlap.
const TABLE: u64 = 0x4000;
/// Where the memory that is looked at ends.
const END: u64 = 0x5000;

/// A driver that writes what it likes, and a device.
pub(super) struct Machine {
    ram: GuestRam,
    packed: bool,
    features: u64,
    size: u16,
    queue: Queue,
    /// What the driver wrote up to [`END`].
    written: Vec<u8>,
    /// Descriptors that the driver put into the ring, as a driver that keeps to the rules counts them.
    added: u16,
    /// What the device has.
    held: Vec<Chain>,
}

impl Machine {
    pub(super) fn new(size: u8, features: u8, packed: bool) -> Self {
        let layout = RamLayout::new(RAM).expect("1 MiB is a layout");
        let ram = GuestRam::new(layout, &RamOptions::default()).expect("the host has 1 MiB");
        let size = match packed {
            true => u16::from(size % 64) + 1,
            false => 1 << (size % 7),
        };
        let choice = [
            (1, Feature::IndirectDescriptors.bit()),
            (2, Feature::EventIndex.bit()),
            (4, Feature::InOrder.bit()),
        ];
        let chosen = choice
            .iter()
            .filter(|(bit, _)| features & bit != 0)
            .fold(0, |all, (_, feature)| all | feature);
        let ring = if packed { Feature::PackedRing.bit() } else { 0 };
        let mut machine = Self {
            ram,
            packed,
            features: chosen | ring,
            size,
            queue: Queue::new(64),
            written: vec![0; usize::try_from(END).expect("20 KiB")],
            added: 0,
            held: Vec::new(),
        };
        machine.enable();
        machine
    }

    fn enable(&mut self) {
        self.queue.set_size(self.size);
        for (area, address) in Area::ALL.into_iter().zip(AREAS) {
            self.queue.set_address(area, address);
        }
        let enabled = self.queue.enable(&self.ram, self.features);
        assert_eq!(enabled, Ok(()));
    }

    pub(super) fn step(&mut self, input: &mut Input<'_>) {
        let operation = input.byte() % 16;
        match operation {
            0..=2 => self.add(input),
            3 => {
                let at = TABLE + 16 * u64::from(input.byte() % 64);
                self.descriptor(at, input, 0);
            }
            4 => {
                let at = AREAS[0] + 16 * u64::from(input.byte() % 64);
                let marks = u16::from(input.byte() & 1) << 7 | u16::from(input.byte() & 1) << 15;
                self.descriptor(at, input, marks);
            }
            5 => {
                let at = AREAS[0] + u64::from(input.word()) % (END - AREAS[0] - 1);
                self.write(at, &input.array::<2>());
            }
            6 => {
                // Index and events.
                let at = [2, 0, 4 + 2 * u64::from(self.size)];
                let at = at[usize::from(input.byte() % 3)];
                self.write(AREAS[1] + at, &input.array::<2>());
            }
            7..=9 => self.pop(),
            10 | 11 => self.push(input),
            12 => {
                if let Some(chain) = self.held.pop() {
                    self.queue.unpop(&chain);
                    // In order, one in front of those that are finished stays where it is.
                    let id = chain.id();
                    if self.state().held.iter().any(|held| held.id == id) {
                        self.held.push(chain);
                    }
                }
            }
            13 => {
                let published = self.queue.publish(&self.ram);
                self.note(operation, published.map(u16::from));
            }
            14 => {
                let wanted = input.byte() & 1 != 0;
                let more = self.queue.want_notifications(&self.ram, wanted);
                self.note(operation, more.map(u16::from));
            }
            _ => match input.byte() % 8 {
                0 => {
                    self.queue.reset();
                    self.held.clear();
                    self.enable();
                }
                1 => self.damage(input),
                _ => self.restore(),
            },
        }
    }

    /// A descriptor where a driver that keeps to the rules would put it.
    fn add(&mut self, input: &mut Input<'_>) {
        let place = self.added % self.size;
        let lap = self.added / self.size;
        self.added = self.added.wrapping_add(1);
        let marks = if lap.is_multiple_of(2) {
            1 << 7
        } else {
            1 << 15
        };
        self.descriptor(AREAS[0] + 16 * u64::from(place), input, marks);
        if !self.packed {
            let entry = AREAS[1] + 4 + 2 * u64::from(place);
            self.write(entry, &place.to_le_bytes());
            self.write(AREAS[1] + 2, &self.added.to_le_bytes());
        }
    }

    /// A descriptor at `at`: shape, flags, and where it goes on or what it is called.
    fn descriptor(&mut self, at: u64, input: &mut Input<'_>, marks: u16) {
        let [shape, flags, link] = input.array();
        let flags = flags & (NEXT | WRITE | INDIRECT);
        let len = match shape >> 4 {
            0 => 0,
            15 => u32::MAX,
            14 => 8,
            count => 16 * u32::from(count),
        };
        let address = match shape & 15 {
            0 => RAM - 8,
            1 => u64::MAX - 8,
            part => TABLE + 16 * u64::from(part),
        };
        let flags = (u16::from(flags) | if self.packed { marks } else { 0 }).to_le_bytes();
        let link = u16::from(link).to_le_bytes();
        let tail = if self.packed {
            [link, flags]
        } else {
            [flags, link]
        };
        self.write(at, &address.to_le_bytes());
        self.write(at + 8, &len.to_le_bytes());
        self.write(at + 12, tail.as_flattened());
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        assert!(self.ram.write(at, bytes));
        let start = usize::try_from(at).expect("below 20 KiB");
        self.written[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn pop(&mut self) {
        let mut chain = Chain::default();
        let before = self.queue.broken();
        let popped = self.queue.pop(&self.ram, &mut chain);
        self.note(7, popped.map(u16::from));
        match popped {
            Ok(true) => {
                let lens = [chain.readable_len(), chain.writable_len()];
                assert!(lens.iter().sum::<u64>() <= 1 << 32);
                let segments = || chain.readable().iter().chain(chain.writable());
                assert!((1..=usize::from(self.size)).contains(&segments().count()));
                assert!(segments().all(|segment| segment.len > 0));
                let id = chain.id();
                assert!(self.held.iter().all(|held| held.id() != id));
                // Whatever the segments are, reading them ends in data or an error.
                let read = chain.read(&self.ram, lens[0].min(3), &mut [0; 5]);
                self.note(8, read.map(|()| 0));
                self.held.push(chain);
                assert!(self.held.len() <= usize::from(self.size));
            }
            Ok(false) => assert_eq!(before, None),
            Err(error) => {
                assert_eq!(self.queue.broken(), before.or(Some(error)));
            }
        }
    }

    /// Gives back what the device has, or what it has not.
    fn push(&mut self, input: &mut Input<'_>) {
        let [choice, written] = input.array();
        let known = usize::from(choice).checked_rem(self.held.len());
        match known.filter(|_| choice < 0xf0) {
            Some(at) => {
                let id = self.held.remove(at).id();
                let pushed = self.queue.push(&self.ram, id, written.into());
                assert_eq!(pushed, Ok(()));
            }
            None => {
                let id = u16::from(choice) | u16::from(written) << 8;
                if self.held.iter().all(|held| held.id() != id) {
                    let pushed = self.queue.push(&self.ram, id, 0);
                    assert_eq!(pushed, Err(QueueError::NotInUse { id }));
                }
            }
        }
    }

    fn state(&self) -> QueueStateV1 {
        QueueStateV1::from(&self.queue)
    }

    /// The device's side is saved and goes on in another queue.
    fn restore(&mut self) {
        // What was pushed is published before a save, and a broken queue has said all that it has to say.
        let published = self.queue.publish(&self.ram);
        if published.is_ok() {
            let state = self.state();
            self.queue = Queue::new(64);
            let restored = self.queue.restore(&state, &self.ram, self.features);
            assert_eq!(restored, Ok(()));
            assert_eq!(self.state(), state);
        }
    }

    /// A state that is none is refused, or taken and saved again.
    fn damage(&mut self, input: &mut Input<'_>) {
        let mut state = self.state();
        match input.byte() % 6 {
            0 => state.size = input.word(),
            1 => state.next_avail = input.word(),
            2 => state.next_used = input.word(),
            3 => state.ready = !state.ready,
            4 => {
                let area = usize::from(input.byte() % 3);
                state.addresses[area] = Some(u64::from(input.word()) << (input.byte() % 60));
            }
            _ => state.held.push(HeldV1 {
                id: input.word(),
                descriptors: input.byte().into(),
                written: Some(0).filter(|_| input.byte() & 1 != 0),
            }),
        }
        let mut other = Queue::new(64);
        match other.restore(&state, &self.ram, self.features) {
            Ok(()) => {
                assert_eq!(QueueStateV1::from(&other), state);
                for _ in 0..=self.size {
                    let popped = other.pop(&self.ram, &mut Chain::default());
                    self.note(9, popped.map(u16::from));
                }
            }
            Err(_) => assert_eq!(other, Queue::new(64)),
        }
    }

    /// The device wrote to its own area alone, and to the descriptors of a packed ring.
    pub(super) fn check_memory(&self) {
        let mut now = self.written.clone();
        assert!(self.ram.read(0, &mut now));
        let size = u64::from(self.size);
        let [ring, _, device] = AREAS;
        let own = match self.packed {
            true => [(ring, 16 * size), (device, 4)],
            false => [(device, 6 + 8 * size), (device, 0)],
        };
        let mut changes = (0..).zip(self.written.iter().zip(&now));
        let wrong = changes.find(|(at, (before, after))| {
            before != after
                && !own
                    .iter()
                    .any(|(start, len)| (*start..start + len).contains(at))
        });
        assert_eq!(wrong, None);
    }

    fn note(&self, operation: u8, result: Result<u16, QueueError>) {
        let result = result.map_err(|error| mem::discriminant(&error));
        note((operation, result, self.held.len().min(4), self.packed));
    }
}
