//! A channel of a DMA controller, as the chip on it sees it: DREQ, DACK and TC.

/// What a channel did with what it was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DmaMoved {
    /// Bytes, from the first on.
    pub bytes: usize,
    /// Terminal count: with the last of them the channel's count has run out.
    pub terminal_count: bool,
}

/// A channel of a DMA controller that stands on the board: the chip on it has data or wants some, the controller knows
/// where in memory. The chip is woken when a channel that moved nothing is opened.
pub trait DmaChannel: Send {
    /// Drives DREQ. The channel moves nothing while it is low.
    fn request(&mut self, level: bool);

    /// Moves as much of `data` to memory as the channel lets.
    fn write_memory(&mut self, data: &[u8]) -> DmaMoved;

    /// Fills as much of `data` from memory as the channel lets.
    fn read_memory(&mut self, data: &mut [u8]) -> DmaMoved;
}
