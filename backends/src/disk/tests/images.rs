//! Images that are not raw: opened, used, damaged.

use std::fs::{self, OpenOptions as FileOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tempfile::TempDir;
use trivisor_buses::{Storage, StorageBusy, StorageOp};

use super::killed::qemu_finds_sound;
use super::manage::qemu;
use super::model::{Action, DISK, actions, follow};
use super::{Rig, kind, pattern, ram, segment};
use crate::disk::{
    Disk, DiskError, DiskOptions, Format, OpenError, OpenOptions, create, info, open,
};
use crate::image::{self, ImageError};

const CASES: u32 = 32;
const DISK_LEN: usize = 256 << 10;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A new image of [`DISK`] bytes.
    fn qcow2(&self, name: &str, backing: Option<(&str, Format)>) -> PathBuf {
        let path = self.at(name);
        let backing = backing.map(|(name, format)| (Path::new(name), format));
        create(&path, Format::Qcow2, Some(DISK), backing).unwrap();
        path
    }

    fn raw(&self, name: &str, data: &[u8]) -> PathBuf {
        fs::write(self.at(name), data).unwrap();
        self.at(name)
    }

    /// The text of an error and of what is behind it, without this folder's name.
    fn error(&self, path: &Path, options: &OpenOptions) -> String {
        let mut error: &dyn std::error::Error = &open(path, options).unwrap_err();
        let mut text = error.to_string();
        while let Some(source) = error.source() {
            text += &format!(": {source}");
            error = source;
        }
        text.replace(self.0.path().to_str().unwrap(), "DIR")
    }
}

const WRITE: OpenOptions = OpenOptions {
    format: None,
    read_only: false,
    direct: false,
};

const READ: OpenOptions = OpenOptions {
    read_only: true,
    ..WRITE
};

/// Waits until nobody has a closed image any more: a test that starts a program beside this one hands it every
/// lock of this process for a moment, between fork and exec.
pub(super) fn wait_unlocked(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Err(error @ ImageError::Locked { .. }) = image::open(path, false) {
        assert!(Instant::now() < deadline, "{error}");
        std::thread::yield_now();
    }
}

pub(super) fn rig(path: &Path, options: &OpenOptions) -> Rig {
    wait_unlocked(path);
    let ram = ram();
    let opened = open(path, options).unwrap();
    Rig::new(
        Disk::image(opened, ram.clone(), &DiskOptions::default()).unwrap(),
        ram,
    )
}

#[test]
fn each_request_on_a_qcow2() {
    let folder = Folder::new();
    let path = folder.qcow2("disk.qcow2", None);
    let mut rig = rig(&path, &WRITE);
    let geometry = rig.disk.geometry();
    assert_eq!((geometry.capacity, geometry.read_only), (DISK, false));
    // More than is copied at a time is on the disk only as a whole.
    let data = pattern(DISK_LEN, 1);
    assert!(rig.ram.write(0x1_0001, &data));
    let all = [
        segment(0x1_0001, 100_000),
        segment(0x1_0001 + 100_000, 162_144),
    ];
    rig.transfer(StorageOp::Write, 0, &all).unwrap();
    rig.range(StorageOp::Flush, 0, 0).unwrap();
    rig.range(StorageOp::WriteZeroes { unmap: true }, 65536, 65536 + 512)
        .unwrap();
    rig.range(StorageOp::WriteZeroes { unmap: false }, 1024, 512)
        .unwrap();
    rig.range(StorageOp::Discard, 196_608, 65536).unwrap();
    let mut expected = data;
    expected[65536..131_072 + 512].fill(0);
    expected[1024..1536].fill(0);
    rig.ram.start_dirty_log();
    rig.transfer(StorageOp::Read, 0, &[segment(0, 196_608)])
        .unwrap();
    assert_eq!(rig.ram.take_dirty()[0].bits[0], (1 << 48) - 1);
    assert!(rig.memory(0, 196_608) == expected[..196_608]);
    // Out of range, not RAM.
    let beyond = rig.transfer(StorageOp::Read, DISK, &[segment(0, 512)]);
    assert_eq!(kind(beyond), ErrorKind::InvalidInput);
    let no_ram = rig.transfer(StorageOp::Read, 0, &[segment(1 << 40, 512)]);
    assert_eq!(kind(no_ram), ErrorKind::InvalidInput);
    drop(rig);
    let mut again = self::rig(&path, &READ);
    again
        .transfer(StorageOp::Read, 0, &[segment(0, 196_608)])
        .unwrap();
    assert!(
        again.memory(0, 196_608) == expected[..196_608],
        "after a second start"
    );
    let refused = again.transfer(StorageOp::Write, 0, &[segment(0, 512)]);
    assert_eq!(kind(refused), ErrorKind::ReadOnlyFilesystem);
}

