//! Random deeds of driver and device, against a queue that cannot be wrong.

use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;

use super::{FEATURES, Pair};
use crate::features::Feature;
use crate::queue::{Chain, Queue, QueueStateV1};
use crate::testing::Ring;

/// What one of the two sides does.
#[derive(Debug, Clone)]
enum Deed {
    /// The driver adds a buffer of so many readable and writable elements.
    Add(u8, u8),
    Kick,
    Poll,
    Interrupts(bool),
    Pop,
    /// Puts back the last ones that were popped.
    Unpop(u8),
    /// Gives back one of those that the device has.
    Push(prop::sample::Index),
    Publish,
    Notifications(bool),
    /// Saves and restores the device's side.
    Restore,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (0..4_u8, 0..4_u8).prop_map(|(readable, writable)| Deed::Add(readable, writable)),
        4 => Just(Deed::Kick),
        6 => Just(Deed::Poll),
        1 => any::<bool>().prop_map(Deed::Interrupts),
        8 => Just(Deed::Pop),
        1 => (1..4_u8).prop_map(Deed::Unpop),
        6 => any::<prop::sample::Index>().prop_map(Deed::Push),
        4 => Just(Deed::Publish),
        2 => any::<bool>().prop_map(Deed::Notifications),
        1 => Just(Deed::Restore),
    ]
}

/// The queue that cannot be wrong: where each buffer is.
#[derive(Default)]
struct Model {
    serial: u8,
    /// What was written to each buffer's readable part.
    contents: HashMap<u16, Vec<u8>>,
    added: VecDeque<u16>,
    available: VecDeque<u16>,
    popped: Vec<Chain>,
    /// Pushed and not seen by the driver, with the bytes that the device wrote.
    pushed: VecDeque<(u16, Vec<u8>)>,
    used: VecDeque<(u16, Vec<u8>)>,
    /// Chains that could be put back: popped last, and none pushed since.
    last: Vec<u16>,
    /// Pops in order, for in-order use.
    order: VecDeque<u16>,
    finished: HashMap<u16, Vec<u8>>,
    /// The device looked at what is available and was promised to hear of more.
    waiting: bool,
}

fn run(ring: Ring, size: u16, features: u64, deeds: &[Deed]) {
    let mut pair = Pair::new(ring, size, features);
    let mut model = Model::default();
    for deed in deeds {
        model.step(&mut pair, deed);
    }
    // Whatever is under way comes to its end.
    for deed in [Deed::Kick, Deed::Publish, Deed::Poll] {
        model.step(&mut pair, &deed);
    }
    while !model.available.is_empty() {
        model.step(&mut pair, &Deed::Pop);
    }
    model.step(&mut pair, &Deed::Pop);
    while let Some(chain) = model.popped.first().cloned() {
        model.push(&mut pair, &chain);
    }
    model.step(&mut pair, &Deed::Publish);
    while pair.driver.pending() > 0 {
        model.step(&mut pair, &Deed::Poll);
    }
    model.step(&mut pair, &Deed::Poll);
    assert_eq!(pair.driver.free(), size);
}

impl Model {
    fn step(&mut self, pair: &mut Pair, deed: &Deed) {
        match deed {
            Deed::Add(readable, writable) => self.add(pair, *readable, *writable),
            Deed::Kick => {
                let rings = pair.driver.kick();
                let new = !self.added.is_empty();
                assert!(new || !rings, "nothing to ring for");
                assert!(rings || !(new && self.waiting), "the device waits");
                self.waiting &= !new;
                self.available.append(&mut self.added);
            }
            Deed::Poll => {
                let reply = pair.driver.poll().map(|reply| (reply.id, reply.data));
                assert_eq!(reply, self.used.pop_front());
                if let Some((id, _)) = reply {
                    self.contents.remove(&id);
                }
            }
            Deed::Interrupts(wanted) => pair.driver.want_interrupts(*wanted),
            Deed::Pop => self.pop(pair),
            Deed::Unpop(count) => {
                for _ in 0..*count {
                    let Some(id) = self.last.pop() else { return };
                    let at = self.popped.iter().position(|chain| chain.id() == id);
                    pair.queue.unpop(&self.popped.remove(at.unwrap()));
                    self.available.push_front(id);
                    assert_eq!(self.order.pop_back(), Some(id));
                }
            }
            Deed::Push(index) => {
                if !self.popped.is_empty() {
                    let chain = index.get(&self.popped).clone();
                    self.push(pair, &chain);
                }
            }
            Deed::Publish => {
                let sent = pair.publish();
                let due = pair.driver.interrupt_due();
                assert_eq!(sent, due);
                assert!(!sent || !self.pushed.is_empty());
                self.used.append(&mut self.pushed);
            }
            Deed::Notifications(wanted) => {
                let more = pair.want_notifications(*wanted);
                assert!(!more || !self.available.is_empty());
                self.waiting = *wanted && !more;
            }
            Deed::Restore => {
                // What was pushed is published before a save.
                self.step(pair, &Deed::Publish);
                let state = QueueStateV1::from(&pair.queue);
                pair.queue = Queue::new(256);
                let restored = pair.queue.restore(&state, &pair.ram, pair.features);
                assert_eq!(restored, Ok(()));
            }
        }
    }

