//! The keyboard.

use super::{Output, keys, reply};

/// Commands of the keyboard.
pub mod command {
    /// Set the lights; a parameter follows.
    pub const SET_LEDS: u8 = 0xed;
    /// Answer with the same byte.
    pub const ECHO: u8 = 0xee;
    /// Choose a scan code set, or ask for it with parameter 0.
    pub const SCAN_CODE_SET: u8 = 0xf0;
    /// Send the identification.
    pub const IDENTIFY: u8 = 0xf2;
    /// Set rate and delay of repetition; a parameter follows.
    pub const SET_TYPEMATIC: u8 = 0xf3;
    /// Scan the keys.
    pub const ENABLE: u8 = 0xf4;
    /// Defaults, and stop scanning.
    pub const DISABLE: u8 = 0xf5;
    /// Defaults.
    pub const SET_DEFAULT: u8 = 0xf6;
    /// Send the last byte again.
    pub const RESEND: u8 = 0xfe;
    /// Reset and test.
    pub const RESET: u8 = 0xff;
}

/// Identification of a keyboard with 101 or 102 keys.
const ID: [u8; 2] = [0xab, 0x83];

/// A keyboard with 102 keys. Keys do not repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ps2Keyboard {
    pub(in super::super) output: Output,
    /// The command whose parameter is awaited.
    pub(in super::super) awaits: Option<u8>,
    /// Keys are scanned.
    pub(in super::super) scanning: bool,
    /// Scan code set: 1 or 2.
    pub(in super::super) set: u8,
    /// Lights: bit 0 scroll lock, 1 num lock, 2 caps lock.
    pub(in super::super) leds: u8,
}

impl Default for Ps2Keyboard {
    fn default() -> Self {
        Self {
            output: Output::default(),
            awaits: None,
            scanning: true,
            set: 2,
            leds: 0,
        }
    }
}

impl Ps2Keyboard {
    /// The lights: bit 0 scroll lock, 1 num lock, 2 caps lock.
    #[must_use]
    pub const fn leds(&self) -> u8 {
        self.leds
    }

    /// The next byte for the controller.
    pub fn take(&mut self) -> Option<u8> {
        self.output.take()
    }

    /// A byte from the controller.
    pub fn write(&mut self, byte: u8) {
        match self.awaits.take() {
            // A command where a parameter should be ends the command before.
            Some(command) if byte < command::SET_LEDS => self.parameter(command, byte),
            _ => self.command(byte),
        }
    }

    fn parameter(&mut self, command: u8, value: u8) {
        match (command, value) {
            (command::SET_LEDS, 0..=7) => self.leds = value,
            (command::SCAN_CODE_SET, 0) => {
                self.output.answer(&[reply::ACK, self.set]);
                return;
            }
            (command::SCAN_CODE_SET, 1 | 2) => {
                self.set = value;
                self.output.reports.clear();
            }
            (command::SET_TYPEMATIC, 0..=0x7f) => {}
            _ => {
                self.awaits = Some(command);
                self.output.answer(&[reply::RESEND]);
                return;
            }
        }
        self.output.answer(&[reply::ACK]);
    }

    fn command(&mut self, byte: u8) {
        match byte {
            command::SET_LEDS | command::SCAN_CODE_SET | command::SET_TYPEMATIC => {
                self.awaits = Some(byte);
            }
            command::ECHO => return self.output.answer(&[reply::ECHO]),
            command::IDENTIFY => {
                let [first, second] = ID;
                return self.output.answer(&[reply::ACK, first, second]);
            }
            command::ENABLE => {
                self.output.reports.clear();
                self.scanning = true;
            }
            command::DISABLE => self.defaults(false),
            command::SET_DEFAULT => self.defaults(true),
            command::RESEND => return self.output.answer(&[self.output.last]),
            command::RESET => {
                *self = Self::default();
                return self.output.answer(&[reply::ACK, reply::TEST_PASSED]);
            }
            _ => return self.output.answer(&[reply::RESEND]),
        }
        self.output.answer(&[reply::ACK]);
    }

    fn defaults(&mut self, scanning: bool) {
        self.output.reports.clear();
        self.set = 2;
        self.scanning = scanning;
    }

    /// A key goes down or up; false: there is no room for its codes.
    pub fn key(&mut self, linux: u16, pressed: bool) -> bool {
        if !self.scanning {
            return true;
        }
        if linux == keys::PAUSE {
            let codes: &[u8] = match (pressed, self.set) {
                (false, _) => &[],
                (true, 1) => &[0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5],
                (true, _) => &[0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77],
            };
            return self.output.report(codes);
        }
        let Some((extended, set_1)) = keys::set_1(linux) else {
            return true;
        };
        let mut codes = Vec::with_capacity(3);
        codes.extend(extended.then_some(0xe0));
        if self.set == 1 {
            codes.push(if pressed { set_1 } else { set_1 | 0x80 });
        } else {
            codes.extend((!pressed).then_some(0xf0));
            codes.extend(keys::set_2(set_1));
        }
        self.output.report(&codes)
    }
}
