//! The device as a value.

use super::regs::SIZE;

/// A generation ID, as its 16 bytes stand in guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationId(pub [u8; SIZE]);

impl GenerationId {
    /// The ID that a GUID's text gives, for example `324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87`: its first three
    /// groups are integers, so they stand low byte first. `None`: this is no GUID.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let groups: Vec<&str> = text.split('-').collect();
        if !groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) {
            return None;
        }
        // A sign is no digit, though integers are parsed with one.
        if !text.bytes().all(|c| c.is_ascii_hexdigit() || c == b'-') {
            return None;
        }
        let digits = u128::from_str_radix(&groups.concat(), 16).ok()?;
        let [a, b, c, d, e, f, g, h, rest @ ..] = digits.to_be_bytes();
        let mut bytes = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes.last_chunk_mut::<8>()?.copy_from_slice(&rest);
        Some(Self(bytes))
    }
}
