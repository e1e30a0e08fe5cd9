//! Requests whose data is a buffer of the device.

use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

use trivisor_buses::{BufferRequest, Completion, MAX_BUFFER, Storage, StorageOp};

use super::{Rig, bytes, engines, image, open, pattern, ram};
use crate::disk::{self, Disk, DiskOptions, Format, OpenOptions, create};

fn request(op: StorageOp, offset: u64, buffer: Vec<u8>) -> BufferRequest {
    BufferRequest {
        id: 7,
        op,
        offset,
        buffer,
    }
}

/// Carries one out on a disk that has no other; the error's kind, or none, and the buffer.
fn carry_out(disk: &mut impl Storage, request: BufferRequest) -> (Option<ErrorKind>, Vec<u8>) {
    disk.submit_buffer(request).unwrap();
    disk.start();
    disk.drain();
    let Completion { id, result, buffer } = disk.complete().unwrap();
    assert_eq!(id, 7);
    (result.err().map(|error| error.kind()), buffer)
}

#[test]
fn a_buffer_goes_to_the_disk_and_comes_back() {
    for direct in [0, libc::O_DIRECT] {
        for options in engines() {
            let (directory, file) = image(1 << 20);
            let data = pattern(MAX_BUFFER, 5);
            let mut rig = Rig::raw(&open(&directory, direct), &options);
            let written = request(StorageOp::Write, 512, data.clone());
            assert_eq!(carry_out(&mut rig.disk, written), (None, data.clone()));
            assert_eq!(bytes(&file, 512, MAX_BUFFER), data);
            file.write_all_at(&[9; 512], 1024).unwrap();
            let read = request(StorageOp::Read, 0, vec![1; 4096]);
            let (error, buffer) = carry_out(&mut rig.disk, read);
            assert_eq!(error, None);
            assert_eq!(
                (&buffer[..512], &buffer[1024..1536]),
                (&[0; 512][..], &[9; 512][..])
            );
            assert_eq!(buffer[512..1024], data[..512]);
            // What the buffers held is not used for the next request.
            let segments = [super::segment(0x1000, 512)];
            rig.transfer(StorageOp::Read, 1024, &segments).unwrap();
            assert_eq!(rig.memory(0x1000, 512), [9; 512]);
        }
    }
}

#[test]
fn a_qcow2_takes_buffers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("disk.qcow2");
    create(&path, Format::Qcow2, Some(1 << 20), None).unwrap();
    let image = disk::open(
        &path,
        &OpenOptions {
            format: None,
            read_only: false,
            direct: false,
        },
    );
    let ram = ram();
    let parts = Disk::image(image.unwrap(), ram.clone(), &DiskOptions::default()).unwrap();
    let mut rig = Rig::new(parts, ram);
    let data = pattern(MAX_BUFFER, 6);
    let written = request(StorageOp::Write, 4096, data.clone());
    assert_eq!(carry_out(&mut rig.disk, written).0, None);
    let read = request(StorageOp::Read, 4096, vec![0; MAX_BUFFER]);
    assert_eq!(carry_out(&mut rig.disk, read), (None, data));
}

#[test]
fn what_cannot_be_is_an_error_and_gives_the_buffer_back() {
    for options in engines() {
        let (_directory, file) = image(4096);
        let options = DiskOptions {
            read_only: true,
            ..options
        };
        let mut rig = Rig::raw(&file, &options);
        for (op, offset, len, kind) in [
            (StorageOp::Write, 0, 512, ErrorKind::ReadOnlyFilesystem),
            (StorageOp::Read, 4096, 512, ErrorKind::InvalidInput),
            (
                StorageOp::Read,
                u64::MAX - 511,
                512,
                ErrorKind::InvalidInput,
            ),
            (StorageOp::Read, 0, 500, ErrorKind::InvalidInput),
            (StorageOp::Read, 1, 512, ErrorKind::InvalidInput),
            (StorageOp::Flush, 0, 0, ErrorKind::InvalidInput),
            (
                StorageOp::Read,
                0,
                MAX_BUFFER + 512,
                ErrorKind::InvalidInput,
            ),
        ] {
            let (error, buffer) = carry_out(&mut rig.disk, request(op, offset, vec![3; len]));
            assert_eq!(
                (error, buffer.len()),
                (Some(kind), len),
                "{op:?} {offset} {len}"
            );
        }
        file.set_len(512).unwrap();
        let (error, buffer) = carry_out(&mut rig.disk, request(StorageOp::Read, 0, vec![0; 1024]));
        assert_eq!(
            (error, buffer.len()),
            (Some(ErrorKind::UnexpectedEof), 1024)
        );
    }
}
