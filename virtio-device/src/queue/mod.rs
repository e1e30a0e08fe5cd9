//! Virtqueues, seen from the device: virtio 1.3, 2.6 to 2.8.
//!
//! Both kinds of ring stand behind [`Queue`]. Everything that a driver can get wrong is a [`QueueError`], never a
//! guess at what it meant: our own walk of the rings instead of virtio-queue's, which ends a malformed chain as if it
//! were complete, so that a device could not ask for the reset that 2.1.2 wants.
//!
//! A chain is walked whole when it is popped, in at most as many steps as the queue has descriptors; what it refers to
//! is checked by whoever moves the data.

mod area;
mod chain;
mod descriptor;
mod error;
mod flight;
mod packed;
mod position;
mod ring;
mod split;
mod state;
mod window;

#[cfg(test)]
mod tests;

use trivisor_memory::GuestRam;

pub use self::area::{Area, Half};
pub use self::chain::Chain;
pub use self::error::QueueError;
use self::packed::PackedRing;
use self::ring::{Negotiated, Ring};
use self::split::SplitRing;
pub use self::state::{HeldV1, QueueStateV1};
use self::window::Window;
use crate::features::Feature;

/// A virtqueue. The transport configures it, the device works on it through [`Io`](crate::Io).
///
/// Once the driver broke it, each [`pop`](Self::pop) says so again until [`reset`](Self::reset).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    // Configuration.
    max_size: u16,
    size: u16,
    /// `None`: not written.
    addresses: [Option<u64>; 3],
    // Guest-visible state.
    ring: Ring,
    broken: Option<QueueError>,
}

impl Queue {
    /// A queue of at most `max_size` descriptors: a power of two, 32768 at most. It is disabled.
    #[must_use]
    pub const fn new(max_size: u16) -> Self {
        Self {
            max_size,
            size: max_size,
            addresses: [None; 3],
            ring: Ring::Disabled,
            broken: None,
        }
    }

    /// The most descriptors that it can have.
    #[must_use]
    pub const fn max_size(&self) -> u16 {
        self.max_size
    }

    /// Descriptors, as the driver wrote them; after a reset the most.
    #[must_use]
    pub const fn size(&self) -> u16 {
        self.size
    }

    /// The guest-physical address of `area`, as the driver wrote it; 0 when it did not.
    #[must_use]
    pub fn address(&self, area: Area) -> u64 {
        let written = self.addresses.get(area.index()).copied();
        written.flatten().unwrap_or(0)
    }

    /// Whether it is enabled.
    #[must_use]
    pub const fn ready(&self) -> bool {
        !matches!(self.ring, Ring::Disabled)
    }

    /// What the driver did to it, if it cannot be gone on from.
    #[must_use]
    pub const fn broken(&self) -> Option<QueueError> {
        self.broken
    }

    /// The driver writes the size. It is checked by [`enable`](Self::enable). False, and without effect, while the queue
    /// is enabled.
    pub const fn set_size(&mut self, size: u16) -> bool {
        if self.ready() {
            return false;
        }
        self.size = size;
        true
    }

    /// The driver writes an address; otherwise as [`set_size`](Self::set_size).
    pub fn set_address(&mut self, area: Area, address: u64) -> bool {
        match self.addresses.get_mut(area.index()) {
            Some(place) if matches!(self.ring, Ring::Disabled) => {
                *place = Some(address);
                true
            }
            _ => false,
        }
    }

    /// The driver writes one half of an address; otherwise as [`set_size`](Self::set_size).
    pub fn set_address_half(&mut self, area: Area, half: Half, value: u32) -> bool {
        let old = self.address(area);
        let value = u64::from(value);
        let address = match half {
            Half::Low => old & !0xffff_ffff | value,
            Half::High => old & 0xffff_ffff | value << 32,
        };
        self.set_address(area, address)
    }

    /// The driver enables the queue, having accepted `features`, which choose the ring.
    ///
    /// # Errors
    /// When size or addresses are none that such a ring can have; the queue is then still disabled.
    pub fn enable(&mut self, ram: &GuestRam, features: u64) -> Result<(), QueueError> {
        if self.ready() {
            return Err(QueueError::Enabled);
        }
        let (size, max) = (self.size, self.max_size);
        if size == 0 || size > max {
            return Err(QueueError::Size { size, max });
        }
        let negotiated = Negotiated::new(features);
        self.ring = if Feature::PackedRing.is_in(features) {
            let addresses = self.check_areas(ram, packed::areas(size))?;
            Ring::Packed(PackedRing::new(size, addresses, negotiated))
        } else {
            if !size.is_power_of_two() {
                return Err(QueueError::SizeNotPowerOfTwo { size });
            }
            let addresses = self.check_areas(ram, split::areas(size))?;
            Ring::Split(SplitRing::new(size, addresses, negotiated))
        };
        self.broken = None;
        Ok(())
    }

