//! imago's writes, cut.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;

use proptest::prelude::*;

use super::check::Check;
use super::{Action, Image, Run, SMALL, User, check_every_cut, zeros};
use crate::disk::tests::killed::qemu_finds_sound;
use crate::disk::tests::manage::qemu;

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

/// A start goes on with the file as a cut has left it, anywhere in the one before. QEMU is asked as well.
#[test]
fn a_start_after_a_cut_keeps_what_was_flushed() {
    let has_qemu = qemu("qemu-img", &[Path::new("--version")]).is_some();
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
        if has_qemu {
            qemu_finds_sound(image.path());
        }
    }
}

/// Counts of 64 bits: a block for 64 clusters, and a refcount table for 4096, which has to move.
#[test]
fn refcount_blocks_and_their_table_grow() {
    let sectors = 4300;
    let image = Image::new(sectors, 64);
    let table = |image: &Image| fs::read(image.path()).unwrap()[48..60].to_vec();
    let before = table(&image);
    let run = image.run();
    let mut user = User::new(&run, 0, 0, zeros(sectors));
    for step in 0..38 {
        user.act(&Action::Write(step * 100, 100));
    }
    let known = user.now;
    drop(run);
    assert_eq!(table(&image), before);
    let actions: Vec<_> = (38..43)
        .map(|step| Action::Write(step * 100, 100))
        .collect();
    start(&image, known, &actions);
    assert_ne!(table(&image), before, "it has moved");
}

/// An L1 table for a part of the disk: another takes its place.
#[test]
fn an_l1_table_grows() {
    let image = Image::new(SMALL, 16);
    let mut file = fs::read(image.path()).unwrap();
    let before = file[36..48].to_vec();
    file[36..40].copy_from_slice(&1_u32.to_be_bytes());
    fs::write(image.path(), file).unwrap();
    let actions: Vec<_> = (0..SMALL / 8)
        .map(|step| Action::Write(step * 152 % SMALL, 8))
        .collect();
    start(&image, zeros(SMALL), &actions);
    let after = fs::read(image.path()).unwrap();
    assert_ne!(after[36..48], before, "it has moved");
}

/// Threads, each with sectors of its own, on the same tables.
#[test]
fn writes_beside_a_flush_keep_the_image_sound() {
    const THREADS: u64 = 4;
    for round in 0..8 {
        let image = Image::new(SMALL, 64);
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
