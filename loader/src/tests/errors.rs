//! Each error, from the mistake that makes it.

use std::fs::File;
use std::io::Write;

use super::images::{Elf, bzimage};
use super::*;

/// The variants, in their order; a new one does not compile until it has its line here.
fn variant(error: &LoadError) -> usize {
    match error {
        LoadError::Read { .. } => 0,
        LoadError::Truncated { .. } => 1,
        LoadError::Empty { .. } => 2,
        LoadError::Format { .. } => 3,
        LoadError::Field { .. } => 4,
        LoadError::Machine { .. } => 5,
        LoadError::Missing { .. } => 6,
        LoadError::Compression(_) => 7,
        LoadError::Decompress { .. } => 8,
        LoadError::TooLarge { .. } => 9,
        LoadError::OutsideMemory { .. } => 10,
        LoadError::Overlap { .. } => 11,
        LoadError::InitrdTooLarge { .. } => 12,
        LoadError::CmdlineTooLong { .. } => 13,
        LoadError::CmdlineByte { .. } => 14,
        LoadError::Structure { .. } => 15,
    }
}
const VARIANTS: usize = 16;

fn error(image: &[u8]) -> LoadError {
    try_load(image, None, |_| ()).err().unwrap()
}

/// From a file of the host.
fn file_error(mut file: File) -> LoadError {
    let regions = map(16 * MIB);
    load(
        &ram(16 * MIB),
        Source::file(&mut file).unwrap(),
        None,
        &guest(&regions),
    )
    .unwrap_err()
}

fn patched(offset: usize, value: u8) -> Vec<u8> {
    let mut image = Elf::vmlinux().build();
    image[offset] = value;
    image
}

#[test]
fn every_error_has_its_mistake() {
    let directory = File::open(std::env::temp_dir()).unwrap();
    let empty = tempfile::tempfile().unwrap();
    let kernel = Elf::vmlinux().build();
    let with_cmdline = |cmdline: &'static str| {
        try_load(&kernel, None, |guest| guest.cmdline = cmdline)
            .err()
            .unwrap()
    };
    let long: &str = "x".repeat(4096).leak();
    let regions = map(16 * MIB);
    let high = Memory::from_ranges(&[(GuestAddress(MIB), 15 << 20)]).unwrap();
    let gzip_bomb = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; 17 << 20]).unwrap();
        encoder.finish().unwrap()
    };
    let mut low = Elf::vmlinux();
    low.segments[0].address = 0x7000;
    let made = [
        (file_error(directory), "first bytes cannot be read"),
        (
            error(b"\x7fEL"),
            "first bytes: 4 bytes at offset 0x0 are behind the end of the file, 0x3",
        ),
        (file_error(empty), "the kernel is empty"),
        (
            error(b"MZ\x90\0"),
            "no kernel format: the file begins with 0x00905a4d, and is no ELF, bzImage or multiboot image",
        ),
        (
            error(&patched(5, 2)),
            "ELF: EI_DATA is 0x2, not 1 (little-endian)",
        ),
        (
            error(&patched(18, 40)),
            "ELF: e_machine is 40 (ARM), not 62 (x86-64) or 3 (80386)",
        ),
        (
            error(&patched(64, 0)),
            "ELF: e_entry is 0x100004, not in a part that is loaded",
        ),
        (refused_by_protocol(&kernel), "ELF: no PVH note"),
        (
            error(&bzimage(b"\x89LZO")),
            "bzImage: its payload is compressed with lzo, which is not supported",
        ),
        (
            error(&bzimage(b"BZh9")),
            "bzImage: its payload cannot be decompressed from bzip2",
        ),
        (
            error(&bzimage(&gzip_bomb)),
            "bzImage: its decompressed payload has more than 0xf9fc00 bytes, the most that its memory takes",
        ),
        (
            error(&patched(64 + 27, 1)),
            "ELF segment: 0x1000 bytes at 0x1100000 do not lie in the guest's memory",
        ),
        (
            error(&low.build()),
            "ELF segment at 0x7000..0x8000 overlaps the loader's structures at 0x400..0x30000",
        ),
        (
            try_load(&kernel, Some(&vec![1; 14 << 20]), |_| ())
                .err()
                .unwrap(),
            "the initial RAM disk of 14680064 bytes does not fit between the kernel's end 0x20000d and 0x80000000",
        ),
        (
            with_cmdline(long),
            "the command line has 4096 bytes, the kernel takes 2047",
        ),
        (
            with_cmdline("a\nb"),
            "the command line has byte 0x0a at 1: only printable ASCII is possible",
        ),
        (
            with_cmdline("caf\u{e9}"),
            "the command line has byte 0xc3 at 3: only printable ASCII is possible",
        ),
        (
            load(&high, Source::Bytes(&kernel), None, &guest(&regions)).unwrap_err(),
            "the command line at 0x20000 does not lie in the guest's memory",
        ),
    ];
    let mut seen = [false; VARIANTS];
    for (error, wanted) in &made {
        assert_eq!(error.to_string(), *wanted);
        seen[variant(error)] = true;
    }
    assert_eq!(seen, [true; VARIANTS], "a variant without a mistake");
}

