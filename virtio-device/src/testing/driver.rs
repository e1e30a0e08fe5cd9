//! A virtqueue, seen from the driver.

use std::collections::HashMap;
use std::ops::Range;

use trivisor_buses::Segment;
use trivisor_memory::GuestRam;

use super::Ring;
use super::heap::Heap;
use super::packed::PackedDriver;
use super::split::SplitDriver;
use crate::features::Feature;
use crate::queue::{Area, Queue};

/// A buffer that the device has given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// What [`DriverQueue::add`] called it.
    pub id: u16,
    /// Bytes that the device says it wrote.
    pub written: u32,
    /// Those bytes.
    pub data: Vec<u8>,
}

/// An element of a buffer as a descriptor tells of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element {
    pub(super) segment: Segment,
    pub(super) flags: u16,
}

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;
pub(super) const INDIRECT: u16 = 4;

/// A buffer that the device has.
#[derive(Debug)]
struct Pending {
    /// Taken from the heap, to be given back.
    owned: Vec<Segment>,
    table: Option<(u64, u64)>,
    writable: Vec<Segment>,
}

/// What a ring of either kind does.
pub(super) trait DriverRing: std::fmt::Debug + Send {
    /// Descriptors that are free.
    fn free(&self) -> u16;
    /// Where the parts lie.
    fn addresses(&self) -> [u64; 3];
    /// Writes a chain; what it is called.
    fn add(&mut self, heap: &Heap, elements: &[Element]) -> u16;
    /// The bytes of an indirect table.
    fn table(&self, elements: &[Element]) -> Vec<u8>;
    /// Lets the device see all chains; whether it wants to hear of those that are new to it.
    fn kick(&mut self, heap: &Heap) -> bool;
    /// The next chain that came back, and the bytes written to it.
    fn poll(&mut self, heap: &Heap) -> Option<(u16, u32)>;
    /// Wants interrupts or not.
    fn want_interrupts(&mut self, heap: &Heap, wanted: bool);
    /// Whether what came back since the last call is worth an interrupt.
    fn interrupt_due(&mut self, heap: &Heap) -> bool;
}

/// A queue of the driver, in a part of guest RAM that it has to itself.
#[derive(Debug)]
pub struct DriverQueue {
    heap: Heap,
    size: u16,
    ring: Box<dyn DriverRing>,
    indirect: bool,
    largest: u32,
    pending: HashMap<u16, Pending>,
}

impl DriverQueue {
    /// Lays out a ring of `size` descriptors in `range` of `ram`. `features` are those that were negotiated.
    ///
    /// # Panics
    /// When `range` is too small.
    #[must_use]
    pub fn new(ram: &GuestRam, range: Range<u64>, kind: Ring, size: u16, features: u64) -> Self {
        let mut heap = Heap::new(ram, range);
        let ring: Box<dyn DriverRing> = match kind {
            Ring::Split => Box::new(SplitDriver::new(&mut heap, size, features)),
            Ring::Packed => Box::new(PackedDriver::new(&mut heap, size, features)),
        };
        Self {
            heap,
            size,
            ring,
            indirect: Feature::IndirectDescriptors.is_in(features),
            largest: u32::MAX,
            pending: HashMap::new(),
        }
    }

    /// Writes size and addresses to the device's side of the queue.
    pub fn configure(&self, queue: &mut Queue) {
        queue.set_size(self.size);
        for (area, address) in Area::ALL.into_iter().zip(self.addresses()) {
            queue.set_address(area, address);
        }
    }

    /// Where descriptor, driver and device area lie.
    #[must_use]
    pub fn addresses(&self) -> [u64; 3] {
        self.ring.addresses()
    }

    /// Descriptors that are free.
    #[must_use]
    pub fn free(&self) -> u16 {
        self.ring.free()
    }

    /// Buffers that the device has.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Whether buffers of several elements are handed over as indirect tables. So they are if that was negotiated.
    pub const fn use_indirect(&mut self, indirect: bool) {
        self.indirect = indirect;
    }

    /// Bytes of an element at most: what is longer is cut, so that a device that trusts in the framing of a message is
    /// found (2.7.4).
    pub const fn cut_at(&mut self, bytes: u32) {
        self.largest = bytes;
    }

