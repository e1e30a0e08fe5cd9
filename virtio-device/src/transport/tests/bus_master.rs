//! A PCI function that is no bus master does not reach guest RAM.

use super::*;

/// A driver that forgot COMMAND is heard when it thinks of it.
#[test]
fn what_is_asked_for_before_is_done_later() {
    for ring in Ring::ALL {
        let mut pci = Pci::new(Echo::default());
        pci.set_bus_master(false);
        let mut driver = bring_up(&mut pci, ring);
        driver.add(&[b"early"], &[8]);
        driver.kick();
        assert_eq!(pci.notify(0), Err(AccessError::Value));
        assert!(!pci.wake());
        assert!(driver.poll().is_none());
        pci.set_bus_master(true);
        assert_eq!(driver.poll().unwrap().data, b"early");
        assert!(pci.interrupted());
    }
}

#[test]
fn it_is_taken_and_given_back() {
    for ring in Ring::ALL {
        let mut pci = Pci::new(Echo::default());
        let mut driver = bring_up(&mut pci, ring);
        pci.set_bus_master(false);
        // The device's last turn with its queues was the one that ended its work.
        assert_eq!(pci.device(|echo| echo.pauses), 1);
        driver.add(&[b"held"], &[8]);
        driver.kick();
        assert_eq!(pci.notify(0), Err(AccessError::Value));
        // The host's hand does not reach it either.
        pci.host_turn();
        assert!(driver.poll().is_none());
        assert_eq!(pci.status(), WORKS);
        pci.set_bus_master(true);
        assert_eq!(driver.poll().unwrap().data, b"held");
        // Writing the same again does nothing.
        pci.set_bus_master(true);
        assert_eq!(pci.device(|echo| echo.pauses), 1);
    }
}

#[test]
fn a_pause_of_the_machine_goes_before() {
    for ring in Ring::ALL {
        let mut pci = Pci::new(Echo::default());
        let mut driver = bring_up(&mut pci, ring);
        pci.component().pause();
        pci.set_bus_master(false);
        assert_eq!(pci.device(|echo| echo.pauses), 1);
        driver.add(&[b"later"], &[8]);
        driver.kick();
        pci.component().start();
        assert!(driver.poll().is_none());
        pci.component().pause();
        pci.set_bus_master(true);
        assert!(driver.poll().is_none());
        pci.component().start();
        assert_eq!(driver.poll().unwrap().data, b"later");
    }
}

#[test]
fn it_is_restored() {
    for ring in Ring::ALL {
        let mut pci = Pci::new(Echo::default());
        let mut driver = bring_up(&mut pci, ring);
        pci.set_bus_master(false);
        driver.add(&[b"moved"], &[8]);
        driver.kick();
        pci.component().pause();
        let state = pci.component().save();
        pci.component().reset();
        // As that of another machine.
        pci.set_bus_master(true);
        pci.component().restore(&state).unwrap();
        pci.component().start();
        assert!(driver.poll().is_none());
        pci.set_bus_master(true);
        assert_eq!(driver.poll().unwrap().data, b"moved");
    }
}

#[test]
fn without_it_a_reset_still_resets() {
    for ring in Ring::ALL {
        let mut pci = Pci::new(Echo::default());
        bring_up(&mut pci, ring);
        pci.set_bus_master(false);
        pci.set_status(Status::new()).unwrap();
        pci.set_bus_master(true);
        let mut driver = bring_up(&mut pci, ring);
        driver.add(&[b"anew"], &[8]);
        driver.kick();
        pci.notify(0).unwrap();
        assert_eq!(driver.poll().unwrap().data, b"anew");
    }
}