/// Tables are read and written in blocks of the host then.
#[test]
fn a_qcow2_by_direct_io() {
    let direct = OpenOptions {
        direct: true,
        ..WRITE
    };
    // A folder of the build, for one in memory may have no direct I/O.
    let folder = Folder(tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap());
    let path = folder.at("disk.qcow2");
    // Three tables.
    create(&path, Format::Qcow2, Some(1200 << 20), None).unwrap();
    wait_unlocked(&path);
    if let Err(OpenError::Direct { .. }) = open(&path, &direct) {
        eprintln!("skipped without direct I/O: a qcow2 by direct I/O");
        return;
    }
    let mut rig = rig(&path, &direct);
    let data = pattern(1 << 20, 5);
    assert!(rig.ram.write(0, &data));
    for place in [0, 511 << 20, 1100 << 20] {
        let places = [segment(0, 1 << 20)];
        // Into two tables at once, at the second one.
        let place = place + (512 << 10);
        rig.transfer(StorageOp::Write, place, &places).unwrap();
    }
    rig.range(StorageOp::Discard, 0, 600 << 20).unwrap();
    rig.transfer(StorageOp::Write, 600 << 20, &[segment(0, 1 << 20)])
        .unwrap();
    rig.range(StorageOp::Flush, 0, 0).unwrap();
    drop(rig);
    let mut again = self::rig(&path, &READ);
    for place in [600 << 20, (1100 << 20) + (512 << 10)] {
        again
            .transfer(StorageOp::Read, place, &[segment(1 << 20, 1 << 20)])
            .unwrap();
        assert!(again.memory(1 << 20, 1 << 20) == data, "at {place}");
    }
    again
        .transfer(StorageOp::Read, 511 << 20, &[segment(0, 2 << 20)])
        .unwrap();
    assert!(again.memory(0, 2 << 20).iter().all(|byte| *byte == 0));
    drop(again);
    if qemu("qemu-img", &[Path::new("--version")]).is_some() {
        qemu_finds_sound(&path);
    }
}

#[test]
fn many_requests_on_a_qcow2_are_under_way() {
    let folder = Folder::new();
    let path = folder.qcow2("disk.qcow2", None);
    let ram = ram();
    let options = DiskOptions {
        depth: 4,
        ..DiskOptions::default()
    };
    let parts = Disk::image(open(&path, &WRITE).unwrap(), ram.clone(), &options).unwrap();
    let mut rig = Rig::new(parts, ram);
    for i in 0..4 {
        rig.submit(StorageOp::Write, i * 4096, &[segment(i * 4096, 4096)])
            .unwrap();
    }
    let fifth = rig.submit(StorageOp::Read, 0, &[segment(0, 512)]);
    assert_eq!(fifth, Err(StorageBusy));
    rig.disk.drain();
    rig.fetch();
    assert_eq!(rig.ended.len(), 4);
    assert!(rig.ended.values().all(Result::is_ok));
}

