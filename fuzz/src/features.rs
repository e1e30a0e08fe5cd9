//! What an input showed, in the target's own words: the engine keeps inputs that show something new.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

thread_local! {
    /// `None`: nobody listens, as where an engine sees by itself what an input reaches.
    static NOTED: RefCell<Option<BTreeSet<u64>>> = const { RefCell::new(None) };
}

/// Notes that the input of this thread showed `feature`. There should be thousands of them, not millions.
pub fn note(feature: impl Hash) {
    NOTED.with_borrow_mut(|noted| {
        if let Some(noted) = noted {
            let mut hasher = DefaultHasher::new();
            feature.hash(&mut hasher);
            noted.insert(hasher.finish());
        }
    });
}

/// Notes the shape of a text: its words without numbers.
pub fn note_text(text: &str) {
    let is_word = |word: &&str| !word.bytes().any(|byte| byte.is_ascii_digit());
    note(text.split_whitespace().filter(is_word).collect::<Vec<_>>());
}

/// Takes what was noted, and listens from now on.
pub(crate) fn take() -> BTreeSet<u64> {
    NOTED.replace(Some(BTreeSet::new())).unwrap_or_default()
}
