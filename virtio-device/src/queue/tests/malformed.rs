//! Chains and tables that a driver can get wrong: each an error with its values, each time it is asked for.

use super::raw::{Entry, INDIRECT, NEXT, Raw, SIZE, TABLE, WRITE, entry};
use crate::features::Feature;
use crate::queue::QueueError;
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

pub(super) const READ: Entry = entry(0x5000, 8, 0, 0);

/// `count` elements in a row.
pub(super) fn row(count: u16) -> Vec<Entry> {
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
    ]
}

fn contents_of_tables() -> Vec<Case> {
    vec![
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
    for case in tables().into_iter().chain(contents_of_tables()) {
        check(&case, Feature::IndirectDescriptors.bit());
    }
}

#[test]
fn a_table_has_to_be_negotiated() {
    let not = Err(QueueError::IndirectNotNegotiated { index: 0 });
    check(&both("a table", &[table_at(32)], &row(2), not), 0);
}
