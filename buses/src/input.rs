//! What a person at the machine does: keys and a pointing device.

/// A keyboard that somebody types on.
pub trait Keyboard: Send + Sync {
    /// Presses or releases the key with a code of Linux's `input-event-codes.h` (`KEY_A` is 30). False: the keyboard
    /// has no room for the whole of what the key sends; offer it again. A key that the keyboard lacks is
    /// taken and does nothing.
    fn key(&self, code: u16, pressed: bool) -> bool;
}

/// What a pointing device did since the last report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Motion {
    /// Steps to the right.
    pub x: i16,
    /// Steps down.
    pub y: i16,
    /// Steps of the wheel, towards the user.
    pub wheel: i16,
    /// Buttons held: bit 0 left, 1 right, 2 middle, 3 side, 4 extra.
    pub buttons: u8,
}

/// A pointing device that somebody moves.
pub trait Pointer: Send + Sync {
    /// Moves it. False: buttons changed and there is no room to tell it; nothing was taken, offer it again.
    fn report(&self, motion: Motion) -> bool;
}
