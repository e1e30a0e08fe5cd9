//! What a transport does to a queue.

use trivisor_memory::{GuestRam, RamLayout, RamOptions};

use super::super::{packed, split};
use crate::queue::{Area, Half, Queue, QueueError};
use crate::testing::{Ring, test_ram};

const ADDRESSES: [u64; 3] = [0x1000, 0x2000, 0x3000];
const RAM_END: u64 = 128 << 20;

fn queue(size: u16, addresses: [u64; 3]) -> Queue {
    let mut queue = Queue::new(256);
    queue.set_size(size);
    for (area, address) in Area::ALL.into_iter().zip(addresses) {
        queue.set_address(area, address);
    }
    queue
}

fn enable(ring: Ring, queue: &mut Queue) -> Result<(), QueueError> {
    let enabled = queue.enable(&test_ram(), ring.feature());
    assert_eq!(queue.ready(), enabled.is_ok());
    enabled
}

#[test]
fn sizes() {
    let max = 256;
    for (size, split, packed) in [
        (1, Ok(()), Ok(())),
        (256, Ok(()), Ok(())),
        (6, Err(QueueError::SizeNotPowerOfTwo { size: 6 }), Ok(())),
        (
            0,
            Err(QueueError::Size { size: 0, max }),
            Err(QueueError::Size { size: 0, max }),
        ),
        (
            257,
            Err(QueueError::Size { size: 257, max }),
            Err(QueueError::Size { size: 257, max }),
        ),
        (
            512,
            Err(QueueError::Size { size: 512, max }),
            Err(QueueError::Size { size: 512, max }),
        ),
    ] {
        assert_eq!(enable(Ring::Split, &mut queue(size, ADDRESSES)), split);
        assert_eq!(enable(Ring::Packed, &mut queue(size, ADDRESSES)), packed);
    }
}

#[test]
fn the_largest_queue() {
    for ring in Ring::ALL {
        let mut queue = Queue::new(32768);
        for (area, address) in Area::ALL.into_iter().zip([0x10_0000, 0x20_0000, 0x30_0000]) {
            queue.set_address(area, address);
        }
        assert_eq!(enable(ring, &mut queue), Ok(()));
    }
}

#[test]
fn addresses_are_aligned() {
    for (ring, areas) in [
        (Ring::Split, split::areas(8)),
        (Ring::Packed, packed::areas(8)),
    ] {
        for (at, area) in Area::ALL.into_iter().enumerate() {
            let (align, _) = areas[at];
            for (offset, right) in [(align, true), (align / 2, false), (1, false)] {
                let mut addresses = ADDRESSES;
                addresses[at] += offset;
                let error = QueueError::Misaligned {
                    area,
                    address: addresses[at],
                    align,
                };
                let wanted = if right { Ok(()) } else { Err(error) };
                assert_eq!(enable(ring, &mut queue(8, addresses)), wanted);
            }
        }
    }
}

#[test]
fn areas_lie_in_ram() {
    for (ring, areas) in [
        (Ring::Split, split::areas(8)),
        (Ring::Packed, packed::areas(8)),
    ] {
        for (at, area) in Area::ALL.into_iter().enumerate() {
            let (align, len) = areas[at];
            let last = (RAM_END - len) / align * align;
            for (address, right) in [
                (0, true),
                (last, true),
                (last + align, false),
                (RAM_END, false),
                (u64::MAX / align * align, false),
            ] {
                let mut addresses = ADDRESSES;
                addresses[at] = address;
                let error = QueueError::NotRam {
                    what: area.name(),
                    address,
                };
                let wanted = if right { Ok(()) } else { Err(error) };
                let enabled = enable(ring, &mut queue(8, addresses));
                assert_eq!(enabled, wanted, "{ring:?}, {area}, {address:#x}");
            }
        }
    }
}

/// 4 GiB of RAM have a hole below 4 GiB.
#[test]
fn no_area_lies_across_the_hole() {
    let layout = RamLayout::new(4 << 30).unwrap();
    let ram = GuestRam::new(layout, &RamOptions::default()).unwrap();
    let address = 0xc000_0000 - 64;
    for ring in Ring::ALL {
        let error = QueueError::NotRam {
            what: "descriptor area",
            address,
        };
        let mut queue = queue(8, [address, 0x2000, 0x3000]);
        assert_eq!(queue.enable(&ram, ring.feature()), Err(error));
        queue.set_address(Area::Descriptor, 0x1_0000_0000);
        assert_eq!(queue.enable(&ram, ring.feature()), Ok(()));
    }
}

#[test]
fn an_address_has_to_be_written() {
    for ring in Ring::ALL {
        for missing in Area::ALL {
            let mut queue = Queue::new(8);
            for area in Area::ALL {
                if area != missing {
                    queue.set_address_half(area, Half::Low, 0x1000);
                }
            }
            let error = QueueError::AddressMissing { area: missing };
            assert_eq!(enable(ring, &mut queue), Err(error));
            // Address 0 is one.
            queue.set_address_half(missing, Half::High, 0);
            assert_eq!(enable(ring, &mut queue), Ok(()));
        }
    }
}

#[test]
fn registers_are_written_in_halves_and_only_while_it_is_disabled() {
    let mut queue = Queue::new(8);
    for area in Area::ALL {
        assert!(queue.set_address_half(area, Half::High, 0x1234_5678));
        assert!(queue.set_address_half(area, Half::Low, 0x9abc_def0));
        assert_eq!(queue.address(area), 0x1234_5678_9abc_def0);
        assert!(queue.set_address_half(area, Half::High, 0));
        assert_eq!(queue.address(area), 0x9abc_def0);
        assert!(queue.set_address(area, 0x4000));
    }
    assert!(queue.set_size(4));
    let ram = test_ram();
    assert_eq!(queue.enable(&ram, 0), Ok(()));
    assert_eq!(queue.enable(&ram, 0), Err(QueueError::Enabled));
    let enabled = queue.clone();
    assert!(!queue.set_size(8));
    assert!(!queue.set_address(Area::Driver, 0));
    assert!(!queue.set_address_half(Area::Driver, Half::Low, 0));
    assert_eq!(queue, enabled);
    queue.reset();
    assert_eq!(queue, Queue::new(8));
    assert_eq!((queue.size(), queue.address(Area::Device)), (8, 0));
}
