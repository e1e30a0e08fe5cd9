//! Saved state of the UART.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;

use super::core::{FIFO_SIZE, Uart16550};
use super::regs::{Fcr, Ier, Lcr, Mcr};

/// Name of the chip in saved state.
pub(super) const KIND: &str = "uart-16550";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UartStateV1 {
    /// DLM and DLL.
    pub divisor: u16,
    /// IER.
    pub ier: u8,
    /// FCR.
    pub fcr: u8,
    /// LCR.
    pub lcr: u8,
    /// MCR.
    pub mcr: u8,
    /// SCR.
    pub scr: u8,
    /// The four deltas of MSR.
    pub msr_deltas: u8,
    /// LSR.OE.
    pub overrun: bool,
    /// The THR-empty interrupt is pending.
    pub thr_empty_pending: bool,
    /// Receiver FIFO, oldest first, at most 16 bytes.
    pub receiver: Vec<u8>,
    /// Transmitter FIFO, oldest first, at most 16 bytes.
    pub transmitter: Vec<u8>,
}

impl From<&Uart16550> for UartStateV1 {
    fn from(chip: &Uart16550) -> Self {
        let Uart16550 {
            divisor,
            ier,
            fcr,
            lcr,
            mcr,
            scr,
            msr_deltas,
            overrun,
            thr_empty_pending,
            receiver,
            transmitter,
        } = chip;
        Self {
            divisor: *divisor,
            ier: ier.into_bits(),
            fcr: fcr.into_bits(),
            lcr: lcr.into_bits(),
            mcr: mcr.into_bits(),
            scr: *scr,
            msr_deltas: *msr_deltas,
            overrun: *overrun,
            thr_empty_pending: *thr_empty_pending,
            receiver: receiver.iter().copied().collect(),
            transmitter: transmitter.iter().copied().collect(),
        }
    }
}

impl TryFrom<UartStateV1> for Uart16550 {
    type Error = RestoreError;

    fn try_from(state: UartStateV1) -> Result<Self, RestoreError> {
        let check = |field, value, right| RestoreError::check(KIND, field, value, right);
        let UartStateV1 {
            divisor,
            ier,
            fcr,
            lcr,
            mcr,
            scr,
            msr_deltas,
            overrun,
            thr_empty_pending,
            receiver,
            transmitter,
        } = state;
        check("ier", ier.into(), ier & 0xf0 == 0)?;
        check(
            "fcr",
            fcr.into(),
            fcr & 0x36 == 0 && (fcr & 1 == 1 || fcr == 0),
        )?;
        check("mcr", mcr.into(), mcr & 0xe0 == 0)?;
        check("msr_deltas", msr_deltas.into(), msr_deltas & 0xf0 == 0)?;
        let room = if fcr & 1 == 1 { FIFO_SIZE } else { 1 };
        check("receiver", receiver.len() as u64, receiver.len() <= room)?;
        check(
            "transmitter",
            transmitter.len() as u64,
            transmitter.len() <= room,
        )?;
        Ok(Self {
            divisor,
            ier: Ier::from_bits(ier),
            fcr: Fcr::from_bits(fcr),
            lcr: Lcr::from_bits(lcr),
            mcr: Mcr::from_bits(mcr),
            scr,
            msr_deltas,
            overrun,
            thr_empty_pending,
            receiver: receiver.into(),
            transmitter: transmitter.into(),
        })
    }
}
