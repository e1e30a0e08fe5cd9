//! The split ring: virtio 1.3, 2.7.
//!
//! | area | alignment | bytes | holds |
//! |---|---|---|---|
//! | descriptor table | 16 | 16 a descriptor | `virtq_desc` |
//! | available ring | 2 | 6 + 2 a descriptor | flags, idx, ring, used_event |
//! | used ring | 4 | 6 + 8 a descriptor | flags, idx, ring, avail_event |

use std::sync::atomic::{Ordering, fence};

use trivisor_memory::GuestRam;

use super::descriptor::{Descriptor, Layout, Limits, flag};
use super::flight::{Flight, Used};
use super::ring::Negotiated;
use super::window::Window;
use super::{Chain, QueueError};

/// Offsets of both rings' fields.
const FLAGS: u64 = 0;
const IDX: u64 = 2;
const RING: u64 = 4;

/// VIRTQ_AVAIL_F_NO_INTERRUPT.
const NO_INTERRUPT: u16 = 1;
/// VIRTQ_USED_F_NO_NOTIFY.
const NO_NOTIFY: u16 = 1;

/// Bytes of the used ring's entries.
const USED_BYTES: u64 = 8;

/// Alignment and bytes of the areas of a ring of `size`.
pub(super) const fn areas(size: u16) -> [(u64, u64); 3] {
    let size = size as u64;
    [(16, 16 * size), (2, 6 + 2 * size), (4, 6 + 8 * size)]
}

/// A split ring that is enabled. Its indices run freely, as those in guest RAM do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SplitRing {
    size: u16,
    /// Descriptor table, available ring, used ring.
    addresses: [u64; 3],
    negotiated: Negotiated,
    pub(super) flight: Flight,
    /// The next entry of the available ring that is taken.
    pub(super) next_avail: u16,
    /// The driver's index as last seen.
    seen_avail: u16,
    /// Entries from `next_avail` on that the device has seen and put back.
    put_back: u16,
    /// The next entry of the used ring that is written.
    pub(super) next_used: u16,
    /// The used index that the driver sees.
    published: u16,
    /// The driver was told that it need not ring.
    spared: bool,
}

impl SplitRing {
    pub(super) fn new(size: u16, addresses: [u64; 3], negotiated: Negotiated) -> Self {
        Self {
            size,
            addresses,
            negotiated,
            flight: Flight::new(size, negotiated.in_order),
            next_avail: 0,
            seen_avail: 0,
            put_back: 0,
            next_used: 0,
            published: 0,
            spared: false,
        }
    }

    /// Goes on where a saved ring was.
    pub(super) fn go_on(&mut self, next_avail: u16, next_used: u16, flight: Flight) {
        (self.next_avail, self.seen_avail) = (next_avail, next_avail);
        (self.next_used, self.published) = (next_used, next_used);
        self.flight = flight;
    }

    pub(super) fn pop(&mut self, ram: &GuestRam, chain: &mut Chain) -> Result<bool, QueueError> {
        let available = self.available(ram)?;
        if self.seen_avail == self.next_avail {
            // Acquire: the entries in front of the index, and their descriptors, are read after it.
            self.seen_avail = self.load_avail(&available)?;
            if self.seen_avail == self.next_avail {
                return Ok(false);
            }
        }
        let slot = self.slot(self.next_avail);
        let head = available.load_u16(RING + 2 * slot, Ordering::Relaxed)?;
        self.walk(ram, head, chain)?;
        self.flight.take(head, 1)?;
        (chain.id, chain.descriptors) = (head, 1);
        self.next_avail = self.next_avail.wrapping_add(1);
        self.put_back = self.put_back.saturating_sub(1);
        Ok(true)
    }

    pub(super) fn unpop(&mut self, chain: &Chain) {
        if self.flight.untake(chain.id).is_some() {
            self.next_avail = self.next_avail.wrapping_sub(1);
            self.put_back += 1;
        }
    }

    /// Writes an entry that the driver does not see yet.
    pub(super) fn write_used(&mut self, ram: &GuestRam, used: Used) -> Result<(), QueueError> {
        let [id, len] = [u32::from(used.id), used.written].map(u32::to_le_bytes);
        let [a, b, c, d] = id;
        let [e, f, g, h] = len;
        let slot = self.slot(self.next_used);
        self.used(ram)?
            .write(RING + USED_BYTES * slot, &[a, b, c, d, e, f, g, h])?;
        self.next_used = self.next_used.wrapping_add(1);
        Ok(())
    }

