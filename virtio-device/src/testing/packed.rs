//! The driver's side of a packed ring: 2.8.21 and 2.8.22.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{Ordering, fence};

use super::driver::{DriverRing, Element, NEXT, WRITE};
use super::heap::Heap;
use crate::features::Feature;

const AVAIL: u16 = 1 << 7;
const USED: u16 = 1 << 15;

/// Descriptors since the ring was laid out. Their number says where one is, and on which lap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count(u64);

#[derive(Debug)]
pub(super) struct PackedDriver {
    size: u16,
    ring: u64,
    driver_event: u64,
    device_event: u64,
    event_index: bool,
    in_order: bool,
    /// Identifiers that are free; they have nothing to do with the descriptors' places.
    ids: VecDeque<u16>,
    /// Descriptors of each chain that the device has.
    chains: HashMap<u16, u16>,
    /// Those chains, in the order in which they were added.
    order: VecDeque<u16>,
    free: u16,
    next_avail: Count,
    /// Where the chains since the last kick begin, and the flags of the first, which the device does not see yet.
    hidden: Option<(Count, u16)>,
    last_used: Count,
    interrupted: Count,
    wanted: bool,
}

impl PackedDriver {
    pub(super) fn new(heap: &mut Heap, size: u16, features: u64) -> Self {
        Self {
            size,
            ring: heap.take(16 * u64::from(size), 16),
            driver_event: heap.take(4, 4),
            device_event: heap.take(4, 4),
            event_index: Feature::EventIndex.is_in(features),
            in_order: Feature::InOrder.is_in(features),
            ids: (0..size).rev().collect(),
            chains: HashMap::new(),
            order: VecDeque::new(),
            free: size,
            next_avail: Count(0),
            hidden: None,
            last_used: Count(0),
            interrupted: Count(0),
            wanted: true,
        }
    }

    fn at(&self, count: Count) -> u64 {
        self.ring + 16 * (count.0 % u64::from(self.size))
    }

    /// The wrap counter: true on the first lap and each second one after it.
    fn wrap(&self, count: Count) -> bool {
        (count.0 / u64::from(self.size)).is_multiple_of(2)
    }

    /// Offset and wrap counter in 16 bits.
    fn position(&self, count: Count) -> u16 {
        let offset = u16::try_from(count.0 % u64::from(self.size)).expect("below the size");
        offset | u16::from(self.wrap(count)) << 15
    }

    /// Whether `event` is the position of a descriptor from `old` up to, but not with, `new`.
    fn crossed(&self, event: u16, old: Count, new: Count) -> bool {
        (old.0..new.0).any(|count| self.position(Count(count)) == event)
    }

    fn is_used(&self, heap: &Heap, count: Count) -> bool {
        let flags = heap.read_u16(self.at(count) + 14);
        let wrap = self.wrap(count);
        (flags & AVAIL != 0) == wrap && (flags & USED != 0) == wrap
    }

    fn wishes(&self, heap: &Heap, structure: u64, old: Count, new: Count) -> bool {
        let (event, flags) = (heap.read_u16(structure), heap.read_u16(structure + 2));
        match flags {
            0 => old != new,
            1 => false,
            2 if self.event_index => self.crossed(event, old, new),
            _ => panic!("event suppression flags {flags}"),
        }
    }
}

fn descriptor(element: &Element, id: u16, flags: u16) -> Vec<u8> {
    [
        element.segment.address.to_le_bytes().as_slice(),
        &element.segment.len.to_le_bytes(),
        &id.to_le_bytes(),
        &flags.to_le_bytes(),
    ]
    .concat()
}

impl DriverRing for PackedDriver {
    fn free(&self) -> u16 {
        self.free
    }

    fn addresses(&self) -> [u64; 3] {
        [self.ring, self.driver_event, self.device_event]
    }

