//! Both transports, driven as a driver does: the same tests for each, and for each kind of ring.

mod bells;
mod bus;
mod echo;
mod malformed;

use trivisor_buses::AccessError;

use self::bus::{Bus, Mmio, Pci};
use self::echo::Echo;
use crate::features::Feature;
use crate::queue::Area;
use crate::testing::{DriverQueue, Ring, test_ram};
use crate::transport::Status;

/// Runs a test over both transports and all kinds of rings.
fn everywhere(test: impl Fn(&mut dyn Bus, Ring)) {
    for ring in Ring::ALL {
        test(&mut Mmio::new(Echo::default()), ring);
        test(&mut Pci::new(Echo::default()), ring);
    }
}

const BEGUN: Status = Status::new().with_acknowledge(true).with_driver(true);
const AGREED: Status = BEGUN.with_features_ok(true);
const WORKS: Status = AGREED.with_driver_ok(true);

/// Where the driver keeps its queue.
const MEMORY: std::ops::Range<u64> = 0x10_0000..0x40_0000;

fn features(ring: Ring) -> u64 {
    Feature::Version1.bit() | ring.feature()
}

/// A driver goes through 3.1.1 up to features.
fn agree(bus: &mut dyn Bus, features: u64) {
    bus.set_status(BEGUN).unwrap();
    bus.accept(features);
    bus.set_status(AGREED).unwrap();
    assert_eq!(bus.status(), AGREED);
}

/// Sets queue `index` up.
fn lay_out(bus: &mut dyn Bus, ring: Ring, index: u16) -> DriverQueue {
    let driver = DriverQueue::new(bus.ram(), MEMORY, ring, 16, features(ring));
    bus.select(index);
    bus.set_size(16).unwrap();
    for (area, address) in Area::ALL.into_iter().zip(driver.addresses()) {
        bus.set_address(area, address).unwrap();
    }
    driver
}

fn bring_up(bus: &mut dyn Bus, ring: Ring) -> DriverQueue {
    agree(bus, features(ring));
    let driver = lay_out(bus, ring, 0);
    bus.enable().unwrap();
    assert!(bus.enabled());
    bus.set_status(WORKS).unwrap();
    driver
}

#[test]
fn a_buffer_goes_there_and_back() {
    everywhere(|bus, ring| {
        let mut driver = bring_up(bus, ring);
        let id = driver.add(&[b"ping"], &[4]);
        assert!(driver.kick());
        assert!(!bus.interrupted());
        bus.notify(0).unwrap();
        let reply = driver.poll().unwrap();
        assert_eq!((reply.id, reply.data.as_slice()), (id, &b"ping"[..]));
        assert!(bus.interrupted());
        // Once acknowledged it is quiet.
        assert!(!bus.interrupted());
    });
}

#[test]
fn features_are_agreed_upon_once() {
    everywhere(|bus, ring| {
        let offered = bus.offered();
        assert_eq!(offered & features(ring), features(ring));
        assert!(Feature::RingReset.is_in(offered));
        // One that is not offered, and none at all.
        for wrong in [features(ring) | 1 << 50, 0] {
            bus.set_status(BEGUN).unwrap();
            bus.accept(wrong);
            bus.set_status(AGREED).unwrap();
            assert_eq!(bus.status(), BEGUN, "{wrong:#x}");
            assert_eq!(bus.set_status(WORKS), Err(AccessError::Value));
            bus.set_status(Status::new()).unwrap();
            assert_eq!(bus.status(), Status::new());
        }
        agree(bus, features(ring));
        bus.accept(0);
        bus.set_status(WORKS).unwrap();
        assert_eq!(bus.status(), WORKS);
    });
}

#[test]
fn only_a_reset_clears_a_status_bit() {
    everywhere(|bus, ring| {
        bring_up(bus, ring);
        bus.set_status(BEGUN).unwrap();
        assert_eq!(bus.status(), WORKS);
        // That it needs a reset is the device's to say.
        bus.set_status(WORKS.with_needs_reset(true)).unwrap();
        assert_eq!(bus.status(), WORKS);
        bus.set_status(Status::new()).unwrap();
        assert_eq!(bus.status(), Status::new());
        bus.select(0);
        assert!(!bus.enabled());
    });
}

#[test]
fn a_queue_that_is_enabled_keeps_its_place() {
    everywhere(|bus, ring| {
        bring_up(bus, ring);
        assert_eq!(bus.set_size(8), Err(AccessError::Value));
        assert_eq!(bus.set_address(Area::Device, 0), Err(AccessError::Value));
    });
}

