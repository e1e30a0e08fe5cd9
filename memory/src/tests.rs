use std::io::{Read, Seek};
use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress};

use super::*;

fn ram(size: u64, options: &RamOptions) -> GuestRam {
    GuestRam::new(RamLayout::new(size).unwrap(), options).unwrap()
}

#[test]
fn layout_leaves_the_hole() {
    let range = |start, size| RamRange { start, size };
    let ranges = |size| RamLayout::new(size).unwrap().ranges().collect::<Vec<_>>();
    assert_eq!(ranges(1 << 20), [range(0, 1 << 20)]);
    assert_eq!(ranges(HOLE_START), [range(0, HOLE_START)]);
    assert_eq!(
        ranges(HOLE_START + 4096),
        [range(0, HOLE_START), range(HOLE_END, 4096)]
    );
    assert_eq!(RamLayout::new(8 << 30).unwrap().end(), HOLE_END + (5 << 30));
    assert_eq!(RamLayout::new(1 << 20).unwrap().end(), HOLE_END);
}

#[test]
fn impossible_sizes_are_named() {
    for (size, message) in [
        (
            0,
            "0 bytes of memory are too few: at least 1048576 are needed",
        ),
        (
            (1 << 20) - 4096,
            "1044480 bytes of memory are too few: at least 1048576 are needed",
        ),
        (
            (1 << 20) + 1,
            "1048577 bytes of memory are no multiple of the page of 4096 bytes",
        ),
    ] {
        assert_eq!(RamLayout::new(size).unwrap_err().to_string(), message);
    }
    let layout = RamLayout::new(1 << 46).unwrap();
    assert!(
        matches!(GuestRam::new(layout, &RamOptions::default()), Err(RamError::TooLarge { size, .. }) if size == 1 << 46)
    );
    let huge = RamOptions {
        huge_pages: Some(HugePages::Size2M),
        ..RamOptions::default()
    };
    let odd = RamLayout::new(3 << 20).unwrap();
    assert!(matches!(
        GuestRam::new(odd, &huge),
        Err(RamError::Unaligned {
            page: 0x20_0000,
            ..
        })
    ));
}

#[test]
fn every_backing_holds_what_is_written() {
    let file = tempfile::tempfile().unwrap();
    let backings = [
        Backing::Anonymous,
        Backing::Memfd,
        Backing::File(Arc::new(file.try_clone().unwrap())),
    ];
    for backing in backings {
        let options = RamOptions {
            backing,
            transparent_huge_pages: true,
            ..RamOptions::default()
        };
        let ram = ram(2 << 20, &options);
        assert!(ram.write(0x10_0000, b"written"));
        let mut found = [0; 7];
        assert!(ram.read(0x10_0000, &mut found));
        assert_eq!(&found, b"written");
    }
    let (mut file, mut found) = (file, [0; 7]);
    file.seek(std::io::SeekFrom::Start(0x10_0000)).unwrap();
    file.read_exact(&mut found).unwrap();
    assert_eq!(
        &found, b"written",
        "file-backed RAM is shared with its file"
    );
}

#[test]
fn nothing_moves_at_the_edge_of_ram() {
    let ram = ram(1 << 20, &RamOptions::default());
    assert!(!ram.write((1 << 20) - 2, &[1, 2, 3]));
    let mut last = [9; 2];
    assert!(ram.read((1 << 20) - 2, &mut last));
    assert_eq!(last, [0, 0]);
    assert!(!ram.read(u64::MAX - 1, &mut [0; 8]));
}

#[test]
fn slots_cover_ram_above_the_hole() {
    let ram = ram(HOLE_START + (1 << 20), &RamOptions::default());
    let slots: Vec<_> = ram
        .slots()
        .map(|slot| (slot.guest_address, slot.size, slot.kind))
        .collect();
    assert_eq!(
        slots,
        [
            (0, HOLE_START, SlotKind::Ram),
            (HOLE_END, 1 << 20, SlotKind::Ram)
        ]
    );
    assert!(!ram.write(HOLE_START - 1, &[1, 2]), "the hole is no RAM");
}

#[test]
fn writes_are_logged_while_logging() {
    let ram = ram(1 << 20, &RamOptions::default());
    ram.memory().write_obj(1_u8, GuestAddress(0x1000)).unwrap();
    assert_eq!(
        ram.take_dirty(),
        [DirtyPages {
            start: 0,
            bits: vec![]
        }]
    );
    ram.start_dirty_log();
    ram.memory()
        .write_slice(&[1; 2], GuestAddress(0x2fff))
        .unwrap();
    assert_eq!(
        ram.take_dirty(),
        [DirtyPages {
            start: 0,
            bits: vec![0b1100, 0, 0, 0]
        }]
    );
    assert_eq!(
        ram.take_dirty(),
        [DirtyPages {
            start: 0,
            bits: vec![0; 4]
        }]
    );
    ram.stop_dirty_log();
    assert!(ram.take_dirty().iter().all(|run| run.bits.is_empty()));
}

