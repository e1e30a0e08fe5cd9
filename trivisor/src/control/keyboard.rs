//! What is typed: to the guest, or to the monitor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use trivisor_backends::escape::{EscapeKeys, Event, Input};

use crate::control::registry::Call;

/// Bytes that are read at once; no more are kept while the guest takes none.
const CHUNK: usize = 4096;

/// What typing asks of the control process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    waiting: Vec<u8>,
    /// Escape keys count on a terminal only.
    escape: Option<EscapeKeys>,
    /// The monitor's line while it is open.
    monitor: Option<String>,
    ended: bool,
}

const PROMPT: &str = "(trivisor) ";
const ESCAPES: &str = "\r\nCtrl-A x  end the VM\r\nCtrl-A c  open or leave the monitor\r\n\
                       Ctrl-A a  send Ctrl-A\r\nCtrl-A h  this help\r\n";
const MONITOR: &str = "info, pause, resume, stop (press the power button), quit (end the VM), help; \
                       Ctrl-A c leaves the monitor\r\n";

impl Keyboard {
    /// Input for the guest behind `guest`; `terminal`: escape keys count.
    pub(crate) fn new(guest: OwnedFd, terminal: bool) -> Self {
        Self {
            guest: Some(guest),
            waiting: Vec::new(),
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

    /// Wants to read more.
    pub(crate) fn is_hungry(&self) -> bool {
        !self.ended && self.waiting.is_empty()
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
        let inputs = match &mut self.escape {
            Some(escape) => escape.feed(&bytes),
            None => vec![Input::Bytes(bytes)],
        };
        let mut wishes = Vec::new();
        for input in inputs {
            match input {
                Input::Bytes(bytes) => match &mut self.monitor {
                    Some(line) => wishes.extend(edit(line, &bytes, show)),
                    None => self.waiting.extend(bytes),
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
                            Some(String::new())
                        }
                    };
                }
            }
        }
        self.flush();
        wishes
    }

    /// Hands over what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        let Some(guest) = &self.guest else {
            self.waiting.clear();
            return;
        };
        while !self.waiting.is_empty() {
            match rustix::io::write(guest, &self.waiting) {
                Ok(taken) => drop(self.waiting.drain(..taken)),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                // The VM process has ended; so will we.
                Err(_) => self.waiting.clear(),
            }
        }
    }
}

/// Edits the monitor's line; a carriage return carries it out.
fn edit(line: &mut String, bytes: &[u8], show: &mut dyn FnMut(&str)) -> Vec<Wish> {
    let mut wishes = Vec::new();
    for byte in bytes {
        match byte {
            b'\r' | b'\n' => {
                show("\r\n");
                match line.trim() {
                    "" => {}
                    "info" => wishes.push(Wish::Call(Call::Info)),
                    "pause" => wishes.push(Wish::Call(Call::Pause)),
                    "resume" => wishes.push(Wish::Call(Call::Resume)),
                    "stop" => wishes.push(Wish::Call(Call::PowerButton)),
                    "quit" => wishes.push(Wish::End),
                    "help" => show(MONITOR),
                    unknown => show(&format!("{unknown:?} is no command: {MONITOR}")),
                }
                line.clear();
                show(PROMPT);
            }
            0x7f | 0x08 if line.pop().is_some() => show("\u{8} \u{8}"),
            b' '..=b'~' if line.len() < 80 => {
                let letter = char::from(*byte);
                line.push(letter);
                show(letter.encode_utf8(&mut [0; 4]));
            }
            _ => {}
        }
    }
    wishes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monitor_edits_and_carries_out() {
        let (mut line, mut shown) = (String::new(), String::new());
        let mut show = |text: &str| shown += text;
        assert_eq!(
            edit(&mut line, b"infx\x7fo\r", &mut show),
            [Wish::Call(Call::Info)]
        );
        assert_eq!(edit(&mut line, b"qui", &mut show), []);
        assert_eq!(edit(&mut line, b"t\n", &mut show), [Wish::End]);
        assert_eq!(edit(&mut line, b"bogus\r\r", &mut show), []);
        assert!(shown.contains("\"bogus\" is no command"), "{shown}");
    }
}
