//! What all transports have in common: virtio 1.3, chapters 2 and 3.
//!
//! A transport is the chip on the bus: it owns the device and its queues, gives the device its turn and acts on the
//! [`Outcome`](crate::device::Outcome) after it. MMIO and PCI differ in registers and interrupts alone.

mod bells;
mod selectors;
mod state;

#[cfg(test)]
#[cfg(feature = "pci")]
mod tests;

use std::sync::Arc;

use bitfield_struct::bitfield;
use trivisor_buses::{AccessError, Doorbell, Look};
use trivisor_memory::GuestRam;

use crate::device::{Io, VirtioDevice};
use crate::features::Feature;
use crate::queue::{Queue, QueueError};

use bells::Bells;
pub(crate) use bells::Places;
pub use selectors::SelectorsV1;
pub use state::TransportStateV1;

/// Device status: 2.1.
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Status {
    /// The guest knows the device.
    pub acknowledge: bool,
    /// The guest has a driver for it.
    pub driver: bool,
    /// The driver is ready.
    pub driver_ok: bool,
    /// The features are agreed upon.
    pub features_ok: bool,
    #[bits(2)]
    __: u8,
    /// The device cannot go on without a reset.
    pub needs_reset: bool,
    /// The driver gave up.
    pub failed: bool,
}

/// How a transport tells its driver.
pub(crate) trait Interrupts {
    /// Buffers of this queue were used.
    fn queue(&mut self, index: u16);

    /// The configuration or the status changed.
    fn config(&mut self);
}

/// What a transport offers of chapter 6 beside what its device does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Packed virtqueues.
    pub packed: bool,
}

impl Offer {
    const fn bits(self) -> u64 {
        let packed = if self.packed {
            Feature::PackedRing.bit()
        } else {
            0
        };
        Feature::Version1.bit()
            | Feature::IndirectDescriptors.bit()
            | Feature::EventIndex.bit()
            | Feature::RingReset.bit()
            | packed
    }
}

/// A device with its queues and the state that every transport has.
pub(crate) struct Transport<D> {
    pub(crate) device: D,
    ram: GuestRam,
    pub(crate) queues: Vec<Queue>,
    offer: Offer,
    status: Status,
    driver_features: u64,
    pub(crate) selectors: SelectorsV1,
    generation: u8,
    /// Between `pause` and `start` the device gets no turn.
    paused: bool,
    /// Where a driver rings without a visit.
    bells: Option<Bells>,
    /// Somebody [looks](Self::look) for buffers all the time.
    watched: bool,
    /// What broke the device, for whoever looks at the machine.
    broken: Option<(u16, QueueError)>,
}