#[test]
fn a_mapped_file_knows_when_it_was_truncated() {
    let file = tempfile::tempfile().unwrap();
    for (size, text) in [
        (0, "its 0 bytes are not a positive multiple"),
        (4097, "its 4097 bytes are not a positive"),
    ] {
        file.set_len(size).unwrap();
        let error = FileMapping::new(file.try_clone().unwrap(), false)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(text), "{error}");
    }
    file.set_len(8192).unwrap();
    let mapping = FileMapping::new(file.try_clone().unwrap(), false).unwrap();
    mapping.flush().unwrap();
    assert_eq!(
        (
            mapping.slot(1 << 32).kind,
            mapping.size(),
            mapping.is_truncated()
        ),
        (SlotKind::Ram, 8192, false)
    );
    file.set_len(4096).unwrap();
    assert!(mapping.is_truncated());
    let read_only = FileMapping::new(file, true).unwrap();
    assert_eq!(read_only.slot(1 << 32).kind, SlotKind::Rom);
}

#[test]
fn exchanges_are_atomic_or_refused() {
    let ram = ram(1 << 20, &RamOptions::default());
    assert_eq!(ram.compare_exchange(8, &[0; 8], &[1; 8]), Some(true));
    assert_eq!(ram.compare_exchange(8, &[0; 8], &[2; 8]), Some(false));
    let mut found = [0; 8];
    assert!(ram.read(8, &mut found));
    assert_eq!(found, [1; 8]);
    assert_eq!(
        ram.compare_exchange(9, &[1; 4], &[2; 4]),
        None,
        "not aligned"
    );
    assert_eq!(
        ram.compare_exchange(16, &[0; 3], &[2; 3]),
        None,
        "not a width"
    );
    assert_eq!(
        ram.compare_exchange((1 << 20) - 4, &[0; 8], &[2; 8]),
        None,
        "not RAM"
    );
}

#[test]
fn pages_that_go_back_read_zeros_and_cost_nothing() {
    let file = tempfile::tempfile().unwrap();
    let backings = [
        Backing::Anonymous,
        Backing::Memfd,
        Backing::File(Arc::new(file.try_clone().unwrap())),
    ];
    for backing in backings {
        let options = RamOptions {
            backing,
            ..RamOptions::default()
        };
        let ram = ram(16 << 20, &options);
        assert!(ram.write(0x10_0000, &vec![7; 8 << 20]));
        let before = resident(&ram);
        assert!(before >= 8 << 20, "{before} bytes of {options:?}");
        ram.start_dirty_log();
        assert_eq!(ram.discard(0x10_0000, 8 << 20).unwrap(), 8 << 20);
        assert_eq!(resident(&ram), before - (8 << 20), "{options:?}");
        let dirty = ram.take_dirty();
        let pages: u32 = dirty[0].bits.iter().map(|bits| bits.count_ones()).sum();
        assert_eq!(pages, 2048, "a snapshot sees that they changed");
        let mut found = [1; 4096];
        assert!(ram.read(0x8f_f000, &mut found));
        assert_eq!(found, [0; 4096]);
        assert!(ram.write(0x10_0000, b"again"));
    }
    let blocks = std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
    assert!(
        blocks * 512 < 1 << 20,
        "the file has a hole: {blocks} blocks"
    );
}

/// Bytes of RAM that the host has given to this process.
fn resident(ram: &GuestRam) -> u64 {
    let slot = ram.slots().next().unwrap();
    let pages = usize::try_from(slot.size / PAGE_SIZE).unwrap();
    let mut pagemap = std::fs::File::open("/proc/self/pagemap").unwrap();
    let at = slot.host_address / PAGE_SIZE * 8;
    pagemap.seek(std::io::SeekFrom::Start(at)).unwrap();
    let mut entries = vec![0; pages * 8];
    pagemap.read_exact(&mut entries).unwrap();
    // The top bits of an entry: present, swapped.
    let present = entries.chunks(8).filter(|entry| entry[7] & 0xc0 != 0);
    present.count() as u64 * PAGE_SIZE
}

#[test]
fn only_whole_pages_of_ram_go_back() {
    let ram = ram(HOLE_START + (1 << 20), &RamOptions::default());
    let page = [5; 0x3000];
    assert!(ram.write(0x1000, &page));
    assert_eq!(ram.discard(0x1001, 0x2fff).unwrap(), 0x2000);
    assert_eq!(ram.discard(0x1001, 0xffe).unwrap(), 0);
    assert_eq!(ram.discard(0x1000, 0).unwrap(), 0);
    let mut found = [0; 0x3000];
    assert!(ram.read(0x1000, &mut found));
    assert_eq!(found[..0x1000], page[..0x1000]);
    assert_eq!(found[0x1000..], [0; 0x2000]);
    for (address, len) in [
        (HOLE_START - 0x1000, 0x2000),
        (HOLE_START, 0x1000),
        (HOLE_START - 0x1000, HOLE_END),
        (HOLE_END - 0x1000, 0x2000),
        (HOLE_END + (1 << 20), 0x1000),
        (u64::MAX - 0xfff, 0x1000),
        (0, u64::MAX),
    ] {
        let refused = ram.discard(address, len);
        assert!(
            matches!(refused, Err(DiscardError::NotRam { .. })),
            "{len:#x} at {address:#x}"
        );
    }
    assert_eq!(ram.discard(HOLE_END, 1 << 20).unwrap(), 1 << 20);
}