#[test]
fn a_stack_reads_through_and_is_written_on_top_alone() {
    let folder = Folder::new();
    let base = pattern(DISK_LEN, 2);
    let raw = folder.raw("base.img", &base);
    let middle = folder.qcow2("middle.qcow2", Some(("base.img", Format::Raw)));
    let middle_before = fs::read(&middle).unwrap();
    let top = folder.qcow2("top.qcow2", Some(("middle.qcow2", Format::Qcow2)));
    let mut rig = rig(&top, &WRITE);
    rig.ram.write(0, &[0xee; 512]);
    rig.transfer(StorageOp::Write, 70_144, &[segment(0, 512)])
        .unwrap();
    rig.transfer(StorageOp::Read, 65_536, &[segment(4096, 65_536)])
        .unwrap();
    let mut expected = base.clone();
    expected[70_144..70_656].fill(0xee);
    assert!(rig.memory(4096, 65_536) == expected[65_536..131_072]);
    // What lies below is locked against writers, not against readers.
    assert!(open(&middle, &READ).is_ok());
    assert!(
        folder
            .error(&raw, &WRITE)
            .ends_with("is in use by another VM")
    );
    assert!(
        folder
            .error(&top, &READ)
            .ends_with("is in use by another VM")
    );
    drop(rig);
    wait_unlocked(&top);
    assert!(fs::read(&raw).unwrap() == base);
    assert!(fs::read(&middle).unwrap() == middle_before);
    let found = info(&top, None).unwrap();
    assert_eq!((found.format, found.capacity), (Format::Qcow2, DISK));
    let backing = [(middle, Format::Qcow2), (raw, Format::Raw)];
    assert_eq!(found.backing, backing);
}

#[test]
fn a_vmdk_is_read() {
    let folder = Folder::new();
    let data = pattern(DISK_LEN, 3);
    folder.raw("disk-flat.vmdk", &data[..131_072]);
    folder.raw(
        "disk.vmdk",
        b"# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n\n\
          RW 256 FLAT \"disk-flat.vmdk\" 0\nRW 128 ZERO\n\n\
          ddb.adapterType = \"ide\"\nddb.geometry.cylinders = \"1\"\nddb.geometry.heads = \"16\"\n\
          ddb.geometry.sectors = \"63\"\n",
    );
    let mut rig = rig(&folder.at("disk.vmdk"), &READ);
    assert_eq!(rig.disk.geometry().capacity, 196_608);
    rig.transfer(StorageOp::Read, 0, &[segment(0, 196_608)])
        .unwrap();
    assert!(rig.memory(0, 131_072) == data[..131_072]);
    assert!(rig.memory(131_072, 65_536).iter().all(|byte| *byte == 0));
    drop(rig);
    wait_unlocked(&folder.at("disk.vmdk"));
    assert_eq!(
        folder.error(&folder.at("disk.vmdk"), &WRITE),
        "DIR/disk.vmdk cannot be written: vmdk images are read only"
    );
    fs::remove_file(folder.at("disk-flat.vmdk")).unwrap();
    assert_eq!(
        folder.error(&folder.at("disk.vmdk"), &READ),
        "the backing file of DIR/disk.vmdk cannot be used: DIR/disk-flat.vmdk does not exist"
    );
}

