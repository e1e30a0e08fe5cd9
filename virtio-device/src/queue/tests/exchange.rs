//! Buffers there and back, with a driver that keeps to the rules.

use trivisor_memory::GuestRam;

use crate::features::Feature;
use crate::queue::{Chain, Queue};
use crate::testing::{DriverQueue, Ring, test_ram};

const FEATURES: [u64; 8] = {
    let (a, b, c) = (
        Feature::IndirectDescriptors.bit(),
        Feature::EventIndex.bit(),
        Feature::InOrder.bit(),
    );
    [0, a, b, c, a | b, a | c, b | c, a | b | c]
};

struct Pair {
    ram: GuestRam,
    queue: Queue,
    driver: DriverQueue,
}

fn pair(ring: Ring, size: u16, features: u64) -> Pair {
    let features = features | ring.feature();
    let ram = test_ram();
    let driver = DriverQueue::new(&ram, 0x1_0000..0x10_0000, ring, size, features);
    let mut queue = Queue::new(256);
    driver.configure(&mut queue);
    queue.enable(&ram, features).unwrap();
    Pair { ram, queue, driver }
}

fn each(mut test: impl FnMut(Pair)) {
    for ring in Ring::ALL {
        for features in FEATURES {
            test(pair(ring, 8, features));
        }
    }
}

#[test]
fn data_goes_there_and_back() {
    each(|mut pair| {
        for round in 0..100_u8 {
            let id = pair.driver.add(&[&[round; 3], b"abc"], &[2, 6]);
            pair.driver.kick();
            let mut chain = Chain::default();
            assert_eq!(pair.queue.pop(&pair.ram, &mut chain), Ok(true));
            assert_eq!(chain.id(), id);
            assert_eq!((chain.readable_len(), chain.writable_len()), (6, 8));
            let mut data = [0; 6];
            chain.read(&pair.ram, 0, &mut data).unwrap();
            assert_eq!(data, [round, round, round, b'a', b'b', b'c']);
            chain.write(&pair.ram, 1, &data).unwrap();
            pair.queue.push(&pair.ram, id, 7).unwrap();
            assert_eq!(pair.driver.poll(), None, "not published");
            assert_eq!(pair.queue.publish(&pair.ram), Ok(true));
            let reply = pair.driver.poll().unwrap();
            assert_eq!((reply.id, reply.written), (id, 7));
            assert_eq!(reply.data[1..], data);
            assert_eq!(pair.driver.free(), 8);
            assert_eq!(pair.queue.pop(&pair.ram, &mut chain), Ok(false));
        }
    });
}
