//! Either kind of ring, or none.

use trivisor_memory::GuestRam;

use super::QueueError;
use super::flight::{Flight, Used};
use super::packed::PackedRing;
use super::split::SplitRing;
use crate::features::Feature;

/// What the driver accepted of the features that change a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Negotiated {
    pub(super) indirect: bool,
    pub(super) event_index: bool,
    pub(super) in_order: bool,
}

impl Negotiated {
    pub(super) const fn new(features: u64) -> Self {
        Self {
            indirect: Feature::IndirectDescriptors.is_in(features),
            event_index: Feature::EventIndex.is_in(features),
            in_order: Feature::InOrder.is_in(features),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ring {
    Disabled,
    Split(SplitRing),
    Packed(PackedRing),
}

impl Ring {
    pub(super) const fn flight(&self) -> Option<&Flight> {
        match self {
            Self::Disabled => None,
            Self::Split(ring) => Some(&ring.flight),
            Self::Packed(ring) => Some(&ring.flight),
        }
    }

    const fn flight_mut(&mut self) -> Option<&mut Flight> {
        match self {
            Self::Disabled => None,
            Self::Split(ring) => Some(&mut ring.flight),
            Self::Packed(ring) => Some(&mut ring.flight),
        }
    }

    fn write_used(&mut self, ram: &GuestRam, used: Used) -> Result<(), QueueError> {
        match self {
            Self::Disabled => Err(QueueError::NotEnabled),
            Self::Split(ring) => ring.write_used(ram, used),
            Self::Packed(ring) => ring.write_used(ram, used),
        }
    }

    pub(super) fn push(&mut self, ram: &GuestRam, id: u16, written: u32) -> Result<(), QueueError> {
        let flight = self.flight_mut().ok_or(QueueError::NotEnabled)?;
        flight.finish(id, written)?;
        while let Some(used) = self.flight_mut().and_then(Flight::give) {
            self.write_used(ram, used)?;
        }
        Ok(())
    }
}
