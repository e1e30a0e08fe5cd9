//! What stands at the controller.

use trivisor_buses::Storage;

use super::format::{DriveKind, Format, SizeError};

/// A drive.
pub struct DriveConfig {
    /// What it is.
    pub kind: DriveKind,
    /// The disk in it.
    pub disk: Option<Box<dyn Storage>>,
}

impl std::fmt::Debug for DriveConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DriveConfig")
            .field("kind", &self.kind)
            .field("disk", &self.disk.is_some())
            .finish()
    }
}

impl DriveConfig {
    /// The drive that a disk belongs into, with the disk.
    ///
    /// # Errors
    /// When no disk has this size.
    pub fn with(disk: Box<dyn Storage>) -> Result<Self, SizeError> {
        let kind = Format::of(disk.geometry().capacity)?.drive;
        let disk = Some(disk);
        Ok(Self { kind, disk })
    }
}
