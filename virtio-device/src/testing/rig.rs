//! A device between a driver and its back-end, without a transport.

use trivisor_buses::AccessError;
use trivisor_memory::{GuestRam, RamLayout, RamOptions};

use super::{DriverQueue, Reply, Ring};
use crate::device::{Io, VirtioDevice};
use crate::features::Feature;
use crate::queue::{Queue, QueueError, QueueStateV1};

/// Bytes of RAM. The host gives only what is touched.
const RAM: u64 = 128 << 20;
/// The driver's memory begins here.
const BASE: u64 = 1 << 20;
/// Descriptors of a queue, where the device can so many.
const SIZE: u16 = 256;
/// Wake-ups after which a device that does not come to rest has failed.
const MOST_WAKES: u32 = 10_000;

/// What the features of chapter 6 may be; all others are the device's.
const CHAPTER_6: u64 = 0x1ff << Feature::Version1 as u8
    | Feature::EventIndex.bit()
    | Feature::IndirectDescriptors.bit()
    | Feature::AnyLayout.bit();

/// Guest RAM for a rig: 128 MiB from address 0.
///
/// # Panics
/// When the host has none.
#[must_use]
pub fn test_ram() -> GuestRam {
    let layout = RamLayout::new(RAM).expect("a whole number of pages");
    GuestRam::new(layout, &RamOptions::default()).expect("the host has memory")
}

/// A device, its queues and their driver. The device is activated, and is called as a transport calls it.
#[derive(Debug)]
pub struct Rig<D> {
    ram: GuestRam,
    ring: Ring,
    features: u64,
    device: D,
    queues: Vec<Queue>,
    drivers: Vec<DriverQueue>,
    interrupts: Vec<u32>,
    config_changes: u32,
    broken: Option<(u16, QueueError)>,
}

impl<D: VirtioDevice> Rig<D> {
    /// Activates `device` with queues of one kind. `features` are those that the driver accepts;
    /// [`Feature::Version1`] and [`Feature::PackedRing`] come by themselves.
    ///
    /// # Panics
    /// When the device does not offer them.
    #[must_use]
    pub fn new(device: D, ring: Ring, features: u64) -> Self {
        Self::with_ram(test_ram(), device, ring, features)
    }

    /// As [`new`](Self::new), with RAM that a back-end has a clone of: see [`test_ram`].
    ///
    /// # Panics
    /// As `new`.
    #[must_use]
    pub fn with_ram(ram: GuestRam, device: D, ring: Ring, features: u64) -> Self {
        let features = features | Feature::Version1.bit() | ring.feature();
        Self::with_driver(ram, device, ring, features)
    }

    /// As [`with_ram`](Self::with_ram), with a driver at the legacy interface: without [`Feature::Version1`].
    ///
    /// # Panics
    /// As `new`.
    #[must_use]
    pub fn legacy(ram: GuestRam, device: D, features: u64) -> Self {
        Self::with_driver(ram, device, Ring::Split, features)
    }

    fn with_driver(ram: GuestRam, device: D, ring: Ring, features: u64) -> Self {
        let missing = features & !device.features() & !CHAPTER_6;
        assert_eq!(missing, 0, "the device does not offer these features");
        let mut rig = Self {
            ram,
            ring,
            features,
            device,
            queues: Vec::new(),
            drivers: Vec::new(),
            interrupts: Vec::new(),
            config_changes: 0,
            broken: None,
        };
        rig.activate();
        rig
    }

    /// The device.
    #[must_use]
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// The device, to change what stands behind it.
    #[must_use]
    pub const fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Guest RAM.
    #[must_use]
    pub const fn ram(&self) -> &GuestRam {
        &self.ram
    }

    /// The driver's side of a queue.
    ///
    /// # Panics
    /// When the device has none of that number.
    #[must_use]
    pub fn driver(&mut self, queue: u16) -> &mut DriverQueue {
        &mut self.drivers[usize::from(queue)]
    }

    /// The device's side of a queue.
    ///
    /// # Panics
    /// When the device has none of that number.
    #[must_use]
    pub fn queue(&self, queue: u16) -> &Queue {
        &self.queues[usize::from(queue)]
    }

    /// Hands the device a buffer with the bytes `readable` and `writable` bytes to write to, and waits for it to come
    /// back. Waiting is waking the device: what its back-end does by itself has to be done by then.
    ///
    /// # Panics
    /// When it does not come back, another one does, or the device breaks the queue.
    pub fn request(&mut self, queue: u16, readable: &[&[u8]], writable: u32) -> Reply {
        let id = self.submit(queue, readable, writable);
        for _ in 0..MOST_WAKES {
            if let Some(reply) = self.poll(queue) {
                assert_eq!(reply.id, id, "another buffer came back");
                return reply;
            }
            if let Some((queue, error)) = self.broken {
                panic!("queue {queue} is broken: {error}");
            }
            if !self.wake() {
                break;
            }
        }
        let reply = self.poll(queue).expect("the buffer did not come back");
        assert_eq!(reply.id, id, "another buffer came back");
        reply
    }

    /// Hands the device a buffer, and notifies it if it wants that; what the buffer is called. No bytes to write to: 0.
    ///
    /// # Panics
    /// When the ring has no room.
    pub fn submit(&mut self, queue: u16, readable: &[&[u8]], writable: u32) -> u16 {
        let id = self.driver(queue).add(readable, &[writable]);
        self.kick(queue);
        id
    }

