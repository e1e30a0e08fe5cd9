//! Registers of the 16550A at COM1 (National PC16550D datasheet, chapter 8).

/// Base port.
pub const COM1: u16 = 0x3f8;
/// ISA interrupt.
pub const IRQ: u8 = 4;

/// Receiver buffer, read.
pub const RBR: u16 = 0;
/// Transmitter holding register, write.
pub const THR: u16 = 0;
/// Divisor latch, low, with DLAB.
pub const DLL: u16 = 0;
/// Divisor latch, high, with DLAB.
pub const DLM: u16 = 1;
/// Interrupt enable.
pub const IER: u16 = 1;
/// Interrupt identification, read.
pub const IIR: u16 = 2;
/// FIFO control, write.
pub const FCR: u16 = 2;
/// Line control.
pub const LCR: u16 = 3;
/// Modem control.
pub const MCR: u16 = 4;
/// Line status.
pub const LSR: u16 = 5;
/// Modem status.
pub const MSR: u16 = 6;
/// Scratch.
pub const SCR: u16 = 7;

/// Received data available.
pub const IER_RECEIVED: u8 = 0x01;
/// Transmitter holding register empty.
pub const IER_TRANSMITTER: u8 = 0x02;
/// No interrupt is pending.
pub const IIR_NONE: u8 = 0x01;
/// The transmitter's interrupt.
pub const IIR_TRANSMITTER: u8 = 0x02;
/// The receiver's interrupt.
pub const IIR_RECEIVED: u8 = 0x04;
/// Which interrupt.
pub const IIR_KIND: u8 = 0x0f;
/// Both FIFOs are on.
pub const IIR_FIFO: u8 = 0xc0;
/// Both FIFOs on.
pub const FCR_ENABLE: u8 = 0x01;
/// Both FIFOs emptied.
pub const FCR_CLEAR: u8 = 0x06;
/// 8 data bits, no parity, 1 stop bit.
pub const LCR_8N1: u8 = 0x03;
/// Divisor latch access.
pub const LCR_DLAB: u8 = 0x80;
/// DTR, RTS and OUT2, which lets a PC's interrupt line through.
pub const MCR_PC: u8 = 0x0b;
/// Loopback.
pub const MCR_LOOP: u8 = 0x10;
/// A received byte waits.
pub const LSR_DATA_READY: u8 = 0x01;
/// A received byte was lost.
pub const LSR_OVERRUN: u8 = 0x02;
/// The holding register is empty.
pub const LSR_THRE: u8 = 0x20;
/// The transmitter is empty.
pub const LSR_TEMT: u8 = 0x40;
