//! What a queue costs a buffer, without a device: popped, given back, published.

use criterion::{Criterion, criterion_group, criterion_main};
use trivisor_virtio_device::testing::{DriverQueue, Ring, test_ram};
use trivisor_virtio_device::{Chain, Feature, Queue};

/// Buffers at a time: those of a full ring without indirect tables.
const BATCH: u16 = 64;

fn bench(criterion: &mut Criterion) {
    for ring in Ring::ALL {
        for (name, indirect) in [
            ("direct", 0),
            ("indirect", Feature::IndirectDescriptors.bit()),
        ] {
            let features = ring.feature() | indirect | Feature::EventIndex.bit();
            let ram = test_ram();
            let range = 0x10_0000..0x100_0000;
            let mut driver = DriverQueue::new(&ram, range, ring, 4 * BATCH, features);
            let mut queue = Queue::new(4 * BATCH);
            driver.configure(&mut queue);
            queue.enable(&ram, features).expect("as it should be");
            let mut chain = Chain::default();
            let mut serve = |queue: &mut Queue| {
                while queue.pop(&ram, &mut chain).expect("a good driver") {
                    queue.push(&ram, chain.id(), 1).expect("popped");
                }
                queue.publish(&ram).expect("a good driver")
            };
            let name = format!("{BATCH} buffers of 3, {ring:?}, {name}");
            criterion.bench_function(&name, |bencher| {
                bencher.iter_batched_ref(
                    || {
                        // The driver is no part of the time: it takes all back and adds as many.
                        while driver.poll().is_some() {}
                        for _ in 0..BATCH {
                            driver.add(&[b"header", b"data"], &[1]);
                        }
                        driver.kick();
                    },
                    |()| serve(&mut queue),
                    criterion::BatchSize::PerIteration,
                );
            });
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