    /// Makes what was added through [`driver`](Self::driver) available, and notifies the device if it wants that.
    pub fn kick(&mut self, queue: u16) {
        if self.driver(queue).kick() {
            self.notify(queue);
        }
    }

    /// The next buffer that came back.
    pub fn poll(&mut self, queue: u16) -> Option<Reply> {
        self.driver(queue).poll()
    }

    /// Notifies the device, whether it wants that or not.
    pub fn notify(&mut self, queue: u16) {
        self.call(|device, io| device.notify(queue, io));
    }

    /// Wakes the device once, as its back-end would; whether it wants to be woken again.
    pub fn wake(&mut self) -> bool {
        self.call(D::wake)
    }

    /// Wakes the device until it has had enough.
    ///
    /// # Panics
    /// When it never has.
    pub fn settle(&mut self) {
        let rests = (0..MOST_WAKES).any(|_| !self.wake());
        assert!(rests, "the device wants to be woken for ever");
    }

    /// Bytes of the device's configuration.
    #[must_use]
    pub fn read_config(&self, offset: usize, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.device.read_config(offset, &mut data);
        data
    }

    /// Writes to the device's configuration.
    ///
    /// # Errors
    /// What the device says.
    pub fn write_config(&mut self, offset: usize, data: &[u8]) -> Result<(), AccessError> {
        self.call(|device, io| device.write_config(offset, data, io))
    }

    /// Interrupts of a queue since the last call.
    ///
    /// # Panics
    /// When the device has none of that number.
    pub fn take_interrupts(&mut self, queue: u16) -> u32 {
        std::mem::take(&mut self.interrupts[usize::from(queue)])
    }

    /// Changes of the configuration that the device told of since the last call.
    pub const fn take_config_changes(&mut self) -> u32 {
        std::mem::replace(&mut self.config_changes, 0)
    }

    /// Which queue was broken first, and how: the device then needs a reset.
    #[must_use]
    pub const fn broken(&self) -> Option<(u16, QueueError)> {
        self.broken
    }

    /// Stops the device's work on a queue, or on all.
    pub fn stop(&mut self, queue: Option<u16>) {
        self.call(|device, io| device.stop(queue, io));
    }

    /// Resets the device, and activates it anew with fresh queues and the same features.
    pub fn reset(&mut self) {
        self.stop(None);
        self.device.reset();
        self.activate();
    }

    /// Saves the device and the queues, and goes on with `fresh` in its place: a device that was built anew and restored.
    ///
    /// # Panics
    /// When `fresh` does not take the state, or gives back another one.
    #[must_use]
    pub fn migrate(mut self, mut fresh: D) -> Self {
        self.call(D::pause);
        let state = self.device.save();
        fresh
            .restore(&state)
            .unwrap_or_else(|error| panic!("the state is refused: {error}"));
        assert_eq!(fresh.save(), state, "another state than was restored");
        self.device = fresh;
        for queue in &mut self.queues {
            let state = QueueStateV1::from(&*queue);
            *queue = Queue::new(queue.max_size());
            queue
                .restore(&state, &self.ram, self.features)
                .expect("its own state");
        }
        for queue in (0..).take(self.queues.len()) {
            self.notify(queue);
        }
        self.wake();
        self
    }

    /// Calls the device as a transport does, and keeps what it leaves behind.
    ///
    /// # Panics
    /// When the driver waits for an interrupt that does not come.
    pub fn call<R>(&mut self, call: impl FnOnce(&mut D, &mut Io<'_>) -> R) -> R {
        let mut io = Io::new(&self.ram, self.features, &mut self.queues);
        let result = call(&mut self.device, &mut io);
        let outcome = io.outcome();
        self.broken = self.broken.or(outcome.broken);
        self.config_changes += u32::from(outcome.config_changed);
        for (queue, driver) in self.drivers.iter_mut().enumerate() {
            let number = u32::try_from(queue).expect("a few");
            let sent = outcome.interrupts.checked_shr(number).unwrap_or(0) & 1 != 0;
            let due = driver.interrupt_due();
            assert!(sent || !due, "queue {queue}: an interrupt is missing");
            self.interrupts[queue] += u32::from(sent);
        }
        result
    }

    fn activate(&mut self) {
        let sizes = self.device.queue_sizes().to_vec();
        let count = u64::try_from(sizes.len()).expect("a few");
        let share = ((self.ram.layout().low().size - BASE) / count.max(1)) & !0xfff;
        self.drivers.clear();
        self.queues.clear();
        for (number, max) in (0..).zip(&sizes) {
            let start = BASE + number * share;
            let range = start..start + share;
            let size = SIZE.min(*max);
            let driver = DriverQueue::new(&self.ram, range, self.ring, size, self.features);
            let mut queue = Queue::new(*max);
            driver.configure(&mut queue);
            queue
                .enable(&self.ram, self.features)
                .expect("the driver lays rings out as it should");
            self.drivers.push(driver);
            self.queues.push(queue);
        }
        self.interrupts = vec![0; sizes.len()];
        self.config_changes = 0;
        self.broken = None;
        self.call(D::activate);
    }
}
