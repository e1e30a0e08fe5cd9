//! The last lines of a guest's output, for the report of its crash.

use std::collections::VecDeque;
use std::fmt::{self, Write};

/// Keeps the end of what a guest printed, in bounded memory.
#[derive(Debug, Clone)]
pub struct OutputTail {
    bytes: VecDeque<u8>,
    max_bytes: usize,
    max_lines: usize,
}

impl Default for OutputTail {
    /// 4 KiB and 20 lines: what fits a screen.
    fn default() -> Self {
        Self::new(4096, 20)
    }
}

impl OutputTail {
    /// Keeps at most `max_bytes`, and shows at most `max_lines` of them.
    #[must_use]
    pub const fn new(max_bytes: usize, max_lines: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            max_bytes,
            max_lines,
        }
    }

    /// The guest printed `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        let skipped = bytes.len().saturating_sub(self.max_bytes);
        let bytes = bytes.get(skipped..).unwrap_or_default();
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(self.max_bytes);
        self.bytes.drain(..excess.min(self.bytes.len()));
        self.bytes.extend(bytes);
    }

    /// Nothing was printed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// The last lines, each ended by a line feed. Control characters are shown, not sent: what a guest
/// printed must not drive the terminal that its report goes to.
impl fmt::Display for OutputTail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let first = lines.len().saturating_sub(self.max_lines);
        for line in lines.iter().skip(first) {
            // A carriage return before the line feed, as serial consoles send it.
            for character in line.trim_end_matches('\r').chars() {
                match character {
                    '\t' => f.write_char('\t')?,
                    _ if character.is_control() => write!(f, "{}", character.escape_default())?,
                    _ => f.write_char(character)?,
                }
            }
            f.write_char('\n')?;
        }
        Ok(())
    }
}
