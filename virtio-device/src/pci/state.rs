//! Saved state, version 1.

use serde::{Deserialize, Serialize};
use trivisor_buses::RestoreError;
use trivisor_pci::EndpointStateV1;

use super::{IsrStatus, NO_VECTOR, PciTransport};
use crate::device::VirtioDevice;
use crate::transport::TransportStateV1;

/// What saved state calls it.
pub(super) const KIND: &str = "virtio-pci";
/// The newest version.
pub(super) const VERSION: u16 = 1;

/// What the registers hold, and the device behind them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PciStateV1 {
    /// config_msix_vector.
    pub config_vector: u16,
    /// queue_msix_vector of each queue.
    pub queue_vectors: Vec<u16>,
    /// ISR status.
    pub isr: u8,
    /// The PCI side.
    pub endpoint: EndpointStateV1,
    /// What every transport has.
    pub transport: TransportStateV1,
}

impl<D: VirtioDevice> From<&PciTransport<D>> for PciStateV1 {
    fn from(from: &PciTransport<D>) -> Self {
        Self {
            config_vector: from.signals.config_vector,
            queue_vectors: from.signals.queue_vectors.clone(),
            isr: from.signals.isr.into_bits(),
            endpoint: from.signals.endpoint.save(),
            transport: TransportStateV1::from(&from.transport),
        }
    }
}

impl PciStateV1 {
    pub(super) fn put_back<D: VirtioDevice>(
        self,
        to: &mut PciTransport<D>,
    ) -> Result<(), RestoreError> {
        let check = |field, value, right| RestoreError::check(KIND, field, value, right);
        let known = IsrStatus::new().with_queue(true).with_configuration(true);
        check("isr", self.isr.into(), self.isr & !known.into_bits() == 0)?;
        let count = self.queue_vectors.len();
        check(
            "queue_vectors",
            count as u64,
            count == to.signals.queue_vectors.len(),
        )?;
        for vector in self.queue_vectors.iter().chain([&self.config_vector]) {
            check(
                "vector",
                (*vector).into(),
                *vector == NO_VECTOR || to.signals.valid(*vector) == *vector,
            )?;
        }
        to.signals.endpoint.check(KIND, &self.endpoint)?;
        self.transport.put_back(KIND, &mut to.transport)?;
        to.signals.endpoint.restore(KIND, &self.endpoint)?;
        let master = to.signals.endpoint.config().command().bus_master();
        to.transport.restore_reaches_ram(master);
        to.signals.isr = IsrStatus::from_bits(self.isr);
        to.signals.config_vector = self.config_vector;
        to.signals.queue_vectors = self.queue_vectors;
        Ok(())
    }
}
