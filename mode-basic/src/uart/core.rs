//! The chip as a value: register accesses and bytes in, bytes and an interrupt level out.

use std::collections::VecDeque;

use trivisor_buses::AccessError;

use super::regs::{Fcr, Ier, Iir, Lcr, Lsr, Mcr, Msr, interrupt, offset};

/// Bytes of each FIFO (datasheet, 8.4). It is also the most that a guest or its peer can make us keep.
pub const FIFO_SIZE: usize = 16;

/// DLL and DLM after reset: undefined in the datasheet; 9,600 baud of a 1.8432 MHz crystal here.
const RESET_DIVISOR: u16 = 12;

/// A 16550A.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uart16550 {
    pub(super) divisor: u16,
    pub(super) ier: Ier,
    pub(super) fcr: Fcr,
    pub(super) lcr: Lcr,
    pub(super) mcr: Mcr,
    pub(super) scr: u8,
    /// Deltas of MSR that were not read yet.
    pub(super) msr_deltas: u8,
    /// LSR.OE.
    pub(super) overrun: bool,
    /// The THR-empty interrupt is pending: set when THR becomes empty, cleared by reading IIR.
    pub(super) thr_empty_pending: bool,
    pub(super) receiver: VecDeque<u8>,
    /// Bytes that the outside has not taken yet.
    pub(super) transmitter: VecDeque<u8>,
}

impl Default for Uart16550 {
    fn default() -> Self {
        Self {
            divisor: RESET_DIVISOR,
            ier: Ier::new(),
            fcr: Fcr::new(),
            lcr: Lcr::new(),
            mcr: Mcr::new(),
            scr: 0,
            msr_deltas: 0,
            overrun: false,
            thr_empty_pending: false,
            receiver: VecDeque::new(),
            transmitter: VecDeque::new(),
        }
    }
}

