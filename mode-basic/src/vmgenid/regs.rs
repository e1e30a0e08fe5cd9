//! The generation ID in guest memory.

/// Bytes of the ID: a GUID.
pub const SIZE: usize = 16;

/// The address of the ID is a multiple of this.
pub const ALIGNMENT: u64 = 8;
