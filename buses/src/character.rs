//! The two directions of a character device (UART, console).

/// Where a character device's output goes. It never blocks: a vCPU's thread calls it.
pub trait CharOutput: Send {
    /// Takes as many of `bytes` as there is room for, from the front, and says how many. Fewer than
    /// all: the device waits for [`CharInput::output_ready`].
    fn write(&mut self, bytes: &[u8]) -> usize;
}

/// The outside's hand on a character device.
pub trait CharInput: Send + Sync {
    /// Offers bytes to the guest; returns how many were taken. The rest is to be offered again
    /// after [`room`](Self::room) is not 0 any more.
    fn push(&self, bytes: &[u8]) -> usize;

    /// Bytes that [`push`](Self::push) would take now.
    fn room(&self) -> usize;

    /// The output that refused bytes has room again.
    fn output_ready(&self);

    /// The terminal behind it has so many columns and rows now; nothing to a device that has no word for them.
    fn resize(&self, columns: u16, rows: u16) {
        let _no_word_for = (columns, rows);
    }
}
