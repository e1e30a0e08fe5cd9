//! Pin DRQ, and the channel that it leads to.

use trivisor_buses::DmaChannel;

/// The pin with its level.
pub(super) struct Dreq {
    pub(super) channel: Box<dyn DmaChannel>,
    level: bool,
}

impl std::fmt::Debug for Dreq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dreq")
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl Dreq {
    pub(super) const fn new(channel: Box<dyn DmaChannel>) -> Self {
        let level = false;
        Self { channel, level }
    }

    /// Drives the pin.
    pub(super) fn set(&mut self, level: bool) {
        if self.level != level {
            self.channel.request(level);
            self.level = level;
        }
    }

    /// The level that the channel has in its own saved state.
    pub(super) const fn restore(&mut self, level: bool) {
        self.level = level;
    }
}
