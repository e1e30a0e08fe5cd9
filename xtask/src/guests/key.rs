//! Keys: a hash of everything that something was made from.

/// FNV-1a of 64 bits, which stays the same with every toolchain, as the standard library's hashes do not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key(u64);

impl Key {
    /// Begins with the recipe's name and version.
    pub(super) fn new(recipe: &str) -> Self {
        Self(0xcbf2_9ce4_8422_2325).with(recipe.as_bytes())
    }

    /// Adds an input. Its length is part of it, so that no two lists of inputs run together.
    #[must_use]
    pub(super) fn with(self, input: &[u8]) -> Self {
        let len = (input.len() as u64).to_le_bytes();
        let hash = len.iter().chain(input).fold(self.0, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(hash)
    }

    /// As a part of a file's name.
    pub(super) fn name(self) -> String {
        format!("{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_and_its_place_counts() {
        let key = |inputs: &[&str]| {
            let key = Key::new("test");
            let key = inputs
                .iter()
                .fold(key, |key, text| key.with(text.as_bytes()));
            key.name()
        };
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
        assert_ne!(key(&["ab", "c"]), key(&["a", "bc"]));
        assert_ne!(key(&["ab", "c"]), key(&["c", "ab"]));
        assert_ne!(key(&[]), key(&[""]));
        assert_eq!(key(&[]).len(), 16);
    }
}
