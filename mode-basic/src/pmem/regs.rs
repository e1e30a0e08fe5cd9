//! The flush hint addresses.

/// Bytes of address space: a page, each address of which is a flush hint.
pub const SIZE: u64 = 0x1000;
