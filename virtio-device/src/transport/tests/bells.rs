//! Bells, and a device that is looked at.

use std::sync::Mutex;

use trivisor_buses::{Doorbell, DoorbellAddress, Look};
use trivisor_pci::PciFunction;

use super::bus::{Bus, Mmio, Pci, WINDOW};
use super::echo::Echo;
use super::{WORKS, bring_up, everywhere};
use crate::mmio::regs::offset;
use crate::pci::regs;
use crate::testing::{DriverQueue, Ring};
use crate::transport::Status;

/// A bell that shows where it hangs.
#[derive(Debug, Default)]
pub(super) struct TestBell {
    hung: Mutex<Vec<u64>>,
    marked: Mutex<Vec<u64>>,
}

impl TestBell {
    fn hung(&self) -> Vec<u64> {
        self.hung.lock().unwrap().clone()
    }
}

impl Doorbell for TestBell {
    fn arm(&self, at: DoorbellAddress) -> std::io::Result<()> {
        assert_eq!((at.port, at.width, at.value), (false, 0, None));
        let mut hung = self.hung.lock().unwrap();
        assert!(!hung.contains(&at.address), "{at:x?} twice");
        hung.push(at.address);
        Ok(())
    }

    fn disarm(&self, at: DoorbellAddress) {
        self.marked.lock().unwrap().push(at.address);
    }

    fn commit_removals(&self) {
        let marked = std::mem::take(&mut *self.marked.lock().unwrap());
        self.hung.lock().unwrap().retain(|at| !marked.contains(at));
    }
}

/// One buffer; whether the driver would ring for it.
fn add(driver: &mut DriverQueue) -> bool {
    driver.add(&[b"ding"], &[4]);
    driver.kick()
}

#[test]
fn bells_hang_when_the_driver_is_ready_and_stay() {
    everywhere(|bus: &mut dyn Bus, ring| {
        super::agree(bus, super::features(ring));
        super::lay_out(bus, ring, 0);
        bus.enable().unwrap();
        assert!(bus.bell().hung().is_empty());
        bus.set_status(WORKS).unwrap();
        let hung = bus.bell().hung();
        assert_eq!(hung.len(), 1);
        bus.set_status(Status::new()).unwrap();
        bring_up(bus, ring);
        assert_eq!(bus.bell().hung(), hung);
    });
}

#[test]
fn they_hang_where_the_driver_rings_and_move_with_it() {
    let mut mmio = Mmio::new(Echo::default());
    bring_up(&mut mmio, Ring::ALL[0]);
    assert_eq!(mmio.bell().hung(), [WINDOW + offset::QUEUE_NOTIFY]);

    let mut pci = Pci::new(Echo::default());
    bring_up(&mut pci, Ring::ALL[0]);
    super::lay_out(&mut pci, Ring::ALL[0], 1);
    pci.enable().unwrap();
    let places = |window: u64| [window, window + 4].map(|at| at + regs::NOTIFY);
    assert_eq!(pci.bell().hung(), places(WINDOW));
    pci.chip.window_moved(regs::BAR, None);
    assert!(pci.bell().hung().is_empty());
    pci.chip.window_moved(regs::BAR, Some(0xe000_0000));
    assert_eq!(pci.bell().hung(), places(0xe000_0000));
}

#[test]
fn a_bell_wakes_the_queues_that_have_something() {
    everywhere(|bus: &mut dyn Bus, ring| {
        let mut driver = bring_up(bus, ring);
        assert!(add(&mut driver));
        bus.wake();
        assert!(driver.poll().is_some());
        assert!(add(&mut driver), "nobody looks");
    });
}

#[test]
fn who_is_looked_at_need_not_ring_until_the_last_look() {
    everywhere(|bus: &mut dyn Bus, ring| {
        assert_eq!(bus.look(false), Look::Told);
        let mut driver = bring_up(bus, ring);
        assert!(add(&mut driver));
        assert_eq!(bus.look(false), Look::Found);
        for _ in 0..40 {
            assert!(driver.poll().is_some());
            assert!(!add(&mut driver));
            assert_eq!(bus.look(false), Look::Found);
        }
        assert!(driver.poll().is_some());
        assert_eq!(bus.look(false), Look::Nothing);
        // What comes before the last look is found by it ...
        assert!(!add(&mut driver));
        assert_eq!(bus.look(true), Look::Found);
        assert!(driver.poll().is_some());
        assert_eq!(bus.look(true), Look::Nothing);
        // ... and what comes after it is told.
        assert!(add(&mut driver));
    });
}

#[test]
fn who_was_looked_at_rings_again_after_a_pause_and_a_reset() {
    everywhere(|bus: &mut dyn Bus, ring| {
        let mut driver = bring_up(bus, ring);
        add(&mut driver);
        assert_eq!(bus.look(false), Look::Found);
        assert!(driver.poll().is_some());
        bus.component().pause();
        assert!(!add(&mut driver));
        assert_eq!(bus.look(false), Look::Told);
        assert!(driver.poll().is_none(), "it has no turn");
        bus.component().start();
        assert!(driver.poll().is_some());
        assert!(add(&mut driver));
        assert_eq!(bus.look(false), Look::Found);

        bus.set_status(Status::new()).unwrap();
        assert_eq!(bus.look(false), Look::Told);
        let mut driver = bring_up(bus, ring);
        assert!(add(&mut driver));
    });
}
