//! The legacy interface: virtio 1.3, 4.1.4.10. What its registers do stands in [`crate::transport`].

use trivisor_buses::AccessError;
use trivisor_pci::PciFunction;
use trivisor_pci::regs::offset;

use super::PciTransport;
use super::common::{give, half_word, word};
use super::regs::legacy;
use crate::device::VirtioDevice;

impl<D: VirtioDevice> PciTransport<D> {
    /// Offset in the device's configuration, which stands behind the vectors while there are any.
    fn legacy_config_offset(&self, at: u64) -> Option<usize> {
        let start = if self.endpoint().msix_enabled() {
            legacy::CONFIG_WITH_MSIX
        } else {
            legacy::CONFIG
        };
        usize::try_from(at.checked_sub(start)?).ok()
    }

    pub(super) fn read_legacy(&mut self, at: u64, data: &mut [u8]) -> Result<(), AccessError> {
        if let Some(at) = self.legacy_config_offset(at) {
            self.transport.device.read_config(at, data);
            return Ok(());
        }
        let transport = &self.transport;
        let selected = transport.selectors.queue;
        let (value, width) = match at {
            legacy::DEVICE_FEATURES => (transport.legacy_features().into(), 4),
            legacy::DRIVER_FEATURES => (transport.legacy_driver_features().into(), 4),
            legacy::QUEUE_ADDRESS => (transport.legacy_queue_address().into(), 4),
            legacy::QUEUE_SIZE => {
                let most = transport.queue().map_or(0, |queue| queue.max_size());
                (most.into(), 2)
            }
            legacy::QUEUE_SELECT => (selected.into(), 2),
            legacy::DEVICE_STATUS => (transport.legacy_status().into(), 1),
            legacy::ISR_STATUS => {
                let [byte] = data else {
                    return Err(AccessError::Width);
                };
                *byte = self.signals.take_isr().into_bits();
                return Ok(());
            }
            legacy::CONFIG_MSIX_VECTOR => (self.signals.config_vector.into(), 2),
            legacy::QUEUE_MSIX_VECTOR => (self.signals.queue_vector(selected).into(), 2),
            _ => return Err(AccessError::NoRegister),
        };
        give(value, width, data)
    }

    pub(super) fn write_legacy(&mut self, at: u64, data: &[u8]) -> Result<(), AccessError> {
        // First what the guest writes most.
        if at == legacy::QUEUE_NOTIFY {
            let queue = half_word(data)?;
            return self.transport.notify_legacy(queue, &mut self.signals);
        }
        if let Some(at) = self.legacy_config_offset(at) {
            return self.transport.write_config(at, data, &mut self.signals);
        }
        let transport = &mut self.transport;
        match at {
            legacy::DRIVER_FEATURES => transport.accept_legacy_features(word(data)?),
            legacy::QUEUE_ADDRESS => {
                transport.write_legacy_queue_address(word(data)?, &mut self.signals)
            }
            legacy::QUEUE_SELECT => {
                transport.selectors.queue = half_word(data)?;
                Ok(())
            }
            legacy::DEVICE_STATUS => {
                let [bits] = data else {
                    return Err(AccessError::Width);
                };
                self.write_legacy_status(*bits)
            }
            legacy::CONFIG_MSIX_VECTOR => {
                self.signals.write_config_vector(half_word(data)?);
                Ok(())
            }
            legacy::QUEUE_MSIX_VECTOR => {
                let queue = transport.selectors.queue;
                self.signals.write_queue_vector(queue, half_word(data)?)
            }
            legacy::DEVICE_FEATURES | legacy::QUEUE_SIZE | legacy::ISR_STATUS => {
                Err(AccessError::ReadOnly)
            }
            _ => Err(AccessError::NoRegister),
        }
    }

    fn write_legacy_status(&mut self, bits: u8) -> Result<(), AccessError> {
        let had_driver = self.transport.status().driver();
        self.transport
            .write_legacy_status(bits, &mut self.signals)?;
        if bits == 0 {
            self.signals.reset();
        }
        if self.transport.status().driver() && !had_driver {
            let command = self.endpoint().config().command().with_bus_master(true);
            let command = command.into_bits().to_le_bytes();
            self.config_write(offset::COMMAND.into(), &command);
        }
        Ok(())
    }
}
