//! Tests of both rings.

mod chain;
mod exchange;
mod lies;
mod malformed;
mod model;
mod raw;
mod setup;
mod state;
mod suppression;

use trivisor_memory::GuestRam;

use crate::features::Feature;
use crate::queue::{Chain, Queue};
use crate::testing::{DriverQueue, Ring, test_ram};

/// Each choice of the features that change a ring.
const FEATURES: [u64; 8] = {
    let (a, b, c) = (
        Feature::IndirectDescriptors.bit(),
        Feature::EventIndex.bit(),
        Feature::InOrder.bit(),
    );
    [0, a, b, c, a | b, a | c, b | c, a | b | c]
};

/// Both sides of a queue.
struct Pair {
    ram: GuestRam,
    features: u64,
    queue: Queue,
    driver: DriverQueue,
}

impl Pair {
    fn new(ring: Ring, size: u16, features: u64) -> Self {
        let features = features | ring.feature();
        let ram = test_ram();
        let driver = DriverQueue::new(&ram, 0x1_0000..0x10_0000, ring, size, features);
        let mut queue = Queue::new(256);
        driver.configure(&mut queue);
        queue.enable(&ram, features).unwrap();
        Self {
            ram,
            features,
            queue,
            driver,
        }
    }

    /// The next buffer, which there has to be.
    fn pop(&mut self) -> Chain {
        let mut chain = Chain::default();
        assert_eq!(self.queue.pop(&self.ram, &mut chain), Ok(true));
        chain
    }

    fn assert_empty(&mut self) {
        let popped = self.queue.pop(&self.ram, &mut Chain::default());
        assert_eq!(popped, Ok(false));
    }

    fn push(&mut self, id: u16, written: u32) {
        self.queue.push(&self.ram, id, written).unwrap();
    }

    fn publish(&mut self) -> bool {
        self.queue.publish(&self.ram).unwrap()
    }

    fn want_notifications(&mut self, wanted: bool) -> bool {
        self.queue.want_notifications(&self.ram, wanted).unwrap()
    }
}

/// Runs a test on both rings with each choice of features, in a queue of 8.
fn each(mut test: impl FnMut(Pair)) {
    for ring in Ring::ALL {
        for features in FEATURES {
            test(Pair::new(ring, 8, features));
        }
    }
}
