//! A driver at the legacy interface: the notes of that name in virtio 1.3, chapters 2 to 4.
//!
//! | | differs from 3.1.1 |
//! |---|---|
//! | features | the lower 32 alone, without VERSION_1; what is not offered is not taken. There is no FEATURES_OK |
//! | queues | of the largest size, in one piece (2.7.2), enabled by their address and reset by the address 0 |
//! | first use | a queue that is rung before DRIVER_OK works (3.1.2): features are then agreed upon |
//! | a broken queue | DEVICE_NEEDS_RESET is of version 1: the device stands still and says nothing until it is reset |
//!
//! What a driver writes first says which interface it uses, until a reset; the other one refuses it meanwhile.

use trivisor_buses::AccessError;

use super::{Interrupts, Status, Transport};
use crate::device::VirtioDevice;
use crate::features::Feature;
use crate::queue::{Area, Queue};

/// Which interface the driver uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub(crate) enum Interface {
    /// That of version 1, or none yet.
    #[default]
    Modern = 0,
    /// The legacy one.
    Legacy = 1,
    /// The legacy one, and a queue was rung before DRIVER_OK.
    LegacyInUse = 2,
}

impl Interface {
    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Modern),
            1 => Some(Self::Legacy),
            2 => Some(Self::LegacyInUse),
            _ => None,
        }
    }
}

/// Bytes from the used ring's address to a lower one that it could have as well: the legacy Queue Align of PCI, and the
/// unit of its queue address (4.1.5.1.3.1).
const QUEUE_ALIGN: u64 = 4096;

/// The bits that a legacy driver reads and writes.
const STATUS: Status = Status::new()
    .with_acknowledge(true)
    .with_driver(true)
    .with_driver_ok(true)
    .with_failed(true);

/// Where the areas of a queue of `size` are that begins at `start`: 2.7.2.
fn areas(start: u64, size: u16) -> [u64; 3] {
    let size = u64::from(size);
    let available = start + 16 * size;
    let used = (available + 6 + 2 * size).next_multiple_of(QUEUE_ALIGN);
    [start, available, used]
}

/// Enables a queue that begins at `start`.
fn place(queue: &mut Queue, start: u64) {
    queue.set_size(queue.max_size());
    for (area, address) in Area::ALL.into_iter().zip(areas(start, queue.max_size())) {
        queue.set_address(area, address);
    }
}

impl<D: VirtioDevice> Transport<D> {
    /// Whether a legacy driver is at it.
    pub(crate) fn is_legacy(&self) -> bool {
        self.interface != Interface::Modern
    }

    /// The driver writes to the legacy interface.
    fn enter_legacy(&mut self) -> Result<(), AccessError> {
        if !self.is_legacy() {
            if self.status != Status::new() {
                return Err(AccessError::Value);
            }
            self.interface = Interface::Legacy;
        }
        Ok(())
    }

    /// What a legacy driver may choose from.
    pub(crate) fn legacy_features(&self) -> u32 {
        let ring = Feature::AnyLayout.bit()
            | Feature::IndirectDescriptors.bit()
            | Feature::EventIndex.bit();
        #[expect(clippy::cast_possible_truncation, reason = "there are no more of them")]
        let low = (self.device.features() | ring) as u32;
        low
    }

    /// What it has chosen.
    pub(crate) fn legacy_driver_features(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "there are no more of them")]
        let low = self.driver_features as u32;
        low
    }

    /// Takes the features that a legacy driver accepts, until it uses the device.
    pub(crate) fn accept_legacy_features(&mut self, bits: u32) -> Result<(), AccessError> {
        self.enter_legacy()?;
        if self.begun() {
            return Err(AccessError::Value);
        }
        self.driver_features = (bits & self.legacy_features()).into();
        // Some drivers set queues up before.
        for queue in self.queues.iter_mut().filter(|queue| queue.ready()) {
            let start = queue.address(Area::Descriptor);
            queue.reset();
            place(queue, start);
            // It was enabled there before, and its layout does not depend on features.
            let _enabled = queue.enable(&self.ram, self.driver_features);
        }
        Ok(())
    }

    /// The status as a legacy driver knows it.
    pub(crate) fn legacy_status(&self) -> u8 {
        self.status.into_bits() & STATUS.into_bits()
    }

    pub(crate) fn write_legacy_status(
        &mut self,
        bits: u8,
        interrupts: &mut dyn Interrupts,
    ) -> Result<(), AccessError> {
        if bits == 0 {
            self.reset();
            return Ok(());
        }
        self.enter_legacy()?;
        let begun = self.begun();
        let known = bits & STATUS.into_bits();
        self.status = Status::from_bits(self.status.into_bits() | known);
        if self.begun() && !begun {
            self.drive(interrupts, |device, io| device.activate(io));
        }
        Ok(())
    }

    /// The selected queue's address in units of 4096 bytes; 0 while it has none.
    pub(crate) fn legacy_queue_address(&self) -> u32 {
        let start = self
            .queue()
            .map_or(0, |queue| queue.address(Area::Descriptor));
        u32::try_from(start / QUEUE_ALIGN).unwrap_or(0)
    }

    /// Enables the selected queue at an address; 0 resets it.
    pub(crate) fn write_legacy_queue_address(
        &mut self,
        address: u32,
        interrupts: &mut dyn Interrupts,
    ) -> Result<(), AccessError> {
        self.enter_legacy()?;
        if address == 0 {
            self.reset_queue(interrupts);
            return Ok(());
        }
        let index = self.selectors.queue;
        let queue = self.queues.get_mut(usize::from(index));
        let queue = queue
            .filter(|queue| !queue.ready())
            .ok_or(AccessError::Value)?;
        place(queue, u64::from(address) * QUEUE_ALIGN);
        if let Err(error) = queue.enable(&self.ram, self.driver_features) {
            self.break_down((index, error), interrupts);
            return Err(AccessError::Value);
        }
        Ok(())
    }

    /// A legacy driver rang, maybe before it is ready.
    pub(crate) fn notify_legacy(
        &mut self,
        index: u16,
        interrupts: &mut dyn Interrupts,
    ) -> Result<(), AccessError> {
        let queue = self.queues.get(usize::from(index));
        if !self.begun() && self.is_legacy() && queue.is_some_and(Queue::ready) {
            self.interface = Interface::LegacyInUse;
            self.drive(interrupts, |device, io| device.activate(io));
        }
        self.notify(index, interrupts)
    }
}
