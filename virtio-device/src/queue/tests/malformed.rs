//! What a driver can get wrong: each an error with its values, each time it is asked for.

use super::raw::{AREAS, Entry, INDIRECT, NEXT, Raw, SIZE, TABLE, WRITE, entry};
use crate::features::Feature;
use crate::queue::{Chain, QueueError};
use crate::testing::Ring;

const RAM_END: u64 = 128 << 20;

/// A chain in the ring's descriptors, the table, and what comes of it on a split and on a packed ring.
struct Case {
    what: &'static str,
    chain: Vec<Entry>,
    table: Vec<Entry>,
    split: Result<bool, QueueError>,
    packed: Result<bool, QueueError>,
}

fn case(
    what: &'static str,
    chain: &[Entry],
    table: &[Entry],
    split: Result<bool, QueueError>,
    packed: Result<bool, QueueError>,
) -> Case {
    Case {
        what,
        chain: chain.to_vec(),
        table: table.to_vec(),
        split,
        packed,
    }
}

/// Both rings say the same.
fn both(
    what: &'static str,
    chain: &[Entry],
    table: &[Entry],
    result: Result<bool, QueueError>,
) -> Case {
    case(what, chain, table, result, result)
}

const READ: Entry = entry(0x5000, 8, 0, 0);

/// `count` elements in a row.
fn row(count: u16) -> Vec<Entry> {
    let element = |at| {
        let flags = if at + 1 < count { NEXT } else { 0 };
        entry(0x5000, 8, flags, at + 1)
    };
    (0..count).map(element).collect()
}

fn table_at(len: u32) -> Entry {
    entry(TABLE, len, INDIRECT, 0)
}

fn chains() -> Vec<Case> {
    let too_long = Err(QueueError::TooLong {
        head: 0,
        size: SIZE,
    });
    let mut ring_of_all = row(SIZE);
    ring_of_all[7] = entry(0x5000, 8, NEXT, 0);
    vec![
        both("one element", &[READ], &[], Ok(true)),
        both("as long as the queue", &row(SIZE), &[], Ok(true)),
        case(
            "a loop of one",
            &[entry(0x5000, 8, NEXT, 0)],
            &[],
            too_long,
            Err(QueueError::NotAvailable { index: 1 }),
        ),
        case(
            "a loop of all",
            &ring_of_all,
            &[],
            too_long,
            Err(QueueError::NotAvailable { index: 0 }),
        ),
        case(
            "next out of range",
            &[entry(0x5000, 8, NEXT, SIZE)],
            &[],
            Err(QueueError::Next {
                index: 0,
                next: SIZE,
                len: 8,
            }),
            Err(QueueError::NotAvailable { index: 1 }),
        ),
        both(
            "length 0",
            &[entry(0x5000, 8, NEXT, 1), entry(0x5000, 0, 0, 0)],
            &[],
            Err(QueueError::ZeroLength { index: 1 }),
        ),
        both(
            "2^32 bytes",
            &[entry(0, u32::MAX, NEXT, 1), entry(0, 1, 0, 0)],
            &[],
            Ok(true),
        ),
        both(
            "over 2^32 bytes",
            &[
                entry(0, u32::MAX, NEXT, 1),
                entry(0, 1, NEXT | WRITE, 2),
                entry(0, 1, WRITE, 0),
            ],
            &[],
            Err(QueueError::TooManyBytes {
                bytes: (1 << 32) + 1,
            }),
        ),
        both(
            "readable behind writable",
            &[entry(0x5000, 8, WRITE | NEXT, 1), READ],
            &[],
            Err(QueueError::ReadableBehindWritable { index: 1 }),
        ),
    ]
}

