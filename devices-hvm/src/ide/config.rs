//! What stands at a channel.

use trivisor_buses::Storage;

/// What a disk says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// Up to 20 letters.
    pub serial: String,
    /// Up to 40 letters.
    pub model: String,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            serial: "1".into(),
            model: "Trivisor disk".into(),
        }
    }
}

/// A drive.
pub enum DriveConfig {
    /// A disk.
    Disk(DiskConfig, Box<dyn Storage>),
    /// A CD-ROM drive, perhaps with a disc: its sectors are 2048 bytes of the storage, which nobody writes to.
    Cdrom(Option<Box<dyn Storage>>),
}

impl std::fmt::Debug for DriveConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Disk(config, _) => f.debug_tuple("Disk").field(config).finish(),
            Self::Cdrom(disc) => f.debug_tuple("Cdrom").field(&disc.is_some()).finish(),
        }
    }
}
