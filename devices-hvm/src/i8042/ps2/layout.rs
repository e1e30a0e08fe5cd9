//! Keys by name and by character: the layout of the United States.

use thiserror::Error;

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
    #[error(
        "{0:?} is no key: keys are letters, digits, f1 to f12, ctrl, alt, shift, del, ret, esc and others"
    )]
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

/// Other names of keys.
const NAMES: [(&str, u16); 54] = [
    ("esc", 1),
    ("backspace", 14),
    ("tab", 15),
    ("ret", 28),
    ("enter", 28),
    ("ctrl", 29),
    ("shift", LEFT_SHIFT),
    ("shift_r", 54),
    ("alt", 56),
    ("spc", 57),
    ("space", 57),
    ("caps_lock", 58),
    ("f1", 59),
    ("f2", 60),
    ("f3", 61),
    ("f4", 62),
    ("f5", 63),
    ("f6", 64),
    ("f7", 65),
    ("f8", 66),
    ("f9", 67),
    ("f10", 68),
    ("num_lock", 69),
    ("scroll_lock", 70),
    ("f11", 87),
    ("f12", 88),
    ("ctrl_r", 97),
    ("sysrq", 99),
    ("print", 99),
    ("alt_r", 100),
    ("home", 102),
    ("up", 103),
    ("pgup", 104),
    ("left", 105),
    ("right", 106),
    ("end", 107),
    ("down", 108),
    ("pgdn", 109),
    ("insert", 110),
    ("del", 111),
    ("delete", 111),
    ("pause", 119),
    ("meta_l", 125),
    ("meta_r", 126),
    ("menu", 127),
    ("minus", 12),
    ("equal", 13),
    ("bracket_left", 26),
    ("bracket_right", 27),
    ("semicolon", 39),
    ("apostrophe", 40),
    ("grave_accent", 41),
    ("comma", 51),
    ("dot", 52),
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

/// The keys of a chord such as `ctrl-alt-del`, by their Linux codes, in the order in which they go down.
///
/// # Errors
/// When a name is no key's, or there are too many.
pub fn chord(names: &str) -> Result<Vec<u16>, LayoutError> {
    let count = names.split('-').count();
    if count > CHORD_MAX {
        return Err(LayoutError::TooMany(count));
    }
    names.split('-').map(named).collect()
}

fn named(name: &str) -> Result<u16, LayoutError> {
    let lower = name.to_ascii_lowercase();
    let mut letters = lower.chars();
    if let (Some(one), None) = (letters.next(), letters.next())
        && let Ok((code, false)) = character(one)
    {
        return Ok(code);
    }
    let found = NAMES.iter().find(|(known, _)| *known == lower);
    found
        .map(|(_, code)| *code)
        .ok_or_else(|| LayoutError::Name(name.to_owned()))
}