fn tables() -> Vec<Case> {
    let short = |len, most| Err(QueueError::IndirectLength { len, most });
    vec![
        both("a table", &[table_at(32)], &row(2), Ok(true)),
        both(
            "a table that claims to be writable",
            &[entry(TABLE, 32, INDIRECT | WRITE, 0)],
            &row(2),
            Ok(true),
        ),
        case(
            "elements, then a table",
            &[entry(0x5000, 8, NEXT, 1), table_at(32)],
            &row(2),
            Ok(true),
            Err(QueueError::IndirectInChain { index: 1 }),
        ),
        case(
            "the rest of a table unused",
            &[table_at(16 * 9)],
            &row(2),
            Ok(true),
            short(16 * 9, 8),
        ),
        case(
            "elements and a table, together too many",
            &[entry(0x5000, 8, NEXT, 1), table_at(16 * 8)],
            &row(8),
            Err(QueueError::TooLong { head: 0, size: 8 }),
            Err(QueueError::IndirectInChain { index: 1 }),
        ),
        both(
            "a table in a table",
            &[table_at(32)],
            &[entry(0x5000, 8, NEXT, 1), table_at(16)],
            Err(QueueError::IndirectInIndirect { index: 1 }),
        ),
        both(
            "a table with something behind it",
            &[entry(TABLE, 16, INDIRECT | NEXT, 1), READ],
            &[READ],
            Err(QueueError::IndirectInChain { index: 0 }),
        ),
        case(
            "a table of 0 bytes",
            &[table_at(0)],
            &[],
            short(0, 65536),
            short(0, 8),
        ),
        case(
            "a table of no whole number",
            &[table_at(40)],
            &row(2),
            short(40, 65536),
            short(40, 8),
        ),
        case(
            "a table larger than can be",
            &[entry(0, 16 * 65537, INDIRECT, 0)],
            &[],
            short(16 * 65537, 65536),
            short(16 * 65537, 8),
        ),
        case(
            "a loop in a table",
            &[table_at(32)],
            &[entry(0x5000, 8, NEXT, 1), entry(0x5000, 8, NEXT, 0)],
            Err(QueueError::TooLong { head: 0, size: 8 }),
            // NEXT means nothing here (2.8.7).
            Ok(true),
        ),
        case(
            "next out of the table",
            &[table_at(32)],
            &[entry(0x5000, 8, NEXT, 2)],
            Err(QueueError::Next {
                index: 0,
                next: 2,
                len: 2,
            }),
            Err(QueueError::ZeroLength { index: 1 }),
        ),
        both(
            "length 0 in a table",
            &[table_at(32)],
            &[entry(0x5000, 8, NEXT, 1), entry(0x5000, 0, 0, 0)],
            Err(QueueError::ZeroLength { index: 1 }),
        ),
        both(
            "readable behind writable in a table",
            &[table_at(32)],
            &[entry(0x5000, 8, WRITE | NEXT, 1), READ],
            Err(QueueError::ReadableBehindWritable { index: 1 }),
        ),
        both(
            "over 2^32 bytes in a table",
            &[table_at(32)],
            &[entry(0, u32::MAX, NEXT, 1), entry(0, 2, 0, 0)],
            Err(QueueError::TooManyBytes {
                bytes: (1 << 32) + 1,
            }),
        ),
        both(
            "a table across the end of RAM",
            &[entry(RAM_END - 16, 32, INDIRECT, 0)],
            &[],
            Err(QueueError::NotRam {
                what: "the indirect table",
                address: RAM_END - 16,
            }),
        ),
        both(
            "a table behind the last address",
            &[entry(u64::MAX - 15, 32, INDIRECT, 0)],
            &[],
            Err(QueueError::NotRam {
                what: "the indirect table",
                address: u64::MAX - 15,
            }),
        ),
    ]
}

fn check(case: &Case, features: u64) {
    for ring in Ring::ALL {
        let mut raw = Raw::new(ring, features);
        raw.descriptors(&case.chain);
        raw.table(&case.table);
        raw.offer(&[0]);
        let wanted = match ring {
            Ring::Split => case.split,
            Ring::Packed => case.packed,
        };
        assert_eq!(raw.pop(), wanted, "{}, {ring:?}", case.what);
        if let Err(error) = wanted {
            assert_eq!(raw.pop(), wanted, "{}, {ring:?}, again", case.what);
            assert_eq!(raw.queue.want_notifications(&raw.ram, true), Err(error));
            assert_eq!(raw.queue.broken(), Some(error));
            raw.queue.reset();
            assert_eq!(raw.queue.broken(), None);
            assert_eq!(raw.pop(), Ok(false));
        }
    }
}

#[test]
fn chains_that_are_not() {
    for case in chains() {
        check(&case, 0);
        check(&case, Feature::IndirectDescriptors.bit());
    }
}

#[test]
fn tables_that_are_not() {
    for case in tables() {
        check(&case, Feature::IndirectDescriptors.bit());
    }
}

#[test]
fn a_table_has_to_be_negotiated() {
    let not = Err(QueueError::IndirectNotNegotiated { index: 0 });
    check(&both("a table", &[table_at(32)], &row(2), not), 0);
}

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
