//! What breaks a queue reaches the driver as DEVICE_NEEDS_RESET, over each transport; what can be wrong with a ring in
//! itself is in the tests of the queues.

use super::*;

/// The device asks for a reset, tells it, and works again after one.
fn is_broken(bus: &mut dyn Bus, ring: Ring) {
    assert!(bus.status().needs_reset());
    assert_eq!(bus.notify(0), Err(AccessError::Value));
    bus.set_status(Status::new()).unwrap();
    assert_eq!(bus.status(), Status::new());
    let mut driver = bring_up(bus, ring);
    driver.add(&[b"well again"], &[16]);
    driver.kick();
    bus.notify(0).unwrap();
    assert_eq!(driver.poll().unwrap().data, b"well again");
}

#[test]
fn a_queue_enabled_before_its_addresses() {
    everywhere(|bus, ring| {
        agree(bus, features(ring));
        bus.select(0);
        bus.set_size(16).unwrap();
        assert_eq!(bus.enable(), Err(AccessError::Value));
        assert!(!bus.enabled());
        is_broken(bus, ring);
    });
}

#[test]
fn a_queue_enabled_before_its_features() {
    everywhere(|bus, ring| {
        bus.set_status(BEGUN).unwrap();
        lay_out(bus, ring, 0);
        assert_eq!(bus.enable(), Err(AccessError::Value));
        assert!(!bus.enabled());
        assert!(!bus.status().needs_reset());
    });
}

#[test]
fn a_queue_outside_of_memory() {
    everywhere(|bus, ring| {
        for area in Area::ALL {
            agree(bus, features(ring));
            lay_out(bus, ring, 0);
            bus.set_address(area, 0xffff_ffff_ffff_f000).unwrap();
            assert_eq!(bus.enable(), Err(AccessError::Value));
            is_broken(bus, ring);
            bus.set_status(Status::new()).unwrap();
        }
    });
}

#[test]
fn a_queue_of_no_possible_size() {
    everywhere(|bus, ring| {
        for size in [0, 128, 0xffff] {
            agree(bus, features(ring));
            lay_out(bus, ring, 0);
            bus.set_size(size).unwrap();
            assert_eq!(bus.enable(), Err(AccessError::Value), "{size}");
            is_broken(bus, ring);
            bus.set_status(Status::new()).unwrap();
        }
    });
}

#[test]
fn a_descriptor_outside_of_memory() {
    everywhere(|bus, ring| {
        let mut driver = bring_up(bus, ring);
        driver.add(&[b"lost"], &[4]);
        // The address of the first descriptor, in either kind of ring.
        let [descriptors, ..] = driver.addresses();
        let nowhere = 0xffff_ffff_ffff_0000_u64.to_le_bytes();
        assert!(bus.ram().write(descriptors, &nowhere));
        driver.kick();
        bus.notify(0).unwrap();
        assert!(bus.config_interrupted());
        is_broken(bus, ring);
    });
}

#[test]
fn a_write_behind_the_end_of_the_configuration() {
    everywhere(|bus, _| {
        for (offset, len) in [(7, 2), (8, 1), (0xfc, 4)] {
            let refused = bus.write_config(offset, &vec![0; len]);
            assert_eq!(refused, Err(AccessError::ReadOnly), "{offset}");
        }
        assert_eq!(bus.read_config(0, 8), [0, 1, 2, 3, 4, 5, 6, 7]);
    });
}
