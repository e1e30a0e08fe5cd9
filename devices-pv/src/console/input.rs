//! The outside's hand on a port.

use std::sync::Arc;

use trivisor_buses::CharInput;
use trivisor_virtio_device::Drive;

use super::{Console, Size};

/// A port of a console that stands on a bus.
#[derive(Clone)]
pub struct ConsoleInput {
    chip: Arc<dyn Drive<Console>>,
    port: usize,
}

impl std::fmt::Debug for ConsoleInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConsoleInput")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl ConsoleInput {
    /// The port of this number.
    #[must_use]
    pub fn new(chip: Arc<dyn Drive<Console>>, port: usize) -> Self {
        Self { chip, port }
    }
}

impl CharInput for ConsoleInput {
    fn push(&self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        self.chip
            .drive(&mut |console, io| taken = console.push(self.port, bytes, io));
        taken
    }

    fn room(&self) -> usize {
        let mut room = 0;
        self.chip
            .drive(&mut |console, _| room = console.room(self.port));
        room
    }

    fn output_ready(&self) {
        self.chip
            .drive(&mut |console, io| console.output_ready(self.port, io));
    }

    fn resize(&self, cols: u16, rows: u16) {
        let size = Size { cols, rows };
        self.chip
            .drive(&mut |console, io| console.resize(self.port, size, io));
    }
}
