//! The driver's side of a split ring: 2.7.13 and 2.7.14.

use std::collections::VecDeque;
use std::sync::atomic::{Ordering, fence};

use super::driver::{DriverRing, Element, NEXT};
use super::heap::Heap;
use crate::features::Feature;

#[derive(Debug)]
pub(super) struct SplitDriver {
    size: u16,
    table: u64,
    available: u64,
    used: u64,
    event_index: bool,
    in_order: bool,
    free: VecDeque<u16>,
    /// The descriptors of each chain, by its first one.
    chains: Vec<Vec<u16>>,
    /// The chains that the device has, in the order in which they were added.
    order: VecDeque<u16>,
    next_avail: u16,
    kicked: u16,
    last_used: u16,
    interrupted: u16,
    wanted: bool,
}

impl SplitDriver {
    pub(super) fn new(heap: &mut Heap, size: u16, features: u64) -> Self {
        let n = u64::from(size);
        Self {
            size,
            table: heap.take(16 * n, 16),
            available: heap.take(6 + 2 * n, 2),
            // Of a whole queue that is where the legacy layout has it (2.7.2).
            used: heap.take(6 + 8 * n, 4096),
            event_index: Feature::EventIndex.is_in(features),
            in_order: Feature::InOrder.is_in(features),
            free: (0..size).collect(),
            chains: vec![Vec::new(); size.into()],
            order: VecDeque::new(),
            next_avail: 0,
            kicked: 0,
            last_used: 0,
            interrupted: 0,
            wanted: true,
        }
    }

    fn slot(&self, index: u16) -> u64 {
        u64::from(index % self.size)
    }

    fn used_event(&self) -> u64 {
        self.available + 4 + 2 * u64::from(self.size)
    }

    fn avail_event(&self) -> u64 {
        self.used + 4 + 8 * u64::from(self.size)
    }
}

fn descriptor(element: &Element, next: Option<u16>) -> Vec<u8> {
    let flags = element.flags | if next.is_some() { NEXT } else { 0 };
    [
        element.segment.address.to_le_bytes().as_slice(),
        &element.segment.len.to_le_bytes(),
        &flags.to_le_bytes(),
        &next.unwrap_or_default().to_le_bytes(),
    ]
    .concat()
}

/// Whether `event` is one of the indices from `old` up to, but not with, `new`.
fn crossed(event: u16, old: u16, new: u16) -> bool {
    event.wrapping_sub(old) < new.wrapping_sub(old)
}

impl DriverRing for SplitDriver {
    fn free(&self) -> u16 {
        u16::try_from(self.free.len()).expect("no more than the size")
    }

    fn addresses(&self) -> [u64; 3] {
        [self.table, self.available, self.used]
    }

    fn add(&mut self, heap: &Heap, elements: &[Element]) -> u16 {
        let chain: Vec<u16> = self.free.drain(..elements.len()).collect();
        for (at, element) in elements.iter().enumerate() {
            let bytes = descriptor(element, chain.get(at + 1).copied());
            heap.write(self.table + 16 * u64::from(chain[at]), &bytes);
        }
        let head = chain[0];
        let entry = self.available + 4 + 2 * self.slot(self.next_avail);
        heap.write(entry, &head.to_le_bytes());
        self.next_avail = self.next_avail.wrapping_add(1);
        self.chains[usize::from(head)] = chain;
        self.order.push_back(head);
        head
    }

    fn table(&self, elements: &[Element]) -> Vec<u8> {
        let last = elements.len() - 1;
        let entries = elements.iter().enumerate().map(|(at, element)| {
            let next = (at < last).then(|| u16::try_from(at + 1).expect("a short table"));
            descriptor(element, next)
        });
        entries.collect::<Vec<_>>().concat()
    }

    fn kick(&mut self, heap: &Heap) -> bool {
        fence(Ordering::SeqCst);
        heap.write(self.available + 2, &self.next_avail.to_le_bytes());
        fence(Ordering::SeqCst);
        let (old, new) = (self.kicked, self.next_avail);
        self.kicked = new;
        if self.event_index {
            crossed(heap.read_u16(self.avail_event()), old, new)
        } else {
            old != new && heap.read_u16(self.used) & 1 == 0
        }
    }

    fn poll(&mut self, heap: &Heap) -> Option<(u16, u32)> {
        if heap.read_u16(self.used + 2) == self.last_used {
            return None;
        }
        fence(Ordering::SeqCst);
        let entry = self.used + 4 + 8 * self.slot(self.last_used);
        let (id, written) = (heap.read_u32(entry), heap.read_u32(entry + 4));
        let id = u16::try_from(id).expect("a head is 16 bits wide");
        self.last_used = self.last_used.wrapping_add(1);
        let chain = self.chains.get_mut(usize::from(id)).expect("a head");
        self.free.extend(chain.drain(..));
        let turn = self.order.iter().position(|head| *head == id);
        assert!(!self.in_order || turn == Some(0), "{id} is out of order");
        turn.and_then(|turn| self.order.remove(turn));
        if self.wanted {
            self.want_interrupts(heap, true);
        }
        Some((id, written))
    }

    fn want_interrupts(&mut self, heap: &Heap, wanted: bool) {
        self.wanted = wanted;
        if self.event_index {
            // What is not wanted was passed long ago.
            let event = self.last_used.wrapping_sub(u16::from(!wanted));
            heap.write(self.used_event(), &event.to_le_bytes());
        } else {
            heap.write(self.available, &u16::from(!wanted).to_le_bytes());
        }
        fence(Ordering::SeqCst);
    }

    fn interrupt_due(&mut self, heap: &Heap) -> bool {
        let (old, new) = (self.interrupted, heap.read_u16(self.used + 2));
        self.interrupted = new;
        if self.event_index {
            crossed(heap.read_u16(self.used_event()), old, new)
        } else {
            old != new && self.wanted
        }
    }
}
