//! Saved state of the real-time clock.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;

use super::core::{RtcMc146818, SECOND_NS};
use super::regs::{RegisterA, RegisterB, RegisterC, index};

/// Name of the chip in saved state.
pub(super) const KIND: &str = "rtc-mc146818";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtcStateV1 {
    /// Index of the register that port 0x71 is.
    pub index: u8,
    /// Register A without UIP.
    pub a: u8,
    /// Register B.
    pub b: u8,
    /// Register C without IRQF.
    pub flags: u8,
    /// Indices 0x00 to 0x09.
    pub time: [u8; 10],
    /// Indices 0x0e to 0x7f.
    pub ram: Vec<u8>,
    /// Time of day of the host that `time` stands for, nanoseconds since 1970.
    pub seen_ns: u64,
    /// How far the divider chain is ahead of the host's second, nanoseconds.
    pub phase_ns: u32,
}

impl From<&RtcMc146818> for RtcStateV1 {
    fn from(chip: &RtcMc146818) -> Self {
        let RtcMc146818 {
            index,
            a,
            b,
            flags,
            time,
            ram,
            seen_ns,
            phase_ns,
        } = chip;
        Self {
            index: *index,
            a: a.into_bits(),
            b: b.into_bits(),
            flags: flags.into_bits(),
            time: *time,
            ram: ram.to_vec(),
            seen_ns: *seen_ns,
            phase_ns: *phase_ns,
        }
    }
}

impl TryFrom<RtcStateV1> for RtcMc146818 {
    type Error = RestoreError;

    fn try_from(state: RtcStateV1) -> Result<Self, RestoreError> {
        let check = |field, value, right| RestoreError::check(KIND, field, value, right);
        let RtcStateV1 {
            index,
            a,
            b,
            flags,
            time,
            ram,
            seen_ns,
            phase_ns,
        } = state;
        check("index", index.into(), index & !index::MASK == 0)?;
        let a_bits = RegisterA::from_bits(a);
        check("a", a.into(), !a_bits.uip())?;
        let b_bits = RegisterB::from_bits(b);
        check("b", b.into(), !(b_bits.set() && b_bits.uie()))?;
        check("flags", flags.into(), flags & 0x8f == 0)?;
        let phase = u64::from(phase_ns);
        check("phase_ns", phase, phase < SECOND_NS)?;
        let size = ram.len() as u64;
        let ram = ram.try_into().map_err(|_| RestoreError::Field {
            kind: KIND,
            field: "ram",
            value: size,
        })?;
        Ok(Self {
            index,
            a: a_bits,
            b: b_bits,
            flags: RegisterC::from_bits(flags),
            time,
            ram,
            seen_ns,
            phase_ns,
        })
    }
}
