//! What a PC boots from.

/// A kind of medium, with its number in CMOS RAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootDevice {
    /// A floppy disk.
    Floppy = 1,
    /// A hard disk.
    Disk = 2,
    /// A CD.
    Cdrom = 3,
    /// The network.
    Network = 4,
}