    /// As after power-on: disabled, no addresses, the largest size. What the device has of it is forgotten.
    pub fn reset(&mut self) {
        *self = Self::new(self.max_size);
    }

    /// Takes the next buffer that the driver made available; false when there is none, or the queue is not enabled.
    ///
    /// # Errors
    /// When the driver broke the queue. `chain` then holds nothing of use.
    pub fn pop(&mut self, ram: &GuestRam, chain: &mut Chain) -> Result<bool, QueueError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        chain.clear();
        let popped = match &mut self.ring {
            Ring::Disabled => Ok(false),
            Ring::Split(ring) => ring.pop(ram, chain),
            Ring::Packed(ring) => ring.pop(ram, chain),
        };
        self.check(popped)
    }

    /// Gives the buffer `id` back, with `written` bytes written to it: the driver sees it after
    /// [`publish`](Self::publish). With VIRTIO_F_IN_ORDER it waits until all that were popped before it are back.
    ///
    /// # Errors
    /// When the device does not have it, or the ring is not RAM.
    pub fn push(&mut self, ram: &GuestRam, id: u16, written: u32) -> Result<(), QueueError> {
        let pushed = self.ring.push(ram, id, written);
        self.check(pushed)
    }

    /// Puts back the last `chain` that was popped, as often as there are such: it is the next one to be popped. Without
    /// effect when the device does not have it.
    pub fn unpop(&mut self, chain: &Chain) {
        match &mut self.ring {
            Ring::Disabled => {}
            Ring::Split(ring) => ring.unpop(chain),
            Ring::Packed(ring) => ring.unpop(chain),
        }
    }

    /// Lets the driver see what was pushed; true when it wants an interrupt for it.
    ///
    /// # Errors
    /// When the ring is not RAM, or the driver's wish makes no sense.
    pub fn publish(&mut self, ram: &GuestRam) -> Result<bool, QueueError> {
        let published = match &mut self.ring {
            Ring::Disabled => Ok(false),
            Ring::Split(ring) => ring.publish(ram),
            Ring::Packed(ring) => ring.publish(ram),
        };
        self.check(published)
    }

    /// Asks the driver to ring when it makes the next buffer available (true), or spares it that (false). True: there is
    /// one already that the device has not seen, and the driver may not ring for it. Buffers that were put back have been
    /// seen.
    ///
    /// # Errors
    /// When the driver broke the queue.
    pub fn want_notifications(&mut self, ram: &GuestRam, wanted: bool) -> Result<bool, QueueError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let more = match &mut self.ring {
            Ring::Disabled => Ok(false),
            Ring::Split(ring) => ring.want_notifications(ram, wanted),
            Ring::Packed(ring) => ring.want_notifications(ram, wanted),
        };
        self.check(more)
    }

    /// Whether there is a buffer that the device has not seen; [`want_notifications`](Self::want_notifications) says
    /// so as well, but here the driver is not told anything.
    ///
    /// # Errors
    /// When the driver broke the queue.
    pub fn has_news(&mut self, ram: &GuestRam) -> Result<bool, QueueError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let news = match &self.ring {
            Ring::Disabled => Ok(false),
            Ring::Split(ring) => ring.has_news(ram),
            Ring::Packed(ring) => ring.has_news(ram),
        };
        self.check(news)
    }

    /// What is popped next, and where the next used buffer goes, as VIRTIO_F_NOTIFICATION_DATA tells it (2.9): the
    /// free-running index of a split ring; the offset, and in bit 15 the wrap counter, of a packed one. 0 while the queue
    /// is not enabled.
    #[must_use]
    pub const fn positions(&self) -> (u16, u16) {
        match &self.ring {
            Ring::Disabled => (0, 0),
            Ring::Split(ring) => (ring.next_avail, ring.next_used),
            Ring::Packed(ring) => (ring.next_avail.into_bits(), ring.next_used.into_bits()),
        }
    }

    /// Keeps what broke the queue.
    fn check<T>(&mut self, result: Result<T, QueueError>) -> Result<T, QueueError> {
        if let Err(error) = &result {
            self.broken.get_or_insert(*error);
        }
        result
    }

    /// The addresses, if all areas are RAM, each with its alignment and bytes.
    fn check_areas(&self, ram: &GuestRam, areas: [(u64, u64); 3]) -> Result<[u64; 3], QueueError> {
        for ((area, address), (align, len)) in Area::ALL.into_iter().zip(self.addresses).zip(areas)
        {
            let address = address.ok_or(QueueError::AddressMissing { area })?;
            if !address.is_multiple_of(align) {
                return Err(QueueError::Misaligned {
                    area,
                    address,
                    align,
                });
            }
            Window::new(ram, area.name(), address, len)?;
        }
        Ok(self.addresses.map(Option::unwrap_or_default))
    }
}
