//! What hangs on the two ports of the keyboard controller.
//!
//! Source: IBM, Personal System/2 Hardware Interface Technical Reference, Keyboard (101- and 102-key) and Mouse;
//! Microsoft, Key Scan Code Specification, and the IntelliMouse's identification.

pub mod keyboard;
pub mod keys;
pub mod layout;
pub mod mouse;
mod names;

use std::collections::VecDeque;

/// Bytes that a device keeps for the controller.
pub const QUEUE_SIZE: usize = 16;

/// Answers of a device, and replies that were asked for.
pub mod reply {
    /// Command or parameter taken.
    pub const ACK: u8 = 0xfa;
    /// Command or parameter not known: send it again.
    pub const RESEND: u8 = 0xfe;
    /// The test at power-on has passed.
    pub const TEST_PASSED: u8 = 0xaa;
    /// The keyboard's echo.
    pub const ECHO: u8 = 0xee;
}

/// What waits in a device: answers to commands, which come first, and what it reports by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Answers to the last command, 5 bytes at most.
    pub(super) answers: VecDeque<u8>,
    /// Reports, whole ones only.
    pub(super) reports: VecDeque<u8>,
    /// What was sent last.
    pub(super) last: u8,
}

impl Output {
    /// Bytes of an answer: acknowledgement and a mouse's packet, or its status.
    pub const ANSWER_SIZE: usize = 5;

    /// A command came: answers of the one before are lost.
    pub fn answer(&mut self, bytes: &[u8]) {
        self.answers.clear();
        let bytes = bytes.iter().take(Self::ANSWER_SIZE);
        self.answers.extend(bytes);
    }

    /// Bytes of reports that fit in.
    #[must_use]
    pub fn room(&self) -> usize {
        QUEUE_SIZE.saturating_sub(self.reports.len())
    }

    /// Takes a report, or refuses the whole of it.
    pub fn report(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= self.room();
        if fits {
            self.reports.extend(bytes);
        }
        fits
    }

    /// The next byte for the controller.
    pub fn take(&mut self) -> Option<u8> {
        let byte = self.answers.pop_front();
        let byte = byte.or_else(|| self.reports.pop_front())?;
        self.last = byte;
        Some(byte)
    }
}
