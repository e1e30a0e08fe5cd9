//! Input device: keyboard, mouse or tablet.
//!
//! Source: OASIS, Virtual I/O Device (VIRTIO) Version 1.3, 5.8; Linux, `include/uapi/linux/input-event-codes.h`. It has
//! no feature bits.
//!
//! | queue | carries |
//! |---|---|
//! | 0, eventq | keys, movements and places to the driver |
//! | 1, statusq | lights of a keyboard to the device; all else is ignored |
//!
//! | select | subsel | answer |
//! |---|---|---|
//! | ID_NAME, ID_SERIAL | 0 | text; there may be no serial number |
//! | ID_DEVIDS | 0 | BUS_VIRTUAL, vendor 0, 1 to 3 for the kind, version 1 |
//! | EV_BITS | EV_KEY | keyboard: 1 to 248; else: five buttons |
//! | EV_BITS | EV_REL | mouse: X, Y, both wheels; tablet: both wheels |
//! | EV_BITS | EV_ABS | tablet: X, Y |
//! | EV_BITS | EV_LED, EV_REP | keyboard: three lights; delay and period, which the driver's side repeats by |
//! | ABS_INFO | X, Y | tablet: 0 to 32767 |
//! | all others | | none: `size` is 0 |
//!
//! An update is kept until the driver has buffers for it, or is dropped whole when too many wait (5.8.6.2).
//!
//! **Not modelled**: properties, touch, force feedback.
//!
//! **Relied on by**: Linux (`virtio_input`), the `virtio-drivers` crate.

mod config;
pub mod regs;
mod state;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use trivisor_buses::{AccessError, RestoreError, SavedState};
use trivisor_virtio_device::{Chain, DeviceType, Io, VirtioDevice};

use self::config::Answer;
pub use self::config::{InputKind, MOST_ABSOLUTE, SerialTooLong};
pub use self::regs::InputEvent;
use self::regs::{MOST_ANSWER, event, offset};
pub use self::state::InputStateV1;

const EVENTS: u16 = 0;
const STATUS: u16 = 1;
/// Descriptors of each queue.
const SIZE: u16 = 64;

/// Events that wait at most: a driver that does not look for so long has missed more than it could use.
pub const MOST_PENDING: usize = 1024;

/// An input device.
#[derive(Debug)]
pub struct Input {
    // Configuration.
    kind: InputKind,
    serial: String,
    // Guest-visible state.
    select: u8,
    subsel: u8,
    leds: u16,
    pending: VecDeque<InputEvent>,
    // Kept so that nothing is allocated.
    chain: Chain,
    dropped: u64,
}

impl Input {
    /// A device of a kind, with a serial number, or an empty text for none.
    ///
    /// # Errors
    /// When the serial number has more than 128 bytes.
    pub fn new(kind: InputKind, serial: &str) -> Result<Self, SerialTooLong> {
        let len = serial.len();
        if len > MOST_ANSWER {
            return Err(SerialTooLong { len });
        }
        Ok(Self {
            kind,
            serial: serial.to_owned(),
            select: 0,
            subsel: 0,
            leds: 0,
            pending: VecDeque::with_capacity(MOST_PENDING),
            chain: Chain::default(),
            dropped: 0,
        })
    }

    /// Tells the driver of `update`: what happened at one moment, for which it needs no report at its end. False: it was
    /// dropped, for too much waits already.
    pub fn inject(&mut self, update: &[InputEvent], io: &mut Io<'_>) -> bool {
        let fits = self.pending.len() + update.len() < MOST_PENDING;
        if fits {
            self.pending.extend(update);
            self.pending.push_back(InputEvent::REPORT);
        } else {
            self.dropped += 1;
        }
        self.deliver(io);
        fits
    }

    /// The lights of a keyboard: a bit each, by LED_NUML, LED_CAPSL and LED_SCROLLL.
    #[must_use]
    pub const fn leds(&self) -> u16 {
        self.leds
    }

