//! Saved state, version 1.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;

use super::{InterruptStatus, MmioTransport};
use crate::device::VirtioDevice;
use crate::transport::TransportStateV1;

/// What saved state calls it.
pub(super) const KIND: &str = "virtio-mmio";
/// The newest version.
pub(super) const VERSION: u16 = 1;

/// What the registers hold, and the device behind them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MmioStateV1 {
    /// InterruptStatus.
    pub interrupt_status: u8,
    /// What every transport has.
    pub transport: TransportStateV1,
}

impl<D: VirtioDevice> From<&MmioTransport<D>> for MmioStateV1 {
    fn from(from: &MmioTransport<D>) -> Self {
        Self {
            interrupt_status: from.pin.status.into_bits(),
            transport: TransportStateV1::from(&from.transport),
        }
    }
}

impl MmioStateV1 {
    pub(super) fn put_back<D: VirtioDevice>(
        self,
        to: &mut MmioTransport<D>,
    ) -> Result<(), RestoreError> {
        let status = InterruptStatus::from_bits(self.interrupt_status);
        let known = InterruptStatus::new()
            .with_used_buffer(true)
            .with_configuration(true);
        RestoreError::check(
            KIND,
            "interrupt_status",
            self.interrupt_status.into(),
            self.interrupt_status & !known.into_bits() == 0,
        )?;
        self.transport.put_back(KIND, &mut to.transport)?;
        to.pin.status = status;
        to.pin.line.restore_level(status != InterruptStatus::new());
        Ok(())
    }
}
