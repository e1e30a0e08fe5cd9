//! Making, describing and converting images; and what QEMU's tools say of ours.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::pattern;
use crate::disk::{Format, ManageError, OpenError, convert, create, info};
use crate::image::ImageError;

const MIB: u64 = 1 << 20;

fn folder() -> (tempfile::TempDir, impl Fn(&str) -> PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    (directory, move |name| path.join(name))
}

#[test]
fn new_images_have_their_size_and_take_little() {
    let (_directory, at) = folder();
    for format in [Format::Raw, Format::Qcow2] {
        let path = at(&format!("disk.{format}"));
        create(&path, format, Some(64 * MIB), None).unwrap();
        let found = info(&path, None).unwrap();
        assert_eq!((found.format, found.capacity), (format, 64 * MIB));
        assert!(found.stored < MIB, "{found:?}");
        let again = create(&path, format, Some(MIB), None).unwrap_err();
        assert!(matches!(again, ManageError::Create { .. }), "{again}");
        assert_eq!(info(&path, None).unwrap(), found, "what was there stays");
    }
    create(
        &at("top.qcow2"),
        Format::Qcow2,
        None,
        Some((Path::new("disk.raw"), Format::Raw)),
    )
    .unwrap();
    let found = info(&at("top.qcow2"), None).unwrap();
    assert_eq!(found.capacity, 64 * MIB, "as what it stands on");
    assert_eq!(found.backing, [(at("disk.raw"), Format::Raw)]);
}

#[test]
fn what_cannot_be_made_leaves_no_file() {
    let (_directory, at) = folder();
    let path = at("new.img");
    let backing = Some((Path::new("none.img"), Format::Raw));
    for (format, size, backing, text) in [
        (
            Format::Vmdk,
            Some(MIB),
            None,
            "vmdk images are read only: none can be made",
        ),
        (
            Format::Raw,
            None,
            None,
            "a disk without a backing file needs a size",
        ),
        (
            Format::Raw,
            Some(MIB),
            backing,
            "a raw image has no backing file",
        ),
        (
            Format::Raw,
            Some(1000),
            None,
            "a disk of 1000 bytes: its size has to be a positive multiple of 512 bytes",
        ),
        (
            Format::Qcow2,
            Some(0),
            None,
            "a disk of 0 bytes: its size has to be a positive multiple of 512 bytes",
        ),
    ] {
        let error = create(&path, format, size, backing).unwrap_err();
        assert_eq!(error.to_string(), text);
        assert!(!path.exists());
    }
    let error = create(&path, Format::Qcow2, None, backing).unwrap_err();
    assert!(matches!(
        error,
        ManageError::Open(OpenError::File(ImageError::Missing { .. }))
    ));
    assert!(create(&path, Format::Qcow2, Some(u64::MAX - 511), None).is_err());
    assert!(!path.exists());
    let error = convert(&at("none.img"), None, &path, Format::Qcow2).unwrap_err();
    assert!(matches!(error, ManageError::Open(_)));
    assert!(!path.exists());
}

#[test]
fn conversion_keeps_the_data_and_stores_no_zeros() {
    let (_directory, at) = folder();
    let mut data = vec![0; 8 << 20];
    data[3 << 20..(3 << 20) + 100_000].copy_from_slice(&pattern(100_000, 1));
    let end = data.len() - 512;
    data[end..].copy_from_slice(&pattern(512, 2));
    fs::write(at("first.img"), &data).unwrap();
    convert(&at("first.img"), None, &at("second.qcow2"), Format::Qcow2).unwrap();
    assert!(info(&at("second.qcow2"), None).unwrap().stored < MIB);
    convert(&at("second.qcow2"), None, &at("third.img"), Format::Raw).unwrap();
    assert!(fs::read(at("third.img")).unwrap() == data);
    assert!(fs::metadata(at("third.img")).unwrap().blocks() * 512 < MIB);
    // A stack becomes one image that stands alone.
    let below = Some((Path::new("second.qcow2"), Format::Qcow2));
    create(&at("top.qcow2"), Format::Qcow2, None, below).unwrap();
    convert(&at("top.qcow2"), None, &at("flat.qcow2"), Format::Qcow2).unwrap();
    let flat = info(&at("flat.qcow2"), None).unwrap();
    assert_eq!((flat.capacity, flat.backing.len()), (8 * MIB, 0));
    let refused = convert(&at("top.qcow2"), None, &at("no.vmdk"), Format::Vmdk).unwrap_err();
    assert!(matches!(refused, ManageError::ReadOnly { .. }));
}

/// Runs one of QEMU's tools; its output, or none where it is not installed.
pub(in crate::disk) fn qemu(tool: &str, arguments: &[&Path]) -> Option<String> {
    match Command::new(tool).args(arguments).output() {
        Ok(ran) => {
            let text = String::from_utf8_lossy(&ran.stdout).into_owned();
            let errors = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "{tool} {arguments:?}: {text}{errors}");
            Some(text)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped without {tool}: what it says of images");
            None
        }
        Err(error) => panic!("{tool}: {error}"),
    }
}

#[test]
fn qemus_tools_read_what_was_made_and_the_other_way_round() {
    let (_directory, at) = folder();
    let data = pattern(1 << 20, 3);
    fs::write(at("data.img"), &data).unwrap();
    convert(&at("data.img"), None, &at("ours.qcow2"), Format::Qcow2).unwrap();
    let Some(text) = qemu("qemu-img", &[Path::new("check"), &at("ours.qcow2")]) else {
        return;
    };
    assert!(text.contains("No errors"), "{text}");
    let word = Path::new;
    let to_raw = [
        word("convert"),
        word("-O"),
        word("raw"),
        &at("ours.qcow2"),
        &at("theirs.img"),
    ];
    qemu("qemu-img", &to_raw);
    assert!(fs::read(at("theirs.img")).unwrap() == data);
    // Compressed clusters, which we never write.
    let to_qcow2 = [
        word("convert"),
        word("-c"),
        word("-O"),
        word("qcow2"),
        &at("data.img"),
        &at("theirs.qcow2"),
    ];
    qemu("qemu-img", &to_qcow2);
    convert(&at("theirs.qcow2"), None, &at("back.img"), Format::Raw).unwrap();
    assert!(fs::read(at("back.img")).unwrap() == data);
}
