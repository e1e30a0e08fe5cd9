//! The MC146818 clock (Motorola datasheet) behind ports 0x70 and 0x71.

use core::fmt;

use crate::port;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
/// The customary place of the century; not the chip's own.
const CENTURY: u8 = 0x32;
const UPDATE_IN_PROGRESS: u8 = 0x80;
const BINARY: u8 = 0x04;
const HOURS_24: u8 = 0x02;
const PM: u8 = 0x80;

/// Date and time as the registers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

fn register(index: u8) -> u8 {
    port::write_u8(INDEX, index);
    port::read_u8(DATA)
}

fn read_once() -> Time {
    let status = register(STATUS_B);
    let decode = |raw: u8| {
        if status & BINARY == 0 {
            (raw >> 4) * 10 + (raw & 0xf)
        } else {
            raw
        }
    };
    let hour = register(4);
    let pm = status & HOURS_24 == 0 && hour & PM != 0;
    let hour = match (status & HOURS_24 == 0, decode(hour & !PM)) {
        (true, hour) => hour % 12 + if pm { 12 } else { 0 },
        (false, hour) => hour,
    };
    Time {
        year: u16::from(decode(register(CENTURY))) * 100 + u16::from(decode(register(9))),
        month: decode(register(8)),
        day: decode(register(7)),
        hour,
        minute: decode(register(2)),
        second: decode(register(0)),
    }
}

/// Reads until two readings agree, outside of updates; `None` when the chip never gets there.
pub fn read() -> Option<Time> {
    let mut last = None;
    for _ in 0..100_000 {
        if register(STATUS_A) & UPDATE_IN_PROGRESS != 0 {
            continue;
        }
        let time = read_once();
        if last == Some(time) {
            return last;
        }
        last = Some(time);
    }
    None
}