impl Uart16550 {
    /// A read of the register at `offset`.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(&mut self, at: u16) -> Result<u8, AccessError> {
        let [low, high] = self.divisor.to_le_bytes();
        Ok(match at {
            offset::DATA if self.lcr.dlab() => low,
            offset::IER if self.lcr.dlab() => high,
            offset::DATA => self.receiver.pop_front().unwrap_or(0),
            offset::IER => self.ier.into_bits(),
            offset::IIR_FCR => self.read_iir(),
            offset::LCR => self.lcr.into_bits(),
            offset::MCR => self.mcr.into_bits(),
            offset::LSR => {
                let lsr = self.lsr();
                self.overrun = false;
                lsr.into_bits()
            }
            offset::MSR => {
                let msr = self.msr();
                self.msr_deltas = 0;
                msr.into_bits()
            }
            offset::SCR => self.scr,
            _ => return Err(AccessError::NoRegister),
        })
    }

    /// A write to the register at `offset`.
    ///
    /// # Errors
    /// When there is none, or it is read-only.
    pub fn write(&mut self, at: u16, value: u8) -> Result<(), AccessError> {
        let [low, high] = self.divisor.to_le_bytes();
        match at {
            offset::DATA if self.lcr.dlab() => self.divisor = u16::from_le_bytes([value, high]),
            offset::IER if self.lcr.dlab() => self.divisor = u16::from_le_bytes([low, value]),
            offset::DATA => self.transmit(value),
            offset::IER => self.write_ier(value),
            offset::IIR_FCR => self.write_fcr(Fcr::from_bits(value & 0xcf)),
            offset::LCR => self.lcr = Lcr::from_bits(value),
            offset::MCR => self.write_mcr(Mcr::from_bits(value & 0x1f)),
            offset::LSR | offset::MSR => return Err(AccessError::ReadOnly),
            offset::SCR => self.scr = value,
            _ => return Err(AccessError::NoRegister),
        }
        Ok(())
    }

    /// The interrupt output.
    #[must_use]
    pub fn interrupt(&self) -> bool {
        self.pending().is_some()
    }

    /// Bytes that the receiver takes now. In loopback it is not connected to the outside.
    #[must_use]
    pub fn receiver_room(&self) -> usize {
        if self.mcr.loopback() {
            0
        } else {
            self.fifo_size() - self.receiver.len().min(self.fifo_size())
        }
    }

    /// A byte from the outside.
    pub fn receive(&mut self, byte: u8) {
        if self.receiver.len() < self.fifo_size() {
            self.receiver.push_back(byte);
        } else {
            self.overrun = true;
        }
    }

    /// The bytes that wait to leave, in order.
    #[must_use]
    pub fn waiting(&mut self) -> &[u8] {
        self.transmitter.make_contiguous()
    }

    /// The first `count` of them have left.
    pub fn sent(&mut self, count: usize) {
        self.transmitter.drain(..count.min(self.transmitter.len()));
        if self.transmitter.is_empty() {
            self.thr_empty_pending = true;
        }
    }

    const fn fifo_size(&self) -> usize {
        if self.fcr.enable() { FIFO_SIZE } else { 1 }
    }

    fn transmit(&mut self, value: u8) {
        self.thr_empty_pending = false;
        if self.mcr.loopback() {
            self.receive(value);
            self.thr_empty_pending = true;
        } else if self.transmitter.len() < self.fifo_size() {
            self.transmitter.push_back(value);
        }
        // A guest that writes to a full transmitter loses the byte, as on the chip.
    }

    fn write_ier(&mut self, value: u8) {
        let new = Ier::from_bits(value & 0x0f);
        // Enabling the interrupt while THR is empty raises it (datasheet, 8.8).
        if new.etbei() && !self.ier.etbei() && self.transmitter.is_empty() {
            self.thr_empty_pending = true;
        }
        self.ier = new;
    }

    fn write_fcr(&mut self, fcr: Fcr) {
        let changed = fcr.enable() != self.fcr.enable();
        if changed || fcr.clear_receiver() {
            self.receiver.clear();
        }
        if changed || fcr.clear_transmitter() {
            self.transmitter.clear();
        }
        // The other bits count only while the FIFOs are enabled; the clear bits clear themselves.
        self.fcr = if fcr.enable() {
            fcr.with_clear_receiver(false).with_clear_transmitter(false)
        } else {
            Fcr::new()
        };
    }

    fn write_mcr(&mut self, mcr: Mcr) {
        let before = self.modem_inputs();
        self.mcr = mcr;
        let after = self.modem_inputs();
        let changed = before ^ after;
        // RI reports its trailing edge only.
        let trailing_ring = before & !after & 0b0100;
        self.msr_deltas |= changed & 0b1011 | trailing_ring;
    }

    /// CTS, DSR, RI, DCD in MSR's order, low bit first. Outside of loopback the peer is always there.
    fn modem_inputs(&self) -> u8 {
        if self.mcr.loopback() {
            let mcr = self.mcr;
            u8::from(mcr.rts())
                | u8::from(mcr.dtr()) << 1
                | u8::from(mcr.out1()) << 2
                | u8::from(mcr.out2()) << 3
        } else {
            0b1011
        }
    }

    fn msr(&self) -> Msr {
        Msr::from_bits(self.modem_inputs() << 4).with_deltas(self.msr_deltas)
    }

    fn lsr(&self) -> Lsr {
        let empty = self.transmitter.is_empty();
        Lsr::new()
            .with_data_ready(!self.receiver.is_empty())
            .with_overrun(self.overrun)
            .with_thr_empty(empty)
            .with_transmitter_empty(empty)
    }

    /// The identification of the pending interrupt with the highest priority.
    fn pending(&self) -> Option<u8> {
        let ier = self.ier;
        let received = self.receiver.len();
        if ier.elsi() && self.overrun {
            Some(interrupt::LINE_STATUS)
        } else if ier.erbfi() && received >= self.fcr.trigger_level() {
            Some(interrupt::RECEIVED_DATA)
        } else if ier.erbfi() && received > 0 {
            // Four character times pass at once here: nothing more comes before the guest looks.
            Some(interrupt::TIME_OUT)
        } else if ier.etbei() && self.thr_empty_pending {
            Some(interrupt::THR_EMPTY)
        } else if ier.edssi() && self.msr_deltas != 0 {
            Some(interrupt::MODEM_STATUS)
        } else {
            None
        }
    }

    fn read_iir(&mut self) -> u8 {
        let fifos = if self.fcr.enable() { 3 } else { 0 };
        let pending = self.pending();
        if pending == Some(interrupt::THR_EMPTY) {
            self.thr_empty_pending = false;
        }
        Iir::new()
            .with_fifos_enabled(fifos)
            .with_not_pending(pending.is_none())
            .with_id(pending.unwrap_or_default())
            .into_bits()
    }
}
