//! The end of the guest's output, for a crash report.

use std::sync::{Arc, Mutex, PoisonError};

use trivisor_backends::console::PipeOutput;
use trivisor_backends::tail::OutputTail;
use trivisor_buses::CharOutput;

/// More would not fit a message to the control process beside the registers.
const MAX_TEXT: usize = 4096;

/// What the guest printed last.
#[derive(Debug, Clone, Default)]
pub(super) struct Tail(Arc<Mutex<OutputTail>>);

impl Tail {
    /// As text.
    pub(super) fn text(&self) -> String {
        let tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = tail.to_string();
        let cut = text.len().saturating_sub(MAX_TEXT);
        let cut = (cut..text.len()).find(|at| text.is_char_boundary(*at));
        text.get(cut.unwrap_or_default()..)
            .unwrap_or_default()
            .to_owned()
    }
}

/// An output whose end is remembered.
#[derive(Debug)]
pub(super) struct Tee {
    pub(super) output: PipeOutput,
    pub(super) tail: Tail,
}

impl CharOutput for Tee {
    fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = self.output.write(bytes);
        let mut tail = self.tail.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.push(bytes.get(..taken).unwrap_or_default());
        taken
    }
}
