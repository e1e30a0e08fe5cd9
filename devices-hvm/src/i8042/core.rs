//! The controller and its two devices as values.

use trivisor_buses::AccessError;

use super::ps2::keyboard::Ps2Keyboard;
use super::ps2::keys;
use super::ps2::mouse::Ps2Mouse;
use super::regs::{CommandByte, OutputPort, Status, command, offset};

/// Bytes of RAM that commands reach; the first is the command byte.
pub const RAM_SIZE: usize = 32;

/// A byte for the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Byte {
    pub(super) value: u8,
    /// It counts as the auxiliary device's.
    pub(super) auxiliary: bool,
}

/// An 8042 with the program of a PS/2, a keyboard and a mouse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct I8042 {
    pub(super) ram: [u8; RAM_SIZE],
    /// Address line 20 is not held low.
    pub(super) a20: bool,
    /// The last write was a command.
    pub(super) command: bool,
    /// The command whose parameter is awaited.
    pub(super) awaits: Option<u8>,
    /// The controller's own answer, while the output buffer is full.
    pub(super) reply: Option<Byte>,
    /// The output buffer, where it is full.
    pub(super) output: Option<Byte>,
    /// What was in the output buffer last.
    pub(super) last: u8,
    /// The translated byte before was 0xf0.
    pub(super) released: bool,
    pub(super) keyboard: Ps2Keyboard,
    pub(super) mouse: Ps2Mouse,
}

impl Default for I8042 {
    fn default() -> Self {
        Self {
            ram: [0; RAM_SIZE],
            a20: true,
            command: false,
            awaits: None,
            reply: None,
            output: None,
            last: 0,
            released: false,
            keyboard: Ps2Keyboard::default(),
            mouse: Ps2Mouse::default(),
        }
    }
}

impl I8042 {
    /// The command byte.
    #[must_use]
    pub fn command_byte(&self) -> CommandByte {
        let [byte, ..] = self.ram;
        CommandByte::from_bits(byte)
    }

    fn set_command_byte(&mut self, byte: CommandByte) {
        let [first, ..] = &mut self.ram;
        *first = byte.into_bits();
    }

    /// Address line 20 is not held low.
    #[must_use]
    pub const fn a20(&self) -> bool {
        self.a20
    }

    /// Levels of interrupts 1 and 12.
    #[must_use]
    pub fn interrupts(&self) -> (bool, bool) {
        let byte = self.command_byte();
        self.output.map_or((false, false), |output| {
            (
                !output.auxiliary && byte.keyboard_interrupt(),
                output.auxiliary && byte.auxiliary_interrupt(),
            )
        })
    }

    /// Reads a port. A byte read makes room: the caller looks at the interrupts, then calls [`fill`](Self::fill).
    ///
    /// # Errors
    /// When no register is there.
    pub fn read(&mut self, at: u16) -> Result<u8, AccessError> {
        match at {
            offset::DATA => {
                if let Some(Byte { value, .. }) = self.output.take() {
                    self.last = value;
                }
                Ok(self.last)
            }
            offset::STATUS_COMMAND => Ok(Status::new()
                .with_output_full(self.output.is_some())
                .with_system(self.command_byte().system())
                .with_command(self.command)
                .with_unlocked(true)
                .with_auxiliary_full(self.output.is_some_and(|byte| byte.auxiliary))
                .into_bits()),
            _ => Err(AccessError::NoRegister),
        }
    }

    /// Writes a port; true: the reset line is pulsed.
    ///
    /// # Errors
    /// When no register is there.
    pub fn write(&mut self, at: u16, value: u8) -> Result<bool, AccessError> {
        match at {
            offset::DATA => {
                self.command = false;
                Ok(match self.awaits.take() {
                    Some(command) => self.parameter(command, value),
                    None => {
                        self.set_command_byte(self.command_byte().with_keyboard_disabled(false));
                        self.keyboard.write(value);
                        false
                    }
                })
            }
            offset::STATUS_COMMAND => {
                self.command = true;
                self.awaits = None;
                Ok(self.command(value))
            }
            _ => Err(AccessError::NoRegister),
        }
    }

