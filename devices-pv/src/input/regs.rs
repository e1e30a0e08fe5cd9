//! Structures and constants of the input device: virtio 1.3, 5.8, and Linux' `input-event-codes.h`, by their names there.

/// `virtio_input_config`: offsets.
pub mod offset {
    /// `select`, which the driver writes.
    pub const SELECT: usize = 0;
    /// `subsel`, which the driver writes.
    pub const SUBSEL: usize = 1;
    /// `size`: bytes of the answer, 0 where there is none.
    pub const SIZE: usize = 2;
    /// `u`: the answer.
    pub const ANSWER: usize = 8;
}

/// Bytes of an answer at most.
pub const MOST_ANSWER: usize = 128;

/// What can be asked for: `virtio_input_config_select`.
pub mod select {
    #![expect(missing_docs, reason = "the specification's names")]

    pub const ID_NAME: u8 = 0x01;
    pub const ID_SERIAL: u8 = 0x02;
    pub const ID_DEVIDS: u8 = 0x03;
    pub const PROP_BITS: u8 = 0x10;
    pub const EV_BITS: u8 = 0x11;
    pub const ABS_INFO: u8 = 0x12;
}

/// Types of events.
pub mod event {
    #![expect(missing_docs, reason = "Linux' names")]

    pub const EV_SYN: u16 = 0x00;
    pub const EV_KEY: u16 = 0x01;
    pub const EV_REL: u16 = 0x02;
    pub const EV_ABS: u16 = 0x03;
    pub const EV_LED: u16 = 0x11;
    pub const EV_REP: u16 = 0x14;
}

/// The codes of events that the devices have.
pub mod code {
    #![expect(missing_docs, reason = "Linux' names")]

    pub const SYN_REPORT: u16 = 0;
    pub const KEY_ESC: u16 = 1;
    /// The last below the buttons.
    pub const KEY_MICMUTE: u16 = 248;
    pub const BTN_LEFT: u16 = 0x110;
    pub const BTN_RIGHT: u16 = 0x111;
    pub const BTN_MIDDLE: u16 = 0x112;
    pub const BTN_SIDE: u16 = 0x113;
    pub const BTN_EXTRA: u16 = 0x114;
    pub const REL_X: u16 = 0;
    pub const REL_Y: u16 = 1;
    pub const REL_HWHEEL: u16 = 6;
    pub const REL_WHEEL: u16 = 8;
    pub const ABS_X: u16 = 0;
    pub const ABS_Y: u16 = 1;
    pub const LED_NUML: u16 = 0;
    pub const LED_CAPSL: u16 = 1;
    pub const LED_SCROLLL: u16 = 2;
    pub const REP_DELAY: u16 = 0;
    pub const REP_PERIOD: u16 = 1;
}

/// BUS_VIRTUAL of `virtio_input_devids`.
pub const BUS_VIRTUAL: u16 = 0x06;

/// `virtio_input_event`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InputEvent {
    /// One of [`event`].
    pub kind: u16,
    /// One of [`code`].
    pub code: u16,
    /// What happened; where it is signed, in two's complement.
    pub value: u32,
}

impl InputEvent {
    /// Bytes of one.
    pub const LEN: u32 = 8;

    /// The end of an update.
    pub const REPORT: Self = Self {
        kind: event::EV_SYN,
        code: code::SYN_REPORT,
        value: 0,
    };

    /// A key or button, by its Linux code, goes down or up.
    #[must_use]
    pub const fn key(code: u16, down: bool) -> Self {
        Self {
            kind: event::EV_KEY,
            code,
            value: down as u32,
        }
    }

    /// Something moves by `by`.
    #[must_use]
    pub const fn relative(code: u16, by: i32) -> Self {
        Self {
            kind: event::EV_REL,
            code,
            value: by.cast_unsigned(),
        }
    }

    /// Something is at `at`, 0 to [`MOST_ABSOLUTE`](super::MOST_ABSOLUTE).
    #[must_use]
    pub const fn absolute(code: u16, at: u32) -> Self {
        Self {
            kind: event::EV_ABS,
            code,
            value: at,
        }
    }

    /// As it stands in guest RAM.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        let [a, b] = self.kind.to_le_bytes();
        let [c, d] = self.code.to_le_bytes();
        let [e, f, g, h] = self.value.to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// What stands in guest RAM.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = bytes;
        Self {
            kind: u16::from_le_bytes([a, b]),
            code: u16::from_le_bytes([c, d]),
            value: u32::from_le_bytes([e, f, g, h]),
        }
    }
}