#[test]
fn a_queue_that_does_not_exist_has_no_size() {
    everywhere(|bus, ring| {
        agree(bus, features(ring));
        bus.select(0);
        assert_eq!(bus.max_size(), 64);
        bus.select(7);
        assert_eq!(bus.max_size(), 0);
        assert_eq!(bus.set_size(8), Err(AccessError::Value));
        assert_eq!(bus.enable(), Err(AccessError::Value));
        assert!(!bus.enabled());
        assert_eq!(bus.notify(7), Err(AccessError::Value));
        assert_eq!(bus.status(), AGREED);
    });
}

#[test]
fn a_ring_before_the_driver_is_ready_is_not_heard() {
    everywhere(|bus, ring| {
        agree(bus, features(ring));
        let mut driver = lay_out(bus, ring, 0);
        bus.enable().unwrap();
        driver.add(&[b"early"], &[8]);
        driver.kick();
        assert_eq!(bus.notify(0), Err(AccessError::Value));
        assert!(driver.poll().is_none());
        // It finds the buffer when it is rung again.
        bus.set_status(WORKS).unwrap();
        bus.notify(0).unwrap();
        assert_eq!(driver.poll().unwrap().data, b"early");
    });
}

#[test]
fn a_queue_is_reset_alone() {
    everywhere(|bus, ring| {
        let mut driver = bring_up(bus, ring);
        driver.add(&[b"one"], &[8]);
        driver.kick();
        bus.notify(0).unwrap();
        bus.select(0);
        bus.reset_queue().unwrap();
        assert!(!bus.enabled());
        assert_eq!(bus.status(), WORKS);
        // It begins anew elsewhere.
        let mut driver = lay_out(bus, ring, 0);
        bus.enable().unwrap();
        driver.add(&[b"two"], &[8]);
        driver.kick();
        bus.notify(0).unwrap();
        assert_eq!(driver.poll().unwrap().data, b"two");
    });
}

#[test]
fn a_change_of_the_configuration_is_told() {
    everywhere(|bus, ring| {
        bring_up(bus, ring);
        let before = bus.generation();
        bus.change_config();
        assert_ne!(bus.generation(), before);
        assert!(bus.config_interrupted());
        assert!(!bus.config_interrupted());
    });
}

#[test]
fn the_configuration_takes_any_width() {
    everywhere(|bus, _| {
        assert_eq!(bus.read_config(0, 1), [0]);
        assert_eq!(bus.read_config(2, 2), [2, 3]);
        assert_eq!(bus.read_config(0, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(bus.read_config(8, 4), [0, 0, 0, 0]);
        bus.write_config(4, &[0xa5, 0x5a]).unwrap();
        assert_eq!(bus.read_config(4, 4), [0xa5, 0x5a, 6, 7]);
        assert_eq!(bus.write_config(8, &[1]), Err(AccessError::ReadOnly));
    });
}

#[test]
fn what_comes_while_it_is_paused_is_done_later() {
    everywhere(|bus, ring| {
        let mut driver = bring_up(bus, ring);
        bus.component().pause();
        driver.add(&[b"later"], &[8]);
        driver.kick();
        assert_eq!(bus.notify(0), Err(AccessError::Value));
        assert!(!bus.wake());
        assert!(driver.poll().is_none());
        bus.component().start();
        assert_eq!(driver.poll().unwrap().data, b"later");
        assert!(bus.interrupted());
    });
}

#[test]
fn a_machine_reset_is_a_device_reset() {
    everywhere(|bus, ring| {
        bring_up(bus, ring);
        bus.change_config();
        bus.component().reset();
        bus.after_reset();
        assert_eq!(bus.status(), Status::new());
        assert!(!bus.config_interrupted());
        let mut driver = bring_up(bus, ring);
        driver.add(&[b"again"], &[8]);
        driver.kick();
        bus.notify(0).unwrap();
        assert_eq!(driver.poll().unwrap().data, b"again");
    });
}

#[test]
fn it_goes_on_where_it_was_saved() {
    everywhere(|bus, ring| {
        let mut driver = bring_up(bus, ring);
        driver.add(&[b"first"], &[8]);
        driver.kick();
        bus.notify(0).unwrap();
        assert_eq!(driver.poll().unwrap().data, b"first");
        bus.component().pause();
        let state = bus.component().save();
        bus.component().reset();
        bus.component().restore(&state).unwrap();
        assert_eq!(bus.component().save(), state);
        bus.component().start();
        assert_eq!(bus.status(), WORKS);
        driver.add(&[b"second"], &[8]);
        driver.kick();
        bus.notify(0).unwrap();
        assert_eq!(driver.poll().unwrap().data, b"second");
    });
}

#[test]
fn registers_refuse_what_they_are_not() {
    let mut mmio = Mmio::new(Echo::default());
    mmio.check_registers();
    let mut pci = Pci::new(Echo::default());
    pci.check_registers();
    let _ram = test_ram();
}
