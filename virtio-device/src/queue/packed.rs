//! The packed ring: virtio 1.3, 2.8.
//!
//! | area | alignment | bytes | holds |
//! |---|---|---|---|
//! | descriptor ring | 16 | 16 a descriptor | `pvirtq_desc`, available and used |
//! | driver event suppression | 4 | 4 | which used descriptor is worth an interrupt |
//! | device event suppression | 4 | 4 | which available descriptor is worth a notification |

use std::sync::atomic::{Ordering, fence};

use trivisor_memory::GuestRam;

use super::descriptor::{self, Descriptor, Layout, Limits, flag};
use super::flight::{Flight, Used};
use super::position::Position;
use super::ring::Negotiated;
use super::window::Window;
use super::{Chain, QueueError};

/// Where a descriptor's `flags` stand.
const FLAGS: u64 = 14;
/// Where `len` and `id` stand.
const LEN: u64 = 8;

/// RING_EVENT_FLAGS_*, in the high half of an event suppression structure.
mod event {
    pub(super) const ENABLE: u16 = 0;
    pub(super) const DISABLE: u16 = 1;
    pub(super) const DESC: u16 = 2;
    pub(super) const MASK: u16 = 3;
}

/// Alignment and bytes of the areas of a ring of `size`.
pub(super) const fn areas(size: u16) -> [(u64, u64); 3] {
    [(16, 16 * size as u64), (4, 4), (4, 4)]
}

/// A packed ring that is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackedRing {
    size: u16,
    /// Descriptor ring, driver and device event suppression.
    addresses: [u64; 3],
    negotiated: Negotiated,
    pub(super) flight: Flight,
    /// The next descriptor that is taken.
    pub(super) next_avail: Position,
    /// Descriptors from `next_avail` on that the device has seen and put back.
    put_back: u16,
    /// The next descriptor that is written.
    pub(super) next_used: Position,
    /// Up to where the driver sees used descriptors.
    published: Position,
    /// The flags of the descriptor at `published`, which are written last: the driver looks there first, and then sees
    /// all that were pushed with it.
    held_flags: Option<u16>,
    /// The driver was told that it need not ring.
    spared: bool,
}

impl PackedRing {
    pub(super) fn new(size: u16, addresses: [u64; 3], negotiated: Negotiated) -> Self {
        Self {
            size,
            addresses,
            negotiated,
            flight: Flight::new(size, negotiated.in_order),
            next_avail: Position::START,
            put_back: 0,
            next_used: Position::START,
            published: Position::START,
            held_flags: None,
            spared: false,
        }
    }

    /// Goes on where a saved ring was.
    pub(super) fn go_on(&mut self, next_avail: Position, next_used: Position, flight: Flight) {
        (self.next_avail, self.next_used) = (next_avail, next_used);
        self.published = next_used;
        self.flight = flight;
    }

    pub(super) fn pop(&mut self, ram: &GuestRam, chain: &mut Chain) -> Result<bool, QueueError> {
        let ring = self.descriptors(ram)?;
        // Acquire: what stands in the descriptors is read after these flags.
        if !Self::is_available(&ring, self.next_avail)? {
            return Ok(false);
        }
        self.walk(ram, &ring, chain)?;
        let (descriptors, size) = (chain.descriptors, self.size);
        let held = self.flight.held();
        if held.saturating_add(descriptors) > size {
            return Err(QueueError::Overrun {
                descriptors,
                held,
                size,
            });
        }
        self.flight.take(chain.id, descriptors)?;
        self.next_avail = self.next_avail.forward(descriptors, size);
        self.put_back = self.put_back.saturating_sub(descriptors);
        Ok(true)
    }

    pub(super) fn unpop(&mut self, chain: &Chain) {
        if let Some(descriptors) = self.flight.untake(chain.id) {
            self.next_avail = self.next_avail.back(descriptors, self.size);
            self.put_back = self.put_back.saturating_add(descriptors);
        }
    }

    /// Writes a descriptor; the driver does not see it before the first of those that are pushed together.
    pub(super) fn write_used(&mut self, ram: &GuestRam, used: Used) -> Result<(), QueueError> {
        let ring = self.descriptors(ram)?;
        let at = u64::from(self.next_used.offset) * descriptor::BYTES;
        let [a, b, c, d] = used.written.to_le_bytes();
        let [e, f] = used.id.to_le_bytes();
        ring.write(at + LEN, &[a, b, c, d, e, f])?;
        let mut flags = 0;
        if self.next_used.wrap {
            flags |= flag::AVAIL | flag::USED;
        }
        if used.written > 0 {
            flags |= flag::WRITE;
        }
        if self.held_flags.is_some() {
            ring.store_u16(at + FLAGS, flags, Ordering::Release)?;
        } else {
            self.held_flags = Some(flags);
        }
        self.next_used = self.next_used.forward(used.descriptors, self.size);
        Ok(())
    }

