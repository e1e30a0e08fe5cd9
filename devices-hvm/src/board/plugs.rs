//! What waits for the board to be plugged in, and why a board cannot be made.

use std::os::fd::OwnedFd;

use thiserror::Error;
use trivisor_buses::{FitError, Slots};
use trivisor_memory::GuestRam;
use trivisor_pci::RootBus;

use crate::ide::DriveConfig;

/// A drive that waits for the board: it is made when guest RAM is there, for its storage to hold.
pub trait DrivePlug: Send {
    /// What errors call it.
    fn name(&self) -> &'static str;

    /// Makes the drive.
    ///
    /// # Errors
    /// When its storage refuses guest RAM.
    fn make(self: Box<Self>, ram: &GuestRam) -> std::io::Result<MadeDrive>;
}

/// A drive with the descriptors that wake it.
#[derive(Debug)]
pub struct MadeDrive {
    /// The drive.
    pub drive: DriveConfig,
    /// What its storage becomes ready by.
    pub sources: Vec<OwnedFd>,
}

/// A PCI function that waits for the board.
pub trait Card: Send {
    /// What errors call it.
    fn name(&self) -> &'static str;

    /// Makes the function and puts it onto the bus.
    ///
    /// # Errors
    /// When its back-end refuses guest RAM, or the bus has no room.
    fn insert(self: Box<Self>, slots: &mut Slots, bus: &RootBus) -> Result<(), FitError>;
}

/// What the board cannot be made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BoardError {
    /// The machine was made without interrupt controllers.
    #[error("the board needs the host's interrupt controllers")]
    NoPins,
    /// A file that is no PC's firmware.
    #[error(
        "{size} bytes are no firmware of a PC: it has 64 KiB to 16 MiB, and whole blocks of 64 KiB"
    )]
    Firmware {
        /// Bytes.
        size: u64,
    },
    /// Firmware that the guest could change.
    #[error("the firmware is not mapped read-only")]
    Writable,
}
