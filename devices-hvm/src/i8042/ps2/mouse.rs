//! The mouse, with a wheel for who knows how to ask for it.

use trivisor_buses::Motion;

use super::{Output, reply};

/// Commands of the mouse.
pub mod command {
    /// Scaling 1:1.
    pub const SCALING_1: u8 = 0xe6;
    /// Scaling 2:1 in stream mode.
    pub const SCALING_2: u8 = 0xe7;
    /// Set the resolution; a parameter of 0 to 3 follows.
    pub const SET_RESOLUTION: u8 = 0xe8;
    /// Send the status: three bytes.
    pub const STATUS: u8 = 0xe9;
    /// Stream mode.
    pub const STREAM: u8 = 0xea;
    /// Send a packet.
    pub const READ_DATA: u8 = 0xeb;
    /// End of wrap mode.
    pub const RESET_WRAP: u8 = 0xec;
    /// Wrap mode: every byte but a reset comes back.
    pub const WRAP: u8 = 0xee;
    /// Remote mode: packets are sent when asked for.
    pub const REMOTE: u8 = 0xf0;
    /// Send the identification.
    pub const IDENTIFY: u8 = 0xf2;
    /// Set the sample rate; a parameter follows, reports a second.
    pub const SET_RATE: u8 = 0xf3;
    /// Report in stream mode.
    pub const ENABLE: u8 = 0xf4;
    /// Do not report in stream mode.
    pub const DISABLE: u8 = 0xf5;
    /// Defaults.
    pub const SET_DEFAULT: u8 = 0xf6;
    /// Send the last byte again.
    pub const RESEND: u8 = 0xfe;
    /// Reset and test.
    pub const RESET: u8 = 0xff;
}

/// A mouse. Its packets have a fourth byte once rates of 200, 100 and 80 were set in a row (identification 3), and two
/// more buttons in it once 200, 200 and 80 were set then (identification 4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ps2Mouse {
    pub(in super::super) output: Output,
    /// The command whose parameter is awaited.
    pub(in super::super) awaits: Option<u8>,
    /// Reports in stream mode.
    pub(in super::super) reporting: bool,
    /// Packets are sent when asked for only.
    pub(in super::super) remote: bool,
    /// Bytes come back.
    pub(in super::super) wrap: bool,
    /// Scaling 2:1.
    pub(in super::super) double: bool,
    /// Resolution, 0 to 3.
    pub(in super::super) resolution: u8,
    /// Reports a second, and the two rates set before.
    pub(in super::super) rates: [u8; 3],
    /// Identification: 0, 3 or 4.
    pub(in super::super) id: u8,
    /// What was not told yet, and the buttons held.
    pub(in super::super) moved: Motion,
}

impl Default for Ps2Mouse {
    fn default() -> Self {
        Self {
            output: Output::default(),
            awaits: None,
            reporting: false,
            remote: false,
            wrap: false,
            double: false,
            resolution: 2,
            rates: [0, 0, 100],
            id: 0,
            moved: Motion::default(),
        }
    }
}

impl Ps2Mouse {
    /// The next byte for the controller. A packet of motion is made when the ones before have left.
    pub fn take(&mut self) -> Option<u8> {
        let Motion { x, y, wheel, .. } = self.moved;
        let moved = (x, y) != (0, 0) || (self.id != 0 && wheel != 0);
        if self.streams() && moved && self.output.reports.is_empty() {
            self.report_packet();
        }
        self.output.take()
    }

    /// Reports are sent unasked.
    const fn streams(&self) -> bool {
        self.reporting && !self.remote && !self.wrap
    }

    /// A byte from the controller.
    pub fn write(&mut self, byte: u8) {
        if self.wrap && !matches!(byte, command::RESET | command::RESET_WRAP) {
            return self.output.answer(&[byte]);
        }
        match self.awaits.take() {
            // A command where a parameter should be ends the command before.
            Some(command) if byte < command::SCALING_1 => self.parameter(command, byte),
            _ => self.command(byte),
        }
    }

    fn parameter(&mut self, command: u8, value: u8) {
        match (command, value) {
            (command::SET_RESOLUTION, 0..=3) => self.resolution = value,
            (command::SET_RATE, 10 | 20 | 40 | 60 | 80 | 100 | 200) => {
                let [_, second, third] = self.rates;
                self.rates = [second, third, value];
                match (self.rates, self.id) {
                    ([200, 100, 80], 0) => self.id = 3,
                    ([200, 200, 80], 3) => self.id = 4,
                    _ => {}
                }
            }
            _ => {
                self.awaits = Some(command);
                return self.output.answer(&[reply::RESEND]);
            }
        }
        self.output.answer(&[reply::ACK]);
    }

