//! Lines on COM1: written through ring 0 in bursts, read by interrupt where there is an I/O APIC, else polled.

use core::fmt::{self, Write};

use crate::apic;
use crate::ioapic::{self, IoApic};
use crate::port;
use crate::ring0;
use crate::uart::{
    COM1, FCR, FCR_ENABLE, IER, IER_RECEIVED, IRQ, LSR, LSR_DATA_READY, MCR, MCR_PC, RBR,
};

const VECTOR: u8 = 0x24;

/// Prints one line; takes what `format!` takes.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::console::print(format_args!($($argument)*)) };
}

/// Collects a line, so that it costs ring 0 one call.
struct Line {
    bytes: [u8; 256],
    used: usize,
}

impl Line {
    fn flush(&mut self) {
        ring0::console_write(self.bytes.get(..self.used).unwrap_or_default());
        self.used = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.used == self.bytes.len() {
                self.flush();
            }
            self.bytes[self.used] = byte;
            self.used += 1;
        }
        Ok(())
    }
}

/// Turns the FIFO on, which the bursts of `service_console_write` count on.
pub fn start() {
    port::write_u8(COM1 + FCR, FCR_ENABLE);
}

/// Prints a line and its end.
pub fn print(arguments: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; 256],
        used: 0,
    };
    // Writing to a line cannot fail; a `Display` that does ends the text early.
    let _ = line.write_fmt(arguments);
    let _ = line.write_str("\n");
    line.flush();
}

/// Reads lines from COM1.
pub struct Lines {
    by_interrupt: bool,
}

impl Lines {
    /// Sets the receiver's interrupt up, where there is an I/O APIC.
    pub fn new() -> Self {
        let mut lines = Self {
            by_interrupt: false,
        };
        lines.resume();
        lines
    }

    /// Takes the receiver's interrupt back after something else has used the UART.
    pub fn resume(&mut self) {
        if let Some(ioapic) = IoApic::find() {
            apic::enable();
            ioapic.route(ioapic::pin_of(IRQ), VECTOR, false);
            port::write_u8(COM1 + MCR, MCR_PC);
            port::write_u8(COM1 + IER, IER_RECEIVED);
            self.by_interrupt = true;
        }
    }

    /// Reads up to CR or LF. What does not fit into `line` is dropped.
    pub fn read<'a>(&self, line: &'a mut [u8]) -> &'a [u8] {
        let mut used = 0;
        loop {
            match self.read_byte() {
                b'\r' | b'\n' if used > 0 => return line.get(..used).unwrap_or_default(),
                b'\r' | b'\n' => {}
                byte => {
                    if let Some(slot) = line.get_mut(used) {
                        *slot = byte;
                        used += 1;
                    }
                }
            }
        }
    }

    fn read_byte(&self) -> u8 {
        let count = ring0::interrupts(VECTOR);
        loop {
            let seen = count.load(core::sync::atomic::Ordering::SeqCst);
            if port::read_u8(COM1 + LSR) & LSR_DATA_READY != 0 {
                return port::read_u8(COM1 + RBR);
            }
            if self.by_interrupt {
                ring0::wait(count, seen);
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if self.by_interrupt {
            port::write_u8(COM1 + IER, 0);
        }
    }
}