    fn command(&mut self, value: u8) -> bool {
        let byte = self.command_byte();
        match value {
            command::READ_RAM..=0x3f => {
                let value = self.ram.get(usize::from(value & 0x1f)).copied();
                self.answer(value.unwrap_or(0));
            }
            command::WRITE_RAM..=0x7f
            | command::WRITE_OUTPUT
            | command::WRITE_KEYBOARD_BUFFER
            | command::WRITE_AUXILIARY_BUFFER
            | command::WRITE_AUXILIARY => self.awaits = Some(value),
            command::DISABLE_AUXILIARY => {
                self.set_command_byte(byte.with_auxiliary_disabled(true));
            }
            command::ENABLE_AUXILIARY => {
                self.set_command_byte(byte.with_auxiliary_disabled(false));
            }
            command::TEST_AUXILIARY | command::TEST_KEYBOARD => self.answer(0),
            command::SELF_TEST => {
                self.set_command_byte(byte.with_system(true));
                self.answer(0x55);
            }
            command::DISABLE_KEYBOARD => self.set_command_byte(byte.with_keyboard_disabled(true)),
            command::ENABLE_KEYBOARD => self.set_command_byte(byte.with_keyboard_disabled(false)),
            command::READ_INPUT => self.answer(0x80),
            command::READ_OUTPUT => {
                let (keyboard, auxiliary) = self.interrupts();
                let port = OutputPort::new()
                    .with_run(true)
                    .with_a20(self.a20)
                    .with_keyboard_interrupt(keyboard)
                    .with_auxiliary_interrupt(auxiliary);
                self.answer(port.into_bits());
            }
            command::PULSE_OUTPUT..=0xff => return value & 1 == 0,
            _ => {}
        }
        false
    }

    fn parameter(&mut self, command: u8, value: u8) -> bool {
        match command {
            command::WRITE_RAM..=0x7f => {
                if let Some(cell) = self.ram.get_mut(usize::from(command & 0x1f)) {
                    *cell = value;
                }
            }
            command::WRITE_OUTPUT => {
                let port = OutputPort::from_bits(value);
                self.a20 = port.a20();
                return !port.run();
            }
            command::WRITE_KEYBOARD_BUFFER => self.answer(value),
            command::WRITE_AUXILIARY_BUFFER => {
                self.reply = Some(Byte {
                    value,
                    auxiliary: true,
                });
            }
            command::WRITE_AUXILIARY => {
                self.set_command_byte(self.command_byte().with_auxiliary_disabled(false));
                self.mouse.write(value);
            }
            _ => {}
        }
        false
    }

    const fn answer(&mut self, value: u8) {
        self.reply = Some(Byte {
            value,
            auxiliary: false,
        });
    }

    /// Fills the output buffer where it is empty: from the controller, the keyboard, then the auxiliary device.
    pub fn fill(&mut self) {
        if self.output.is_some() {
            return;
        }
        let byte = self.command_byte();
        self.output = self.reply.take();
        if self.output.is_none() && !byte.keyboard_disabled() {
            self.output = self.next_key_code(byte.translate());
        }
        if self.output.is_none() && !byte.auxiliary_disabled() {
            self.output = self.mouse.take().map(|value| Byte {
                value,
                auxiliary: true,
            });
        }
    }

    fn next_key_code(&mut self, translate: bool) -> Option<Byte> {
        let mut value = self.keyboard.take()?;
        if translate {
            if value == 0xf0 {
                self.released = true;
                value = self.keyboard.take()?;
            }
            value = keys::translate(value) | u8::from(std::mem::take(&mut self.released)) << 7;
        } else {
            self.released = false;
        }
        Some(Byte {
            value,
            auxiliary: false,
        })
    }
}
