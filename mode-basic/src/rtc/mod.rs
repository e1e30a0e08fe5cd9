//! Real-time clock, MC146818A, with CMOS RAM.
//!
//! Source: Motorola, MC146818A Real-Time Clock Plus RAM (RTC), ADI856R2, 1984; ports, the century and 114
//! bytes of RAM as on a PC/AT and its successors.
//!
//! | port | read | write | reset |
//! |---|---|---|---|
//! | 0x70 | refused | index, 7 bits | 0x00 |
//! | 0x71 | the register selected | the register selected | - |
//!
//! | index | register | access | reset |
//! |---|---|---|---|
//! | 0x00, 0x02, 0x04 | seconds, minutes, hours | read, write | the host's time, UTC |
//! | 0x01, 0x03, 0x05 | alarm: seconds, minutes, hours; 0xc0 and more match always | read, write | 0x00, then kept |
//! | 0x06 | day of the week, Sunday is 1 | read, write | the host's |
//! | 0x07, 0x08, 0x09 | day of the month, month, year | read, write | the host's |
//! | 0x0a | A: UIP, divider, rate | read, write; UIP read only | 0x26 |
//! | 0x0b | B: SET, enables, BCD or binary, 12 or 24 hours | read, write | 0x02 |
//! | 0x0c | C: flags; a read clears them | read | 0x00 |
//! | 0x0d | D: VRT | read | 0x80 |
//! | 0x0e to 0x7f | RAM | read, write | 0x00, then kept |
//! | 0x32 | RAM: the century, counted with the year | read, write | the host's |
//!
//! Registers that the datasheet leaves undefined at power-on stand as a PC's firmware leaves them. Where the chip has no
//! interrupt, no firmware stands behind it either, and a reset of the machine puts them back so; else a reset is the
//! datasheet's: it clears SQWE, the enables and the flags. What the guest sets is a distance to the host's time, which goes on while the machine is paused or
//! saved; the host's clock set back takes the guest's back. A reset of the machine keeps the time that the guest set.
//!
//! The flags of register C are worked out when somebody looks, so polling finds them. The interrupt output, IRQ 8 of a
//! PC, is the board's choice ([`Rtc::with_irq`]): high while a flag is set whose interrupt is enabled, until register
//! C is read. It is one chip with or without it, for all that an interrupt adds is a timer that looks at the time of the
//! next one. Basic boards leave it out: their tables give the clock no interrupt, and they need no timer.
//!
//! **Not modelled**: time bases other than 32.768 kHz and the divider's test modes, which count as 32.768 kHz; the
//! square wave; daylight saving (DSE is kept, and no hour is left out or comes twice: no guest of today sets it, for it
//! knows the dates of 1984 alone); bit 7 of the index (NMI mask); the second bank of RAM at 0x72 and 0x73, which the
//! 82371AB has inside and neither this chip nor QEMU's: nothing answers there, and ones are read.
//!
//! **Relied on by**: SeaBIOS 1.16 (CMOS RAM; INT 15h, functions 83h and 86h, by the periodic interrupt; INT 1Ah), Linux
//! (rtc_cmos), the bare-metal guest.

mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use trivisor_buses::{
    AccessError, Clock, Component, Line, PortDevice, RestoreError, SavedState, Timer, Wake,
    WallClock, Widths,
};

pub use self::core::RtcMc146818;
pub use state::RtcStateV1;

/// Ports that it occupies.
pub const PORTS: u16 = 2;

/// The widths that it takes: a word to port 0x70 is an index and its value.
pub const WIDTHS: Widths = Widths::BYTES;

/// The chip with the clock that it follows.
pub struct Rtc {
    // Wiring.
    wall_clock: Arc<dyn WallClock>,
    irq: Option<IrqPin>,
    // Guest-visible state.
    chip: RtcMc146818,
    // Derived: the time of day that the timer is armed for.
    armed: Option<Duration>,
}

/// What the interrupt output needs.
pub struct IrqPin {
    /// Where it leads.
    pub line: Line,
    /// The time by which the timer rings.
    pub clock: Arc<dyn Clock>,
    /// Drives it at the right time: its end is the chip, in its shell.
    pub timer: Box<dyn Timer>,
}

impl std::fmt::Debug for IrqPin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IrqPin")
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Rtc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rtc")
            .field("chip", &self.chip)
            .finish_non_exhaustive()
    }
}

impl Rtc {
    /// A chip that shows the time of `wall_clock`.
    #[must_use]
    pub fn new(wall_clock: Arc<dyn WallClock>) -> Self {
        let chip = RtcMc146818::new(wall_clock.now());
        Self {
            wall_clock,
            irq: None,
            chip,
            armed: None,
        }
    }

    /// The same chip with its interrupt output. Firmware sets it up, so its reset is the datasheet's.
    #[must_use]
    pub fn with_irq(mut self, irq: IrqPin) -> Self {
        self.irq = Some(irq);
        self
    }

    /// Drives the interrupt output, and arms the timer for when it next changes by itself.
    fn sync(&mut self) {
        let Some(irq) = &mut self.irq else { return };
        irq.line.set_level(self.chip.interrupt());
        let next = self.chip.next_look();
        if next == self.armed {
            return;
        }
        self.armed = next;
        match next {
            Some(next) => {
                let wait = next.saturating_sub(self.wall_clock.now()).as_nanos();
                let wait = u64::try_from(wait).unwrap_or(u64::MAX);
                irq.timer.arm(irq.clock.now().after_ns(wait));
            }
            None => irq.timer.disarm(),
        }
    }

    /// The timer is armed for nothing that still holds.
    fn look_again(&mut self) {
        self.armed = None;
        self.chip.look(self.wall_clock.now());
        self.sync();
    }
}

impl Wake for Rtc {
    fn wake(&mut self) -> bool {
        self.look_again();
        false
    }
}

impl PortDevice for Rtc {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        let value = self.chip.read(offset, self.wall_clock.now());
        self.sync();
        *byte = value?;
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        let written = self.chip.write(offset, *byte, self.wall_clock.now());
        self.sync();
        written
    }
}

impl Component for Rtc {
    fn start(&mut self) {
        if self.irq.is_some() {
            // While the machine was paused, the time of day went on.
            self.look_again();
        }
    }

    fn reset(&mut self) {
        let now = self.wall_clock.now();
        if self.irq.is_some() {
            self.chip.reset_pin(now);
        } else {
            self.chip.reset(now);
        }
        self.sync();
    }

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &RtcStateV1::from(&self.chip))
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        self.chip = state
            .decode::<RtcStateV1>(state::KIND, state::VERSION)?
            .try_into()?;
        let interrupt = self.chip.interrupt();
        if let Some(irq) = &mut self.irq {
            irq.line.restore_level(interrupt);
        }
        // The timer is armed by the time of the chip's state, whatever it was armed for.
        self.armed = None;
        self.sync();
        Ok(())
    }
}
