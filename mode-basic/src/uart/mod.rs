//! UART, 16550A: the serial port.
//!
//! Source: National Semiconductor, PC16550D Universal Asynchronous Receiver/Transmitter with FIFOs,
//! June 1995, section 8 and tables I to IV.
//!
//! | offset | DLAB | read | write | reset |
//! |---|---|---|---|---|
//! | 0 | 0 | RBR: oldest received byte, 0 when there is none | THR: byte to send | - |
//! | 1 | 0 | IER | IER | 0x00 |
//! | 0, 1 | 1 | DLL, DLM | DLL, DLM | 0x000c |
//! | 2 | x | IIR; clears a THR-empty interrupt that it reports | FCR | 0x01, 0x00 |
//! | 3 | x | LCR | LCR | 0x00 |
//! | 4 | x | MCR | MCR | 0x00 |
//! | 5 | x | LSR; clears OE | refused | 0x60 |
//! | 6 | x | MSR; clears the deltas | refused | 0xb0 |
//! | 7 | x | SCR | SCR | 0x00 |
//!
//! A byte leaves when it is written. When the outside takes nothing more, bytes wait in the transmitter
//! FIFO with THRE and TEMT low, as they would behind a slow line: no vCPU waits, and a guest that writes
//! on all the same loses bytes, as on the chip.
//!
//! **Not modelled**: baud rate, word format, parity, break (nothing is on the wire to see them); DMA
//! modes; OUT2 does not gate the interrupt. CTS, DSR and DCD are always active outside of loopback.
//!
//! **Relied on by**: Linux (8250), earlyprintk, the bare-metal guest.

mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use trivisor_buses::{
    AccessError, CharInput, CharOutput, Component, Line, PortDevice, RestoreError, SavedState,
    Shell,
};

pub use self::core::{FIFO_SIZE, Uart16550};
pub use state::UartStateV1;

/// Ports that it occupies.
pub const PORTS: u16 = 8;

/// The chip with its interrupt line and what stands behind its transmitter.
pub struct Uart {
    // Wiring.
    line: Line,
    output: Option<Box<dyn CharOutput>>,
    // Guest-visible state.
    chip: Uart16550,
}

impl std::fmt::Debug for Uart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uart")
            .field("chip", &self.chip)
            .finish_non_exhaustive()
    }
}

impl Uart {
    /// A chip after reset. Without an output, what the guest sends goes nowhere.
    #[must_use]
    pub fn new(line: Line, output: Option<Box<dyn CharOutput>>) -> Self {
        Self {
            line,
            output,
            chip: Uart16550::default(),
        }
    }

    /// Hands over what waits to leave.
    fn drain(&mut self) {
        let waiting = self.chip.waiting();
        if !waiting.is_empty() {
            let taken = self
                .output
                .as_mut()
                .map_or(waiting.len(), |output| output.write(waiting));
            self.chip.sent(taken);
        }
    }

    /// Drives the line: the only place that does.
    fn sync(&mut self) {
        self.line.set_level(self.chip.interrupt());
    }
}

impl PortDevice for Uart {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        *byte = self.chip.read(offset)?;
        self.sync();
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        self.chip.write(offset, *byte)?;
        // The THR-empty interrupt of the byte before is over even if this byte leaves at once.
        self.sync();
        self.drain();
        self.sync();
        Ok(())
    }
}

impl Component for Uart {
    fn reset(&mut self) {
        self.chip = Uart16550::default();
        self.sync();
    }

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &UartStateV1::from(&self.chip))
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        self.chip = state
            .decode::<UartStateV1>(state::KIND, state::VERSION)?
            .try_into()?;
        self.line.restore_level(self.chip.interrupt());
        Ok(())
    }
}

/// The outside's hand on a UART that stands on a bus.
#[derive(Debug, Clone)]
pub struct UartInput(pub Arc<Shell<Uart>>);

impl CharInput for UartInput {
    fn push(&self, bytes: &[u8]) -> usize {
        self.0.with(|uart| {
            let taken = uart.chip.receiver_room().min(bytes.len());
            bytes
                .iter()
                .take(taken)
                .for_each(|byte| uart.chip.receive(*byte));
            uart.sync();
            taken
        })
    }

    fn room(&self) -> usize {
        self.0.with(|uart| uart.chip.receiver_room())
    }

    fn output_ready(&self) {
        self.0.with(|uart| {
            uart.drain();
            uart.sync();
        });
    }
}
