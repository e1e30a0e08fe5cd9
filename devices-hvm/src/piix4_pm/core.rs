//! The ports from PMBA on as a value.

use trivisor_buses::{AccessError, GuestTime};

use super::regs::{
    ACPI_DISABLE, ACPI_ENABLE, Pmcntrl, Pmen, Pmsts, SOFT_OFF, TIMER_BITS, TIMER_HZ, port,
};

/// Ports.
pub(super) const SIZE: usize = 64;

/// What is written to be read again: first byte, and the bits that exist.
const KEPT: [(u16, &[u8]); 6] = [
    (port::GPEN, &[0x01, 0x0f]),
    (port::PCNTRL, &[0x1e, 0x26, 0x07, 0x00]),
    (port::GLBEN, &[0xff, 0x07]),
    (port::GLBCTL, &[0x26, 0xff, 0x01, 0x07]),
    (port::DEVCTL, &[0xff, 0xff, 0xff, 0x1f]),
    (port::GPOREG, &[0xff, 0xff, 0xff, 0x7f]),
];

/// Power management registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PmRegisters {
    pub(super) status: Pmsts,
    pub(super) enable: Pmen,
    pub(super) control: Pmcntrl,
    /// Those of [`KEPT`], at their places; the others are zero.
    pub(super) kept: [u8; SIZE],
    /// Guest time up to which overflows of the timer were counted.
    pub(super) seen: GuestTime,
}

impl Default for PmRegisters {
    fn default() -> Self {
        let mut kept = [0; SIZE];
        // GPOREG (7.2): all outputs high but two.
        let reset = kept.iter_mut().skip(port::GPOREG.into());
        reset
            .zip([0xff, 0xfb, 0xff, 0x7f])
            .for_each(|(byte, value)| *byte = value);
        Self {
            status: Pmsts::new(),
            enable: Pmen::new(),
            control: Pmcntrl::new(),
            kept,
            seen: GuestTime::default(),
        }
    }
}

/// Which bits of the byte at `at` are kept.
pub(super) fn kept_bits(at: usize) -> u8 {
    let mask = KEPT.iter().find_map(|(first, bits)| {
        let within = at.checked_sub(usize::from(*first))?;
        bits.get(within).copied()
    });
    mask.unwrap_or_default()
}

impl PmRegisters {
    /// Fills `data` from the registers at `offset`.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(
        &mut self,
        offset: u16,
        data: &mut [u8],
        now: GuestTime,
    ) -> Result<(), AccessError> {
        self.count(now);
        let mut image = self.kept;
        let timer = ticks(now) & ((1 << TIMER_BITS) - 1);
        let timer = u32::try_from(timer).unwrap_or_default();
        for (at, bytes) in [
            (port::PMSTS, &self.status.into_bits().to_le_bytes()[..]),
            (port::PMEN, &self.enable.into_bits().to_le_bytes()),
            (port::PMCNTRL, &self.control.into_bits().to_le_bytes()),
            (port::PMTMR, &timer.to_le_bytes()),
        ] {
            let place = image.iter_mut().skip(at.into());
            place.zip(bytes).for_each(|(byte, value)| *byte = *value);
        }
        let offset = usize::from(offset);
        let found = image.get(offset..offset + data.len());
        data.copy_from_slice(found.ok_or(AccessError::NoRegister)?);
        Ok(())
    }

    /// Takes `data` to the registers at `offset`; true: the machine is to be switched off.
    ///
    /// # Errors
    /// When there is none, it is read-only, or the machine does not have the sleep state.
    pub fn write(&mut self, offset: u16, data: &[u8], now: GuestTime) -> Result<bool, AccessError> {
        self.count(now);
        if usize::from(offset) + data.len() > SIZE {
            return Err(AccessError::NoRegister);
        }
        let mut off = false;
        for (at, byte) in (offset..).zip(data) {
            off |= self.write_byte(at, *byte)?;
        }
        Ok(off)
    }

    fn write_byte(&mut self, at: u16, byte: u8) -> Result<bool, AccessError> {
        let (low, high) = (u16::from(byte), u16::from(byte) << 8);
        match at {
            0x00 | 0x01 => {
                let ones = if at == 0 { low } else { high };
                self.status = Pmsts::from_bits(self.status.into_bits() & !ones);
            }
            0x02 | 0x03 => {
                let bits = merge(self.enable.into_bits(), at == 3, byte);
                let bits = Pmen::from_bits(bits);
                self.enable = Pmen::new()
                    .with_tmrof(bits.tmrof())
                    .with_gbl(bits.gbl())
                    .with_pwrbtn(bits.pwrbtn())
                    .with_rtc(bits.rtc());
            }
            0x04 | 0x05 => {
                let bits = Pmcntrl::from_bits(merge(self.control.into_bits(), at == 5, byte));
                self.control = Pmcntrl::new()
                    .with_sci_en(bits.sci_en())
                    .with_brld_en_bm(bits.brld_en_bm())
                    .with_gbl_rls(bits.gbl_rls())
                    .with_sus_typ(bits.sus_typ());
                return match (bits.sus_en(), bits.sus_typ()) {
                    (false, _) => Ok(false),
                    (true, SOFT_OFF) => Ok(true),
                    (true, _) => Err(AccessError::Value),
                };
            }
            _ => {
                let mask = kept_bits(at.into());
                let place = self.kept.get_mut(usize::from(at));
                let place = place.ok_or(AccessError::NoRegister)?;
                *place = *place & !mask | byte & mask;
            }
        }
        Ok(false)
    }

    /// What a write to APMC makes the BIOS's SMI handler do.
    pub const fn command(&mut self, value: u8) {
        match value {
            ACPI_ENABLE => self.control.set_sci_en(true),
            ACPI_DISABLE => self.control.set_sci_en(false),
            _ => {}
        }
    }

    /// The SCI.
    #[must_use]
    pub const fn interrupt(&self) -> bool {
        self.control.sci_en() && self.status.into_bits() & self.enable.into_bits() != 0
    }

    /// When the timer's next overflow makes an SCI, if it does.
    #[must_use]
    pub fn next_overflow(&self) -> Option<GuestTime> {
        let wanted = self.control.sci_en() && self.enable.tmrof() && !self.status.tmrof();
        let half = ticks(self.seen) >> (TIMER_BITS - 1);
        let tick = (half + 1) << (TIMER_BITS - 1);
        let ns = (tick * 1_000_000_000).div_ceil(TIMER_HZ.into());
        let time = u64::try_from(ns).ok().map(GuestTime);
        time.filter(|_| wanted)
    }

    /// Notes the overflows of the timer since the last look.
    pub(super) fn count(&mut self, now: GuestTime) {
        let half = |time| ticks(time) >> (TIMER_BITS - 1);
        if half(now) != half(self.seen) {
            self.status.set_tmrof(true);
        }
        self.seen = now;
    }
}

/// A 16-bit register of which one byte was written.
fn merge(old: u16, high: bool, byte: u8) -> u16 {
    let [low, top] = old.to_le_bytes();
    u16::from_le_bytes(if high { [low, byte] } else { [byte, top] })
}

fn ticks(time: GuestTime) -> u128 {
    time.ticks(TIMER_HZ, 1)
}
