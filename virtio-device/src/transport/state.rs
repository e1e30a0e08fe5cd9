//! Saved state of a transport.

use serde::{Deserialize, Serialize};
use trivisor_buses::{RestoreError, SavedState};

use super::legacy::Interface;
use super::{SelectorsV1, Status, Transport};
use crate::device::VirtioDevice;
use crate::queue::QueueStateV1;

/// What every transport saves: its device in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportStateV1 {
    /// The device status.
    pub status: u8,
    /// The features that the driver accepts.
    pub driver_features: u64,
    /// What the driver has selected.
    pub selectors: SelectorsV1,
    /// The configuration's generation.
    pub generation: u8,
    /// The interface that the driver uses: 0 that of version 1, or none yet; 1 the legacy one; 2 the legacy one, by which
    /// a queue was rung before DRIVER_OK.
    pub interface: u8,
    /// The queues.
    pub queues: Vec<QueueStateV1>,
    /// Version of the device's own state.
    pub device_version: u16,
    /// The device's own state.
    pub device: Vec<u8>,
}

impl<D: VirtioDevice> From<&Transport<D>> for TransportStateV1 {
    fn from(from: &Transport<D>) -> Self {
        let device = from.device.save();
        Self {
            status: from.status.into_bits(),
            driver_features: from.driver_features,
            selectors: from.selectors,
            generation: from.generation,
            interface: from.interface as u8,
            queues: from.queues.iter().map(QueueStateV1::from).collect(),
            device_version: device.version,
            device: device.data,
        }
    }
}

impl TransportStateV1 {
    /// Puts the state back; `kind` is the transport's, for errors.
    pub(crate) fn put_back<D: VirtioDevice>(
        self,
        kind: &'static str,
        to: &mut Transport<D>,
    ) -> Result<(), RestoreError> {
        let status = Status::from_bits(self.status);
        let known = Status::new()
            .with_acknowledge(true)
            .with_driver(true)
            .with_driver_ok(true)
            .with_features_ok(true)
            .with_needs_reset(true)
            .with_failed(true);
        let check = |field, value, right| RestoreError::check(kind, field, value, right);
        let interface = Interface::from_number(self.interface);
        let interface = interface.filter(|one| *one == Interface::Modern || to.has_legacy);
        check("interface", self.interface.into(), interface.is_some())?;
        let interface = interface.unwrap_or_default();
        // A legacy driver knows no FEATURES_OK, and its features are checked when they come.
        let (agreed, offered) = if interface == Interface::Modern {
            (status.features_ok(), to.features())
        } else {
            (true, to.legacy_features().into())
        };
        check(
            "status",
            self.status.into(),
            self.status & !known.into_bits() == 0 && (agreed || !status.driver_ok()),
        )?;
        check(
            "driver_features",
            self.driver_features,
            !agreed || self.driver_features & !offered == 0,
        )?;
        let count = self.queues.len();
        check("queues", count as u64, count == to.queues.len())?;
        let mut queues = to.queues.clone();
        for (queue, state) in queues.iter_mut().zip(&self.queues) {
            queue.restore(state, &to.ram, self.driver_features)?;
        }
        to.device.restore(&SavedState {
            kind: to.device.save().kind,
            version: self.device_version,
            data: self.device,
        })?;
        to.queues = queues;
        to.status = status;
        to.driver_features = self.driver_features;
        to.selectors = self.selectors;
        to.interface = interface;
        to.generation = self.generation;
        Ok(())
    }
}
