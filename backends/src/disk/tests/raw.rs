//! What each request does.

use std::os::unix::fs::{FileExt, MetadataExt};

use trivisor_buses::{Segment, Storage, StorageBusy, StorageOp};

use super::{Rig, bytes, engines, image, open, pattern, ram, segment};
use crate::disk::{Cache, Disk, DiskError, DiskOptions, Engine};

#[test]
fn reads_and_writes_scatter_over_memory() {
    for options in engines() {
        let (_directory, file) = image(1 << 20);
        let data = pattern(4096 + 512, 1);
        file.write_all_at(&data, 8192).unwrap();
        let mut rig = Rig::raw(&file, &options);
        let segments = [
            segment(0x1003, 1000),
            segment(0x8000, 0),
            segment(0x5001, 3608),
        ];
        rig.transfer(StorageOp::Read, 8192, &segments).unwrap();
        assert_eq!(rig.memory(0x1003, 1000), data[..1000]);
        assert_eq!(rig.memory(0x5001, 3608), data[1000..]);
        assert_eq!(rig.memory(0x1002, 1), [0], "nothing in front");
        assert_eq!(rig.memory(0x5001 + 3608, 1), [0], "nothing behind");

        let swapped = [segments[2], segments[0]];
        rig.transfer(StorageOp::Write, 512, &swapped).unwrap();
        assert_eq!(bytes(&file, 512, 3608), data[1000..]);
        assert_eq!(bytes(&file, 512 + 3608, 1000), data[..1000]);
        rig.range(StorageOp::Flush, 0, 0).unwrap();
    }
}

#[test]
fn a_request_of_more_runs_than_one_call_takes_is_continued() {
    for options in engines() {
        let (_directory, file) = image(2 << 20);
        let data = pattern(2500 * 512, 2);
        file.write_all_at(&data, 0).unwrap();
        let mut rig = Rig::raw(&file, &options);
        let segments: Vec<Segment> = (0..2500).rev().map(|i| segment(i * 1024, 512)).collect();
        rig.transfer(StorageOp::Read, 0, &segments).unwrap();
        for (part, segment) in data.chunks(512).zip(&segments) {
            assert_eq!(rig.memory(segment.address, 512), part);
        }
        rig.transfer(StorageOp::Write, 512, &segments).unwrap();
        assert_eq!(bytes(&file, 512, data.len()), data);
    }
}

#[test]
fn ranges_become_zeros_and_storage_is_given_back() {
    const LEN: usize = 1 << 20;
    for options in engines() {
        for op in [
            StorageOp::Discard,
            StorageOp::WriteZeroes { unmap: true },
            StorageOp::WriteZeroes { unmap: false },
        ] {
            let (_directory, file) = image(0);
            file.write_all_at(&pattern(LEN, 3), 0).unwrap();
            file.sync_all().unwrap();
            let before = file.metadata().unwrap().blocks();
            let mut rig = Rig::raw(&file, &options);
            rig.range(op, 512, LEN as u64 - 1024).unwrap();
            assert!(bytes(&file, 512, LEN - 1024).iter().all(|byte| *byte == 0));
            assert_eq!(bytes(&file, 0, 512), pattern(512, 3));
            let end = bytes(&file, LEN as u64 - 512, 512);
            assert_eq!(end, pattern(LEN, 3)[LEN - 512..]);
            let metadata = file.metadata().unwrap();
            assert_eq!(metadata.len(), LEN as u64);
            let given_back = metadata.blocks() < before / 2;
            assert_eq!(
                given_back,
                op != StorageOp::WriteZeroes { unmap: false },
                "{op:?}"
            );
        }
    }
}

#[test]
fn many_requests_are_under_way_and_no_more_than_the_depth() {
    for options in engines() {
        let options = DiskOptions {
            depth: 8,
            ..options
        };
        let (_directory, file) = image(64 << 10);
        let data = pattern(64 << 10, 4);
        file.write_all_at(&data, 0).unwrap();
        let mut rig = Rig::raw(&file, &options);
        for round in 0..3 {
            let ids: Vec<_> = (0..8)
                .map(|i| rig.submit(StorageOp::Read, i * 4096, &[segment(i * 4096, 4096)]))
                .collect::<Result<_, _>>()
                .unwrap();
            let ninth = rig.submit(StorageOp::Read, 0, &[segment(0, 4096)]);
            assert_eq!(ninth, Err(StorageBusy));
            assert!(rig.disk.complete().is_none(), "nothing was started");
            rig.disk.drain();
            assert_eq!(
                rig.submit(StorageOp::Read, 0, &[segment(0, 512)]),
                Err(StorageBusy),
                "what is not fetched counts"
            );
            rig.fetch();
            assert_eq!(rig.ended.len(), 8, "round {round}");
            for id in ids {
                rig.ended.remove(&id).unwrap().unwrap();
            }
            assert_eq!(rig.memory(0, 32 << 10), data[..32 << 10]);
        }
        rig.disk.drain();
        assert!(rig.disk.complete().is_none());
    }
}

#[test]
fn a_read_from_the_page_cache_ends_within_its_start() {
    let (_directory, file) = image(1 << 20);
    file.write_all_at(&pattern(1 << 20, 5), 0).unwrap();
    let mut rig = Rig::raw(&file, &DiskOptions::default());
    if !rig.workers.is_empty() {
        eprintln!("skipped without io_uring: reads that end at once");
        return;
    }
    let mut at_once = 0;
    for i in 0..100 {
        let id = rig
            .submit(StorageOp::Read, i * 4096, &[segment(0, 4096)])
            .unwrap();
        rig.disk.start();
        rig.fetch();
        at_once += usize::from(rig.ended.contains_key(&id));
        rig.wait(id).unwrap();
    }
    // The host may have dropped a page.
    assert!(at_once >= 90, "{at_once} of 100");
    // The first start cannot know; the others raise no event.
    let mut count = [0; 8];
    rustix::io::read(&rig.event, &mut count).unwrap_or(0);
    let raised = u64::from_ne_bytes(count);
    assert!(
        raised <= 20,
        "{raised} events for 100 reads that needed none"
    );
}

