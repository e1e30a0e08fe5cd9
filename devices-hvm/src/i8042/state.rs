//! Saved state of the keyboard controller and its devices.

use serde::{Deserialize, Serialize};
use trivisor_buses::{Motion, RestoreError};

use super::core::{Byte, I8042, RAM_SIZE};
use super::ps2::keyboard::Ps2Keyboard;
use super::ps2::mouse::Ps2Mouse;
use super::ps2::{Output, QUEUE_SIZE};

/// Name of the chip in saved state.
pub(super) const KIND: &str = "i8042";
/// The newest version of its state.
pub(super) const VERSION: u16 = 1;

/// Version 1. Where a command waits for its parameter, `awaits` is the command, else 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct I8042StateV1 {
    /// RAM, 32 bytes.
    pub ram: Vec<u8>,
    /// Address line 20 is not held low.
    pub a20: bool,
    /// The last write was a command.
    pub command: bool,
    /// The command whose parameter is awaited.
    pub awaits: u8,
    /// The controller's own answer, and whether it counts as the auxiliary device's.
    pub reply: Option<(u8, bool)>,
    /// The output buffer, in the same way.
    pub output: Option<(u8, bool)>,
    /// What was in the output buffer last.
    pub last: u8,
    /// The translated byte before was 0xf0.
    pub released: bool,
    /// The keyboard.
    pub keyboard: KeyboardStateV1,
    /// The mouse.
    pub mouse: MouseStateV1,
}

/// What waits in a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputStateV1 {
    /// Answers, 5 bytes at most.
    pub answers: Vec<u8>,
    /// Reports, 16 bytes at most.
    pub reports: Vec<u8>,
    /// What was sent last.
    pub last: u8,
}

/// The keyboard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyboardStateV1 {
    /// What waits.
    pub output: OutputStateV1,
    /// The command whose parameter is awaited.
    pub awaits: u8,
    /// Keys are scanned.
    pub scanning: bool,
    /// Scan code set, 1 or 2.
    pub set: u8,
    /// Lights, 3 bits.
    pub leds: u8,
}

/// The mouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MouseStateV1 {
    /// What waits.
    pub output: OutputStateV1,
    /// The command whose parameter is awaited.
    pub awaits: u8,
    /// Bit 0 reporting, 1 remote mode, 2 wrap mode, 3 scaling 2:1.
    pub modes: u8,
    /// Resolution, 0 to 3.
    pub resolution: u8,
    /// The last three rates.
    pub rates: [u8; 3],
    /// Identification: 0, 3 or 4.
    pub id: u8,
    /// Motion that was not told yet: right, down, wheel.
    pub moved: [i16; 3],
    /// Buttons held, 5 bits.
    pub buttons: u8,
}

fn check(field: &'static str, value: impl Into<u64>, right: bool) -> Result<(), RestoreError> {
    RestoreError::check(KIND, field, value.into(), right)
}

/// A command that waits for its parameter, or 0.
fn awaited(field: &'static str, value: u8, right: bool) -> Result<Option<u8>, RestoreError> {
    check(field, value, value == 0 || right)?;
    Ok((value != 0).then_some(value))
}

impl From<&Output> for OutputStateV1 {
    fn from(output: &Output) -> Self {
        Self {
            answers: output.answers.iter().copied().collect(),
            reports: output.reports.iter().copied().collect(),
            last: output.last,
        }
    }
}

impl TryFrom<OutputStateV1> for Output {
    type Error = RestoreError;

    fn try_from(state: OutputStateV1) -> Result<Self, RestoreError> {
        let (answers, reports) = (state.answers.len(), state.reports.len());
        check("answers", answers as u64, answers <= Self::ANSWER_SIZE)?;
        check("reports", reports as u64, reports <= QUEUE_SIZE)?;
        Ok(Self {
            answers: state.answers.into(),
            reports: state.reports.into(),
            last: state.last,
        })
    }
}

impl From<&Ps2Keyboard> for KeyboardStateV1 {
    fn from(keyboard: &Ps2Keyboard) -> Self {
        Self {
            output: (&keyboard.output).into(),
            awaits: keyboard.awaits.unwrap_or(0),
            scanning: keyboard.scanning,
            set: keyboard.set,
            leds: keyboard.leds,
        }
    }
}

