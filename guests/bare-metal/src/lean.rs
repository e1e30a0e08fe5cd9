//! A transport for measurements. On PCI, virtio-drivers asks the device at each notification where it goes, which are
//! three exits instead of one; and it writes the queues' addresses by 64 bits at once, which not every machine takes:
//! the driver must write halves (VIRTIO 1.3, 4.1.3.1).

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{PhysAddr, Result};

use crate::memory;
use crate::pci::Common;
use crate::script::Failure;
use crate::virtio::{Bus, Device, Place};

/// Queues whose notifications are measured: those of a disk, or both of a network card.
const QUEUES: u16 = 2;

/// A device's transport, and on PCI its common configuration and where notifications of its first queues go.
pub struct Lean {
    bus: Bus,
    pci: Option<(Common, [u64; QUEUES as usize])>,
}

impl Lean {
    /// As [`Device::open`].
    ///
    /// # Errors
    /// When it is not as the specification says.
    pub fn open(device: &Device) -> core::result::Result<Self, Failure> {
        let bus = device.open()?;
        let pci = match device.place {
            Place::Pci(function) => {
                let common = Common::of(function)?;
                let mut addresses = [0; QUEUES as usize];
                for (queue, address) in (0..QUEUES).zip(&mut addresses) {
                    if u64::from(queue) < common.queues() {
                        *address = function.notification(common.notify_offset(queue))?;
                    }
                }
                Some((common, addresses))
            }
            Place::Mmio(..) => None,
        };
        Ok(Self { bus, pci })
    }

    /// Begins to set the device up: those of the features `wanted` that it has, which are accepted.
    pub fn begin(&mut self, wanted: u64) -> u64 {
        let driver = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        self.set_status(DeviceStatus::empty());
        self.set_status(driver);
        let features = self.read_device_features() & wanted;
        self.write_driver_features(features);
        self.set_status(driver | DeviceStatus::FEATURES_OK);
        features
    }
}

impl Transport for Lean {
    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        let areas = [descriptors, driver_area, device_area];
        match self.pci {
            Some((common, _)) => common.enable_queue(queue, size, areas),
            None => self
                .bus
                .queue_set(queue, size, descriptors, driver_area, device_area),
        }
    }

    fn device_type(&self) -> DeviceType {
        self.bus.device_type()
    }

    fn read_device_features(&mut self) -> u64 {
        self.bus.read_device_features()
    }

    fn write_driver_features(&mut self, features: u64) {
        self.bus.write_driver_features(features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.bus.max_queue_size(queue)
    }

    fn notify(&mut self, queue: u16) {
        match self.pci {
            Some((_, addresses)) if queue < QUEUES => {
                memory::write(addresses[usize::from(queue)], 2, u64::from(queue));
            }
            _ => self.bus.notify(queue),
        }
    }

    fn get_status(&self) -> DeviceStatus {
        self.bus.get_status()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.bus.set_status(status);
    }

    fn set_guest_page_size(&mut self, size: u32) {
        self.bus.set_guest_page_size(size);
    }

    fn requires_legacy_layout(&self) -> bool {
        self.bus.requires_legacy_layout()
    }

    fn queue_unset(&mut self, queue: u16) {
        self.bus.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.bus.queue_used(queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        self.bus.ack_interrupt()
    }

    fn read_config_generation(&self) -> u32 {
        self.bus.read_config_generation()
    }

    fn read_config_space<T: zerocopy::FromBytes + zerocopy::IntoBytes>(
        &self,
        offset: usize,
    ) -> Result<T> {
        self.bus.read_config_space(offset)
    }

    fn write_config_space<T: zerocopy::IntoBytes + zerocopy::Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> Result<()> {
        self.bus.write_config_space(offset, value)
    }
}