    fn command(&mut self, byte: u8) {
        // Every valid command ends the packets under way.
        self.output.reports.clear();
        match byte {
            command::SCALING_1 => self.double = false,
            command::SCALING_2 => self.double = true,
            command::SET_RESOLUTION | command::SET_RATE => self.awaits = Some(byte),
            command::STATUS => {
                let [_, _, rate] = self.rates;
                let status = self.status();
                return self
                    .output
                    .answer(&[reply::ACK, status, self.resolution, rate]);
            }
            command::STREAM => self.remote = false,
            command::READ_DATA => {
                let mut answer = vec![reply::ACK];
                answer.extend(self.packet(false));
                return self.output.answer(&answer);
            }
            command::RESET_WRAP => self.wrap = false,
            command::WRAP => self.wrap = true,
            command::REMOTE => self.remote = true,
            command::IDENTIFY => return self.output.answer(&[reply::ACK, self.id]),
            command::ENABLE => {
                self.reporting = true;
                self.still();
            }
            command::DISABLE => self.reporting = false,
            command::SET_DEFAULT => self.defaults(),
            command::RESEND => return self.output.answer(&[self.output.last]),
            command::RESET => {
                let buttons = self.moved.buttons;
                *self = Self::default();
                self.moved.buttons = buttons;
                return self.output.answer(&[reply::ACK, reply::TEST_PASSED, 0]);
            }
            _ => return self.output.answer(&[reply::RESEND]),
        }
        self.output.answer(&[reply::ACK]);
    }

    fn defaults(&mut self) {
        self.reporting = false;
        self.remote = false;
        self.double = false;
        self.resolution = 2;
        self.rates = [0, 0, 100];
        self.still();
    }

    /// Forgets motion that nobody was told of.
    const fn still(&mut self) {
        self.moved = Motion {
            x: 0,
            y: 0,
            wheel: 0,
            buttons: self.moved.buttons,
        };
    }

    /// The first byte of the status: the buttons in the order right, middle, left from bit 0.
    fn status(&self) -> u8 {
        let buttons = self.moved.buttons;
        let held = (buttons >> 1 & 1) | (buttons >> 2 & 1) << 1 | (buttons & 1) << 2;
        let bit = |set: bool, at: u8| u8::from(set) << at;
        held | bit(self.double, 4) | bit(self.reporting, 5) | bit(self.remote, 6)
    }

    /// Somebody moves it; false: buttons changed and there is no room to tell it.
    pub fn report(&mut self, motion: Motion) -> bool {
        let buttons = motion.buttons & 0x1f;
        let changed = buttons != self.moved.buttons;
        if changed && self.streams() && self.output.room() < 4 {
            return false;
        }
        let moved = &mut self.moved;
        moved.x = moved.x.saturating_add(motion.x);
        moved.y = moved.y.saturating_add(motion.y);
        moved.wheel = moved.wheel.saturating_add(motion.wheel);
        moved.buttons = buttons;
        if changed && self.streams() {
            self.report_packet();
        }
        true
    }

    fn report_packet(&mut self) {
        let packet = self.packet(self.double);
        // Callers have looked for room.
        self.output.report(&packet);
    }

    /// Three or four bytes of what is to be told; what does not fit stays for the next.
    fn packet(&mut self, double: bool) -> Vec<u8> {
        let x = take(&mut self.moved.x, -256, 255);
        let down = take(&mut self.moved.y, -255, 256);
        let [x, y] = [x, -down].map(|steps| if double { scaled(steps) } else { steps });
        let [x, y] = [x, y].map(|steps| steps.clamp(-256, 255));
        let buttons = self.moved.buttons;
        let sign = |steps: i16, at: u8| u8::from(steps < 0) << at;
        let low = |steps: i16| steps.to_le_bytes()[0];
        let mut packet = vec![buttons & 7 | 8 | sign(x, 4) | sign(y, 5), low(x), low(y)];
        if self.id == 0 {
            self.moved.wheel = 0;
        } else {
            let wheel = low(take(&mut self.moved.wheel, -8, 7));
            packet.push(match self.id {
                4 => wheel & 0x0f | (buttons & 0x18) << 1,
                _ => wheel,
            });
        }
        packet
    }
}

fn take(steps: &mut i16, least: i16, most: i16) -> i16 {
    let taken = (*steps).clamp(least, most);
    *steps -= taken;
    taken
}

/// Scaling 2:1.
const fn scaled(steps: i16) -> i16 {
    let size = match steps.unsigned_abs() {
        0 => 0,
        1 | 2 => 1,
        3 => 3,
        4 => 6,
        5 => 9,
        more => more.saturating_mul(2).cast_signed(),
    };
    if steps < 0 { -size } else { size }
}
