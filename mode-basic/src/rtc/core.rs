//! The chip as a value: register accesses and the host's time of day in, register values out.

use std::time::Duration;

use trivisor_buses::AccessError;

use super::regs::{
    ALARM_ANY, PM, RAM_SIZE, RegisterA, RegisterB, RegisterC, RegisterD, index, offset,
};

/// Nanoseconds a second.
pub(super) const SECOND_NS: u64 = 1_000_000_000;

/// UIP is set from 244 us before an update begins to its end 1,984 us later (datasheet, table 6, 32.768 kHz).
const UIP_NS: u64 = 244_000 + 1_984_000;

const DAY_S: i64 = 86_400;

/// How far ahead an alarm is looked for: behind that, the host's clock may have been set.
const AHEAD_S: u8 = 60;

/// An MC146818A whose crystal is the host's clock.
///
/// Nothing runs while nobody looks: each access first counts the updates and periods that have ended since
/// the access before. So the guest's time is always as far from the host's as the guest has set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtcMc146818 {
    pub(super) index: u8,
    pub(super) a: RegisterA,
    pub(super) b: RegisterB,
    /// Register C but for IRQF.
    pub(super) flags: RegisterC,
    /// Indices 0x00 to 0x09, as they read.
    pub(super) time: [u8; 10],
    /// Indices 0x0e to 0x7f; the byte of the century is counted with the time.
    pub(super) ram: [u8; RAM_SIZE],
    /// Time of day of the host up to which all has been counted, nanoseconds since 1970.
    pub(super) seen_ns: u64,
    /// How far the divider chain is ahead of the host's second, nanoseconds, less than a second.
    pub(super) phase_ns: u32,
}

