//! Hands on the keyboard: they press a key when the guest has read enough of those before.

use std::collections::VecDeque;
use std::time::Duration;

use trivisor_buses::Keyboard;

use crate::protocol::Chord;

/// A keyboard tells nobody that its buffer has room again: as long as keys wait, it is asked so often.
const PAUSE: Duration = Duration::from_millis(5);

/// Keys of one chord that are still to go down or up.
#[derive(Debug, Default)]
pub(super) struct Hands {
    waiting: VecDeque<(u16, bool)>,
}

impl Hands {
    /// How long the thread that serves may wait.
    pub(super) fn timeout(&self) -> Option<Duration> {
        (!self.waiting.is_empty()).then_some(PAUSE)
    }

    /// Presses and releases the keys of a chord, as far as there is room for now; false: one before is not done.
    pub(super) fn press(&mut self, chord: &Chord, keyboard: &dyn Keyboard) -> bool {
        self.turn(keyboard);
        if !self.waiting.is_empty() {
            return false;
        }
        let keys = chord.iter().filter(|code| **code != 0);
        let (down, up) = (keys.clone(), keys.rev());
        self.waiting.extend(down.map(|code| (*code, true)));
        self.waiting.extend(up.map(|code| (*code, false)));
        self.turn(keyboard);
        true
    }

    /// Goes on as far as there is room.
    pub(super) fn turn(&mut self, keyboard: &dyn Keyboard) {
        while let Some((code, pressed)) = self.waiting.front() {
            if !keyboard.key(*code, *pressed) {
                return;
            }
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Has room for four keys between two reads.
    #[derive(Default)]
    struct Small {
        buffer: Mutex<Vec<(u16, bool)>>,
    }

    impl Small {
        fn read(&self) -> Vec<(u16, bool)> {
            std::mem::take(&mut self.buffer.lock().unwrap())
        }
    }

    impl Keyboard for Small {
        fn key(&self, code: u16, pressed: bool) -> bool {
            let mut buffer = self.buffer.lock().unwrap();
            let room = buffer.len() < 4;
            if room {
                buffer.push((code, pressed));
            }
            room
        }
    }

    #[test]
    fn a_chord_larger_than_the_buffer_arrives_whole() {
        let (mut hands, keyboard) = (Hands::default(), Small::default());
        assert!(hands.press(&[29, 56, 111, 0, 0, 0, 0, 0], &keyboard));
        assert_eq!(hands.timeout(), Some(PAUSE));
        // The next one, and the question whether this one is done.
        assert!(!hands.press(&[30, 0, 0, 0, 0, 0, 0, 0], &keyboard));
        assert!(!hands.press(&[0; 8], &keyboard));
        let first = keyboard.read();
        assert_eq!(first, [(29, true), (56, true), (111, true), (111, false)]);
        hands.turn(&keyboard);
        assert_eq!(hands.timeout(), None);
        assert!(hands.press(&[0; 8], &keyboard));
        assert!(hands.press(&[30, 0, 0, 0, 0, 0, 0, 0], &keyboard));
        let then = [(56, false), (29, false), (30, true), (30, false)];
        assert_eq!(keyboard.read(), then);
    }
}
