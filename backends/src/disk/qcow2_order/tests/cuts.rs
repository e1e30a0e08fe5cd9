use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::thread;

use proptest::prelude::*;

use super::super::Order;
use super::check::Check;
use super::{Action, Image, Run, SECTOR, User, check_every_cut, zeros};
use crate::disk::qcow2_order::Blocks;
use crate::disk::tests::manage::qemu;

/// Sectors of a small disk: eight tables of 64 clusters.
const SMALL: u64 = 512;

fn actions(sectors: u64) -> impl Strategy<Value = Vec<Action>> {
    let range = (0..sectors - 100, prop_oneof![1..8_u64, 1..100_u64]);
    let action = prop_oneof![
        6 => range.clone().prop_map(|(sector, count)| Action::Write(sector, count)),
        2 => (range.clone(), any::<bool>())
            .prop_map(|((sector, count), unmap)| Action::Zero(sector, count, unmap)),
        2 => range.prop_map(|(sector, count)| Action::Discard(sector, count)),
        1 => Just(Action::Flush),
    ];
    proptest::collection::vec(action, 1..40)
}

/// One start of a machine, with a cut after each of its writes.
fn start(
    image: &Image,
    known: Vec<BTreeSet<u64>>,
    actions: &[Action],
) -> (Vec<BTreeSet<u64>>, usize) {
    let run = image.run();
    let mut user = User::new(&run, 0, 0, known.clone());
    for action in actions {
        user.act(action);
    }
    let events = user.events;
    let Run {
        before,
        log,
        executor,
        ..
    } = run;
    // What is written when it ends by itself is cut as well.
    drop(executor);
    let log = log.lock().unwrap();
    (check_every_cut(before, &log, known, events), log.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn after_every_write_the_image_is_sound(
        width in 0..7_u32,
        first in actions(SMALL),
        second in actions(SMALL),
    ) {
        // What is counted twice would need more than a bit, but nothing is.
        let image = Image::new(SMALL, 1 << width);
        let (known, _) = start(&image, zeros(SMALL), &first);
        start(&image, known, &second);
    }
}

/// A start goes on with the file as a cut has left it, anywhere in the one before.
#[test]
fn a_start_after_a_cut_keeps_what_was_flushed() {
    let image = Image::new(SMALL, 16);
    let mut known = zeros(SMALL);
    for round in 0..20 {
        let run = image.run();
        let mut user = User::new(&run, 0, 0, known.clone());
        for step in 0..12 {
            let sector = (round * 97 + step * 131) % (SMALL - 20);
            user.act(&Action::Write(sector, 1 + step % 20));
            user.act(&Action::Discard((sector * 7) % (SMALL - 20), step));
            if step % 4 == 3 {
                user.act(&Action::Flush);
            }
        }
        let events = user.events;
        let log = std::mem::take(&mut *run.log.lock().unwrap());
        let mut file = run.before.clone();
        drop(run);
        let cut = usize::try_from(round * 31).unwrap() % log.len();
        let (done, _) = log.split_at(cut);
        let events = events.into_iter().filter(|(at, _)| *at <= cut).collect();
        known = check_every_cut(file.clone(), done, known, events);
        for (offset, data) in done {
            let start = usize::try_from(*offset).unwrap();
            let end = start + data.len();
            file.resize(file.len().max(end), 0);
            file[start..end].copy_from_slice(data);
        }
        fs::write(image.path(), file).unwrap();
    }
}

/// Counts of 64 bits: a block for 64 clusters, and a refcount table for 4096, which has to move.
#[test]
fn refcount_blocks_and_their_table_grow() {
    let sectors = 5000;
    let image = Image::new(sectors, 64);
    let table = |image: &Image| fs::read(image.path()).unwrap()[48..60].to_vec();
    let before = table(&image);
    let actions: Vec<Action> = (0..sectors / 100)
        .map(|step| Action::Write(step * 100, 100))
        .collect();
    start(&image, zeros(sectors), &actions);
    assert_ne!(table(&image), before, "it has moved");
}

/// Threads, each with sectors of its own, on the same tables.
#[test]
fn writes_beside_a_flush_keep_the_image_sound() {
    const THREADS: u64 = 4;
    for round in 0..8 {
        let image = Image::new(SMALL, 16);
        let run = image.run();
        let mine = SMALL / THREADS;
        let events = thread::scope(|scope| {
            let users = (0..THREADS).map(|index| {
                let mut user = User::new(&run, index, index * mine, zeros(mine));
                scope.spawn(move || {
                    for step in 0..60 {
                        let sector = (step * 37 + index * 11 + round * 5) % (mine - 4);
                        user.act(&match (step + index) % 5 {
                            0 => Action::Flush,
                            1 if step % 3 == 0 => Action::Zero(sector, 3, true),
                            _ => Action::Write(sector, 1 + step % 4),
                        });
                    }
                    user.events
                })
            });
            let users: Vec<_> = users.collect();
            let events = users.into_iter().flat_map(|user| user.join().unwrap());
            events.collect::<Vec<_>>()
        });
        let log = run.log.lock().unwrap();
        check_every_cut(run.before.clone(), &log, zeros(SMALL), events);
    }
}

/// Tables and clusters that are shared, and compressed ones: they are replaced, and what they took is used again.
#[test]
fn an_image_with_a_snapshot_and_compressed_clusters_stays_sound() {
    let sectors = 256;
    let image = Image::new(sectors, 16);
    let full: Vec<Action> = (0..4).map(|table| Action::Write(table * 64, 40)).collect();
    start(&image, zeros(sectors), &full);
    let compressed = Image::empty();
    let word = Path::new;
    let (options, to) = (word("cluster_size=512"), compressed.path());
    let convert = ["convert", "-c", "-O", "qcow2", "-o"].map(word);
    let convert = [&convert[..], &[options, image.path(), to]].concat();
    if qemu("qemu-img", &convert).is_none() {
        return;
    }
    let snapshot = |image: &Image| {
        let words = ["snapshot", "-c", "one"].map(word);
        qemu("qemu-img", &[&words[..], &[image.path()]].concat()).unwrap();
    };
    snapshot(&image);
    for image in [&image, &compressed] {
        use_again(image, sectors);
        snapshot(image);
        use_again(image, sectors);
        qemu("qemu-img", &[word("check"), image.path()]).unwrap();
    }
}

fn use_again(image: &Image, sectors: u64) {
    let file = fs::read(image.path()).unwrap();
    let check = Check::new(&file);
    // What is compressed is not looked at, nor is what it had when it is none any more.
    let known = (0..sectors).map(|sector| match check.sector(sector) {
        Some(data) => BTreeSet::from([u64::from_le_bytes(*data.first_chunk().unwrap())]),
        None => (0..=4).map(|number| (1 << 32) + number).collect(),
    });
    let mut actions = Vec::new();
    for step in 0..60 {
        let sector = step * 41 % (sectors - 20);
        actions.push(match step % 6 {
            0 => Action::Discard(sector, 9),
            1 => Action::Zero(sector, 7, true),
            2 => Action::Zero(sector, 5, false),
            _ => Action::Write(sector, 1 + step % 17),
        });
        if step % 20 == 19 {
            actions.push(Action::Flush);
        }
    }
    start(image, known.collect(), &actions);
}

struct Bytes(Vec<u8>);

impl Blocks for Bytes {
    fn read(&self, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut data = self.0.get(start..).unwrap_or_default().to_vec();
        data.resize(len, 0);
        Ok(data)
    }

    fn write(&self, _offset: u64, _data: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_cannot_be_kept_in_order_is_refused() {
    let image = Image::new(SMALL, 16);
    let sound = fs::read(image.path()).unwrap();
    let kind = |bytes: Vec<u8>, align| {
        let order = Order::load(&Bytes(bytes), align);
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
    let order = Order::load(&Bytes(sound.clone()), 1).unwrap();
    let l1 = u64::from_be_bytes(*sound[40..].first_chunk().unwrap());
    let mut entry = (1_u64 << 63 | 0x00ff_ffff_ffff_fe00).to_be_bytes();
    let refused = order.write(&Bytes(sound), l1, &mut entry).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidData);
}

proptest! {
    /// Tables of garbage, as an image has that was made to do harm.
    #[test]
    fn garbage_is_written_or_refused(
        garbage in proptest::collection::vec(any::<u8>(), 512..4096),
        writes in proptest::collection::vec((0..16_u64, any::<[u64; 64]>()), 1..20),
    ) {
        let image = Image::new(SMALL, 16);
        let mut bytes = fs::read(image.path()).unwrap();
        let start = bytes.len().min(512);
        bytes.splice(start.., garbage);
        let file = Bytes(bytes);
        let order = Order::load(&file, 1).unwrap();
        for (cluster, words) in writes {
            let mut data = words.map(u64::to_be_bytes);
            let written = order.write(&file, cluster * SECTOR, data.as_flattened_mut());
            if let Err(error) = written {
                assert_eq!(error.kind(), ErrorKind::InvalidData);
            }
            order.missing(words[0]);
        }
    }
}
