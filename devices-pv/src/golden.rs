//! Golden states of virtio devices, which are no components: their transports are.

use trivisor_buses::{Component, RestoreError, SavedState, testing};
use trivisor_virtio_device::VirtioDevice;

struct Alone<'a, D>(&'a mut D);

impl<D: VirtioDevice> Component for Alone<'_, D> {
    fn reset(&mut self) {
        self.0.reset();
    }

    fn save(&self) -> SavedState {
        self.0.save()
    }

    fn restore(&mut self, state: &SavedState) -> Result<(), RestoreError> {
        self.0.restore(state)
    }
}

/// See [`testing::check_golden`].
pub(crate) fn check_golden(
    device: &mut impl VirtioDevice,
    kind: &'static str,
    version: u16,
    hex: &str,
) {
    testing::check_golden(&mut Alone(device), kind, version, hex);
}
