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
//! Registers that the datasheet leaves undefined at reset stand as a PC's firmware leaves them, for none runs
//! here. What the guest sets is a distance to the host's time, which goes on while the machine is paused or
//! saved; the host's clock set back takes the guest's back. A reset of the machine keeps the time that the guest set.
//!
//! The flags of register C are worked out when somebody looks, so polling finds them.
//!
//! **Not modelled**: the interrupt output (basic boards have no timer, so nothing would drive it at the right
//! time; firmware tables give the clock no interrupt); time bases other than 32.768 kHz and the divider's test
//! modes, which count as 32.768 kHz; the square wave; daylight saving; bit 7 of the index (NMI mask).
//!
//! **Relied on by**: Linux (rtc_cmos), the bare-metal guest.

mod core;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use trivisor_buses::{
    AccessError, Component, PortDevice, RestoreError, SavedState, WallClock, Widths,
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
    // Guest-visible state.
    chip: RtcMc146818,
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
        Self { wall_clock, chip }
    }
}

impl PortDevice for Rtc {
    fn read(&mut self, offset: u16, data: &mut [u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        *byte = self.chip.read(offset, self.wall_clock.now())?;
        Ok(())
    }

    fn write(&mut self, offset: u16, data: &[u8]) -> Result<(), AccessError> {
        let [byte] = data else {
            return Err(AccessError::Width);
        };
        self.chip.write(offset, *byte, self.wall_clock.now())
    }
}

impl Component for Rtc {
    fn reset(&mut self) {
        self.chip.reset(self.wall_clock.now());
    }

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &RtcStateV1::from(&self.chip))
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        self.chip = state
            .decode::<RtcStateV1>(state::KIND, state::VERSION)?
            .try_into()?;
        Ok(())
    }
}
