//! What an input device is made with, and what it says of itself.

use std::ops::RangeInclusive;

use thiserror::Error;

use super::regs::{BUS_VIRTUAL, MOST_ANSWER, code, event, select};

/// The right and the lower edge of a tablet.
pub const MOST_ABSOLUTE: u32 = 0x7fff;

/// Which input device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputKind {
    /// Keys and three lights.
    Keyboard,
    /// Five buttons, two wheels, and movements.
    Mouse,
    /// As a mouse, with places instead of movements.
    Tablet,
}

impl InputKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Keyboard => "Trivisor keyboard",
            Self::Mouse => "Trivisor mouse",
            Self::Tablet => "Trivisor tablet",
        }
    }

    /// Whether it has such events.
    pub(super) fn has(self, kind: u16, code: u16) -> bool {
        self.codes(kind).iter().any(|codes| codes.contains(&code))
    }

    /// The codes of the events of a type.
    fn codes(self, kind: u16) -> &'static [RangeInclusive<u16>] {
        match (self, kind) {
            (Self::Keyboard, event::EV_KEY) => &[code::KEY_ESC..=code::KEY_MICMUTE],
            (Self::Keyboard, event::EV_LED) => &[code::LED_NUML..=code::LED_SCROLLL],
            (Self::Keyboard, event::EV_REP) => &[code::REP_DELAY..=code::REP_PERIOD],
            (Self::Mouse | Self::Tablet, event::EV_KEY) => &[code::BTN_LEFT..=code::BTN_EXTRA],
            (Self::Mouse, event::EV_REL) => &[
                code::REL_X..=code::REL_Y,
                code::REL_HWHEEL..=code::REL_HWHEEL,
                code::REL_WHEEL..=code::REL_WHEEL,
            ],
            (Self::Tablet, event::EV_REL) => &[
                code::REL_HWHEEL..=code::REL_HWHEEL,
                code::REL_WHEEL..=code::REL_WHEEL,
            ],
            (Self::Tablet, event::EV_ABS) => &[code::ABS_X..=code::ABS_Y],
            _ => &[],
        }
    }
}

/// A serial number that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a serial number of {len} bytes, where {MOST_ANSWER} is the most")]
pub struct SerialTooLong {
    /// Its bytes.
    pub len: usize,
}

/// What the device answers to one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    bytes: [u8; MOST_ANSWER],
    len: u8,
}

impl Answer {
    const NONE: Self = Self {
        bytes: [0; MOST_ANSWER],
        len: 0,
    };

    /// To `select` and `subsel`, as in the table of the device.
    pub(super) fn to(kind: InputKind, serial: &str, select: u8, subsel: u8) -> Self {
        match (select, subsel) {
            (select::ID_NAME, 0) => Self::of(kind.name().as_bytes()),
            (select::ID_SERIAL, 0) => Self::of(serial.as_bytes()),
            (select::ID_DEVIDS, 0) => {
                let ids = [BUS_VIRTUAL, 0, 1 + kind as u16, 1];
                Self::of(ids.map(u16::to_le_bytes).as_flattened())
            }
            (select::EV_BITS, kind_of_event) => {
                let mut bits = Self::NONE;
                for code in kind.codes(kind_of_event.into()).iter().cloned().flatten() {
                    bits.set(code);
                }
                bits
            }
            (select::ABS_INFO, axis) => {
                if !kind.has(event::EV_ABS, axis.into()) {
                    return Self::NONE;
                }
                let info = [0, MOST_ABSOLUTE, 0, 0, 0];
                Self::of(info.map(u32::to_le_bytes).as_flattened())
            }
            _ => Self::NONE,
        }
    }

    fn of(bytes: &[u8]) -> Self {
        let mut answer = Self::NONE;
        for (to, from) in answer.bytes.iter_mut().zip(bytes) {
            *to = *from;
            answer.len += 1;
        }
        answer
    }

    fn set(&mut self, bit: u16) {
        let byte = u8::try_from(bit / 8).unwrap_or(u8::MAX);
        if let Some(bits) = self.bytes.get_mut(usize::from(byte)) {
            *bits |= 1 << (bit % 8);
            self.len = self.len.max(byte + 1);
        }
    }

    /// `size`.
    pub(super) const fn len(&self) -> u8 {
        self.len
    }

    /// `u`, zeros behind the answer.
    pub(super) const fn bytes(&self) -> &[u8; MOST_ANSWER] {
        &self.bytes
    }
}
