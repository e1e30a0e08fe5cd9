//! The register of the debug-exit device.

/// Bytes of its only register, which is written as a whole.
pub const WIDTH: u16 = 4;
