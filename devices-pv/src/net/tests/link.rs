//! The link of a card behind a transport, whose driver is not ready yet.

use trivisor_buses::MmioDevice;
use trivisor_buses::testing::TestHost;
use trivisor_virtio_device::mmio::MmioTransport;
use trivisor_virtio_device::mmio::regs::offset;
use trivisor_virtio_device::testing::DriverQueue;
use trivisor_virtio_device::transport::{Offer, Status};

use super::*;

/// A driver's side of the registers.
struct Driver {
    chip: MmioTransport<Net>,
    features: u64,
}

impl Driver {
    fn new(bench: &Bench, host: &Arc<TestHost>) -> Self {
        let features = Features::new().with_status(true).into_bits() | Feature::Version1.bit();
        let offer = Offer { packed: false };
        let chip = MmioTransport::new(bench.device(), bench.ram.clone(), host.line(), offer);
        Self { chip, features }
    }

    fn put(&mut self, at: u64, value: u32) {
        self.chip.write(at, &value.to_le_bytes()).unwrap();
    }

    fn put_wide(&mut self, at: u64, value: u64) {
        self.put(at, u32::try_from(value & 0xffff_ffff).unwrap());
        self.put(at + 4, u32::try_from(value >> 32).unwrap());
    }

    fn set_status(&mut self, status: Status) {
        self.put(offset::STATUS, status.into_bits().into());
    }

    /// Everything but DRIVER_OK: 3.1.1. Gives the receive queue.
    fn prepare(&mut self, bench: &Bench) -> (DriverQueue, Status) {
        let begun = Status::new().with_acknowledge(true).with_driver(true);
        self.set_status(begun);
        for half in [0, 1] {
            self.put(offset::DRIVER_FEATURES_SEL, half);
            let bits = self.features >> (32 * half) & 0xffff_ffff;
            self.put(offset::DRIVER_FEATURES, bits.try_into().unwrap());
        }
        let agreed = begun.with_features_ok(true);
        self.set_status(agreed);
        let range = 0x10_0000..0x20_0000;
        let queue = DriverQueue::new(&bench.ram, range, Ring::Split, 16, self.features);
        self.put(offset::QUEUE_SEL, RX.into());
        self.put(offset::QUEUE_SIZE, 16);
        let [descriptors, driver, device] = queue.addresses();
        self.put_wide(offset::QUEUE_DESC_LOW, descriptors);
        self.put_wide(offset::QUEUE_DRIVER_LOW, driver);
        self.put_wide(offset::QUEUE_DEVICE_LOW, device);
        self.put(offset::QUEUE_READY, 1);
        (queue, agreed.with_driver_ok(true))
    }

    fn link_status(&mut self) -> [u8; 2] {
        let mut status = [0; 2];
        self.chip.read(offset::CONFIG + 6, &mut status).unwrap();
        status
    }
}

#[test]
fn a_link_that_changes_before_the_driver_is_ready_moves_no_frame() {
    let (bench, host) = (Bench::new(false), TestHost::new());
    let mut driver = Driver::new(&bench, &host);
    // Of a machine that has not begun.
    driver.chip.drive(|net, io| net.set_link(false, io));
    assert_eq!(driver.link_status(), [0, 0]);
    driver.chip.drive(|net, io| net.set_link(true, io));
    assert_eq!(driver.link_status(), [1, 0]);

    // Linux fills its queue first.
    let (mut queue, ready) = driver.prepare(&bench);
    queue.add(&[], &[2000]);
    queue.kick();
    bench.cable().offer(&frame(60, 1));
    for up in [false, true] {
        driver.chip.drive(|net, io| net.set_link(up, io));
        assert!(queue.poll().is_none());
        assert_eq!(bench.cable().end().waiting.len(), 1, "taken off the cable");
    }
    assert_eq!(host.levels.take(), [], "an interrupt");

    driver.chip.drive(|net, io| net.set_link(false, io));
    driver.set_status(ready);
    assert!(queue.poll().is_none(), "the link is down still");
    assert_eq!(driver.link_status(), [0, 0]);
    driver.chip.drive(|net, io| net.set_link(true, io));
    let received = queue.poll().unwrap().data;
    assert_eq!(received[12..], frame(60, 1));
    assert_eq!(host.levels.take(), [true]);
}
