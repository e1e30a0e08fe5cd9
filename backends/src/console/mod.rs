//! A character device's output and input, and what moves bytes between them and the device.
//!
//! The device's thread writes to a descriptor that never blocks it. When that is full it raises an
//! event and the device keeps its bytes; the event loop then waits for room and tells the device. Whatever
//! it is (pipe, terminal, file) was opened by another process, which also feeds the pipe of the input.

mod output;
mod pump;

#[cfg(test)]
mod tests;

pub use output::{OutputWatch, PipeOutput, output};
pub use pump::{ConsolePump, MAX_KEPT};
