//! What is typed: to the guest, or to the monitor.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use trivisor_backends::escape::{EscapeKeys, Event, Input};

use crate::control::calls::Call;
use crate::control::monitor::{Monitor, PROMPT};

/// Bytes that are read at once.
const CHUNK: usize = 4096;

/// Bytes that are kept of what is typed on a terminal while the guest takes none: room for a text that is
/// pasted. What comes then is dropped, as by a UART that nobody reads, and rings the bell.
const MAX_WAITING: usize = 1 << 20;

const BELL: &str = "\u{7}";

/// What typing asks of the control process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// End the VM.
    End,
    /// Carry out and show the answer.
    Call(Call),
}

/// Standard input on its way to the guest.
pub(crate) struct Keyboard {
    /// The pipe to the VM process.
    guest: Option<OwnedFd>,
    /// Bytes that the pipe had no room for.
    waiting: VecDeque<u8>,
    /// Escape keys count on a terminal only.
    escape: Option<EscapeKeys>,
    /// While it is open.
    monitor: Option<Monitor>,
    ended: bool,
}

const ESCAPES: &str = "\r\nCtrl-A x  end the VM\r\nCtrl-A c  open or leave the monitor\r\n\
                       Ctrl-A a  send Ctrl-A\r\nCtrl-A h  this help\r\n";

impl Keyboard {
    /// Input for the guest behind `guest`; `terminal`: escape keys count.
    pub(crate) fn new(guest: OwnedFd, terminal: bool) -> Self {
        Self {
            guest: Some(guest),
            waiting: VecDeque::new(),
            escape: terminal.then(EscapeKeys::default),
            monitor: None,
            ended: false,
        }
    }

    /// The guest was started again: typing goes to the new one.
    pub(crate) fn connect(&mut self, guest: OwnedFd) {
        self.guest = (!self.ended).then_some(guest);
        self.waiting.clear();
    }

    /// Wants to read more: always from a terminal, for the next key may be an escape key. A pipe or a file
    /// waits until the guest has taken what was read.
    pub(crate) fn is_hungry(&self) -> bool {
        !self.ended && (self.escape.is_some() || self.waiting.is_empty())
    }

    /// The pipe, when something waits for room in it.
    pub(crate) fn blocked_on(&self) -> Option<BorrowedFd<'_>> {
        let guest = self.guest.as_ref().filter(|_| !self.waiting.is_empty());
        guest.map(|guest| guest.as_fd())
    }

    /// Reads what was typed. `show` prints on the terminal.
    pub(crate) fn read(&mut self, show: &mut dyn FnMut(&str)) -> Vec<Wish> {
        let mut bytes = vec![0; CHUNK];
        // Not by std's buffer: poll would not know of what is left in there.
        let length = match rustix::io::read(rustix::stdio::stdin(), &mut *bytes) {
            Ok(length @ 1..) => length,
            Err(Errno::INTR | Errno::AGAIN) => return Vec::new(),
            Ok(0) | Err(_) => {
                // The guest sees the end of its input, too.
                (self.ended, self.guest) = (true, None);
                return Vec::new();
            }
        };
        bytes.truncate(length);
        self.take(bytes, show)
    }

    fn take(&mut self, typed: Vec<u8>, show: &mut dyn FnMut(&str)) -> Vec<Wish> {
        let inputs = match &mut self.escape {
            Some(escape) => escape.feed(&typed),
            None => vec![Input::Bytes(typed)],
        };
        let mut wishes = Vec::new();
        for input in inputs {
            match input {
                Input::Bytes(bytes) => match &mut self.monitor {
                    Some(monitor) => wishes.extend(monitor.edit(&bytes, show)),
                    None => self.pass(&bytes, show),
                },
                Input::Event(Event::End) => wishes.push(Wish::End),
                Input::Event(Event::Help) => show(ESCAPES),
                Input::Event(Event::Monitor) => {
                    self.monitor = match self.monitor.take() {
                        Some(_) => {
                            show("\r\n");
                            None
                        }
                        None => {
                            show(&format!("\r\n{PROMPT}"));
                            Some(Monitor::default())
                        }
                    };
                }
            }
        }
        self.flush();
        wishes
    }

    /// Puts bytes behind those that wait, as far as there is room.
    fn pass(&mut self, bytes: &[u8], show: &mut dyn FnMut(&str)) {
        let room = MAX_WAITING.saturating_sub(self.waiting.len());
        self.waiting.extend(bytes.iter().take(room));
        if bytes.len() > room {
            show(BELL);
        }
    }

    /// Hands over what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        let Some(guest) = &self.guest else {
            self.waiting.clear();
            return;
        };
        while !self.waiting.is_empty() {
            match rustix::io::write(guest, self.waiting.as_slices().0) {
                Ok(taken) => drop(self.waiting.drain(..taken)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // The VM process has ended; so will we.
                Err(_) => self.waiting.clear(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    const CTRL_A: u8 = 1;

    #[test]
    fn escape_keys_count_though_the_guest_takes_nothing() {
        let (unread, guest) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let mut keyboard = Keyboard::new(guest, true);
        let mut shown = String::new();
        let mut typed = 0;
        while !shown.contains(BELL) {
            assert!(keyboard.is_hungry());
            assert!(keyboard.waiting.len() <= MAX_WAITING);
            let wishes = keyboard.take(vec![b'x'; CHUNK], &mut |text| shown += text);
            assert_eq!(wishes, []);
            typed += CHUNK;
        }
        assert!(typed > MAX_WAITING, "{typed}");
        assert_eq!(keyboard.waiting.len(), MAX_WAITING);
        assert!(keyboard.blocked_on().is_some());
        let wishes = keyboard.take(vec![CTRL_A, b'h', CTRL_A, b'x'], &mut |text| shown += text);
        assert!(shown.ends_with(ESCAPES));
        assert_eq!(wishes, [Wish::End]);
        // What was kept arrives when the guest reads again.
        let (mut arrived, mut part) = (0, vec![0; 1 << 16]);
        while let Ok(length) = rustix::io::read(&unread, &mut *part) {
            arrived += length;
            keyboard.flush();
        }
        assert!(
            arrived > MAX_WAITING && arrived < typed,
            "{arrived} of {typed}"
        );
    }

    #[test]
    fn a_pipe_waits_for_the_guest_and_loses_nothing() {
        let (unread, guest) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let mut keyboard = Keyboard::new(guest, false);
        let mut typed = 0;
        while keyboard.is_hungry() {
            keyboard.take(vec![b'x'; CHUNK], &mut |text| panic!("{text:?}"));
            typed += CHUNK;
        }
        let (mut arrived, mut part) = (0, vec![0; 1 << 16]);
        while let Ok(length) = rustix::io::read(&unread, &mut *part) {
            arrived += length;
            keyboard.flush();
        }
        assert_eq!(arrived, typed);
        assert!(keyboard.is_hungry());
    }
}
