//! Lies about a ring itself: indices, laps, events, buffers that the device has.

use super::malformed::{READ, row};
use super::raw::{AREAS, NEXT, Raw, SIZE, entry};
use crate::features::Feature;
use crate::queue::{Chain, QueueError};
use crate::testing::Ring;

#[test]
fn the_available_ring_names_what_is_not_there() {
    let mut raw = Raw::new(Ring::Split, 0);
    raw.offer(&[SIZE]);
    let error = QueueError::Head {
        head: SIZE,
        size: SIZE,
    };
    assert_eq!(raw.pop(), Err(error));
}

#[test]
fn the_available_index_jumps() {
    for (to, right) in [(8, true), (9, false), (0x8000, false), (0xffff, false)] {
        let mut raw = Raw::new(Ring::Split, 0);
        raw.descriptors(&[READ]);
        raw.write_u16(AREAS[1] + 2, to);
        let jump = QueueError::IndexJump {
            from: 0,
            to,
            size: SIZE,
        };
        let wanted = if right { Ok(true) } else { Err(jump) };
        let asked = raw.queue.clone().want_notifications(&raw.ram, true);
        assert_eq!(asked, wanted);
        assert_eq!(raw.pop(), wanted);
    }
    // Back: what was made available cannot be taken away.
    let mut raw = Raw::new(Ring::Split, 0);
    raw.pop_one();
    raw.write_u16(AREAS[1] + 2, 0);
    let jump = QueueError::IndexJump {
        from: 1,
        to: 0,
        size: SIZE,
    };
    assert_eq!(raw.pop(), Err(jump));
}

#[test]
fn a_buffer_is_made_available_twice() {
    let mut raw = Raw::new(Ring::Split, 0);
    raw.descriptors(&[READ]);
    raw.offer(&[0, 0]);
    assert_eq!(raw.pop(), Ok(true));
    assert_eq!(raw.pop(), Err(QueueError::InUse { id: 0 }));
    // Every entry of the raw packed ring is called 5.
    let mut raw = Raw::new(Ring::Packed, 0);
    raw.descriptors(&[READ, READ]);
    assert_eq!(raw.pop(), Ok(true));
    assert_eq!(raw.pop(), Err(QueueError::InUse { id: 5 }));
}

/// The driver marks descriptors available on the next lap while the device has those of this one.
#[test]
fn a_packed_ring_is_overrun() {
    let mut raw = Raw::new(Ring::Packed, 0);
    raw.descriptors(&row(6));
    assert_eq!(raw.pop(), Ok(true));
    let ring = AREAS[0];
    for (at, flags) in [(6, 0x80 | NEXT), (7, 0x80 | NEXT), (0, 0x8000)] {
        raw.write(ring + 16 * at + 8, &8_u32.to_le_bytes());
        raw.write_u16(ring + 16 * at + 12, 6);
        raw.write_u16(ring + 16 * at + 14, flags);
    }
    let overrun = QueueError::Overrun {
        descriptors: 3,
        held: 6,
        size: SIZE,
    };
    assert_eq!(raw.pop(), Err(overrun));
}

/// One descriptor of a chain has the wrap counter of another lap, as used or as available.
#[test]
fn a_packed_chain_lies_about_its_lap() {
    for marks in [0, 1 << 15, 1 << 15 | 1 << 7] {
        let mut raw = Raw::new(Ring::Packed, 0);
        raw.descriptors(&row(3));
        let flags = AREAS[0] + 16 + 14;
        raw.write_u16(flags, NEXT | marks);
        assert_eq!(raw.pop(), Err(QueueError::NotAvailable { index: 1 }));
        // As the first of a chain it is only not there yet.
        let mut raw = Raw::new(Ring::Packed, 0);
        raw.descriptors(&row(1));
        raw.write_u16(AREAS[0] + 14, marks);
        assert_eq!(raw.pop(), Ok(false));
    }
}

#[test]
fn event_suppression_lies() {
    let event_index = Feature::EventIndex.bit();
    let flags = |flags| Err(QueueError::EventFlags { flags });
    let offset = |offset| Err(QueueError::EventOffset { offset, size: SIZE });
    for (features, event, high, wanted) in [
        (0, 0, 0, Ok(true)),
        (0, 0xffff, 1, Ok(false)),
        (0, 0x8000, 2, flags(2)),
        (event_index, 0x8000, 3, flags(3)),
        (0, 0x8000, 0xffff, flags(3)),
        (event_index, 0x8000, 2, Ok(true)),
        (event_index, 0x8008, 2, offset(8)),
        (event_index, 0xffff, 2, offset(0x7fff)),
        (event_index, 0x0007, 2, Ok(false)),
    ] {
        let mut raw = Raw::new(Ring::Packed, features);
        let id = raw.pop_one();
        raw.write_u16(AREAS[1], event);
        raw.write_u16(AREAS[1] + 2, high);
        raw.queue.push(&raw.ram, id, 0).unwrap();
        assert_eq!(raw.queue.publish(&raw.ram), wanted, "{event:#x}, {high}");
    }
    // Each index is one that a split ring comes to, so none is a lie; it says when, and nothing else.
    for event in 0..=u16::MAX {
        if event > 20 && event < 0xfff0 && event % 97 != 0 {
            continue;
        }
        let mut raw = Raw::new(Ring::Split, event_index);
        let id = raw.pop_one();
        raw.write_u16(AREAS[1] + 4 + 2 * u64::from(SIZE), event);
        raw.queue.push(&raw.ram, id, 0).unwrap();
        assert_eq!(raw.queue.publish(&raw.ram), Ok(event == 0), "{event}");
    }
}

#[test]
fn a_chain_is_not_kept_from_a_failed_pop() {
    for ring in Ring::ALL {
        let mut raw = Raw::new(ring, 0);
        raw.descriptors(&[entry(0x5000, 8, NEXT, 1), entry(0x5000, 0, 0, 0)]);
        raw.offer(&[0]);
        let mut chain = Chain::default();
        assert!(raw.queue.pop(&raw.ram, &mut chain).is_err());
        let held = raw.queue.push(&raw.ram, 0, 0);
        assert_eq!(held, Err(QueueError::NotInUse { id: 0 }));
        let before = raw.queue.clone();
        raw.queue.unpop(&chain);
        assert_eq!(raw.queue, before);
        assert_eq!(raw.read_u16(AREAS[2] + 2), 0);
    }
}
