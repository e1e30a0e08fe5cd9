//! Saved state of the I/O APIC.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;

use super::core::{IoApic82093, PINS};
use super::regs::{Id, Redirection};

/// Name of the chip in saved state.
pub(super) const KIND: &str = "ioapic-82093";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoApicStateV1 {
    /// IOAPICID.
    pub id: u32,
    /// IOREGSEL.
    pub select: u8,
    /// IOREDTBL, an entry a pin.
    pub redirection: [u64; PINS],
    /// Levels of the inputs, a bit a pin.
    pub levels: u32,
}

impl From<&IoApic82093> for IoApicStateV1 {
    fn from(chip: &IoApic82093) -> Self {
        let IoApic82093 {
            id,
            select,
            redirection,
            levels,
        } = chip;
        Self {
            id: id.into_bits(),
            select: *select,
            redirection: redirection.map(Redirection::into_bits),
            levels: *levels,
        }
    }
}

impl TryFrom<IoApicStateV1> for IoApic82093 {
    type Error = RestoreError;

    fn try_from(state: IoApicStateV1) -> Result<Self, RestoreError> {
        let IoApicStateV1 {
            id,
            select,
            redirection,
            levels,
        } = state;
        let check = |field, value, right| RestoreError::check(KIND, field, value, right);
        check("id", id.into(), id & 0xf0ff_ffff == 0)?;
        check("levels", levels.into(), levels >> PINS == 0)?;
        let redirection = redirection.map(Redirection::from_bits);
        for entry in redirection {
            // An edge-triggered interrupt has no end that could be outstanding.
            let right = !entry.delivery_status() && (entry.level() || !entry.remote_irr());
            check("redirection", entry.into_bits(), right)?;
        }
        Ok(Self {
            id: Id::from_bits(id),
            select,
            redirection,
            levels,
        })
    }
}
