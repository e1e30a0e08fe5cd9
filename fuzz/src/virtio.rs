//! Virtio devices, driven through their queues by a driver that does what an input says.

pub mod balloon;
pub mod block;
pub mod console;
pub mod input;
pub mod net;
pub mod rng;
pub mod vhost_user;
pub mod virtio_pmem;
pub mod vsock;

use std::mem;

use trivisor_buses::{SavedState, Segment};
use trivisor_memory::GuestRam;
use trivisor_virtio_device::testing::{Rig, Ring, test_ram};
use trivisor_virtio_device::{Feature, VirtioDevice};

use crate::features::note;

/// Operations of one input at most.
const MAX_STEPS: usize = 256;
/// Elements of a buffer at most.
const MAX_ELEMENTS: u8 = 8;

/// Bytes of an input, zeroes behind its end.
pub(crate) struct Input<'a>(&'a [u8]);

impl Input<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    pub(crate) fn bytes(&mut self, len: u8) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }
}

/// A device with the host's side of it.
pub(crate) trait Subject {
    /// The device.
    type Device: VirtioDevice;

    /// Makes both; there may be variants.
    fn make(ram: &GuestRam, variant: u8) -> (Self, Self::Device)
    where
        Self: Sized;

    /// The host does something, as the input says.
    fn host(&mut self, rig: &mut Rig<Self::Device>, input: &mut Input<'_>);

    /// The host works again, the device is reset: whether they serve a driver that behaves.
    ///
    /// # Panics
    /// When they do not.
    fn serves(&mut self, rig: &mut Rig<Self::Device>);
}

/// Runs an input.
///
/// # Panics
/// When the device does, writes where it may not, misses an interrupt, or does not serve after a reset.
pub(crate) fn run<S: Subject>(data: &[u8]) {
    let mut input = Input(data);
    let ram = test_ram();
    let first = input.byte();
    let (mut subject, device) = S::make(&ram, first >> 4);
    // No transport offers what its queues cannot be served with.
    let offered = device.queue_features();
    let ring = match Ring::ALL[usize::from(first) % Ring::ALL.len()] {
        Ring::Packed if offered & Feature::PackedRing.bit() == 0 => Ring::Split,
        ring => ring,
    };
    let extra = Feature::EventIndex.bit() | Feature::IndirectDescriptors.bit();
    let extra = (extra | Feature::InOrder.bit()) & offered;
    let features = input.word() & (device.features() | extra);
    let mut rig = Rig::with_ram(ram, device, ring, features);
    for _ in 0..MAX_STEPS {
        if input.0.is_empty() {
            break;
        }
        step(&mut subject, &mut rig, &mut input);
        if let Some((queue, error)) = rig.broken() {
            note((queue, mem::discriminant(&error)));
            rig.reset();
        }
    }
    rig.reset();
    subject.serves(&mut rig);
}

fn step<S: Subject>(subject: &mut S, rig: &mut Rig<S::Device>, input: &mut Input<'_>) {
    let queues = u16::try_from(rig.device().queue_sizes().len()).unwrap_or(u16::MAX);
    let (what, queue) = (input.byte() % 12, u16::from(input.byte()) % queues);
    match what {
        0..=2 => add(rig, queue, input),
        3 => rig.kick(queue),
        4 => rig.notify(queue),
        5 => {
            // What it has it may want to be woken for again, but not for ever.
            rig.settle();
        }
        6 => {
            while let Some(reply) = rig.poll(queue) {
                let answer = reply.data.last().copied().map(|byte| byte.min(4));
                note((queue, reply.written.min(64), answer));
            }
        }
        7 => {
            rig.stop(Some(queue));
            rig.notify(queue);
        }
        8 => {
            rig.call(S::Device::pause);
            damage(rig, input);
        }
        9 => {
            let offset = usize::from(input.byte());
            let len = 1 + input.byte() % 8;
            note((offset, rig.read_config(offset, len.into()).first().copied()));
            let bytes = input.bytes(len);
            let _read_only = rig.write_config(offset, &bytes);
        }
        _ => subject.host(rig, input),
    }
}

/// Adds a buffer, if there is room: elements with bytes of the input, or of a length, or anywhere.
fn add<D: VirtioDevice>(rig: &mut Rig<D>, queue: u16, input: &mut Input<'_>) {
    let count = 1 + input.byte() % MAX_ELEMENTS;
    let split = input.byte() % (count + 1);
    let wild = input.byte() == 0xff;
    if rig.driver(queue).free() < count.into() {
        return;
    }
    if wild {
        let segments: Vec<_> = (0..count)
            .map(|_| Segment {
                address: input.word(),
                len: u32::from(input.byte()).max(1),
            })
            .collect();
        let (readable, writable) = segments.split_at(split.into());
        rig.driver(queue).add_segments(readable, writable);
        return;
    }
    let readable: Vec<_> = (0..split)
        .map(|_| {
            let len = 1 + input.byte() % 32;
            input.bytes(len)
        })
        .collect();
    let writable: Vec<_> = (split..count)
        .map(|_| 1 + (u32::from(input.byte()) << (input.byte() % 8)))
        .collect();
    let readable: Vec<_> = readable.iter().map(Vec::as_slice).collect();
    rig.driver(queue).add(&readable, &writable);
}

/// Saves the device, changes a byte, and offers it back: it is taken whole or not at all.
fn damage<D: VirtioDevice>(rig: &mut Rig<D>, input: &mut Input<'_>) {
    let before: SavedState = rig.device().save();
    let mut state = before.clone();
    let at = usize::from(input.byte());
    let flip = input.byte();
    if let Some(byte) = state.data.get_mut(at) {
        *byte ^= flip;
    }
    let device = rig.device_mut();
    let taken = device.restore(&state).is_ok();
    note((at.min(64), taken));
    if !taken {
        assert_eq!(
            device.save(),
            before,
            "a state that was refused left traces"
        );
    }
    let undone = rig.device_mut().restore(&before);
    assert!(undone.is_ok(), "its own state is refused: {undone:?}");
    let queues = u16::try_from(rig.device().queue_sizes().len()).unwrap_or(u16::MAX);
    (0..queues).for_each(|queue| rig.notify(queue));
    rig.settle();
}

/// Inputs that do each operation, on either ring.
fn seeds() -> Vec<Vec<u8>> {
    let seed = |ring: u8, features: u8| {
        let mut seed = vec![ring];
        seed.extend([features; 8]);
        for queue in 0..3 {
            // Buffers to write to, buffers to read from, and both.
            for (count, split) in [(0, 0), (1, 2), (2, 1)] {
                seed.extend([0, queue, count, split, 0]);
                seed.extend([7; 24]);
                seed.extend([3, queue]);
            }
            for what in [10, 5, 6, 4, 7, 8, 9, 11, 5, 6] {
                seed.extend([what, queue, 40, 40]);
            }
        }
        seed
    };
    [0, 1, 0x10, 0x11]
        .into_iter()
        .flat_map(|first| [seed(first, 0), seed(first, 0xff)])
        .collect()
}

/// A module's entry point and seeds for its [`Subject`].
macro_rules! entry {
    ($subject:ty) => {
        /// The entry point; its input is a list of operations.
        ///
        /// # Panics
        /// When the device is wrong.
        pub fn target(data: &[u8]) {
            super::run::<$subject>(data);
        }

        /// Inputs that do each operation.
        #[must_use]
        pub fn seeds() -> Vec<Vec<u8>> {
            super::seeds()
        }
    };
}
use entry;
