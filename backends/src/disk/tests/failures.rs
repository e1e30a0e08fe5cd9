//! A host that fails, a guest that lies.

use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::process::Command;

use rustix::process::{Resource, Rlimit, setrlimit};
use trivisor_buses::StorageOp;

use super::{RAM, Rig, bytes, engines, image, kind, pattern, segment};
use crate::disk::DiskOptions;

#[test]
fn requests_that_the_disk_does_not_have_are_invalid() {
    use StorageOp::{Discard, Flush, Read, Write, WriteZeroes};
    for options in engines() {
        let (_directory, file) = image(8192);
        let mut rig = Rig::raw(&file, &options);
        let sector = segment(0, 512);
        for (op, offset, len, segments) in [
            (Read, 8192, 512, &[sector][..]),
            (Write, 7680, 1024, &[sector, sector]),
            (Read, u64::MAX - 511, 512, &[sector]),
            (Read, 1, 512, &[sector]),
            (Read, 0, 511, &[segment(0, 511)]),
            (Read, 0, 1024, &[sector]),
            (Write, 0, 512, &[sector, sector]),
            (Read, 0, 512, &[]),
            (Read, 0, 512, &[segment(RAM - 511, 512)]),
            (Write, 0, 512, &[segment(u64::MAX - 100, 512)]),
            (Write, 0, 1024, &[sector, segment(1 << 40, 512)]),
            (Discard, 512, 8192, &[]),
            (Discard, 100, 512, &[]),
            (WriteZeroes { unmap: false }, 0, 100, &[]),
        ] {
            let id = rig.submit_range(op, offset, len, segments).unwrap();
            let found = kind(rig.wait(id));
            assert_eq!(
                found,
                ErrorKind::InvalidInput,
                "{op:?} {offset} {len} {segments:?}"
            );
        }
        assert_eq!(bytes(&file, 0, 8192), [0; 8192]);
        rig.range(Flush, 0, 0).unwrap();
        rig.transfer(Read, 0, &[sector]).unwrap();
    }
}

#[test]
fn a_read_only_disk_is_not_written() {
    for options in engines() {
        let (_directory, file) = image(4096);
        let options = DiskOptions {
            read_only: true,
            ..options
        };
        let mut rig = Rig::raw(&file, &options);
        rig.ram.write(0, &[1; 512]);
        let error = rig.transfer(StorageOp::Write, 0, &[segment(0, 512)]);
        assert_eq!(kind(error), ErrorKind::ReadOnlyFilesystem);
        for op in [StorageOp::Discard, StorageOp::WriteZeroes { unmap: true }] {
            assert_eq!(kind(rig.range(op, 0, 512)), ErrorKind::ReadOnlyFilesystem);
        }
        assert_eq!(bytes(&file, 0, 4096), [0; 4096]);
    }
}

#[test]
fn a_descriptor_without_the_right_fails_each_request() {
    for options in engines() {
        let (directory, _file) = image(4096);
        let file = std::fs::File::open(directory.path().join("disk.img")).unwrap();
        let mut rig = Rig::raw(&file, &options);
        let error = rig.transfer(StorageOp::Write, 0, &[segment(0, 512)]);
        assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EBADF));
        rig.transfer(StorageOp::Read, 0, &[segment(0, 512)])
            .unwrap();
    }
}

#[test]
fn an_image_that_shrinks_gives_errors_for_what_is_missing() {
    for options in engines() {
        let (_directory, file) = image(1 << 20);
        let data = pattern(1 << 20, 1);
        file.write_all_at(&data, 0).unwrap();
        let mut rig = Rig::raw(&file, &options);
        file.set_len(6144).unwrap();
        let whole = rig.transfer(StorageOp::Read, 8192, &[segment(0, 4096)]);
        assert_eq!(kind(whole), ErrorKind::UnexpectedEof);
        let part = rig.transfer(StorageOp::Read, 4096, &[segment(0, 4096)]);
        assert_eq!(kind(part), ErrorKind::UnexpectedEof);
        rig.transfer(StorageOp::Read, 0, &[segment(0, 4096)])
            .unwrap();
        assert_eq!(rig.memory(0, 4096), data[..4096]);
    }
}

/// The name of the test that is run again in a child, whose files are limited.
const LIMITED: &str = "disk::tests::failures::a_full_file_system_fails_the_write";

#[test]
fn a_full_file_system_fails_the_write() {
    // A limit on the size of files stands for the lack of space: the same short write, then an error.
    if std::env::var_os("TRIVISOR_TEST_LIMITED").is_none() {
        // SIGXFSZ would end the process.
        let ran = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().unwrap())
            .arg(LIMITED)
            .env("TRIVISOR_TEST_LIMITED", "1")
            .output()
            .unwrap();
        assert!(
            ran.status.success(),
            "{}",
            String::from_utf8_lossy(&ran.stdout)
        );
        return;
    }
    for options in engines() {
        let (_directory, file) = image(1 << 20);
        let mut rig = Rig::raw(&file, &options);
        limit_files(Some(6144));
        rig.ram.write(0, &pattern(8192, 2));
        let error = rig.transfer(StorageOp::Write, 0, &[segment(0, 8192)]);
        assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EFBIG));
        assert_eq!(
            bytes(&file, 0, 6144),
            pattern(8192, 2)[..6144],
            "a short write is continued"
        );
        rig.transfer(StorageOp::Write, 0, &[segment(0, 4096)])
            .unwrap();
        drop(rig);
        limit_files(None);
    }
}

/// No file of this process grows beyond so many bytes.
fn limit_files(bytes: Option<u64>) {
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    setrlimit(Resource::Fsize, limit).unwrap();
}
