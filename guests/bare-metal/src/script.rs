//! The script language: commands separated by `;`, words by blanks, numbers decimal or 0x, with K, M or G.

use core::fmt;
use core::str;

use crate::commands;
use crate::memory::Unmapped;
use crate::ring0::{self, Exception};
use crate::say;

/// Why a command ended with `err`.
#[derive(Clone, Copy, Debug)]
pub enum Failure {
    /// A word is missing or is no number.
    Usage,
    /// An address beyond the identity map.
    Unmapped(u64),
    /// The machine does not have it.
    Absent(&'static str),
    /// It did not come, however long it was waited for.
    Timeout(&'static str),
    /// What a driver of virtio answered.
    Driver(virtio_drivers::Error),
    /// A device answered with another value.
    Mismatch {
        /// What was looked at.
        what: &'static str,
        /// The datasheet's value.
        expected: u64,
        /// The device's.
        found: u64,
    },
}

impl From<Unmapped> for Failure {
    fn from(Unmapped(address): Unmapped) -> Self {
        Self::Unmapped(address)
    }
}

impl From<virtio_drivers::Error> for Failure {
    fn from(error: virtio_drivers::Error) -> Self {
        Self::Driver(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage => write!(f, "usage"),
            Self::Unmapped(address) => write!(f, "unmapped address={address:#x}"),
            Self::Absent(what) => write!(f, "absent {what}"),
            Self::Timeout(what) => write!(f, "timeout {what}"),
            Self::Driver(error) => write!(f, "driver {error}"),
            Self::Mismatch {
                what,
                expected,
                found,
            } => {
                write!(f, "mismatch {what} expected={expected:#x} found={found:#x}")
            }
        }
    }
}

/// Fails unless a device answers as it should.
///
/// # Errors
/// [`Failure::Mismatch`].
pub fn expect(
    what: &'static str,
    expected: impl Into<u64>,
    found: impl Into<u64>,
) -> Result<(), Failure> {
    let (expected, found) = (expected.into(), found.into());
    if expected == found {
        return Ok(());
    }
    Err(Failure::Mismatch {
        what,
        expected,
        found,
    })
}

/// The words after a command's name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    /// The words of a text.
    pub const fn of(text: &'a str) -> Self {
        Self(text)
    }

    /// The next word.
    pub fn word(&mut self) -> Option<&'a str> {
        let rest = self.0.trim_start_matches(is_blank);
        let end = rest.find(is_blank).unwrap_or(rest.len());
        let (word, rest) = rest.split_at(end);
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }

    /// The next word as a number.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it is missing, no number, or too large for the type.
    pub fn number<T: TryFrom<u64>>(&mut self) -> Result<T, Failure> {
        let value = self.word().and_then(parse).ok_or(Failure::Usage)?;
        T::try_from(value).map_err(|_| Failure::Usage)
    }

    /// The next word as a number, or a default when there is no further word.
    ///
    /// # Errors
    /// As [`Words::number`].
    pub fn number_or<T: TryFrom<u64>>(&mut self, default: T) -> Result<T, Failure> {
        if self.rest().is_empty() {
            Ok(default)
        } else {
            self.number()
        }
    }

    /// All that is left.
    pub fn rest(&self) -> &'a str {
        self.0.trim_matches(is_blank)
    }
}

fn is_blank(letter: char) -> bool {
    letter == ' ' || letter == '\t'
}

/// A number: decimal or 0x, with K, M or G.
pub fn parse(word: &str) -> Option<u64> {
    let (word, shift) = match word.as_bytes().last()? {
        b'K' => (&word[..word.len() - 1], 10),
        b'M' => (&word[..word.len() - 1], 20),
        b'G' => (&word[..word.len() - 1], 30),
        _ => (word, 0),
    };
    let value = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None => word.parse().ok()?,
    };
    value.checked_mul(1 << shift)
}

/// The script in a kernel command line: what follows a word `--`, else what follows the leading words with a `=`.
pub fn of_command_line(line: &str) -> &str {
    if let Some(script) = line.strip_prefix("-- ") {
        return script;
    }
    if let Some((_, script)) = line.split_once(" -- ") {
        return script;
    }
    let mut script = Words(line);
    loop {
        let mut next = script;
        match next.word() {
            Some(word) if word.contains('=') => script = next,
            _ => return script.rest(),
        }
    }
}

/// Runs the commands of a line in their order.
pub fn run(line: &str) {
    line.split(';').for_each(run_command);
}

struct Call<'a> {
    command: &'static commands::Command,
    words: Words<'a>,
    result: Result<(), Failure>,
}

extern "C" fn call(context: usize) {
    let context = core::ptr::with_exposed_provenance_mut::<Call<'_>>(context);
    // SAFETY: `run_command` lends its own value for as long as this function runs.
    let context = unsafe { &mut *context };
    context.result = (context.command.run)(context.words);
}

fn run_command(text: &str) {
    let mut words = Words(text);
    let Some(name) = words.word() else { return };
    let Some(command) = commands::find(name) else {
        say!("err {name} unknown");
        return;
    };
    let mut context = Call {
        command,
        words,
        result: Ok(()),
    };
    match ring0::catch(0, call, (&raw mut context).expose_provenance()) {
        Err(Exception {
            vector,
            error,
            rip,
            cr2,
        }) => {
            say!("err {name} exception vector={vector} error={error:#x} rip={rip:#x} cr2={cr2:#x}");
        }
        Ok(()) => match context.result {
            Ok(()) => {}
            Err(Failure::Usage) => say!("err {name} usage: {name} {}", command.usage),
            Err(failure) => say!("err {name} {failure}"),
        },
    }
}

/// A line of bytes as text; what is not ASCII ends it.
pub fn text(bytes: &[u8]) -> &str {
    let end = bytes
        .iter()
        .position(|byte| !byte.is_ascii())
        .unwrap_or(bytes.len());
    bytes
        .get(..end)
        .and_then(|ascii| str::from_utf8(ascii).ok())
        .unwrap_or_default()
}
