//! Single writes, in orders that imago takes seldom.

use std::cell::RefCell;
use std::fs;
use std::io::{self, ErrorKind};

use proptest::prelude::*;

use super::super::{Blocks, Order};
use super::check::Check;
use super::{Action, Image, SECTOR, SMALL, User, zeros};

const COPIED: u64 = 1 << 63;
const CLUSTER: u64 = SECTOR;

struct Bytes(RefCell<Vec<u8>>);

impl Bytes {
    fn new(bytes: Vec<u8>) -> Self {
        Self(RefCell::new(bytes))
    }

    fn long(&self, offset: u64) -> u64 {
        let data = self.read(offset, 8).unwrap();
        u64::from_be_bytes(*data.first_chunk().unwrap())
    }

    fn check(&self) {
        Check::new(&self.0.borrow()).run().unwrap();
    }
}

impl Blocks for Bytes {
    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.0.borrow();
        let mut data = bytes.get(start..).unwrap_or_default().to_vec();
        data.resize(len, 0);
        Ok(data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (start, mut bytes) = (usize::try_from(offset).unwrap(), self.0.borrow_mut());
        let end = start + data.len();
        let len = bytes.len().max(end);
        bytes.resize(len, 0);
        bytes[start..end].copy_from_slice(data);
        Ok(())
    }
}

/// An image with one table and its order, a free cluster, and its tables: L1, L2, refcount block.
fn image() -> (Bytes, Order, u64, [u64; 3]) {
    let image = Image::new(SMALL, 16);
    let run = image.run();
    let mut user = User::new(&run, 0, 0, zeros(SMALL));
    user.act(&Action::Write(0, 1));
    drop(user);
    drop(run);
    let file = Bytes::new(fs::read(image.path()).unwrap());
    file.check();
    let order = Order::load(&file, 1).unwrap();
    let (l1, counts) = (file.long(40), file.long(48));
    let tables = [l1, file.long(l1) & !COPIED, file.long(counts)];
    let free = u64::try_from(file.0.borrow().len()).unwrap() / CLUSTER + 3;
    (file, order, free, tables)
}

fn block(file: &Bytes, offset: u64) -> Vec<u8> {
    file.read(offset, 512).unwrap()
}

/// What a write of an entry is, and that the cluster was counted before.
fn refer(file: &Bytes, order: &Order, offset: u64, cluster: u64) {
    let mut entry = (COPIED | (cluster * CLUSTER)).to_be_bytes();
    order.write(file, offset, &mut entry).unwrap();
    file.check();
}

#[test]
fn each_table_counts_what_it_refers_to() {
    let (file, order, free, [l1, table, counts]) = image();
    let count = |cluster| file.long(counts + cluster * 2) >> 48;
    assert_eq!(count(free), 0);
    // The order in which a flush beside a write may come: the table before the count.
    let mut data = block(&file, table);
    data[64..72].copy_from_slice(&(COPIED | (free * CLUSTER)).to_be_bytes());
    order.write(&file, table, &mut data).unwrap();
    file.check();
    assert_eq!(count(free), 1);
    assert!(order.missing(SMALL / 8 * SECTOR).0);
    refer(&file, &order, l1 + 8, free + 1);
    assert_eq!(count(free + 1), 1);
    assert_eq!(
        order.missing(SMALL / 8 * SECTOR),
        (false, SMALL / 4 * SECTOR)
    );
    // The new table is one from now on.
    let mut data = vec![0; 512];
    data[..8].copy_from_slice(&(COPIED | ((free + 2) * CLUSTER)).to_be_bytes());
    order.write(&file, (free + 1) * CLUSTER, &mut data).unwrap();
    file.check();
    // And so is a new block, which counts clusters from 256 on.
    let entry = file.long(48) + 8;
    let mut data = ((free + 3) * CLUSTER).to_be_bytes();
    order.write(&file, entry, &mut data).unwrap();
    file.check();
    refer(&file, &order, l1 + 16, 300);
    assert_eq!(file.long((free + 3) * CLUSTER + 44 * 2) >> 48, 1);
}

#[test]
fn an_old_copy_of_a_block_loses_no_count() {
    let (file, order, free, [l1, _, counts]) = image();
    let old = block(&file, counts);
    refer(&file, &order, l1 + 8, free);
    let new = block(&file, counts);
    assert_ne!(old, new);
    for _ in 0..2 {
        order.write(&file, counts, &mut old.clone()).unwrap();
        file.check();
        assert_eq!(block(&file, counts), new);
    }
    // imago has counted it: when it gives it back, it is given back.
    order.write(&file, counts, &mut new.clone()).unwrap();
    order.write(&file, l1 + 8, &mut [0; 8]).unwrap();
    order.write(&file, counts, &mut old.clone()).unwrap();
    assert_eq!(block(&file, counts), old);
    file.check();
    // And so it is when nothing refers to it any more before imago has counted it.
    refer(&file, &order, l1 + 8, free);
    order.write(&file, l1 + 8, &mut [0; 8]).unwrap();
    order.write(&file, counts, &mut old.clone()).unwrap();
    assert_eq!(block(&file, counts), old);
}

#[test]
fn what_cannot_be_kept_in_order_is_refused() {
    let image = Image::new(SMALL, 16);
    let sound = fs::read(image.path()).unwrap();
    let kind = |bytes: Vec<u8>, align| {
        let order = Order::load(&Bytes::new(bytes), align);
        order.map_err(|error| error.kind()).err()
    };
    assert_eq!(kind(sound.clone(), 512), None);
    assert_eq!(kind(sound.clone(), 4096), Some(ErrorKind::Unsupported));
    // Magic number, bits of a cluster, entries of the L1 table, clusters of the refcount table, bits of a count.
    for (offset, value) in [(0, 1), (23, 8), (23, 22), (36, 1), (56, 1), (99, 7)] {
        let mut bytes = sound.clone();
        bytes[offset] = value;
        assert_eq!(kind(bytes, 1), Some(ErrorKind::InvalidData), "{offset}");
    }
    // An L1 entry for what no block counts.
    let file = Bytes::new(sound);
    let order = Order::load(&file, 1).unwrap();
    let mut entry = (COPIED | 0x00ff_ffff_ffff_fe00).to_be_bytes();
    let refused = order.write(&file, file.long(40), &mut entry).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidData);
    assert_eq!(file.long(file.long(40)), 0, "nothing was written");
}

proptest! {
    /// Tables of garbage, as an image has that was made to do harm.
    #[test]
    fn garbage_is_written_or_refused(
        garbage in proptest::collection::vec(any::<u8>(), 512..4096),
        writes in proptest::collection::vec((0..16_u64, any::<[u64; 64]>()), 1..20),
    ) {
        let (file, order, ..) = image();
        for (place, chunk) in garbage.chunks(512).enumerate() {
            let offset = u64::try_from(place + 1).unwrap() * CLUSTER;
            file.write(offset, chunk).unwrap();
        }
        let loaded = Order::load(&file, 1).unwrap();
        for (cluster, words) in writes {
            for order in [&order, &loaded] {
                let mut data = words.map(u64::to_be_bytes);
                let written = order.write(&file, cluster * CLUSTER, data.as_flattened_mut());
                if let Err(error) = written {
                    assert_eq!(error.kind(), ErrorKind::InvalidData);
                }
                order.missing(words[0] >> 1);
            }
        }
    }
}