    fn add(&mut self, heap: &Heap, elements: &[Element]) -> u16 {
        let id = self.ids.pop_front().expect("an identifier a descriptor");
        let last = elements.len() - 1;
        for (at, element) in elements.iter().enumerate() {
            let marks = if self.wrap(self.next_avail) {
                AVAIL
            } else {
                USED
            };
            let next = if at < last { NEXT } else { 0 };
            let flags = element.flags | marks | next;
            let first = self.hidden.is_none();
            let shown = if first {
                self.hidden = Some((self.next_avail, flags));
                // As it is: not available.
                heap.read_u16(self.at(self.next_avail) + 14)
            } else {
                flags
            };
            // Only the last descriptor's identifier counts (2.8.6).
            let named = if at < last { !id } else { id };
            heap.write(self.at(self.next_avail), &descriptor(element, named, shown));
            self.next_avail.0 += 1;
        }
        let descriptors = u16::try_from(elements.len()).expect("no more than the size");
        self.free -= descriptors;
        self.chains.insert(id, descriptors);
        self.order.push_back(id);
        id
    }

    fn table(&self, elements: &[Element]) -> Vec<u8> {
        let entries = elements
            .iter()
            .map(|element| descriptor(element, 0, element.flags & WRITE));
        entries.collect::<Vec<_>>().concat()
    }

    fn kick(&mut self, heap: &Heap) -> bool {
        let Some((first, flags)) = self.hidden.take() else {
            return false;
        };
        fence(Ordering::SeqCst);
        heap.write(self.at(first) + 14, &flags.to_le_bytes());
        fence(Ordering::SeqCst);
        self.wishes(heap, self.device_event, first, self.next_avail)
    }

    fn poll(&mut self, heap: &Heap) -> Option<(u16, u32)> {
        if self.last_used == self.next_avail || !self.is_used(heap, self.last_used) {
            return None;
        }
        fence(Ordering::SeqCst);
        let at = self.at(self.last_used);
        let (id, flags) = (heap.read_u16(at + 12), heap.read_u16(at + 14));
        // Without WRITE the length is reserved (2.8.4).
        let written = if flags & WRITE == 0 {
            0
        } else {
            heap.read_u32(at + 8)
        };
        let descriptors = self.chains.remove(&id);
        let descriptors = descriptors.unwrap_or_else(|| panic!("{id} is not with the device"));
        self.last_used.0 += u64::from(descriptors);
        self.free += descriptors;
        self.ids.push_back(id);
        let turn = self.order.iter().position(|other| *other == id);
        assert!(!self.in_order || turn == Some(0), "{id} is out of order");
        turn.and_then(|turn| self.order.remove(turn));
        if self.wanted {
            self.want_interrupts(heap, true);
        }
        Some((id, written))
    }

    fn want_interrupts(&mut self, heap: &Heap, wanted: bool) {
        self.wanted = wanted;
        let flags: u16 = match wanted {
            false => 1,
            true if self.event_index => 2,
            true => 0,
        };
        let event = self.position(self.last_used);
        let bytes = [event.to_le_bytes(), flags.to_le_bytes()].concat();
        heap.write(self.driver_event, &bytes);
        fence(Ordering::SeqCst);
    }

    fn interrupt_due(&mut self, heap: &Heap) -> bool {
        let old = self.interrupted;
        let mut new = old;
        // The chains that came back, one after the other, as `poll` will find them; those that it has found are
        // counted in `last_used`.
        if new.0 < self.last_used.0 {
            new = self.last_used;
        }
        let mut seen = Vec::new();
        while new != self.next_avail && self.is_used(heap, new) {
            let id = heap.read_u16(self.at(new) + 12);
            let Some(descriptors) = self.chains.get(&id).filter(|_| !seen.contains(&id)) else {
                break;
            };
            seen.push(id);
            new.0 += u64::from(*descriptors);
        }
        self.interrupted = new;
        self.wishes(heap, self.driver_event, old, new)
    }
}
