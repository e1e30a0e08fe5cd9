//! The port as a value: it has no state.

/// What a read gives: how firmware knows that somebody listens.
pub const PRESENT: u8 = 0xe9;