    pub(super) fn publish(&mut self, ram: &GuestRam) -> Result<bool, QueueError> {
        let (old, new) = (self.published, self.next_used);
        if old == new {
            return Ok(false);
        }
        // Release: the entries, and the buffers' data, are written before it.
        self.used(ram)?.store_u16(IDX, new, Ordering::Release)?;
        self.published = new;
        // The driver writes its wish and then reads the index; we the other way round. One of us sees the other's.
        fence(Ordering::SeqCst);
        let available = self.available(ram)?;
        if !self.negotiated.event_index {
            let flags = available.load_u16(FLAGS, Ordering::Relaxed)?;
            return Ok(flags & NO_INTERRUPT == 0);
        }
        let used_event = RING + 2 * u64::from(self.size);
        let event = available.load_u16(used_event, Ordering::Relaxed)?;
        Ok(passes(event, old, new))
    }

    pub(super) fn want_notifications(
        &mut self,
        ram: &GuestRam,
        wanted: bool,
    ) -> Result<bool, QueueError> {
        let used = self.used(ram)?;
        // What the device knows of needs no notification, whether it took it or put it back.
        let known = self.next_avail.wrapping_add(self.put_back);
        if !self.negotiated.event_index {
            // Not written again for nothing: the driver polls the index beside it.
            if wanted || !self.spared {
                let flags = if wanted { 0 } else { NO_NOTIFY };
                used.store_u16(FLAGS, flags, Ordering::Relaxed)?;
            }
        } else if wanted {
            let avail_event = RING + USED_BYTES * u64::from(self.size);
            used.store_u16(avail_event, known, Ordering::Relaxed)?;
        }
        self.spared = !wanted;
        // Without a wish the last event stays, and the driver has passed it.
        if !wanted {
            return Ok(false);
        }
        // The driver writes its index and then reads our wish; we the other way round.
        fence(Ordering::SeqCst);
        self.seen_avail = self.load_avail(&self.available(ram)?)?;
        Ok(self.seen_avail != known)
    }

    /// Whether there is a buffer that the device does not know of.
    pub(super) fn has_news(&self, ram: &GuestRam) -> Result<bool, QueueError> {
        let known = self.next_avail.wrapping_add(self.put_back);
        Ok(self.load_avail(&self.available(ram)?)? != known)
    }

    /// The chain that begins at `head`.
    fn walk(&self, ram: &GuestRam, head: u16, chain: &mut Chain) -> Result<(), QueueError> {
        let size = self.size;
        if head >= size {
            return Err(QueueError::Head { head, size });
        }
        let limits = Limits {
            layout: Layout::Split,
            head,
            size,
            indirect: self.negotiated.indirect,
        };
        let [address, ..] = self.addresses;
        let [(_, len), ..] = areas(size);
        let table = Window::new(ram, "the descriptor table", address, len)?;
        let mut index = head;
        loop {
            let descriptor = Descriptor::read(&table, index.into(), Layout::Split)?;
            let goes_on = descriptor.has(flag::NEXT);
            // A table ends the chain; elements may stand in front of it (2.7.5.3.2).
            if descriptor.has(flag::INDIRECT) {
                if goes_on {
                    return Err(QueueError::IndirectInChain { index });
                }
                return limits.add_table(ram, chain, index, &descriptor);
            }
            limits.add(chain, index, &descriptor)?;
            if !goes_on {
                return Ok(());
            }
            let next = descriptor.link;
            if next >= size {
                return Err(QueueError::Next {
                    index,
                    next,
                    len: size.into(),
                });
            }
            index = next;
        }
    }

    fn load_avail(&self, available: &Window<'_>) -> Result<u16, QueueError> {
        let to = available.load_u16(IDX, Ordering::Acquire)?;
        let (from, size) = (self.next_avail, self.size);
        if to.wrapping_sub(from) > size {
            return Err(QueueError::IndexJump { from, to, size });
        }
        Ok(to)
    }

    fn available<'a>(&self, ram: &'a GuestRam) -> Result<Window<'a>, QueueError> {
        let [_, address, _] = self.addresses;
        let [_, (_, len), _] = areas(self.size);
        Window::new(ram, "the available ring", address, len)
    }

    fn used<'a>(&self, ram: &'a GuestRam) -> Result<Window<'a>, QueueError> {
        let [.., address] = self.addresses;
        let [.., (_, len)] = areas(self.size);
        Window::new(ram, "the used ring", address, len)
    }

    /// Where a free-running index stands in a ring; the size is a power of two.
    fn slot(&self, index: u16) -> u64 {
        u64::from(index & self.size.wrapping_sub(1))
    }
}

/// Whether an index on its way from `old` to `new` writes the entry `event`: 2.7.7.2 and 2.7.10.
const fn passes(event: u16, old: u16, new: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}
