//! The block as a value.

use trivisor_buses::AccessError;

use super::regs::{Events, RESET_VALUE, S5, SleepControl, offset};

/// What the guest asked for by a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Power off.
    PowerOff,
    /// Reset.
    Reset,
}

/// Sleep, reset and event registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PowerBlock {
    pub(super) sleep_control: SleepControl,
    pub(super) events: Events,
}

impl PowerBlock {
    /// Reads a register of one byte.
    ///
    /// # Errors
    /// When there is none at `at`, or it cannot be read so.
    pub const fn read(self, at: u16) -> Result<u8, AccessError> {
        match at {
            offset::SLEEP_CONTROL => Ok(self.sleep_control.into_bits()),
            // WAK_STS is never set: no state but S5 can be entered, and nobody wakes from that.
            offset::SLEEP_STATUS => Ok(0),
            offset::RESET => Err(AccessError::WriteOnly),
            offset::EVENTS => Err(AccessError::Width),
            _ => Err(AccessError::NoRegister),
        }
    }

    /// Writes a register of one byte.
    ///
    /// # Errors
    /// When there is none at `at`, it cannot be written so, or nothing can be done with `value`.
    pub const fn write(&mut self, at: u16, value: u8) -> Result<Option<Request>, AccessError> {
        match at {
            offset::SLEEP_CONTROL => {
                let written = SleepControl::from_bits(value);
                self.sleep_control = SleepControl::new().with_slp_typ(written.slp_typ());
                match (written.slp_en(), written.slp_typ()) {
                    (false, _) => Ok(None),
                    (true, S5) => Ok(Some(Request::PowerOff)),
                    (true, _) => Err(AccessError::Value),
                }
            }
            // A one clears WAK_STS, which is clear.
            offset::SLEEP_STATUS => Ok(None),
            offset::RESET if value == RESET_VALUE => Ok(Some(Request::Reset)),
            offset::RESET => Err(AccessError::Value),
            offset::EVENTS => Err(AccessError::ReadOnly),
            _ => Err(AccessError::NoRegister),
        }
    }

    /// Reads the event register and clears it.
    pub const fn take_events(&mut self) -> Events {
        let events = self.events;
        self.events = Events::new();
        events
    }

    /// Sets what is set in `events`.
    pub const fn raise(&mut self, events: Events) {
        self.events = Events::from_bits(self.events.into_bits() | events.into_bits());
    }
}