    pub(super) fn publish(&mut self, ram: &GuestRam) -> Result<bool, QueueError> {
        let Some(flags) = self.held_flags else {
            return Ok(false);
        };
        let (old, new) = (self.published, self.next_used);
        // Release: the descriptor, those behind it and the buffers' data are written before it.
        let at = u64::from(old.offset) * descriptor::BYTES + FLAGS;
        self.descriptors(ram)?
            .store_u16(at, flags, Ordering::Release)?;
        self.held_flags = None;
        self.published = new;
        // The driver writes its wish and then reads the flags; we the other way round. One of us sees the other's.
        fence(Ordering::SeqCst);
        let [_, address, _] = self.addresses;
        let wish = Window::new(ram, "the driver event suppression", address, 4)?;
        let [low, high] = halves(wish.load_u32(0, Ordering::Relaxed)?);
        match high & event::MASK {
            event::ENABLE => Ok(true),
            event::DISABLE => Ok(false),
            event::DESC if self.negotiated.event_index => {
                let (event, size) = (Position::from_bits(low), self.size);
                if !event.is_within(size) {
                    let offset = event.offset;
                    return Err(QueueError::EventOffset { offset, size });
                }
                Ok(old.distance(event, size) < old.distance(new, size))
            }
            flags => Err(QueueError::EventFlags { flags }),
        }
    }

    pub(super) fn want_notifications(
        &mut self,
        ram: &GuestRam,
        wanted: bool,
    ) -> Result<bool, QueueError> {
        // What the device knows of needs no notification, whether it took it or put it back.
        let known = self.next_avail.forward(self.put_back, self.size);
        let flags = match wanted {
            false => event::DISABLE,
            true if self.negotiated.event_index => event::DESC,
            true => event::ENABLE,
        };
        if !wanted && self.spared {
            return Ok(false);
        }
        self.spared = !wanted;
        let [.., address] = self.addresses;
        let wish = Window::new(ram, "the device event suppression", address, 4)?;
        let value = u32::from(flags) << 16 | u32::from(known.into_bits());
        wish.store_u32(0, value, Ordering::Relaxed)?;
        if !wanted {
            return Ok(false);
        }
        // The driver writes its flags and then reads our wish; we the other way round.
        fence(Ordering::SeqCst);
        Self::is_available(&self.descriptors(ram)?, known)
    }

    /// Whether there is a buffer that the device does not know of.
    pub(super) fn has_news(&self, ram: &GuestRam) -> Result<bool, QueueError> {
        let known = self.next_avail.forward(self.put_back, self.size);
        Self::is_available(&self.descriptors(ram)?, known)
    }

    /// The chain that begins at the next descriptor.
    fn walk(&self, ram: &GuestRam, ring: &Window<'_>, chain: &mut Chain) -> Result<(), QueueError> {
        let limits = Limits {
            layout: Layout::Packed,
            head: self.next_avail.offset,
            size: self.size,
            indirect: self.negotiated.indirect,
        };
        let mut at = self.next_avail;
        loop {
            let index = at.offset;
            let descriptor = Descriptor::read(ring, index.into(), Layout::Packed)?;
            // Each has to be marked, not the first alone (2.8.6); one that is not belongs to the device, or to nobody.
            if !marked_available(descriptor.flags, at.wrap) {
                return Err(QueueError::NotAvailable { index });
            }
            let goes_on = descriptor.has(flag::NEXT);
            chain.id = descriptor.link;
            chain.descriptors += 1;
            if descriptor.has(flag::INDIRECT) {
                // Unlike in a split ring, a table stands alone (2.8.18).
                if goes_on || chain.len() > 0 {
                    return Err(QueueError::IndirectInChain { index });
                }
                return limits.add_table(ram, chain, index, &descriptor);
            }
            limits.add(chain, index, &descriptor)?;
            if !goes_on {
                return Ok(());
            }
            at = at.forward(1, self.size);
        }
    }

    fn is_available(ring: &Window<'_>, at: Position) -> Result<bool, QueueError> {
        let offset = u64::from(at.offset) * descriptor::BYTES + FLAGS;
        let flags = ring.load_u16(offset, Ordering::Acquire)?;
        Ok(marked_available(flags, at.wrap))
    }

    fn descriptors<'a>(&self, ram: &'a GuestRam) -> Result<Window<'a>, QueueError> {
        let [address, ..] = self.addresses;
        let [(_, len), ..] = areas(self.size);
        Window::new(ram, "the descriptor ring", address, len)
    }
}

/// Available on the lap of `wrap`: AVAIL is the counter, USED its inverse.
const fn marked_available(flags: u16, wrap: bool) -> bool {
    (flags & flag::AVAIL != 0) == wrap && (flags & flag::USED != 0) != wrap
}

#[expect(clippy::cast_possible_truncation, reason = "each half is 16 bits wide")]
const fn halves(value: u32) -> [u16; 2] {
    [value as u16, (value >> 16) as u16]
}