    /// Updates that were dropped.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Gives the driver what waits, as far as it has buffers.
    fn deliver(&mut self, io: &mut Io<'_>) {
        let before = self.pending.len();
        io.want_notifications(EVENTS, false);
        while let Some(event) = self.pending.front() {
            if !io.pop(EVENTS, &mut self.chain) {
                if io.want_notifications(EVENTS, true) {
                    io.want_notifications(EVENTS, false);
                    continue;
                }
                break;
            }
            match self.chain.write(io.ram(), 0, &event.to_bytes()) {
                Ok(()) => io.push(EVENTS, self.chain.id(), InputEvent::LEN),
                Err(error) => {
                    io.fail(EVENTS, error);
                    break;
                }
            }
            self.pending.pop_front();
        }
        if self.pending.len() < before {
            io.publish(EVENTS);
        }
    }

    /// Takes what the driver says. No buffer goes back before the end, so they are no more than the queue has.
    fn take_status(&mut self, io: &mut Io<'_>) {
        let mut left = SIZE;
        let mut more = true;
        while more {
            while left > 0 && io.pop(STATUS, &mut self.chain) {
                left -= 1;
                let mut bytes = [0; 8];
                if let Err(error) = self.chain.read(io.ram(), 0, &mut bytes) {
                    io.fail(STATUS, error);
                    break;
                }
                self.set_status(InputEvent::from_bytes(bytes));
                io.push(STATUS, self.chain.id(), 0);
            }
            more = io.want_notifications(STATUS, true) && left > 0;
        }
        if left < SIZE {
            io.publish(STATUS);
        }
    }

    fn set_status(&mut self, status: InputEvent) {
        let InputEvent { kind, code, value } = status;
        if kind == event::EV_LED && self.kind.has(kind, code) {
            let bit = 1 << code;
            self.leds = self.leds & !bit | if value == 0 { 0 } else { bit };
        }
    }
}

impl VirtioDevice for Input {
    fn device_type(&self) -> DeviceType {
        DeviceType::Input
    }

    fn features(&self) -> u64 {
        0
    }

    fn in_order(&self) -> bool {
        true
    }

    fn queue_sizes(&self) -> &[u16] {
        &[SIZE; 2]
    }

    fn read_config(&self, at: usize, data: &mut [u8]) {
        let answer = Answer::to(self.kind, &self.serial, self.select, self.subsel);
        for (at, byte) in (at..=usize::MAX).zip(data) {
            *byte = match at {
                offset::SELECT => self.select,
                offset::SUBSEL => self.subsel,
                offset::SIZE => answer.len(),
                _ => {
                    let at = at.checked_sub(offset::ANSWER);
                    let byte = at.and_then(|at| answer.bytes().get(at));
                    byte.copied().unwrap_or(0)
                }
            };
        }
    }

    fn write_config(
        &mut self,
        at: usize,
        data: &[u8],
        _io: &mut Io<'_>,
    ) -> Result<(), AccessError> {
        match (at, data) {
            (offset::SELECT, [select]) => self.select = *select,
            (offset::SUBSEL, [subsel]) => self.subsel = *subsel,
            (offset::SELECT, [select, subsel]) => {
                self.select = *select;
                self.subsel = *subsel;
            }
            _ => return Err(AccessError::ReadOnly),
        }
        Ok(())
    }

    fn activate(&mut self, io: &mut Io<'_>) {
        self.deliver(io);
    }

    fn notify(&mut self, queue: u16, io: &mut Io<'_>) {
        match queue {
            EVENTS => self.deliver(io),
            STATUS => self.take_status(io),
            _ => {}
        }
    }

    fn stop(&mut self, _queue: Option<u16>, _io: &mut Io<'_>) {
        // No buffer is held between two calls.
    }

    fn reset(&mut self) {
        self.select = 0;
        self.subsel = 0;
        self.leds = 0;
        self.pending.clear();
    }

    fn save(&self) -> SavedState {
        SavedState::encode(state::KIND, state::VERSION, &InputStateV1::from(self))
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        let state: InputStateV1 = state.decode(state::KIND, state::VERSION)?;
        state.put_back(self)
    }
}
