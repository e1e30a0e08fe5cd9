//! The register of pvpanic.

use bitfield_struct::bitfield;

/// Events: read, those that are supported; write, those that happened.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Events {
    /// The guest has panicked and stops.
    pub panicked: bool,
    /// The guest has panicked and runs its own crash kernel.
    pub crash_loaded: bool,
    #[bits(6)]
    __: u8,
}
