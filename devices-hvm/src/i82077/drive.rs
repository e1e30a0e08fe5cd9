//! A drive and the disk in it.

use trivisor_buses::Storage;

use super::format::{DriveKind, Format, SizeError};
use crate::link::Link;

/// Cylinders behind the last formatted one that a head reaches.
const SPARE_CYLINDERS: u8 = 3;

/// A disk.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) link: Link,
    pub(super) format: Format,
    pub(super) protected: bool,
}

impl Disk {
    pub(super) fn new(storage: Box<dyn Storage>) -> Result<Self, SizeError> {
        let geometry = storage.geometry();
        Ok(Self {
            link: Link::new(storage),
            format: Format::of(geometry.capacity)?,
            protected: geometry.read_only,
        })
    }
}

/// A drive.
#[derive(Debug)]
pub(super) struct Drive {
    // Configuration.
    pub(super) kind: DriveKind,
    // Wiring.
    pub(super) disk: Option<Disk>,
    // Guest-visible state.
    /// Where the head is.
    pub(super) cylinder: u8,
    /// DSK CHG: no step was made since the disk was laid in.
    pub(super) changed: bool,
}

impl Drive {
    pub(super) const fn new(kind: DriveKind, disk: Option<Disk>) -> Self {
        Self {
            kind,
            disk,
            cylinder: 0,
            changed: true,
        }
    }

    /// The last cylinder that the head reaches.
    pub(super) const fn last_cylinder(&self) -> u8 {
        let cylinders = match self.kind {
            DriveKind::Inch5Double => 40,
            _ => 80,
        };
        cylinders + SPARE_CYLINDERS
    }

    /// Steps so far; out below 0.
    pub(super) fn step(&mut self, by: i16) {
        let to = i16::from(self.cylinder).saturating_add(by);
        let to = to.clamp(0, self.last_cylinder().into());
        self.cylinder = u8::try_from(to).unwrap_or_default();
        if by != 0 && self.disk.is_some() {
            self.changed = false;
        }
    }

    /// The storage has something under way.
    pub(super) fn is_busy(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.link.is_busy())
    }
}
