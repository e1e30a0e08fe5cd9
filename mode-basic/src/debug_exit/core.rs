//! The device as a value.

/// What a write of 1, 2 or 4 bytes ends the run with; `None` for other widths.
#[must_use]
pub fn exit_value(data: &[u8]) -> Option<u32> {
    match *data {
        [byte] => Some(byte.into()),
        [low, high] => Some(u16::from_le_bytes([low, high]).into()),
        [a, b, c, d] => Some(u32::from_le_bytes([a, b, c, d])),
        _ => None,
    }
}
