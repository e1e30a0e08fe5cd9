//! Keys by name and by character: the layout of the United States.

use thiserror::Error;

use super::names::NAMES;

/// The left shift key's Linux code.
pub const LEFT_SHIFT: u16 = 42;

/// Keys of a chord at most.
pub const CHORD_MAX: usize = 8;

/// What cannot be typed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// No key makes this character.
    #[error("{0:?} is on no key of the US layout")]
    Character(char),
    /// No key has this name.
    #[error("{0:?} is no key")]
    Name(String),
    /// More keys than a chord may have.
    #[error("{0} keys at once: there may be {CHORD_MAX}")]
    TooMany(usize),
}

/// The rows of keys that make characters: first Linux code, characters without and with shift.
const ROWS: [(u16, &str, &str); 4] = [
    (2, "1234567890-=", "!@#$%^&*()_+"),
    (16, "qwertyuiop[]", "QWERTYUIOP{}"),
    (30, "asdfghjkl;'`", "ASDFGHJKL:\"~"),
    (43, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
];

/// The key that makes `character`, by its Linux code, and whether shift is held.
///
/// # Errors
/// When the layout lacks the character.
pub fn character(character: char) -> Result<(u16, bool), LayoutError> {
    match character {
        '\n' => return Ok((28, false)),
        '\t' => return Ok((15, false)),
        ' ' => return Ok((57, false)),
        _ => {}
    }
    for (first, plain, shifted) in ROWS {
        for (row, shift) in [(plain, false), (shifted, true)] {
            if let Some((code, _)) = (first..)
                .zip(row.chars())
                .find(|(_, key)| *key == character)
            {
                return Ok((code, shift));
            }
        }
    }
    Err(LayoutError::Character(character))
}

/// The keys of a chord such as `ctrl-alt-del`, by their Linux codes, in the order in which they go down. A key is called
/// by its letter or digit, or as in [`names`]; `+` joins as `-` does.
///
/// # Errors
/// When a name is no key's, or there are too many.
pub fn chord(names: &str) -> Result<Vec<u16>, LayoutError> {
    let count = names.split(JOINTS).count();
    if count > CHORD_MAX {
        return Err(LayoutError::TooMany(count));
    }
    names.split(JOINTS).map(named).collect()
}

/// What stands between the keys of a chord.
const JOINTS: [char; 2] = ['-', '+'];

/// Names of all keys that have more than a letter or digit for a name.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().flat_map(|(_, names)| names.iter().copied())
}

fn named(name: &str) -> Result<u16, LayoutError> {
    let lower = name.to_ascii_lowercase();
    // As Linux's headers have it.
    let short = lower.strip_prefix("key_").unwrap_or(&lower);
    let mut letters = short.chars();
    if let (Some(one), None) = (letters.next(), letters.next())
        && let Ok((code, false)) = character(one)
    {
        return Ok(code);
    }
    let found = NAMES.iter().find(|(_, names)| names.contains(&short));
    found
        .map(|(code, _)| *code)
        .ok_or_else(|| LayoutError::Name(name.to_owned()))
}
