//! The monitor's line, which a user edits on the terminal.

use crate::control::calls::Call;
use crate::control::keyboard::Wish;

pub(super) const PROMPT: &str = "(trivisor) ";

/// A longer line takes no more letters.
const MAX_LINE: usize = 80;

const HELP: &str = "info, pause, resume, stop (press the power button), quit (end the VM), help; \
                    Ctrl-A c leaves the monitor\r\n";

/// The line so far.
#[derive(Debug, Default)]
pub(super) struct Monitor(String);

impl Monitor {
    /// Edits the line; a carriage return carries it out. `show` prints on the terminal.
    pub(super) fn edit(&mut self, bytes: &[u8], show: &mut dyn FnMut(&str)) -> Vec<Wish> {
        let line = &mut self.0;
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
                        "help" => show(HELP),
                        unknown => show(&format!("{unknown:?} is no command: {HELP}")),
                    }
                    line.clear();
                    show(PROMPT);
                }
                0x7f | 0x08 if line.pop().is_some() => show("\u{8} \u{8}"),
                b' '..=b'~' if line.len() < MAX_LINE => {
                    let letter = char::from(*byte);
                    line.push(letter);
                    show(letter.encode_utf8(&mut [0; 4]));
                }
                _ => {}
            }
        }
        wishes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_edits_and_carries_out() {
        let (mut monitor, mut shown) = (Monitor::default(), String::new());
        let mut show = |text: &str| shown += text;
        assert_eq!(
            monitor.edit(b"infx\x7fo\r", &mut show),
            [Wish::Call(Call::Info)]
        );
        assert_eq!(monitor.edit(b"qui", &mut show), []);
        assert_eq!(monitor.edit(b"t\n", &mut show), [Wish::End]);
        assert_eq!(monitor.edit(b"bogus\r\r", &mut show), []);
        assert!(shown.contains("\"bogus\" is no command"), "{shown}");
    }
}
