//! Saved state of a queue. It is part of its transport's.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;
use trivisor_memory::GuestRam;

use super::flight::Flight;
use super::position::Position;
use super::ring::Ring;
use super::{Area, Queue, QueueError};

/// What a refused state says that it was of.
const KIND: &str = "virtqueue";

/// Version 1. What the device pushed is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStateV1 {
    /// Descriptors, as the driver wrote them.
    pub size: u16,
    /// Addresses of descriptor, driver and device area, where they were written.
    pub addresses: [Option<u64>; 3],
    /// Enabled.
    pub ready: bool,
    /// What is popped next: the free-running index of a split ring; offset, and in bit 15 the wrap counter, of a packed
    /// one.
    pub next_avail: u16,
    /// Where the next used buffer goes, in the same form.
    pub next_used: u16,
    /// Buffers that the device has. With VIRTIO_F_IN_ORDER in the order in which it got them.
    pub held: Vec<HeldV1>,
}

/// A buffer that the device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldV1 {
    /// What it is called.
    pub id: u16,
    /// Its descriptors in the ring.
    pub descriptors: u16,
    /// Bytes written to it, if it is finished and waits for those before it.
    pub written: Option<u32>,
}

impl From<&Queue> for QueueStateV1 {
    fn from(queue: &Queue) -> Self {
        let Queue {
            max_size: _,
            size,
            addresses,
            ring,
            // The driver's mistake still stands in guest RAM, and is found again.
            broken: _,
        } = queue;
        let (next_avail, next_used) = queue.positions();
        Self {
            size: *size,
            addresses: *addresses,
            ready: queue.ready(),
            next_avail,
            next_used,
            held: ring.flight().map_or_else(Vec::new, Flight::held_buffers),
        }
    }
}

impl Queue {
    /// Puts a saved state back; `features` are those that the driver accepted.
    ///
    /// # Errors
    /// When the state does not pass its checks; the queue is then untouched.
    pub fn restore(
        &mut self,
        state: &QueueStateV1,
        ram: &GuestRam,
        features: u64,
    ) -> Result<(), RestoreError> {
        let QueueStateV1 {
            size,
            addresses,
            ready,
            next_avail,
            next_used,
            held,
        } = state;
        let mut queue = Self::new(self.max_size);
        queue.size = *size;
        queue.addresses = *addresses;
        if *ready {
            queue.enable(ram, features).map_err(refused)?;
        }
        let check = |field, value, right| RestoreError::check(KIND, field, value, right);
        let count: u64 = held.iter().map(|held| u64::from(held.descriptors)).sum();
        let in_order = queue.ring.flight().is_some_and(Flight::is_in_order);
        let distance: u64 = match &queue.ring {
            Ring::Disabled => {
                check("next_avail", (*next_avail).into(), *next_avail == 0)?;
                check("next_used", (*next_used).into(), *next_used == 0)?;
                0
            }
            // A buffer is one entry of either ring, whatever its descriptors.
            Ring::Split(_) => next_avail.wrapping_sub(*next_used).into(),
            Ring::Packed(_) => {
                let [avail, used] = [*next_avail, *next_used].map(Position::from_bits);
                check("next_avail", (*next_avail).into(), avail.is_within(*size))?;
                check("next_used", (*next_used).into(), used.is_within(*size))?;
                used.distance(avail, *size).into()
            }
        };
        check(
            "held",
            count,
            count == distance && count <= u64::from(*size),
        )?;
        let mut flight = Flight::new(if *ready { *size } else { 0 }, in_order);
        for held in held {
            let id = u64::from(held.id);
            let split = matches!(queue.ring, Ring::Split(_));
            let right =
                held.descriptors != 0 && (!split || held.descriptors == 1 && held.id < *size);
            check("held.descriptors", held.descriptors.into(), right)?;
            let taken = flight.take(held.id, held.descriptors);
            check("held.id", id, taken.is_ok())?;
            if let Some(written) = held.written {
                check("held.written", id, in_order)?;
                check("held.written", id, flight.finish(held.id, written).is_ok())?;
            }
        }
        match &mut queue.ring {
            Ring::Disabled => {}
            Ring::Split(ring) => ring.go_on(*next_avail, *next_used, flight),
            Ring::Packed(ring) => {
                let [avail, used] = [*next_avail, *next_used].map(Position::from_bits);
                ring.go_on(avail, used, flight);
            }
        }
        *self = queue;
        Ok(())
    }
}

/// An enabled queue that cannot be.
const fn refused(error: QueueError) -> RestoreError {
    let (field, value) = match error {
        QueueError::Size { size, .. } | QueueError::SizeNotPowerOfTwo { size } => {
            ("size", size as u64)
        }
        QueueError::AddressMissing { area } => ("addresses", Area::index(area) as u64),
        QueueError::Misaligned { address, .. } | QueueError::NotRam { address, .. } => {
            ("addresses", address)
        }
        _ => ("ready", 1),
    };
    RestoreError::Field {
        kind: KIND,
        field,
        value,
    }
}
