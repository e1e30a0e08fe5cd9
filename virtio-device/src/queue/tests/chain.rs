//! Data of a chain, by byte and not by segment.

use trivisor_buses::Segment;

use super::Pair;
use crate::queue::{Chain, QueueError};
use crate::testing::Ring;

/// 10 readable bytes in three segments, 6 writable ones in two.
fn chain() -> (Pair, Chain) {
    let mut pair = Pair::new(Ring::Split, 8, 0);
    pair.driver.add(&[b"abc", b"d", b"efghij"], &[4, 2]);
    pair.driver.kick();
    let chain = pair.pop();
    (pair, chain)
}

#[test]
fn reads_at_any_offset() {
    let (pair, chain) = chain();
    for offset in 0..=10 {
        for len in 0..=10 - offset {
            let mut data = vec![0; len];
            chain.read(&pair.ram, offset as u64, &mut data).unwrap();
            assert_eq!(data, b"abcdefghij"[offset..offset + len]);
        }
    }
    let short = |wanted| QueueError::Short {
        id: chain.id(),
        len: 10,
        wanted,
    };
    let mut data = [7; 4];
    assert_eq!(chain.read(&pair.ram, 7, &mut data), Err(short(11)));
    let past = chain.read(&pair.ram, u64::MAX, &mut data);
    assert_eq!(past, Err(short(u64::MAX)));
    assert_eq!(data, [7; 4]);
}

#[test]
fn writes_at_any_offset() {
    let (mut pair, chain) = chain();
    for (offset, data) in [(0, b"......".as_slice()), (5, b"!"), (2, b"xyz"), (6, b"")] {
        chain.write(&pair.ram, offset, data).unwrap();
    }
    let short = QueueError::Short {
        id: chain.id(),
        len: 6,
        wanted: 7,
    };
    assert_eq!(chain.write(&pair.ram, 6, b"?"), Err(short));
    pair.push(chain.id(), 6);
    pair.publish();
    assert_eq!(pair.driver.poll().unwrap().data, b"..xyz!");
}

#[test]
fn ranges_cut_segments() {
    let (pair, chain) = chain();
    let mut segments = Vec::new();
    chain.readable_range(2, 5, &mut segments).unwrap();
    let lens: Vec<u32> = segments.iter().map(|segment| segment.len).collect();
    assert_eq!(lens, [1, 1, 3]);
    assert_eq!(segments[0].address, chain.readable()[0].address + 2);
    let mut data = Vec::new();
    for segment in &segments {
        let mut part = vec![0; segment.len as usize];
        assert!(pair.ram.read(segment.address, &mut part));
        data.extend(part);
    }
    assert_eq!(data, b"cdefg");

    segments.truncate(1);
    chain.writable_range(3, 2, &mut segments).unwrap();
    assert_eq!(segments.len(), 3, "appended");
    assert!(chain.writable_range(0, 7, &mut segments).is_err());
    assert_eq!(segments.len(), 3);
    chain.readable_range(10, 0, &mut segments).unwrap();
    assert_eq!(segments.len(), 3);
}

#[test]
fn what_is_not_ram_is_told() {
    let mut pair = Pair::new(Ring::Split, 8, 0);
    let end = pair.ram.layout().size();
    let outside = [end - 2, u64::MAX - 1].map(|address| Segment { address, len: 8 });
    for segment in outside {
        pair.driver.add_segments(&[segment], &[segment]);
        pair.driver.kick();
        let chain = pair.pop();
        let error = QueueError::NotRam {
            what: "a buffer",
            address: segment.address,
        };
        assert_eq!(chain.read(&pair.ram, 0, &mut [0; 8]), Err(error));
        assert_eq!(chain.write(&pair.ram, 0, &[0; 8]), Err(error));
        assert_eq!(chain.write(&pair.ram, 4, &[0; 4]), Err(error));
    }
}
