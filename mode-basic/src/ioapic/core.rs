//! The chip as a value: register accesses and levels in, messages out.

use trivisor_buses::{AccessError, Msi};

use super::regs::{Id, READ_ONLY, Redirection, Version, index, offset};

/// Interrupt inputs.
pub const PINS: usize = 24;

/// Version with an EOI register, which spares Linux the detour over edge mode.
const VERSION: u8 = 0x20;

/// An 82093AA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IoApic82093 {
    pub(super) id: Id,
    pub(super) select: u8,
    pub(super) redirection: [Redirection; PINS],
    /// Levels of the inputs, a bit a pin.
    pub(super) levels: u32,
}

/// What an access or a change of level makes the shell do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects {
    /// A message to send.
    pub message: Option<Msi>,
    /// A pin whose level-triggered message is another now, and which (`None`: it sends none).
    pub route: Option<(u8, Option<Msi>)>,
}

impl Default for IoApic82093 {
    fn default() -> Self {
        Self {
            id: Id::new(),
            select: 0,
            redirection: [Redirection::new(); PINS],
            levels: 0,
        }
    }
}

impl IoApic82093 {
    /// Reads the 32-bit register at `at`.
    ///
    /// # Errors
    /// When there is none, or it is write-only.
    pub fn read(&self, at: u64) -> Result<u32, AccessError> {
        match at {
            offset::IOREGSEL => Ok(self.select.into()),
            offset::IOWIN => Ok(self.read_selected()),
            offset::EOIR => Err(AccessError::WriteOnly),
            _ => Err(AccessError::NoRegister),
        }
    }

    /// Writes the 32-bit register at `at`.
    ///
    /// # Errors
    /// When there is none, or it is read-only.
    pub fn write(&mut self, at: u64, value: u32) -> Result<Vec<Effects>, AccessError> {
        let [low, ..] = value.to_le_bytes();
        match at {
            offset::IOREGSEL => {
                self.select = low;
                Ok(Vec::new())
            }
            offset::IOWIN => self.write_selected(value).map(|effects| vec![effects]),
            offset::EOIR => Ok(self.end_of_interrupt(low)),
            _ => Err(AccessError::NoRegister),
        }
    }

    /// A level changed. An edge-triggered pin sends at a rising edge, a level-triggered one while it is high
    /// and its last interrupt has ended. An edge at a masked pin is lost, as on the chip.
    pub fn set_level(&mut self, pin: u8, level: bool) -> Effects {
        let rising = level && !self.level(pin);
        self.restore_level(pin, level);
        let Some(entry) = self.redirection.get(usize::from(pin)) else {
            return Effects::default();
        };
        let message = if entry.level() {
            None
        } else {
            (rising && !entry.masked()).then(|| entry.message())
        };
        Effects {
            message: message.or_else(|| self.send_level(pin)),
            route: None,
        }
    }

    /// A level, without an edge.
    pub fn restore_level(&mut self, pin: u8, level: bool) {
        let bit = 1_u32.checked_shl(pin.into()).unwrap_or(0);
        self.levels = if level {
            self.levels | bit
        } else {
            self.levels & !bit
        };
    }

    /// Level-triggered interrupts with this vector have ended: those that are still high are sent again.
    pub fn end_of_interrupt(&mut self, vector: u8) -> Vec<Effects> {
        let mut effects = Vec::new();
        for pin in 0..PINS_U8 {
            let Some(entry) = self.entry_mut(pin) else {
                continue;
            };
            if entry.vector() == vector && entry.level() && entry.remote_irr() {
                entry.set_remote_irr(false);
                effects.push(Effects {
                    message: self.send_level(pin),
                    route: None,
                });
            }
        }
        effects
    }

    /// The message of each level-triggered pin that is not masked: what the host has to know after a restore.
    pub fn routes(&self) -> impl Iterator<Item = (u8, Option<Msi>)> {
        (0..PINS_U8)
            .zip(&self.redirection)
            .map(|(pin, entry)| (pin, route(*entry)))
    }

    fn level(&self, pin: u8) -> bool {
        self.levels.checked_shr(pin.into()).unwrap_or(0) & 1 != 0
    }

    fn entry_mut(&mut self, pin: u8) -> Option<&mut Redirection> {
        self.redirection.get_mut(usize::from(pin))
    }

    /// Sends a level-triggered interrupt that is due.
    fn send_level(&mut self, pin: u8) -> Option<Msi> {
        let high = self.level(pin);
        let entry = self.entry_mut(pin)?;
        if !high || !entry.level() || entry.masked() || entry.remote_irr() {
            return None;
        }
        entry.set_remote_irr(true);
        Some(entry.message())
    }

    /// The pin and the half of its entry that IOREGSEL names.
    fn selected(&self) -> Option<(u8, bool)> {
        let at = self.select.checked_sub(index::REDIRECTION)?;
        (at < 2 * PINS_U8).then_some((at / 2, at % 2 == 1))
    }

    /// What no register stands behind reads 0: guests probe by it.
    fn read_selected(&self) -> u32 {
        match self.select {
            index::ID => self.id.into_bits(),
            index::VERSION => Version::new()
                .with_version(VERSION)
                .with_max_redirection(PINS_U8 - 1)
                .into_bits(),
            index::ARBITRATION => self.id.into_bits(),
            _ => self.selected().map_or(0, |(pin, high)| {
                let entry = self
                    .redirection
                    .get(usize::from(pin))
                    .copied()
                    .unwrap_or_default()
                    .into_bits();
                let [low_half, high_half] = halves(entry);
                if high { high_half } else { low_half }
            }),
        }
    }

    fn write_selected(&mut self, value: u32) -> Result<Effects, AccessError> {
        if self.select == index::ID {
            self.id = Id::new().with_id(Id::from_bits(value).id());
            return Ok(Effects::default());
        }
        let (pin, high) = self.selected().ok_or(AccessError::ReadOnly)?;
        let entry = self.entry_mut(pin).ok_or(AccessError::NoRegister)?;
        let old = *entry;
        let [low_half, high_half] = halves(old.into_bits());
        let bits = if high {
            u64::from(low_half) | u64::from(value) << 32
        } else {
            u64::from(value) | u64::from(high_half) << 32
        };
        let read_only = old.into_bits() & READ_ONLY;
        *entry = Redirection::from_bits(bits & !READ_ONLY | read_only);
        if !entry.level() {
            // Linux ends a level-triggered interrupt by a change to edge and back where there is no EOIR.
            entry.set_remote_irr(false);
        }
        let (before, after) = (route(old), route(*entry));
        let route = (before != after).then_some((pin, after));
        Ok(Effects {
            message: self.send_level(pin),
            route,
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "24 pins")]
const PINS_U8: u8 = PINS as u8;

/// The message whose end the host is to report.
fn route(entry: Redirection) -> Option<Msi> {
    (entry.level() && !entry.masked()).then(|| entry.with_remote_irr(false).message())
}

#[expect(clippy::cast_possible_truncation, reason = "each half is 32 bits wide")]
const fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}