#[test]
fn what_cannot_be_opened_says_why() {
    let folder = Folder::new();
    let plain = folder.raw("plain.img", &[0; 4096]);
    folder.raw("gone.img", &[0; 4096]);
    folder.qcow2("orphan.qcow2", Some(("gone.img", Format::Raw)));
    fs::remove_file(folder.at("gone.img")).unwrap();
    let error = |name: &str, options: &OpenOptions| folder.error(&folder.at(name), options);
    assert_eq!(
        error("orphan.qcow2", &READ),
        "the backing file of DIR/orphan.qcow2 cannot be used: DIR/gone.img does not exist"
    );

    folder.qcow2("two.qcow2", None);
    folder.qcow2("one.qcow2", Some(("two.qcow2", Format::Qcow2)));
    fs::remove_file(folder.at("two.qcow2")).unwrap();
    std::os::unix::fs::symlink("one.qcow2", folder.at("two.qcow2")).unwrap();
    assert_eq!(
        error("one.qcow2", &WRITE),
        "the backing files of DIR/one.qcow2 lead back to itself"
    );

    let guest = folder.raw(
        "guest.img",
        &fs::read(folder.qcow2("real.qcow2", None)).unwrap(),
    );
    assert_eq!(
        error("guest.img", &WRITE),
        "DIR/guest.img is named like a raw image and begins like a qcow2 one"
    );
    let raw = OpenOptions {
        format: Some(Format::Raw),
        ..WRITE
    };
    wait_unlocked(&guest);
    assert_eq!(open(&guest, &raw).unwrap().format(), Format::Raw);
    fs::copy(&plain, folder.at("named.qcow2")).unwrap();
    assert_eq!(
        error("named.qcow2", &WRITE),
        "DIR/named.qcow2 is named like a qcow2 image and begins like a raw one"
    );
    let qcow2 = OpenOptions {
        format: Some(Format::Qcow2),
        ..WRITE
    };
    let corrupt = folder.error(&plain, &qcow2);
    assert!(
        corrupt.starts_with("DIR/plain.img is no valid qcow2 image: "),
        "{corrupt}"
    );
    let real = FileOptions::new()
        .write(true)
        .open(folder.at("real.qcow2"))
        .unwrap();
    // Bits of a cluster.
    real.write_all_at(&[0, 0, 0, 77], 20).unwrap();
    let corrupt = error("real.qcow2", &WRITE);
    assert!(
        corrupt.starts_with("DIR/real.qcow2 is no valid qcow2 image: "),
        "{corrupt}"
    );
    folder.raw("odd.img", &[0; 1000]);
    let odd = open(&folder.at("odd.img"), &WRITE).unwrap();
    let odd = Disk::image(odd, ram(), &DiskOptions::default()).unwrap_err();
    assert!(matches!(odd, DiskError::Size { size: 1000 }));
}

#[test]
fn a_backing_file_without_a_format_is_refused() {
    let folder = Folder::new();
    folder.raw("base.img", &[0; 4096]);
    let path = folder.qcow2("top.qcow2", Some(("base.img", Format::Raw)));
    let mut image = fs::read(&path).unwrap();
    // The header extension that holds the backing file's format; its type becomes one that is not known.
    let at = image
        .windows(4)
        .position(|word| word == 0xe279_2aca_u32.to_be_bytes())
        .unwrap();
    image[at..at + 4].copy_from_slice(b"none");
    fs::write(&path, &image).unwrap();
    let text = "DIR/top.qcow2 does not say which format its backing file base.img has";
    assert_eq!(folder.error(&path, &READ), text);
    let mut image = fs::read(&path).unwrap();
    image[at..at + 4].copy_from_slice(&0xe279_2aca_u32.to_be_bytes());
    image[at + 8..at + 11].copy_from_slice(b"odd");
    fs::write(&path, &image).unwrap();
    assert_eq!(folder.error(&path, &READ), format!("{text}, but \"odd\""));
}

#[test]
fn a_qcow2_that_shrinks_gives_errors() {
    let folder = Folder::new();
    let path = folder.qcow2("disk.qcow2", None);
    let mut rig = rig(&path, &WRITE);
    rig.ram.write(0, &pattern(DISK_LEN, 4));
    rig.transfer(StorageOp::Write, 0, &[segment(0, 262_144)])
        .unwrap();
    rig.range(StorageOp::Flush, 0, 0).unwrap();
    let file = FileOptions::new().write(true).open(&path).unwrap();
    let len = file.metadata().unwrap().len();
    file.set_len(len - 65_536).unwrap();
    let missing = rig.transfer(StorageOp::Read, 196_608, &[segment(0, 65_536)]);
    assert_eq!(kind(missing), ErrorKind::UnexpectedEof);
    rig.transfer(StorageOp::Read, 0, &[segment(0, 4096)])
        .unwrap();
    file.set_len(0).unwrap();
    assert!(
        rig.transfer(StorageOp::Read, 0, &[segment(0, 4096)])
            .is_err()
    );
}

#[test]
fn a_loop_by_names_is_found() {
    let folder = Folder::new();
    folder.qcow2("b.qcow2", None);
    folder.qcow2("a.qcow2", Some(("b.qcow2", Format::Qcow2)));
    let other = folder.qcow2("c.qcow2", Some(("a.qcow2", Format::Qcow2)));
    // b becomes one that stands on a: a, b, a.
    fs::rename(&other, folder.at("b.qcow2")).unwrap();
    let error = open(&folder.at("a.qcow2"), &READ).unwrap_err();
    assert!(matches!(error, OpenError::Loop { .. }), "{error}");
}

