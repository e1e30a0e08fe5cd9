//! What all transports have in common: virtio 1.3, chapters 2 and 3.
//!
//! A transport is the chip on the bus: it owns the device and its queues, gives the device its turn and acts on the
//! [`Outcome`](crate::device::Outcome) after it. MMIO and PCI differ in registers and interrupts alone.

mod bells;
#[cfg_attr(
    not(feature = "pci"),
    expect(dead_code, reason = "PCI alone has a legacy interface here")
)]
mod legacy;
mod selectors;
mod state;

#[cfg(test)]
#[cfg(feature = "pci")]
mod tests;

use std::sync::Arc;

use bitfield_struct::bitfield;
use trivisor_buses::{AccessError, Doorbell, Look};
use trivisor_memory::GuestRam;

use self::legacy::Interface;
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

/// Shares of work at most that a device does when it resumes.
const RESUMING_TURNS: u32 = 64;

/// Nobody waits for interrupts of a device that is being reset.
pub(crate) struct Silence;

impl Interrupts for Silence {
    fn queue(&mut self, _index: u16) {}
    fn config(&mut self) {}
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
    /// It may reach guest RAM. Without that it gets turns, but finds no queues.
    reaches_ram: bool,
    /// Its registers have the legacy interface beside.
    has_legacy: bool,
    /// Which interface the driver uses.
    interface: Interface,
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
            reaches_ram: true,
            has_legacy: false,
            interface: Interface::Modern,
            bells: None,
            watched: false,
            broken: None,
        }
    }

    /// Gives it the legacy interface.
    #[cfg(feature = "pci")]
    pub(crate) const fn with_legacy(mut self) -> Self {
        self.has_legacy = true;
        self
    }

    /// What the driver may choose from.
    pub(crate) fn features(&self) -> u64 {
        let in_order = if self.device.in_order() {
            Feature::InOrder.bit()
        } else {
            0
        };
        self.device.features() | (self.offer.bits() | in_order) & self.device.queue_features()
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

    /// Whether the driver uses the device.
    fn begun(&self) -> bool {
        self.status.driver_ok() || self.interface == Interface::LegacyInUse
    }

    /// Whether the device gets turns.
    fn works(&self) -> bool {
        self.begun() && !self.status.needs_reset() && !self.paused && self.reaches_ram
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
        let queues = if self.reaches_ram {
            self.queues.as_mut_slice()
        } else {
            &mut []
        };
        let io = Io::new(&self.ram, self.driver_features, queues);
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

    /// Gives the device a turn that neither a queue nor its back-end asked for. While it gets none from them it sees
    /// no queue: before DRIVER_OK a device uses no buffer (3.1.1), enabled queue or not.
    pub(crate) fn drive_beside<R>(
        &mut self,
        interrupts: &mut dyn Interrupts,
        turn: impl FnOnce(&mut D, &mut Io<'_>) -> R,
    ) -> R {
        let hidden = (!self.works()).then(|| std::mem::take(&mut self.queues));
        let result = self.drive(interrupts, turn);
        if let Some(queues) = hidden {
            self.queues = queues;
        }
        result
    }

    /// 2.1.2: the device says that it cannot go on.
    fn break_down(&mut self, broken: (u16, QueueError), interrupts: &mut dyn Interrupts) {
        self.broken.get_or_insert(broken);
        if !self.status.needs_reset() {
            self.status.set_needs_reset(true);
            // A legacy driver would take it for a change of the configuration.
            if self.status.driver_ok() && !self.is_legacy() {
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
        self.drive_beside(interrupts, |device, io| {
            device.write_config(offset, data, io)
        })
    }

    pub(crate) fn start(&mut self, interrupts: &mut dyn Interrupts) {
        self.hang_bells();
        if std::mem::take(&mut self.paused) {
            self.resume(interrupts);
        }
    }

    /// It may reach guest RAM from now on, or no more. Between, no request of the driver is looked at, and none is under
    /// way: what the driver asks for is done when it may again.
    #[cfg(feature = "pci")]
    pub(crate) fn set_reaches_ram(&mut self, reaches: bool, interrupts: &mut dyn Interrupts) {
        if self.reaches_ram && !reaches && self.begun() && !self.paused {
            self.drive(interrupts, |device, io| device.pause(io));
        }
        let begins = reaches && !self.reaches_ram;
        self.reaches_ram = reaches;
        if begins {
            self.resume(interrupts);
        }
    }

    /// The same as part of a saved state.
    #[cfg(feature = "pci")]
    pub(crate) const fn restore_reaches_ram(&mut self, reaches: bool) {
        self.reaches_ram = reaches;
    }

    /// Looks for what came while the device got no turns.
    fn resume(&mut self, interrupts: &mut dyn Interrupts) {
        self.notify_all(interrupts);
        // Its sources may not change again for what it leaves behind.
        let mut turns = 0..RESUMING_TURNS;
        while turns.next().is_some() && self.wake(interrupts) {}
    }

    pub(crate) fn pause(&mut self, interrupts: &mut dyn Interrupts) {
        // One that needs a reset may have requests under way as well.
        if self.begun() && !self.paused && self.reaches_ram {
            self.drive(interrupts, |device, io| device.pause(io));
        }
        self.paused = true;
        self.watched = false;
    }

    pub(crate) fn reset(&mut self) {
        self.drive(&mut Silence, |device, io| device.stop(None, io));
        self.queues.iter_mut().for_each(Queue::reset);
        self.device.reset();
        self.status = Status::new();
        self.driver_features = 0;
        self.selectors = SelectorsV1::default();
        self.interface = Interface::Modern;
        self.broken = None;
        self.watched = false;
    }
}
