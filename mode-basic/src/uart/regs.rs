//! Registers of the PC16550D (table I of the datasheet).

use bitfield_struct::bitfield;

/// Offsets; 0 and 1 are the divisor's while LCR.DLAB is set.
pub mod offset {
    /// RBR (read) and THR (write).
    pub const DATA: u16 = 0;
    /// IER.
    pub const IER: u16 = 1;
    /// IIR (read) and FCR (write).
    pub const IIR_FCR: u16 = 2;
    /// LCR.
    pub const LCR: u16 = 3;
    /// MCR.
    pub const MCR: u16 = 4;
    /// LSR.
    pub const LSR: u16 = 5;
    /// MSR.
    pub const MSR: u16 = 6;
    /// SCR.
    pub const SCR: u16 = 7;
}

/// Interrupt enable register: offset 1, read and write, reset 0x00.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Ier {
    /// ERBFI: received data available, and character time-out.
    pub erbfi: bool,
    /// ETBEI: transmitter holding register empty.
    pub etbei: bool,
    /// ELSI: receiver line status.
    pub elsi: bool,
    /// EDSSI: modem status.
    pub edssi: bool,
    #[bits(4)]
    __: u8,
}

/// Interrupt identification register: offset 2, read only, reset 0x01.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Iir {
    /// 0: an interrupt is pending.
    pub not_pending: bool,
    /// Which, with bit 3 the character time-out.
    #[bits(3)]
    pub id: u8,
    #[bits(2)]
    __: u8,
    /// Both set: FIFOs are enabled.
    #[bits(2)]
    pub fifos_enabled: u8,
}

/// Interrupt identifications, highest priority first (table IV).
pub mod interrupt {
    /// Receiver line status.
    pub const LINE_STATUS: u8 = 0b011;
    /// Received data available.
    pub const RECEIVED_DATA: u8 = 0b010;
    /// Character time-out.
    pub const TIME_OUT: u8 = 0b110;
    /// Transmitter holding register empty.
    pub const THR_EMPTY: u8 = 0b001;
    /// Modem status.
    pub const MODEM_STATUS: u8 = 0b000;
}

/// FIFO control register: offset 2, write only, reset 0x00.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Fcr {
    /// Enables both FIFOs; a change clears them.
    pub enable: bool,
    /// Clears the receiver FIFO.
    pub clear_receiver: bool,
    /// Clears the transmitter FIFO.
    pub clear_transmitter: bool,
    /// DMA mode select: kept, has no effect here.
    pub dma_mode: bool,
    #[bits(2)]
    __: u8,
    /// Receiver trigger: 1, 4, 8 or 14 bytes.
    #[bits(2)]
    pub trigger: u8,
}

impl Fcr {
    /// Bytes in the receiver FIFO that raise "received data available".
    #[must_use]
    pub const fn trigger_level(self) -> usize {
        match self.trigger() {
            0 => 1,
            1 => 4,
            2 => 8,
            _ => 14,
        }
    }
}

/// Line control register: offset 3, read and write, reset 0x00.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Lcr {
    /// Word length and stop bits, parity, stick parity: kept, have no effect here.
    #[bits(6)]
    pub format: u8,
    /// Set break: kept, has no effect here.
    pub set_break: bool,
    /// DLAB: offsets 0 and 1 are the divisor's.
    pub dlab: bool,
}

/// Modem control register: offset 4, read and write, reset 0x00.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Mcr {
    /// Data terminal ready.
    pub dtr: bool,
    /// Request to send.
    pub rts: bool,
    /// OUT 1.
    pub out1: bool,
    /// OUT 2: on a PC it gates the interrupt line; here it does not, as guests may leave it clear.
    pub out2: bool,
    /// Loopback: the transmitter feeds the receiver, the outputs feed MSR's inputs.
    pub loopback: bool,
    #[bits(3)]
    __: u8,
}

/// Line status register: offset 5, read only, reset 0x60.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Lsr {
    /// DR: data is ready.
    pub data_ready: bool,
    /// OE: a byte was lost; cleared by reading.
    pub overrun: bool,
    /// PE, FE, BI: never set here.
    #[bits(3)]
    pub receive_errors: u8,
    /// THRE: the transmitter takes data.
    pub thr_empty: bool,
    /// TEMT: all data has left.
    pub transmitter_empty: bool,
    /// An error in the receiver FIFO: never set here.
    pub fifo_error: bool,
}

/// Modem status register: offset 6, deltas read and cleared, reset 0xb0 here (CTS, DSR and DCD active).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Msr {
    /// DCTS, DDSR, TERI, DDCD: changes since the last read.
    #[bits(4)]
    pub deltas: u8,
    /// Clear to send.
    pub cts: bool,
    /// Data set ready.
    pub dsr: bool,
    /// Ring indicator.
    pub ri: bool,
    /// Data carrier detect.
    pub dcd: bool,
}
