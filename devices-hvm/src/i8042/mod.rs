//! Keyboard controller, 8042, with the program of a PS/2, a keyboard and a mouse with a wheel.
//!
//! Source: IBM, Personal System/2 Hardware Interface Technical Reference, Keyboard and Auxiliary Device
//! Controller; the devices' own sources stand in [`ps2`].
//!
//! | port | read | write | reset |
//! |---|---|---|---|
//! | 0x60 | output buffer; empty: what was in it last | parameter of a command, else to the keyboard | 0x00 |
//! | 0x64 | status | command | 0x10 |
//!
//! | command | what |
//! |---|---|
//! | 0x20 to 0x3f | read RAM; 0 is the command byte |
//! | 0x60 to 0x7f | write RAM |
//! | 0xa7, 0xa8, 0xad, 0xae | disable, enable the auxiliary device; the keyboard |
//! | 0xa9, 0xaa, 0xab | tests: 0x00, 0x55, 0x00 |
//! | 0xc0, 0xd0, 0xd1 | read the input port, read and write the output port: bit 0 low resets, bit 1 is A20 |
//! | 0xd2, 0xd3, 0xd4 | write the keyboard's buffer, the auxiliary device's, the auxiliary device |
//! | 0xf0 to 0xff | pulse output bits: bit 0 clear resets the machine |
//!
//! Interrupts 1 and 12 are the output buffer being full, where the command byte lets them; between two bytes the line
//! is low.
//!
//! **Not modelled**: times of transfer: a byte is there at once; repetition of keys; the lock, which reads open, and
//! passwords, whose commands 0xa4 to 0xa6 are taken without effect, as all unknown ones; scan code set 3, which is
//! refused with "resend"; the shift codes around the grey keys while num lock is on.
//!
//! **Differs from QEMU's** `i8042`, where the documents are on our side:
//! - Status bit 3 is clear when the last write was none of a command (Keyboard and Auxiliary Device Controller, status
//!   register: command/data); QEMU's is always set.
//! - The RAM has 32 bytes, which commands 0x20 to 0x3f and 0x60 to 0x7f reach; QEMU's has the command byte alone.
//! - The output port's bits of the serial lines read 0, for what is on these lines is not modelled; QEMU's read 1.
//! - A device refuses what is no value of a parameter with "resend", and what is no command (Keyboard, Mouse: 0xfe, "an
//!   invalid input"); QEMU's devices take any value, and do not answer an unknown command of the mouse.
//! - A command in place of a parameter is one; QEMU takes it for the value.
//!
//! **Relied on by**: SeaBIOS 1.16, by way of it syslinux; Memtest86+, which polls; Linux 6.1 (i8042, atkbd: a login that
//! was typed). No driver of the mouse was seen yet.

mod core;
pub mod ps2;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use trivisor_buses::{
    AccessError, Component, EventSink, Keyboard, Line, MachineEvent, Motion, Pointer, PortDevice,
    RestoreError, SavedState, Shell,
};

pub use self::core::{Byte, I8042, RAM_SIZE};
pub use state::I8042StateV1;

/// Ports from the first to the last that it occupies; those between belong to others.
pub const PORTS: u16 = 5;

/// Where the controller's pins lead.
#[derive(Debug)]
pub struct Pins {
    /// Interrupt 1.
    pub keyboard: Line,
    /// Interrupt 12.
    pub auxiliary: Line,
    /// Address line 20: low, it is held low.
    pub a20: Line,
}

/// The chip with its wires.
pub struct KeyboardController {
    // Wiring.
    pins: Pins,
    events: Arc<dyn EventSink>,
    // Guest-visible state.
    chip: I8042,
}

impl std::fmt::Debug for KeyboardController {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyboardController")
            .field("chip", &self.chip)
            .finish_non_exhaustive()
    }
}

impl KeyboardController {
    /// A chip after reset.
    #[must_use]
    pub fn new(pins: Pins, events: Arc<dyn EventSink>) -> Self {
        let mut device = Self {
            pins,
            events,
            chip: I8042::default(),
        };
        device.sync();
        device
    }

    /// Lights of the keyboard: bit 0 scroll lock, 1 num lock, 2 caps lock.
    #[must_use]
    pub const fn leds(&self) -> u8 {
        self.chip.keyboard.leds()
    }

    /// Drives the lines: the only place that does.
    fn sync(&mut self) {
        let (keyboard, auxiliary) = self.chip.interrupts();
        self.pins.keyboard.set_level(keyboard);
        self.pins.auxiliary.set_level(auxiliary);
        self.pins.a20.set_level(self.chip.a20());
    }

    /// The next byte may be there: an edge of its own.
    fn refill(&mut self) {
        self.sync();
        self.chip.fill();
        self.sync();
    }
}

impl PortDevice for KeyboardController {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        *byte = self.chip.read(offset)?;
        self.refill();
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        let reset = self.chip.write(offset, *byte)?;
        self.refill();
        if reset {
            self.events.event(MachineEvent::Reset);
        }
        Ok(())
    }
}

impl Component for KeyboardController {
    fn reset(&mut self) {
        self.chip = I8042::default();
        self.sync();
    }

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &I8042StateV1::from(&self.chip))
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        self.chip = state
            .decode::<I8042StateV1>(state::KIND, state::VERSION)?
            .try_into()?;
        let (keyboard, auxiliary) = self.chip.interrupts();
        self.pins.keyboard.restore_level(keyboard);
        self.pins.auxiliary.restore_level(auxiliary);
        self.pins.a20.restore_level(self.chip.a20());
        Ok(())
    }
}

/// Somebody's hands on keyboard and mouse of a controller that stands on a bus.
#[derive(Debug, Clone)]
pub struct Hands(pub Arc<Shell<KeyboardController>>);

impl Keyboard for Hands {
    fn key(&self, code: u16, pressed: bool) -> bool {
        self.0.with(|device| {
            let taken = device.chip.keyboard.key(code, pressed);
            device.refill();
            taken
        })
    }
}

impl Pointer for Hands {
    fn report(&self, motion: Motion) -> bool {
        self.0.with(|device| {
            let taken = device.chip.mouse.report(motion);
            device.refill();
            taken
        })
    }
}
