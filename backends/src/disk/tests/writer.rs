//! Writes by the thread that serves the disk.

use trivisor_buses::{StorageOp, Work};

use super::*;

/// A disk of 1 MiB on the file system of temporary files, and its writer, which this thread works. `None` where there
/// is no ring beside which it would work, or the ring serves better.
fn rig() -> Option<(TempDir, File, Rig, Writer)> {
    let (directory, file) = image(1 << 20);
    let mut rig = Rig::raw(&file, &DiskOptions::default());
    let mut writer = rig.writer.take()?;
    assert!(!writer.work(), "nothing is left for it");
    // It asks the file by its first write.
    let id = rig.submit(StorageOp::Write, 0, &[segment(0, 512)]).unwrap();
    rig.disk.start();
    writer.work();
    rig.fetch();
    rig.ended.remove(&id).unwrap().unwrap();
    let id = rig.submit(StorageOp::Write, 0, &[segment(0, 512)]).unwrap();
    rig.disk.start();
    rig.fetch();
    let waits = !rig.ended.contains_key(&id);
    rig.disk.drain();
    rig.fetch();
    rig.ended.clear();
    if !waits {
        eprintln!("skipped: the file has writes that do not wait");
    }
    waits.then_some((directory, file, rig, writer))
}

#[test]
fn the_writer_does_what_the_disk_leaves_to_it() {
    let Some((_directory, file, mut rig, mut writer)) = rig() else {
        return;
    };
    let data = pattern(70_000, 3);
    assert!(rig.ram.write(0x1001, &data));
    let segments = [segment(0x1001, 512), segment(0x2000, 65_024)];
    let ids: Vec<_> = (0..4)
        .map(|turn| rig.submit(StorageOp::Write, turn << 17, &segments).unwrap())
        .collect();
    rig.disk.start();
    rig.fetch();
    assert!(rig.ended.is_empty(), "it is left to the writer");
    while writer.work() {}
    rig.fetch();
    for id in ids {
        rig.ended.remove(&id).unwrap().unwrap();
    }
    for turn in 0..4 {
        let [first, second] =
            [(0x1001, 512), (0x2000, 65_024)].map(|(at, len)| rig.memory(at, len));
        assert_eq!(bytes(&file, turn << 17, 512), first);
        assert_eq!(bytes(&file, (turn << 17) + 512, 65_024), second);
    }
}

#[test]
fn what_the_writer_has_not_begun_is_drained_without_it() {
    let Some((_directory, file, mut rig, mut writer)) = rig() else {
        return;
    };
    assert!(rig.ram.write(0x1000, &pattern(4096, 9)));
    let ids: Vec<_> = (0..32)
        .map(|turn| {
            let segments = [segment(0x1000, 4096)];
            rig.submit(StorageOp::Write, turn << 12, &segments).unwrap()
        })
        .collect();
    rig.disk.start();
    rig.disk.drain();
    rig.fetch();
    for (turn, id) in (0..).zip(ids) {
        rig.ended.remove(&id).unwrap().unwrap();
        assert_eq!(bytes(&file, turn << 12, 4096), pattern(4096, 9));
    }
    assert!(!writer.work());
}

#[test]
fn a_write_of_another_thread_is_not_left_to_the_writer() {
    let Some((_directory, file, mut rig, mut writer)) = rig() else {
        return;
    };
    assert!(rig.ram.write(0x1000, &pattern(512, 5)));
    std::thread::scope(|scope| {
        let other = scope.spawn(|| rig.transfer(StorageOp::Write, 512, &[segment(0x1000, 512)]));
        other.join().unwrap().unwrap();
    });
    assert_eq!(bytes(&file, 512, 512), pattern(512, 5));
    assert!(!writer.work());
}

#[test]
fn an_error_of_the_writer_is_the_requests() {
    let (directory, file) = image(1 << 20);
    drop(file);
    let path = directory.path().join("disk.img");
    // The disk believes that it may write.
    let file = OpenOptions::new().read(true).open(path).unwrap();
    let mut rig = Rig::raw(&file, &DiskOptions::default());
    let Some(mut writer) = rig.writer.take() else {
        return;
    };
    writer.work();
    for _ in 0..2 {
        let id = rig.submit(StorageOp::Write, 0, &[segment(0, 512)]).unwrap();
        rig.disk.start();
        rig.disk.drain();
        writer.work();
        rig.fetch();
        assert!(rig.ended.remove(&id).unwrap().is_err());
    }
}