    /// Adds a buffer: an element with each of `readable`, one for each length in `writable`. What it is called.
    ///
    /// # Panics
    /// When there is no room.
    pub fn add(&mut self, readable: &[&[u8]], writable: &[u32]) -> u16 {
        let (mut elements, mut owned) = (Vec::new(), Vec::new());
        let largest = self.largest.max(1);
        for part in readable
            .iter()
            .flat_map(|data| data.chunks(largest as usize))
        {
            let segment = self
                .heap
                .take_buffer(u32::try_from(part.len()).expect("fits"));
            self.heap.write(segment.address, part);
            owned.push(segment);
            elements.push(Element { segment, flags: 0 });
        }
        for len in writable {
            let mut rest = *len;
            while rest > 0 {
                let segment = self.heap.take_buffer(rest.min(largest));
                rest -= segment.len;
                owned.push(segment);
                elements.push(Element {
                    segment,
                    flags: WRITE,
                });
            }
        }
        self.add_elements(&elements, owned)
    }

    /// Adds a buffer of elements that may lie anywhere, RAM or not.
    ///
    /// # Panics
    /// When there is no room in the ring.
    pub fn add_segments(&mut self, readable: &[Segment], writable: &[Segment]) -> u16 {
        let element = |flags| {
            move |segment: &Segment| Element {
                segment: *segment,
                flags,
            }
        };
        let mut elements: Vec<_> = readable.iter().map(element(0)).collect();
        elements.extend(writable.iter().map(element(WRITE)));
        self.add_elements(&elements, Vec::new())
    }

    /// Lets the device see what was added. True: it wants to be notified.
    pub fn kick(&mut self) -> bool {
        self.ring.kick(&self.heap)
    }

    /// The next buffer that the device has given back.
    ///
    /// # Panics
    /// When the device gave back what it did not have, says that it wrote more than there is, or wrote outside.
    pub fn poll(&mut self) -> Option<Reply> {
        let (id, written) = self.ring.poll(&self.heap)?;
        let pending = self.pending.remove(&id);
        let pending =
            pending.unwrap_or_else(|| panic!("the device gave back {id}, which it does not have"));
        let room = Segment::total(&pending.writable);
        assert!(
            u64::from(written) <= room,
            "the device wrote {written} bytes to {room}"
        );
        let mut data = Vec::new();
        for segment in &pending.writable {
            let rest = written - u32::try_from(data.len()).expect("no more than written");
            let part = rest.min(segment.len);
            if part > 0 {
                data.extend(self.heap.read(segment.address, part));
            }
        }
        for buffer in pending.owned {
            self.heap.give_buffer(buffer);
        }
        if let Some((table, len)) = pending.table {
            self.heap.give(table, len);
        }
        Some(Reply { id, written, data })
    }

    /// Asks for interrupts, or for none. At first they are wanted.
    pub fn want_interrupts(&mut self, wanted: bool) {
        self.ring.want_interrupts(&self.heap, wanted);
    }

    /// Whether what the device gave back since the last call asked for an interrupt.
    pub fn interrupt_due(&mut self) -> bool {
        self.ring.interrupt_due(&self.heap)
    }

    fn add_elements(&mut self, elements: &[Element], owned: Vec<Segment>) -> u16 {
        assert!(!elements.is_empty(), "a buffer has at least one element");
        let mut table = None;
        let mut chain = elements.to_vec();
        if self.indirect && elements.len() > 1 {
            let bytes = self.ring.table(elements);
            let address = self.heap.take(bytes.len() as u64, 1);
            self.heap.write(address, &bytes);
            table = Some((address, bytes.len() as u64));
            let len = u32::try_from(bytes.len()).expect("fits");
            chain = vec![Element {
                segment: Segment { address, len },
                flags: INDIRECT,
            }];
        }
        assert!(
            chain.len() <= usize::from(self.free()),
            "the ring has no room"
        );
        let id = self.ring.add(&self.heap, &chain);
        let writable = elements.iter().filter(|element| element.flags & WRITE != 0);
        let pending = Pending {
            owned,
            table,
            writable: writable.map(|element| element.segment).collect(),
        };
        assert!(self.pending.insert(id, pending).is_none(), "{id} is in use");
        id
    }
}
