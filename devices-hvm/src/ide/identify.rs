//! The 256 words with which a drive says what it is.

/// IDENTIFY DEVICE and IDENTIFY PACKET DEVICE data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words([u16; 256]);

impl Words {
    pub(super) const fn new() -> Self {
        Self([0; 256])
    }

    pub(super) fn set(&mut self, at: usize, value: u16) {
        if let Some(word) = self.0.get_mut(at) {
            *word = value;
        }
    }

    /// A number of 32 or more bits, low word first.
    pub(super) fn set_long(&mut self, at: usize, words: usize, value: u64) {
        for (index, pair) in value.to_le_bytes().chunks(2).take(words).enumerate() {
            if let [low, high] = *pair {
                self.set(at + index, u16::from_le_bytes([low, high]));
            }
        }
    }

    /// Text, padded with blanks; the first letter of two is in the upper half.
    pub(super) fn set_text(&mut self, at: usize, words: usize, text: &str) {
        let printable = |byte: u8| {
            if (0x20..0x7f).contains(&byte) {
                byte
            } else {
                b' '
            }
        };
        let mut letters = text.bytes().map(printable).chain(std::iter::repeat(b' '));
        for index in 0..words {
            let pair = [letters.next(), letters.next()].map(|letter| letter.unwrap_or(b' '));
            self.set(at + index, u16::from_be_bytes(pair));
        }
    }

    /// The bytes as the host reads them, with the checksum in word 255 (ATA/ATAPI-6, 8.15.62).
    pub(super) fn bytes(mut self) -> Vec<u8> {
        self.set(255, 0x00a5);
        let sum = |words: &[u16]| {
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            bytes.fold(0_u8, u8::wrapping_add)
        };
        let checksum = sum(&self.0).wrapping_neg();
        self.set(255, u16::from_le_bytes([0xa5, checksum]));
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}