fn refused_by_protocol(kernel: &[u8]) -> LoadError {
    try_load(kernel, None, |guest| guest.protocol = BootProtocol::Pvh)
        .err()
        .unwrap()
}

#[test]
fn structures_are_named_one_by_one() {
    // Memory that ends behind the command line, the GDT and so on is not for kernels: leave one out at a time.
    let kernel = Elf::vmlinux().build();
    let without = |start: u64, end: u64| {
        let parts = [(GuestAddress(0), start), (GuestAddress(end), 4 * MIB - end)];
        let parts = parts.map(|(start, size)| (start, usize::try_from(size).unwrap()));
        let memory = Memory::from_ranges(&parts).unwrap();
        load(&memory, Source::Bytes(&kernel), None, &guest(&map(4 * MIB)))
            .unwrap_err()
            .to_string()
    };
    let ends = "does not lie in the guest's memory";
    assert_eq!(
        without(0x7000, 0x8000),
        format!("the zero page at 0x7000 {ends}")
    );
    assert_eq!(
        without(0x9000, 0xf000),
        format!("the page tables at 0x9000 {ends}")
    );
    assert_eq!(
        without(0xf000, 0x1_0000),
        format!("the setup data at 0xf000 {ends}")
    );
    assert_eq!(
        without(0x2_0000, 0x3_0000),
        format!("the command line at 0x20000 {ends}")
    );
}

#[test]
fn an_empty_initrd_is_refused_by_every_format() {
    let images = [
        Elf::vmlinux().build(),
        Elf::pvh(false).build(),
        Elf::with_header(&images::multiboot1(0, &[])).build(),
        Elf::with_header(&images::multiboot2(&[])).build(),
    ];
    for image in images {
        assert!(matches!(
            try_load(&image, Some(b""), |_| ()),
            Err(LoadError::Empty {
                what: "initial RAM disk"
            })
        ));
        assert!(matches!(
            try_load(&image, Some(&vec![0; 16 << 20]), |_| ()),
            Err(LoadError::InitrdTooLarge { .. })
        ));
    }
}

#[test]
fn a_file_is_as_good_as_bytes() {
    let mut kernel = tempfile::tempfile().unwrap();
    kernel.write_all(&Elf::pvh(true).build()).unwrap();
    let mut initrd = tempfile::tempfile().unwrap();
    initrd.write_all(b"initrd").unwrap();
    let (memory, regions) = (ram(16 * MIB), map(16 * MIB));
    let (kernel, initrd) = (
        Source::file(&mut kernel).unwrap(),
        Source::file(&mut initrd).unwrap(),
    );
    let state = load(&memory, kernel, Some(initrd), &guest(&regions)).unwrap();
    let loaded = Loaded { memory, state };
    assert_eq!(loaded.state.rip, 0x10_0008);
    assert_eq!(loaded.bytes(0x10_0000, 14), b"code at 1 MiB\0");
    assert_eq!(loaded.string(16 * MIB - 4096), "initrd");
}

#[test]
fn a_sparse_file_of_terabytes_costs_nothing() {
    let mut initrd = tempfile::tempfile().unwrap();
    initrd.set_len(1 << 42).unwrap();
    let kernel = Elf::vmlinux().build();
    let (memory, regions) = (ram(16 * MIB), map(16 * MIB));
    let result = load(
        &memory,
        Source::Bytes(&kernel),
        Some(Source::file(&mut initrd).unwrap()),
        &guest(&regions),
    );
    assert!(matches!(result, Err(LoadError::InitrdTooLarge { size, .. }) if size == 1 << 42));
    // As a kernel it has no format.
    assert!(matches!(file_error(initrd), LoadError::Format { magic: 0 }));
}