#[test]
fn a_table_of_feature_names_that_ends_within_an_entry_is_an_error() {
    let folder = Folder::new();
    let path = folder.qcow2("disk.qcow2", None);
    let mut image = fs::read(&path).unwrap();
    let at = image
        .windows(4)
        .position(|word| word == 0x6803_f857_u32.to_be_bytes())
        .unwrap();
    let len = u32::from_be_bytes(image[at + 4..at + 8].try_into().unwrap());
    image[at + 4..at + 8].copy_from_slice(&(len + 1).to_be_bytes());
    fs::write(&path, &image).unwrap();
    let text = folder.error(&path, &READ);
    assert!(text.contains("table of feature names"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn a_qcow2_is_a_vector(first in actions(), second in actions()) {
        let folder = Folder::new();
        let base = pattern(DISK_LEN / 2, 9);
        folder.raw("base.img", &base);
        for backing in [None, Some(("base.img", Format::Raw))] {
            let path = folder.qcow2("disk.qcow2", backing);
            let mut model = vec![0; DISK_LEN];
            if backing.is_some() {
                model[..base.len()].copy_from_slice(&base);
            }
            for actions in [&first, &second] {
                let mut rig = rig(&path, &WRITE);
                follow(&mut rig, &mut model, actions);
            }
            let mut rig = rig(&path, &READ);
            rig.transfer(StorageOp::Read, 0, &[segment(0, 262_144)]).unwrap();
            assert!(rig.memory(0, DISK_LEN) == model);
            drop(rig);
            fs::remove_file(&path).unwrap();
        }
    }

    /// Whatever stands in the metadata: errors, no panic, no endless work.
    #[test]
    fn a_damaged_qcow2_does_no_harm(
        damage in proptest::collection::vec((0..5_usize, 0..200_usize, any::<u8>()), 1..6),
        actions in actions(),
    ) {
        let folder = Folder::new();
        let path = folder.qcow2("disk.qcow2", None);
        let mut whole = rig(&path, &WRITE);
        follow(&mut whole, &mut vec![0; DISK_LEN], &actions);
        drop(whole);
        let file = FileOptions::new().read(true).write(true).open(&path).unwrap();
        let clusters = file.metadata().unwrap().len() / 65_536;
        for (cluster, at, byte) in damage {
            // The header and the tables come first.
            let cluster = cluster as u64 % clusters;
            file.write_all_at(&[byte], cluster * 65_536 + at as u64).unwrap();
        }
        use_damaged(&path, &actions);
        drop(file);
    }
}

/// Errors are as good as success.
fn use_damaged(path: &Path, actions: &[Action]) {
    wait_unlocked(path);
    let Ok(opened) = open(path, &WRITE) else {
        return;
    };
    let ram = ram();
    let Ok(parts) = Disk::image(opened, ram.clone(), &DiskOptions::default()) else {
        return;
    };
    let mut rig = Rig::new(parts, ram);
    let mut do_one = |op, offset: u64| {
        let moves = matches!(op, StorageOp::Read | StorageOp::Write);
        let segments = [segment(0, 4096)];
        let id = rig
            .submit_range(op, offset, 4096, if moves { &segments } else { &[] })
            .unwrap();
        let _any = rig.wait(id);
    };
    for action in actions {
        match action {
            Action::Read { sector, .. } => do_one(StorageOp::Read, sector * 512),
            Action::Write { sector, .. } => do_one(StorageOp::Write, sector * 512),
            Action::Zero { sector, unmap, .. } => {
                do_one(StorageOp::WriteZeroes { unmap: *unmap }, sector * 512);
            }
            Action::Flush => do_one(StorageOp::Flush, 0),
        }
    }
}

#[test]
fn formats_have_names() {
    for format in [Format::Raw, Format::Qcow2, Format::Vmdk] {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    let error = "vhd".parse::<Format>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "vhd is no image format: raw, qcow2 and vmdk are"
    );
}
