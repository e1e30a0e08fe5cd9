//! Registers of the debug console: one.

/// Data: written bytes are output; reads as [`PRESENT`](super::PRESENT).
pub const DATA: u16 = 0;
