//! The common configuration: virtio 1.3, 4.1.4.3.

use trivisor_buses::AccessError;

use super::PciTransport;
use super::regs::common;
use crate::device::VirtioDevice;
use crate::queue::{Area, Half, Queue};

/// A field's value in as many bytes as it has.
pub(super) fn give(value: u64, width: usize, data: &mut [u8]) -> Result<(), AccessError> {
    if data.len() != width {
        return Err(AccessError::Width);
    }
    data.iter_mut()
        .zip(value.to_le_bytes())
        .for_each(|(to, from)| *to = from);
    Ok(())
}

/// What was written to a field of 2 bytes.
pub(super) fn half_word(data: &[u8]) -> Result<u16, AccessError> {
    data.try_into()
        .map(u16::from_le_bytes)
        .map_err(|_| AccessError::Width)
}

/// What was written to a field of 4 bytes.
pub(super) fn word(data: &[u8]) -> Result<u32, AccessError> {
    data.try_into()
        .map(u32::from_le_bytes)
        .map_err(|_| AccessError::Width)
}

/// Which area's address a field is, or half of it.
const fn address(at: u64) -> Option<(Area, Half)> {
    let half = if at.is_multiple_of(8) {
        Half::Low
    } else {
        Half::High
    };
    let area = match at & !7 {
        common::QUEUE_DESC => Area::Descriptor,
        common::QUEUE_DRIVER => Area::Driver,
        common::QUEUE_DEVICE => Area::Device,
        _ => return None,
    };
    if at.is_multiple_of(4) {
        Some((area, half))
    } else {
        None
    }
}

impl<D: VirtioDevice> PciTransport<D> {
    pub(super) fn read_common(&self, at: u64, data: &mut [u8]) -> Result<(), AccessError> {
        let transport = &self.transport;
        let (value, width) = match at {
            common::DEVICE_FEATURE_SELECT => (transport.selectors.device_features.into(), 4),
            common::DEVICE_FEATURE => (transport.selected_features().into(), 4),
            common::DRIVER_FEATURE_SELECT => (transport.selectors.driver_features.into(), 4),
            common::DRIVER_FEATURE => (transport.selected_driver_features().into(), 4),
            common::CONFIG_MSIX_VECTOR => (self.signals.config_vector.into(), 2),
            common::NUM_QUEUES => (transport.queues.len() as u64, 2),
            common::DEVICE_STATUS => (transport.status().into_bits().into(), 1),
            common::CONFIG_GENERATION => (transport.generation().into(), 1),
            common::QUEUE_SELECT => (transport.selectors.queue.into(), 2),
            common::QUEUE_SIZE => (transport.queue().map_or(0, |queue| queue.size().into()), 2),
            common::QUEUE_MSIX_VECTOR => {
                let vector = self.signals.queue_vector(transport.selectors.queue);
                (vector.into(), 2)
            }
            common::QUEUE_ENABLE => (transport.queue().is_some_and(Queue::ready).into(), 2),
            common::QUEUE_NOTIFY_OFF | common::QUEUE_NOTIF_CONFIG_DATA => {
                (transport.selectors.queue.into(), 2)
            }
            // A reset has ended when the write that began it returns.
            common::QUEUE_RESET => (0, 2),
            _ => {
                let (area, half) = address(at).ok_or(AccessError::NoRegister)?;
                let address = transport.queue().map_or(0, |queue| queue.address(area));
                match (half, data.len()) {
                    (Half::Low, 8) => (address, 8),
                    (Half::Low, _) => (address & 0xffff_ffff, 4),
                    (Half::High, _) => (address >> 32, 4),
                }
            }
        };
        give(value, width, data)
    }

    pub(super) fn write_common(&mut self, at: u64, data: &[u8]) -> Result<(), AccessError> {
        // A legacy driver's device takes a reset from here, and nothing else.
        if self.transport.is_legacy() && (at, data) != (common::DEVICE_STATUS, &[0]) {
            return Err(AccessError::Value);
        }
        let transport = &mut self.transport;
        match at {
            common::DEVICE_FEATURE_SELECT => transport.selectors.device_features = word(data)?,
            common::DRIVER_FEATURE_SELECT => transport.selectors.driver_features = word(data)?,
            common::DRIVER_FEATURE => transport.accept_features(word(data)?)?,
            common::CONFIG_MSIX_VECTOR => self.signals.write_config_vector(half_word(data)?),
            common::DEVICE_STATUS => {
                let [bits] = data else {
                    return Err(AccessError::Width);
                };
                transport.write_status(*bits, &mut self.signals)?;
                if *bits == 0 {
                    self.signals.reset();
                }
            }
            common::QUEUE_SELECT => transport.selectors.queue = half_word(data)?,
            common::QUEUE_SIZE => {
                let size = half_word(data)?;
                transport.configure_queue(|queue| queue.set_size(size))?;
            }
            common::QUEUE_MSIX_VECTOR => {
                let queue = transport.selectors.queue;
                self.signals.write_queue_vector(queue, half_word(data)?)?;
            }
            // Only a reset disables a queue (4.1.4.3.2).
            common::QUEUE_ENABLE => match half_word(data)? {
                1 => transport.enable_queue(&mut self.signals)?,
                _ => return Err(AccessError::Value),
            },
            common::QUEUE_RESET => match half_word(data)? {
                1 => transport.reset_queue(&mut self.signals),
                _ => return Err(AccessError::Value),
            },
            common::DEVICE_FEATURE
            | common::NUM_QUEUES
            | common::CONFIG_GENERATION
            | common::QUEUE_NOTIFY_OFF
            | common::QUEUE_NOTIF_CONFIG_DATA => return Err(AccessError::ReadOnly),
            _ => {
                let (area, half) = address(at).ok_or(AccessError::NoRegister)?;
                if let (Half::Low, Ok(bytes)) = (half, data.try_into()) {
                    let address = u64::from_le_bytes(bytes);
                    return transport.configure_queue(|queue| queue.set_address(area, address));
                }
                let value = word(data)?;
                transport.configure_queue(|queue| queue.set_address_half(area, half, value))?;
            }
        }
        Ok(())
    }
}
