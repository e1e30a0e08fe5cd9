//! Saved state of power management.

use serde::{Deserialize, Serialize};
use trivisor_buses::{GuestTime, RestoreError};
use trivisor_pci::EndpointStateV1;

use super::core::{PmRegisters, SIZE, kept_bits};
use super::regs::{Pmcntrl, Pmen, Pmsts};

/// Name of the function in saved state.
pub(super) const KIND: &str = "piix4-pm";
/// Name of its ports in saved state.
pub(super) const BLOCK_KIND: &str = "piix4-pm-block";
/// Name of the APM ports in saved state.
pub(super) const APM_KIND: &str = "piix4-apm";
/// Name of the general purpose events in saved state.
pub(super) const GPE_KIND: &str = "acpi-gpe0";
/// The newest version of each.
pub(super) const VERSION: u16 = 1;

/// Version 1 of the function: configuration space alone.
pub type Piix4PmStateV1 = EndpointStateV1;

/// Version 1 of the ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PmBlockStateV1 {
    /// PMSTS.
    pub status: u16,
    /// PMEN.
    pub enable: u16,
    /// PMCNTRL without SUS_EN.
    pub control: u16,
    /// The registers without effect at their offsets, zero elsewhere.
    pub kept: Vec<u8>,
    /// Guest time up to which the timer's overflows are noted, nanoseconds.
    pub seen_ns: u64,
}

/// Version 1 of the APM ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApmStateV1 {
    /// APMC.
    pub command: u8,
    /// APMS.
    pub status: u8,
}

/// Version 1 of the general purpose events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpeStateV1 {
    /// GPE0_STS.
    pub status: u16,
    /// GPE0_EN.
    pub enable: u16,
}

impl From<&PmRegisters> for PmBlockStateV1 {
    fn from(registers: &PmRegisters) -> Self {
        let PmRegisters {
            status,
            enable,
            control,
            kept,
            seen,
        } = registers;
        Self {
            status: status.into_bits(),
            enable: enable.into_bits(),
            control: control.into_bits(),
            kept: kept.to_vec(),
            seen_ns: seen.0,
        }
    }
}

impl TryFrom<PmBlockStateV1> for PmRegisters {
    type Error = RestoreError;

    fn try_from(state: PmBlockStateV1) -> Result<Self, RestoreError> {
        let PmBlockStateV1 {
            status,
            enable,
            control,
            kept,
            seen_ns,
        } = state;
        let check = |field, value, right| RestoreError::check(BLOCK_KIND, field, value, right);
        // Timer and button alone set bits.
        check("status", status.into(), status & !0x0101 == 0)?;
        check("enable", enable.into(), enable & !0x0521 == 0)?;
        check("control", control.into(), control & !0x1c07 == 0)?;
        let len = u64::try_from(kept.len()).unwrap_or(u64::MAX);
        let kept: [u8; SIZE] = kept.try_into().map_err(|_| RestoreError::Field {
            kind: BLOCK_KIND,
            field: "length of kept",
            value: len,
        })?;
        for (at, byte) in kept.iter().enumerate() {
            check("kept", (*byte).into(), byte & !kept_bits(at) == 0)?;
        }
        Ok(Self {
            status: Pmsts::from_bits(status),
            enable: Pmen::from_bits(enable),
            control: Pmcntrl::from_bits(control),
            kept,
            seen: GuestTime(seen_ns),
        })
    }
}
