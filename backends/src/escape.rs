//! The escape keys of a console: Ctrl-A and a letter, as QEMU and screen have them.
//!
//! | keys | effect |
//! |---|---|
//! | Ctrl-A x | ends the VM |
//! | Ctrl-A c | monitor |
//! | Ctrl-A h, Ctrl-A ? | shows this table |
//! | Ctrl-A a, Ctrl-A Ctrl-A | sends Ctrl-A |
//! | Ctrl-A and another | sends both |

/// Ctrl-A.
const ESCAPE: u8 = 0x01;

/// What the user asks of the VMM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// End the VM.
    End,
    /// Go to the monitor, or back.
    Monitor,
    /// Show the keys.
    Help,
}

/// What became of typed bytes, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// For the guest; never empty.
    Bytes(Vec<u8>),
    /// For the VMM.
    Event(Event),
}

/// Finds escape keys in what is typed, also when they come in two pieces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EscapeKeys {
    /// The latest byte was Ctrl-A, and stays here until the next one.
    escaped: bool,
}

impl EscapeKeys {
    /// Takes `typed`; what is found is at most as long, and one byte longer after a Ctrl-A.
    #[must_use]
    pub fn feed(&mut self, typed: &[u8]) -> Vec<Input> {
        let mut found = Vec::new();
        for &byte in typed {
            if !std::mem::take(&mut self.escaped) {
                if byte == ESCAPE {
                    self.escaped = true;
                } else {
                    pass(&mut found, &[byte]);
                }
                continue;
            }
            match byte {
                b'x' => found.push(Input::Event(Event::End)),
                b'c' => found.push(Input::Event(Event::Monitor)),
                b'h' | b'?' => found.push(Input::Event(Event::Help)),
                b'a' | ESCAPE => pass(&mut found, &[ESCAPE]),
                _ => pass(&mut found, &[ESCAPE, byte]),
            }
        }
        found
    }
}

/// Adds bytes for the guest to those that came right before.
fn pass(found: &mut Vec<Input>, bytes: &[u8]) {
    if let Some(Input::Bytes(last)) = found.last_mut() {
        last.extend_from_slice(bytes);
    } else {
        found.push(Input::Bytes(bytes.to_vec()));
    }
}