impl TryFrom<KeyboardStateV1> for Ps2Keyboard {
    type Error = RestoreError;

    fn try_from(state: KeyboardStateV1) -> Result<Self, RestoreError> {
        check("set", state.set, matches!(state.set, 1 | 2))?;
        check("leds", state.leds, state.leds < 8)?;
        let parameter = matches!(state.awaits, 0xed | 0xf0 | 0xf3);
        Ok(Self {
            output: state.output.try_into()?,
            awaits: awaited("keyboard.awaits", state.awaits, parameter)?,
            scanning: state.scanning,
            set: state.set,
            leds: state.leds,
        })
    }
}

impl From<&Ps2Mouse> for MouseStateV1 {
    fn from(mouse: &Ps2Mouse) -> Self {
        let bit = |set, at: u8| u8::from(set) << at;
        let modes = bit(mouse.reporting, 0) | bit(mouse.remote, 1);
        Self {
            output: (&mouse.output).into(),
            awaits: mouse.awaits.unwrap_or(0),
            modes: modes | bit(mouse.wrap, 2) | bit(mouse.double, 3),
            resolution: mouse.resolution,
            rates: mouse.rates,
            id: mouse.id,
            moved: [mouse.moved.x, mouse.moved.y, mouse.moved.wheel],
            buttons: mouse.moved.buttons,
        }
    }
}

impl TryFrom<MouseStateV1> for Ps2Mouse {
    type Error = RestoreError;

    fn try_from(state: MouseStateV1) -> Result<Self, RestoreError> {
        let MouseStateV1 {
            modes,
            resolution,
            rates,
            id,
            buttons,
            ..
        } = state;
        check("modes", modes, modes < 16)?;
        check("resolution", resolution, resolution < 4)?;
        check("id", id, matches!(id, 0 | 3 | 4))?;
        check("buttons", buttons, buttons < 32)?;
        let [x, y, wheel] = state.moved;
        let parameter = matches!(state.awaits, 0xe8 | 0xf3);
        Ok(Self {
            output: state.output.try_into()?,
            awaits: awaited("mouse.awaits", state.awaits, parameter)?,
            reporting: modes & 1 != 0,
            remote: modes & 2 != 0,
            wrap: modes & 4 != 0,
            double: modes & 8 != 0,
            resolution,
            rates,
            id,
            moved: Motion {
                x,
                y,
                wheel,
                buttons,
            },
        })
    }
}

impl From<&I8042> for I8042StateV1 {
    fn from(chip: &I8042) -> Self {
        let pair = |byte: Byte| (byte.value, byte.auxiliary);
        Self {
            ram: chip.ram.to_vec(),
            a20: chip.a20,
            command: chip.command,
            awaits: chip.awaits.unwrap_or(0),
            reply: chip.reply.map(pair),
            output: chip.output.map(pair),
            last: chip.last,
            released: chip.released,
            keyboard: (&chip.keyboard).into(),
            mouse: (&chip.mouse).into(),
        }
    }
}

impl TryFrom<I8042StateV1> for I8042 {
    type Error = RestoreError;

    fn try_from(state: I8042StateV1) -> Result<Self, RestoreError> {
        let size = state.ram.len() as u64;
        let wrong = |_| RestoreError::Field {
            kind: KIND,
            field: "ram",
            value: size,
        };
        let ram: [u8; RAM_SIZE] = state.ram.try_into().map_err(wrong)?;
        let parameter = matches!(state.awaits, 0x60..=0x7f | 0xd1..=0xd4);
        let byte = |(value, auxiliary)| Byte { value, auxiliary };
        Ok(Self {
            ram,
            a20: state.a20,
            command: state.command,
            awaits: awaited("awaits", state.awaits, parameter)?,
            reply: state.reply.map(byte),
            output: state.output.map(byte),
            last: state.last,
            released: state.released,
            keyboard: state.keyboard.try_into()?,
            mouse: state.mouse.try_into()?,
        })
    }
}