impl<D: VirtioDevice> std::fmt::Debug for Transport<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport")
            .field("device", &self.device.device_type())
            .field("status", &self.status)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl<D: VirtioDevice> Transport<D> {
    pub(crate) fn new(device: D, ram: GuestRam, offer: Offer) -> Self {
        let queues = device.queue_sizes().iter().map(|size| Queue::new(*size));
        Self {
            queues: queues.collect(),
            device,
            ram,
            offer,
            status: Status::new(),
            driver_features: 0,
            selectors: SelectorsV1::default(),
            generation: 0,
            paused: false,
            bells: None,
            watched: false,
            broken: None,
        }
    }

    /// What the driver may choose from.
    pub(crate) fn features(&self) -> u64 {
        self.device.features() | self.offer.bits()
    }

    pub(crate) const fn status(&self) -> Status {
        self.status
    }

    pub(crate) const fn generation(&self) -> u8 {
        self.generation
    }

    /// What broke the device.
    pub(crate) const fn broken(&self) -> Option<(u16, QueueError)> {
        self.broken
    }

    /// Whether the device gets turns.
    const fn works(&self) -> bool {
        self.status.driver_ok() && !self.status.needs_reset() && !self.paused
    }

    /// 3.1.1: the driver goes on step by step; a 0 resets.
    pub(crate) fn write_status(
        &mut self,
        bits: u8,
        interrupts: &mut dyn Interrupts,
    ) -> Result<(), AccessError> {
        if bits == 0 {
            self.reset();
            return Ok(());
        }
        // Only a reset clears a bit, and only the device says that it needs one.
        let mut new = Status::from_bits(bits | self.status.into_bits());
        new.set_needs_reset(self.status.needs_reset());
        if new.features_ok() && !self.status.features_ok() {
            let all_offered = self.driver_features & !self.features() == 0;
            // A driver without VERSION_1 wants a legacy device, which this is not.
            new.set_features_ok(all_offered && Feature::Version1.is_in(self.driver_features));
        }
        if new.driver_ok() && !new.features_ok() {
            return Err(AccessError::Value);
        }
        let begins = new.driver_ok() && !self.status.driver_ok();
        self.status = new;
        if begins {
            self.hang_bells();
            self.drive(interrupts, |device, io| device.activate(io));
        }
        Ok(())
    }

    /// Gives the device a turn and acts on what comes of it.
    pub(crate) fn drive<R>(
        &mut self,
        interrupts: &mut dyn Interrupts,
        turn: impl FnOnce(&mut D, &mut Io<'_>) -> R,
    ) -> R {
        let io = Io::new(&self.ram, self.driver_features, &mut self.queues);
        let mut io = io.watched(self.watched);
        let result = turn(&mut self.device, &mut io);
        let outcome = io.outcome();
        let mut due = outcome.interrupts;
        while due != 0 {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a bit's number is below 64"
            )]
            let queue = due.trailing_zeros() as u16;
            interrupts.queue(queue);
            due &= due - 1;
        }
        if outcome.config_changed {
            self.generation = self.generation.wrapping_add(1);
            if self.status.driver_ok() {
                interrupts.config();
            }
        }
        if let Some(broken) = outcome.broken {
            self.break_down(broken, interrupts);
        }
        result
    }

    /// 2.1.2: the device says that it cannot go on.
    fn break_down(&mut self, broken: (u16, QueueError), interrupts: &mut dyn Interrupts) {
        self.broken.get_or_insert(broken);
        if !self.status.needs_reset() {
            self.status.set_needs_reset(true);
            if self.status.driver_ok() {
                interrupts.config();
            }
        }
    }

    /// The driver has set the selected queue up.
    pub(crate) fn enable_queue(
        &mut self,
        interrupts: &mut dyn Interrupts,
    ) -> Result<(), AccessError> {
        let index = self.selectors.queue;
        let (ram, features) = (&self.ram, self.driver_features);
        if !self.status.features_ok() {
            return Err(AccessError::Value);
        }
        let queue = self.queues.get_mut(usize::from(index));
        let queue = queue.ok_or(AccessError::Value)?;
        if let Err(error) = queue.enable(ram, features) {
            self.break_down((index, error), interrupts);
            return Err(AccessError::Value);
        }
        self.hang_bells();
        Ok(())
    }

    /// 2.6.1: the selected queue alone goes back to where it was before it was enabled.
    pub(crate) fn reset_queue(&mut self, interrupts: &mut dyn Interrupts) {
        let index = self.selectors.queue;
        if self.queue().is_some_and(Queue::ready) {
            self.drive(interrupts, |device, io| device.stop(Some(index), io));
            if let Some(queue) = self.queues.get_mut(usize::from(index)) {
                queue.reset();
            }
        }
    }

    /// The driver rang.
    pub(crate) fn notify(
        &mut self,
        index: u16,
        interrupts: &mut dyn Interrupts,
    ) -> Result<(), AccessError> {
        if usize::from(index) >= self.queues.len() || !self.works() {
            return Err(AccessError::Value);
        }
        self.drive(interrupts, |device, io| device.notify(index, io));
        Ok(())
    }

    /// The back-end has something, or a bell rang. What comes while the device gets no turn is asked for again by
    /// [`start`](Self::start).
    pub(crate) fn wake(&mut self, interrupts: &mut dyn Interrupts) -> bool {
        if self.bells.is_some() {
            self.serve_news(interrupts);
        }
        self.works() && self.drive(interrupts, |device, io| device.wake(io))
    }

    /// Whether the driver rings bells now.
    pub(crate) fn is_rung(&self) -> bool {
        self.works() && self.bells.as_ref().is_some_and(Bells::any_hung)
    }

    /// What [`Wake::look`](trivisor_buses::Wake::look) is of a device whose driver rings bells.
    pub(crate) fn look(&mut self, last: bool, interrupts: &mut dyn Interrupts) -> Look {
        if !self.is_rung() {
            self.watched = false;
            return Look::Told;
        }
        let before = self.progress();
        self.watched = !last;
        if last {
            // Each asks its driver to ring, and then looks once more.
            self.notify_all(interrupts);
        } else {
            self.serve_news(interrupts);
        }
        let more = self.works() && self.drive(interrupts, |device, io| device.wake(io));
        if more || self.progress() != before {
            Look::Found
        } else {
            Look::Nothing
        }
    }

    /// Gives the device its turn for each queue with buffers that it has not seen.
    fn serve_news(&mut self, interrupts: &mut dyn Interrupts) {
        for index in 0..self.queue_count() {
            let queue = self.queues.get_mut(usize::from(index));
            // A broken one is served as well, so that it is reported.
            if queue.is_some_and(|queue| queue.has_news(&self.ram) != Ok(false)) {
                // Refused when there is nothing to serve.
                let _refused = self.notify(index, interrupts);
            }
        }
    }

    fn notify_all(&mut self, interrupts: &mut dyn Interrupts) {
        for index in 0..self.queue_count() {
            // Refused before the driver is ready, when there is nothing to look for.
            let _refused = self.notify(index, interrupts);
        }
    }

    /// Another number when buffers have come or gone.
    fn progress(&self) -> u64 {
        self.queues.iter().fold(0, |sum: u64, queue| {
            let (avail, used) = queue.positions();
            let place = u64::from(avail) << 16 | u64::from(used);
            sum.wrapping_mul(0x1_0000_0001).wrapping_add(place)
        })
    }

    fn queue_count(&self) -> u16 {
        u16::try_from(self.queues.len()).unwrap_or(u16::MAX)
    }

    /// The driver rings `bell` at these places.
    pub(crate) fn set_bell(&mut self, bell: Arc<dyn Doorbell>, places: Places) {
        self.bells = Some(Bells::new(bell, places));
    }

    /// The registers are at `window` from now on; their bells come with them.
    pub(crate) fn window_moved(&mut self, window: Option<u64>) {
        if let Some(bells) = &mut self.bells {
            bells.move_to(window);
            self.hang_bells();
        }
    }

    /// Hangs up a bell for each queue that is enabled, once the driver is ready: a removal is dear on some hosts, and
    /// until then the window may still move.
    fn hang_bells(&mut self) {
        let Some(bells) = self.bells.as_mut().filter(|_| self.status.driver_ok()) else {
            return;
        };
        for (index, queue) in (0..).zip(&self.queues) {
            if queue.ready() {
                bells.hang(index);
            }
        }
    }

    /// Takes bytes into the device's configuration.
    pub(crate) fn write_config(
        &mut self,
        offset: usize,
        data: &[u8],
        interrupts: &mut dyn Interrupts,
    ) -> Result<(), AccessError> {
        self.drive(interrupts, |device, io| {
            device.write_config(offset, data, io)
        })
    }

    pub(crate) fn start(&mut self, interrupts: &mut dyn Interrupts) {
        self.hang_bells();
        if !std::mem::take(&mut self.paused) {
            return;
        }
        self.notify_all(interrupts);
        self.wake(interrupts);
    }

    pub(crate) fn pause(&mut self, interrupts: &mut dyn Interrupts) {
        // One that needs a reset may have requests under way as well.
        if self.status.driver_ok() && !self.paused {
            self.drive(interrupts, |device, io| device.pause(io));
        }
        self.paused = true;
        self.watched = false;
    }

    pub(crate) fn reset(&mut self) {
        /// Nobody waits for interrupts of a device that is being reset.
        struct Silence;

        impl Interrupts for Silence {
            fn queue(&mut self, _index: u16) {}
            fn config(&mut self) {}
        }

        self.drive(&mut Silence, |device, io| device.stop(None, io));
        self.queues.iter_mut().for_each(Queue::reset);
        self.device.reset();
        self.status = Status::new();
        self.driver_features = 0;
        self.selectors = SelectorsV1::default();
        self.broken = None;
        self.watched = false;
    }
}