    fn add(&mut self, pair: &mut Pair, readable: u8, writable: u8) {
        let count = u16::from(readable + writable);
        let indirect = Feature::IndirectDescriptors.is_in(pair.features);
        let needed = if indirect { count.min(1) } else { count };
        if count == 0 || count > pair.queue.size() || needed > pair.driver.free() {
            return;
        }
        self.serial = self.serial.wrapping_add(1);
        let parts: Vec<Vec<u8>> = (0..readable)
            .map(|part| vec![self.serial; usize::from(part) + 1])
            .collect();
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let lens: Vec<u32> = (0..writable).map(|part| u32::from(part) + 2).collect();
        let id = pair.driver.add(&slices, &lens);
        self.contents.insert(id, parts.concat());
        self.added.push_back(id);
    }

    fn pop(&mut self, pair: &mut Pair) {
        let mut chain = Chain::default();
        let popped = pair.queue.pop(&pair.ram, &mut chain);
        let Some(id) = self.available.pop_front() else {
            assert_eq!(popped, Ok(false));
            return;
        };
        assert_eq!((popped, chain.id()), (Ok(true), id));
        let mut data = vec![0; chain.readable_len().try_into().unwrap()];
        chain.read(&pair.ram, 0, &mut data).unwrap();
        assert_eq!(Some(&data), self.contents.get(&id));
        self.last.push(id);
        self.order.push_back(id);
        self.popped.push(chain);
    }

    fn push(&mut self, pair: &mut Pair, chain: &Chain) {
        let id = chain.id();
        self.popped.retain(|chain| chain.id() != id);
        // Those that were popped before it cannot be put back any more, those behind it can.
        let at = self.last.iter().position(|other| *other == id);
        self.last.drain(..at.map_or(0, |at| at + 1));
        let len = (chain.writable_len() / 2).try_into().unwrap();
        let data = vec![!self.serial; len];
        chain.write(&pair.ram, 0, &data).unwrap();
        pair.push(id, len.try_into().unwrap());
        self.finished.insert(id, data);
        if !Feature::InOrder.is_in(pair.features) {
            self.order.retain(|other| *other != id);
            let data = self.finished.remove(&id).unwrap();
            self.pushed.push_back((id, data));
        }
        while let Some(id) = self
            .order
            .front()
            .filter(|_| Feature::InOrder.is_in(pair.features))
        {
            let Some(data) = self.finished.remove(id) else {
                break;
            };
            self.pushed.push_back((*id, data));
            self.order.pop_front();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_buffer_comes_back_once(
        ring in prop::sample::select(Ring::ALL.to_vec()),
        size in prop::sample::select(vec![8_u16, 16]),
        features in prop::sample::select(FEATURES.to_vec()),
        deeds in prop::collection::vec(deed(), 0..400),
    ) {
        run(ring, size, features, &deeds);
    }

    #[test]
    fn packed_rings_have_any_size(
        size in 1..40_u16,
        features in prop::sample::select(FEATURES.to_vec()),
        deeds in prop::collection::vec(deed(), 0..400),
    ) {
        run(Ring::Packed, size, features, &deeds);
    }
}