impl RtcMc146818 {
    /// A chip that shows `now`, the time since 1970, in UTC, as a PC's firmware leaves it: BCD, 24 hours.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        let mut chip = Self {
            index: 0,
            a: RegisterA::new().with_dv(0b010).with_rs(0b0110),
            b: RegisterB::new().with_hours_24(true),
            flags: RegisterC::new(),
            time: [0; 10],
            ram: [0; RAM_SIZE],
            seen_ns: nanoseconds(now),
            phase_ns: 0,
        };
        let time = now.as_secs().cast_signed();
        chip.show(time);
        // 1970-01-01 was a Thursday.
        chip.show_day_of_week(time / DAY_S + 4);
        chip
    }

    /// RESET, and what firmware then does, for none stands behind this chip: the clock runs, in BCD and 24
    /// hours. Time, alarm and RAM stay.
    pub fn reset(&mut self, now: Duration) {
        self.count(now);
        let time = self.shown();
        let fresh = Self::new(now);
        self.write_a(fresh.a);
        (self.index, self.b, self.flags) = (fresh.index, fresh.b, fresh.flags);
        self.show(time);
    }

    /// The chip's RESET pin (datasheet, "RESET"): no interrupt is enabled or requested; all else stays.
    pub fn reset_pin(&mut self, now: Duration) {
        self.count(now);
        self.flags = RegisterC::new();
        self.b = RegisterB::new()
            .with_set(self.b.set())
            .with_dm(self.b.dm())
            .with_hours_24(self.b.hours_24())
            .with_dse(self.b.dse());
    }

    /// Counts what has ended until `now`, as each access does first.
    pub fn look(&mut self, now: Duration) {
        self.count(now);
    }

    /// The interrupt output, which IRQF shows.
    #[must_use]
    pub const fn interrupt(&self) -> bool {
        self.flags.uf() && self.b.uie()
            || self.flags.af() && self.b.aie()
            || self.flags.pf() && self.b.pie()
    }

    /// The time of day at which to [`look`](Self::look) for [`interrupt`](Self::interrupt) to come at its time; `None`:
    /// it comes by no time alone. An alarm of a later minute is looked for once a minute.
    #[must_use]
    pub fn next_look(&self) -> Option<Duration> {
        if self.interrupt() || self.a.held() {
            return None;
        }
        let now = self.divider(self.seen_ns);
        let period = self.a.periodic_hz().filter(|_| self.b.pie());
        let period = period.map(|hz| {
            let ended = u128::from(hz) * u128::from(now) / u128::from(SECOND_NS);
            let next = ((ended + 1) * u128::from(SECOND_NS)).div_ceil(hz.into());
            u64::try_from(next).unwrap_or(u64::MAX)
        });
        let update = self
            .next_update()
            .map(|skipped| (now / SECOND_NS + 1 + u64::from(skipped)).saturating_mul(SECOND_NS));
        let next = period.into_iter().chain(update).min()?;
        // The end of the host's time is the end of this clock's.
        (next > now).then(|| Duration::from_nanos(next.saturating_sub(self.phase_ns.into())))
    }

    /// How many updates come before the next one that may interrupt.
    fn next_update(&self) -> Option<u8> {
        if self.b.set() {
            None
        } else if self.b.uie() {
            Some(0)
        } else if self.b.aie() {
            let first = self.shown() + 1;
            let alarm = (0..AHEAD_S).find(|skipped| self.is_alarm(first + i64::from(*skipped)));
            Some(alarm.unwrap_or(AHEAD_S))
        } else {
            None
        }
    }

    /// Reads the port at `at`.
    ///
    /// # Errors
    /// When there is none, or it is write-only.
    pub fn read(&mut self, at: u16, now: Duration) -> Result<u8, AccessError> {
        match at {
            offset::INDEX => Err(AccessError::WriteOnly),
            offset::DATA => Ok(self.read_selected(now)),
            _ => Err(AccessError::NoRegister),
        }
    }

    /// Writes the port at `at`.
    ///
    /// # Errors
    /// When there is none, or the register selected is read-only.
    pub fn write(&mut self, at: u16, value: u8, now: Duration) -> Result<(), AccessError> {
        match at {
            offset::INDEX => {
                self.index = value & index::MASK;
                Ok(())
            }
            offset::DATA => self.write_selected(value, now),
            _ => Err(AccessError::NoRegister),
        }
    }

    fn read_selected(&mut self, now: Duration) -> u8 {
        self.count(now);
        match self.index {
            index::A => self.a.with_uip(self.update_in_progress()).into_bits(),
            index::B => self.b.into_bits(),
            index::C => {
                let irqf = self.interrupt();
                std::mem::take(&mut self.flags).with_irqf(irqf).into_bits()
            }
            index::D => RegisterD::new().with_vrt(true).into_bits(),
            at => self.byte(at).copied().unwrap_or(0xff),
        }
    }

    fn write_selected(&mut self, value: u8, now: Duration) -> Result<(), AccessError> {
        self.count(now);
        match self.index {
            index::A => self.write_a(RegisterA::from_bits(value).with_uip(false)),
            index::B => {
                let b = RegisterB::from_bits(value);
                self.b = b.with_uie(b.uie() && !b.set());
            }
            index::C | index::D => return Err(AccessError::ReadOnly),
            at => *self.byte(at).ok_or(AccessError::NoRegister)? = value,
        }
        Ok(())
    }

    /// A byte of time, alarm or RAM.
    fn byte(&mut self, at: u8) -> Option<&mut u8> {
        match at.checked_sub(index::RAM) {
            Some(place) => self.ram.get_mut(usize::from(place)),
            None => self.time.get_mut(usize::from(at)),
        }
    }

    fn value(&self, at: u8) -> u8 {
        let byte = match at.checked_sub(index::RAM) {
            Some(place) => self.ram.get(usize::from(place)),
            None => self.time.get(usize::from(at)),
        };
        byte.copied().unwrap_or_default()
    }

    /// Once the divider runs again, the first update comes half a second later (datasheet, "Divider control").
    fn write_a(&mut self, a: RegisterA) {
        if self.a.held() && !a.held() {
            let ahead = (SECOND_NS + SECOND_NS / 2 - self.seen_ns % SECOND_NS) % SECOND_NS;
            self.phase_ns = u32::try_from(ahead).unwrap_or_default();
        }
        self.a = a;
    }

    /// The divider chain at a time of the host: its seconds are the updates.
    fn divider(&self, ns: u64) -> u64 {
        ns.saturating_add(self.phase_ns.into())
    }

    fn update_in_progress(&self) -> bool {
        let into = self.divider(self.seen_ns) % SECOND_NS;
        !self.b.set() && !self.a.held() && into >= SECOND_NS - UIP_NS
    }

    /// Makes up for the time since the last access. The host's clock may have been set back: then the time
    /// follows, and no flag is set.
    fn count(&mut self, now: Duration) {
        let from = self.divider(self.seen_ns);
        self.seen_ns = nanoseconds(now);
        let to = self.divider(self.seen_ns);
        if self.a.held() {
            return;
        }
        if let Some(hz) = self.a.periodic_hz() {
            let periods = |ns| u128::from(hz) * u128::from(ns) / u128::from(SECOND_NS);
            self.flags
                .set_pf(self.flags.pf() || periods(to) > periods(from));
        }
        let updates = (to / SECOND_NS).cast_signed() - (from / SECOND_NS).cast_signed();
        if updates != 0 && !self.b.set() {
            self.update(updates);
        }
    }

    fn update(&mut self, updates: i64) {
        let before = self.shown();
        let after = before + updates;
        self.show(after);
        // The day of the week is the guest's: the chip does not know that it follows from the date.
        let days = after.div_euclid(DAY_S) - before.div_euclid(DAY_S);
        if days != 0 {
            let old = self.decode(self.value(index::DAY_OF_WEEK));
            self.show_day_of_week(old - 1 + days);
        }
        // A day has every time of day in it: no need to look further back.
        let first = before + 1 + (updates - DAY_S).max(0);
        let alarm = (first..=after).any(|time| self.is_alarm(time));
        self.flags.set_uf(self.flags.uf() || updates > 0);
        self.flags.set_af(self.flags.af() || alarm);
    }

    /// The alarm bytes are compared as they are: one that no time ever reads as never matches.
    fn is_alarm(&self, time: i64) -> bool {
        let second = time.rem_euclid(DAY_S);
        let matches = |alarm, shown: u8| {
            let alarm = self.value(alarm);
            alarm & ALARM_ANY == ALARM_ANY || alarm == shown
        };
        matches(index::SECONDS_ALARM, self.encode(second % 60))
            && matches(index::MINUTES_ALARM, self.encode(second / 60 % 60))
            && matches(index::HOURS_ALARM, self.encode_hour(second / 3600))
    }

    /// The time in the registers, seconds since 1970. Values that no date has carry into the next field:
    /// the datasheet leaves open what becomes of them.
    fn shown(&self) -> i64 {
        let field = |at| self.decode(self.value(at));
        let year = field(index::CENTURY) * 100 + field(index::YEAR);
        let days = days_before(year, field(index::MONTH), field(index::DAY));
        let minutes = self.decode_hour(self.value(index::HOURS)) * 60 + field(index::MINUTES);
        days * DAY_S + minutes * 60 + field(index::SECONDS)
    }

    fn show(&mut self, time: i64) {
        let (days, second) = (time.div_euclid(DAY_S), time.rem_euclid(DAY_S));
        let (year, month, day) = date(days);
        let fields = [
            (index::SECONDS, self.encode(second % 60)),
            (index::MINUTES, self.encode(second / 60 % 60)),
            (index::HOURS, self.encode_hour(second / 3600)),
            (index::DAY, self.encode(day)),
            (index::MONTH, self.encode(month)),
            (index::YEAR, self.encode(year.rem_euclid(100))),
            (
                index::CENTURY,
                self.encode(year.div_euclid(100).rem_euclid(100)),
            ),
        ];
        for (at, value) in fields {
            if let Some(byte) = self.byte(at) {
                *byte = value;
            }
        }
    }

    /// `days` since a Sunday.
    fn show_day_of_week(&mut self, days: i64) {
        let value = self.encode(days.rem_euclid(7) + 1);
        if let Some(byte) = self.byte(index::DAY_OF_WEEK) {
            *byte = value;
        }
    }

    /// A value from 0 to 99 as a register holds it.
    fn encode(&self, value: i64) -> u8 {
        let [low, ..] = if self.b.dm() {
            value.to_le_bytes()
        } else {
            (value / 10 * 16 + value % 10).to_le_bytes()
        };
        low
    }

    fn decode(&self, byte: u8) -> i64 {
        if self.b.dm() {
            byte.into()
        } else {
            i64::from(byte >> 4) * 10 + i64::from(byte & 0xf)
        }
    }

    fn encode_hour(&self, hour: i64) -> u8 {
        if self.b.hours_24() {
            return self.encode(hour);
        }
        let clock = if hour % 12 == 0 { 12 } else { hour % 12 };
        self.encode(clock) | if hour >= 12 { PM } else { 0 }
    }

    fn decode_hour(&self, byte: u8) -> i64 {
        if self.b.hours_24() {
            return self.decode(byte);
        }
        self.decode(byte & !PM) % 12 + if byte & PM == 0 { 0 } else { 12 }
    }
}

/// Nanoseconds since 1970; the last moment is in 2554.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March on, so that the
/// leap day is the last; months and days outside of their range carry.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let months = year * 12 + month - 3;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12));
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // (153 m + 2) / 5: days of the m months from March on.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The year, month and day of the Gregorian calendar that is `days` days after 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    // Eras of 400 years, from 0000-03-01 on.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}
