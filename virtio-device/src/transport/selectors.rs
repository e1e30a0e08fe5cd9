//! The registers that both layouts have to say what the next ones are about.

use serde::{Deserialize, Serialize};
use trivisor_buses::AccessError;

use super::Transport;
use crate::device::VirtioDevice;
use crate::queue::Queue;

/// What the driver has selected; 0 after a reset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectorsV1 {
    /// Which half of the features that the device offers is read.
    pub device_features: u32,
    /// Which half of the features that the driver accepts is written, and read.
    pub driver_features: u32,
    /// Which queue is configured.
    pub queue: u16,
}

/// One half of 64 feature bits; what is selected beyond them is 0.
fn half(features: u64, select: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "each half is 32 bits wide")]
    match select {
        0 => features as u32,
        1 => (features >> 32) as u32,
        _ => 0,
    }
}

impl<D: VirtioDevice> Transport<D> {
    /// The selected half of what the driver may choose from.
    pub(crate) fn selected_features(&self) -> u32 {
        half(self.features(), self.selectors.device_features)
    }

    /// The selected half of what the driver accepts.
    #[cfg(feature = "pci")]
    pub(crate) fn selected_driver_features(&self) -> u32 {
        half(self.driver_features, self.selectors.driver_features)
    }

    /// Takes the selected half of the features that the driver accepts; none once they are agreed upon.
    pub(crate) fn accept_features(&mut self, bits: u32) -> Result<(), AccessError> {
        let shift = match self.selectors.driver_features {
            0 => 0,
            1 => 32,
            // There are none of those to accept.
            _ if bits == 0 => return Ok(()),
            _ => return Err(AccessError::Value),
        };
        if self.status.features_ok() {
            return Err(AccessError::Value);
        }
        let kept = self.driver_features & !(u64::from(u32::MAX) << shift);
        self.driver_features = kept | u64::from(bits) << shift;
        Ok(())
    }

    /// The selected queue.
    pub(crate) fn queue(&self) -> Option<&Queue> {
        self.queues.get(usize::from(self.selectors.queue))
    }

    /// Configures the selected queue, which cannot be done while it is enabled (4.1.4.3.2, 4.2.2.2).
    pub(crate) fn configure_queue(
        &mut self,
        write: impl FnOnce(&mut Queue) -> bool,
    ) -> Result<(), AccessError> {
        let queue = self.queues.get_mut(usize::from(self.selectors.queue));
        let written = queue.is_some_and(write);
        written.then_some(()).ok_or(AccessError::Value)
    }
}
