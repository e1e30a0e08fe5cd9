//! A character device's two pipes, and what moves bytes between them and the device.
//!
//! The device's thread writes into a pipe that never blocks it. When the pipe is full it raises an
//! event and the device keeps its bytes; the event loop then waits for room and tells the device. The
//! other end of the pipe, whatever stands behind it (terminal, file, socket), is another process's.

mod output;
mod pump;

#[cfg(test)]
mod tests;

pub use output::{OutputWatch, PipeOutput, output};
pub use pump::{ConsolePump, MAX_KEPT};