#[test]
fn pages_that_were_read_into_are_dirty() {
    for options in engines() {
        let (_directory, file) = image(64 << 10);
        let mut rig = Rig::raw(&file, &options);
        rig.ram.start_dirty_log();
        rig.transfer(StorageOp::Write, 0, &[segment(0, 4096)])
            .unwrap();
        let segments = [segment(0x3000, 4096), segment(0x5e00, 1024)];
        rig.transfer(StorageOp::Read, 0, &segments).unwrap();
        let dirty = rig.ram.take_dirty();
        assert_eq!(
            dirty[0].bits[0], 0b110_1000,
            "a write of the disk only reads memory"
        );
    }
}

#[test]
fn direct_io_takes_memory_however_it_lies() {
    for options in engines() {
        let (directory, file) = image(1 << 20);
        let data = pattern(1 << 20, 6);
        file.write_all_at(&data, 0).unwrap();
        file.sync_all().unwrap();
        let direct = open(&directory, libc::O_DIRECT);
        let mut rig = match Rig::try_raw(&direct, &options) {
            Err(DiskError::Direct { block }) => {
                eprintln!(
                    "skipped without direct I/O by sectors: it needs blocks of {block} bytes"
                );
                return;
            }
            rig => rig.unwrap(),
        };
        // Aligned; then an odd address; then runs that are no whole sectors, and more than is copied at a time.
        for segments in [
            &[segment(0x1_0000, 8192), segment(0x2_0000, 512)][..],
            &[segment(0x1_0001, 4096)],
            &[segment(0x1_0003, 700_001), segment(0x10_0000, 100_255)],
        ] {
            let len = usize::try_from(Segment::total(segments)).unwrap();
            rig.transfer(StorageOp::Read, 4096, segments).unwrap();
            let mut found = Vec::new();
            for segment in segments {
                found.extend(rig.memory(segment.address, segment.len as usize));
            }
            assert!(found == data[4096..4096 + len], "{segments:?}");
            rig.transfer(StorageOp::Write, 0, segments).unwrap();
            rig.range(StorageOp::Flush, 0, 0).unwrap();
            assert!(
                bytes(&file, 0, len) == data[4096..4096 + len],
                "{segments:?}"
            );
            file.write_all_at(&data, 0).unwrap();
            file.sync_all().unwrap();
        }
        rig.range(StorageOp::WriteZeroes { unmap: false }, 512, 5120)
            .unwrap();
        rig.range(StorageOp::Discard, 8192, 4096).unwrap();
        assert_eq!(bytes(&file, 512, 5120), [0; 5120]);
    }
}

#[test]
fn nothing_to_do_ends_at_once() {
    for options in engines() {
        let (_directory, file) = image(4096);
        let read_only = DiskOptions {
            read_only: true,
            ..options
        };
        let cached = DiskOptions {
            cache: Cache::Unsafe,
            ..options
        };
        for options in [read_only, cached] {
            let mut rig = Rig::raw(&file, &options);
            let id = rig.submit_range(StorageOp::Flush, 0, 0, &[]).unwrap();
            rig.fetch();
            assert!(rig.ended.remove(&id).unwrap().is_ok());
        }
        let mut rig = Rig::raw(&file, &options);
        rig.transfer(StorageOp::Read, 4096, &[]).unwrap();
        rig.range(StorageOp::Discard, 0, 0).unwrap();
    }
}

#[test]
fn geometry_is_the_files() {
    let (_directory, file) = image(5 * 512);
    let options = DiskOptions {
        read_only: true,
        ..DiskOptions::default()
    };
    let rig = Rig::raw(&file, &options);
    let geometry = rig.disk.geometry();
    assert_eq!((geometry.capacity, geometry.read_only), (5 * 512, true));
    assert!(!geometry.can_discard);
    assert!(geometry.physical_block.is_power_of_two() && geometry.physical_block >= 512);
    assert!(
        Rig::raw(&file, &DiskOptions::default())
            .disk
            .geometry()
            .can_discard
    );
}

#[test]
fn a_file_that_is_no_whole_number_of_sectors_is_refused() {
    for (size, text) in [
        (
            0,
            "its 0 bytes are not a positive multiple of the sector of 512 bytes",
        ),
        (
            513,
            "its 513 bytes are not a positive multiple of the sector of 512 bytes",
        ),
    ] {
        let (_directory, file) = image(size);
        let error = Disk::raw(file, ram(), &DiskOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn a_dropped_disk_ends_what_it_began() {
    for engine in [Engine::Auto, Engine::Threads] {
        let (_directory, file) = image(1 << 20);
        let options = DiskOptions {
            engine,
            ..DiskOptions::default()
        };
        let mut rig = Rig::raw(&file, &options);
        assert!(rig.ram.write(0, &pattern(1 << 20, 7)));
        for i in 0..16 {
            rig.submit(StorageOp::Write, i << 16, &[segment(i << 16, 1 << 16)])
                .unwrap();
        }
        rig.disk.start();
        rig.submit(StorageOp::Write, 0, &[segment(1 << 20, 512)])
            .unwrap();
        drop(rig);
        assert!(
            bytes(&file, 0, 1 << 20) == pattern(1 << 20, 7),
            "held requests are not begun"
        );
    }
}
