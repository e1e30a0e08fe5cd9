//! The loader: a target a format, whose input is an image, and one a compression, whose input is a payload.

use std::io::{Error, ErrorKind};

use trivisor_loader::{
    BootProtocol, BootState, Compression, Guest, LoadError, MemoryKind, MemoryRegion, Source, load,
};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::corpus;
use crate::features::{note, note_text};

/// Bytes of guest memory.
const RAM: u64 = 8 << 20;

/// What a decompressed payload may have.
const MAX_PAYLOAD: u64 = 1 << 20;

/// What the kernel must not be loaded over.
const RESERVED: [u64; 3] = [0x9_f000, 0xe_0000, 0x38_0000];
const PAGE: u64 = 0x1000;

/// What reserved memory is full of.
const PATTERN: [u8; 0x1000] = [0xa5; 0x1000];

/// The memory map: RAM with reserved pages in it, sorted.
fn regions() -> Vec<MemoryRegion> {
    let region = |start, end, kind| MemoryRegion {
        start,
        size: end - start,
        kind,
    };
    let mut regions = Vec::new();
    let mut from = 0;
    for page in RESERVED {
        regions.push(region(from, page, MemoryKind::Ram));
        regions.push(region(page, page + PAGE, MemoryKind::Reserved));
        from = page + PAGE;
    }
    regions.push(region(from, RAM, MemoryKind::Ram));
    regions
}

/// Loads `image`, with an initial RAM disk when its length is odd.
///
/// # Errors
/// As the loader has them.
///
/// # Panics
/// When reserved memory was written, or the kernel is entered outside of RAM.
pub fn load_image(image: &[u8], protocol: BootProtocol) -> Result<BootState, LoadError> {
    let memory = memory().map_err(|source| LoadError::Read {
        what: "guest memory",
        source,
    })?;
    let regions = regions();
    let guest = Guest {
        cmdline: "console=ttyS0 root=/dev/pmem0",
        regions: &regions,
        rsdp: None,
        random_seed: &[0x5a; 32],
        protocol,
    };
    let initrd = (!image.len().is_multiple_of(2)).then_some(Source::Bytes(b"initrd"));
    let result = load(&memory, Source::Bytes(image), initrd, &guest);
    for page in RESERVED {
        let mut found = [0; 0x1000];
        let read = memory.read_slice(&mut found, GuestAddress(page));
        assert!(
            read.is_ok() && found == PATTERN,
            "reserved memory at {page:#x} was written"
        );
    }
    match &result {
        Ok(state) => {
            let mut ram = regions
                .iter()
                .filter(|region| region.kind == MemoryKind::Ram);
            assert!(
                ram.any(|region| (region.start..region.start + region.size).contains(&state.rip)),
                "entry at {:#x}",
                state.rip
            );
            note((state.cr0, state.efer, state.rip / PAGE));
        }
        Err(error) => note_text(&error.to_string()),
    }
    result
}

fn memory() -> Result<GuestMemoryMmap<()>, Error> {
    let size = usize::try_from(RAM).map_err(Error::other)?;
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), size)]).map_err(Error::other)?;
    for page in RESERVED {
        memory
            .write_slice(&PATTERN, GuestAddress(page))
            .map_err(Error::other)?;
    }
    Ok(memory)
}

/// Decompresses a payload as a bzImage's.
///
/// # Errors
/// As the loader has them.
///
/// # Panics
/// When it became larger than it may.
pub fn unpack(payload: &[u8], compression: Compression) -> Result<Vec<u8>, LoadError> {
    if Compression::detect(payload) != Some(compression) {
        return Err(LoadError::Decompress {
            compression,
            source: ErrorKind::InvalidData.into(),
        });
    }
    let image = bzimage_with(payload);
    let result = trivisor_loader::bzimage::payload(&Source::Bytes(&image), MAX_PAYLOAD);
    match &result {
        Ok(unpacked) => {
            assert!(unpacked.len() as u64 <= MAX_PAYLOAD);
            note(unpacked.len().checked_ilog2());
        }
        Err(error) => note_text(&format!("{error:?}")),
    }
    result
}

/// An image of `parts`, each at its offset, zeroes between them.
fn image(parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut image = Vec::new();
    for (at, bytes) in parts {
        image.resize(image.len().max(at + bytes.len()), 0);
        let target = image.get_mut(*at..).unwrap_or_default();
        for (target, byte) in target.iter_mut().zip(*bytes) {
            *target = *byte;
        }
    }
    image
}

/// Little-endian words.
fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// `hlt; jmp -3`, padded.
const CODE: [u8; 8] = [0xf4, 0xeb, 0xfd, 0x90, 0x90, 0x90, 0x90, 0x90];

/// A 64-bit ELF image with a PVH note and one segment of `code` at 2 MiB.
fn elf_64(code: &[u8]) -> Vec<u8> {
    let size = u32::try_from(code.len()).unwrap_or_default();
    image(&[
        (0, b"\x7fELF\x02\x01\x01"),
        // ET_EXEC, EM_X86_64, version, entry, program headers at 64.
        (16, &[2, 0, 62, 0, 1, 0, 0, 0]),
        (24, &words(&[0x20_0000, 0, 64, 0])),
        // Two of 56 bytes.
        (52, &[64, 0, 56, 0, 2, 0]),
        // PT_LOAD: flags, offset, addresses, sizes, alignment.
        (64, &words(&[1, 7, 0xc0, 0, 0x20_0000, 0, 0x20_0000, 0])),
        (96, &words(&[size, 0, 0x1000, 0, 0x1000, 0])),
        // PT_NOTE.
        (120, &words(&[4, 4, 0xb0, 0, 0, 0, 0, 0])),
        (152, &words(&[20, 0, 20, 0, 4, 0])),
        (0xb0, b"\x04\0\0\0\x04\0\0\0\x12\0\0\0Xen\0"),
        (0xc0, &words(&[0x20_0000])),
        (0xc4, code),
    ])
}

/// A 32-bit ELF image with one segment at 2 MiB, which begins with `header`.
fn elf_32(header: &[u8]) -> Vec<u8> {
    let code = [header, &CODE].concat();
    let size = u32::try_from(code.len()).unwrap_or_default();
    image(&[
        (0, b"\x7fELF\x01\x01\x01"),
        (16, &[2, 0, 3, 0, 1, 0, 0, 0]),
        (24, &words(&[0x20_0000, 52])),
        (40, &[52, 0, 32, 0, 1, 0]),
        (
            52,
            &words(&[1, 0x60, 0x20_0000, 0x20_0000, size, 0x2000, 7, 0x1000]),
        ),
        (0x60, &code),
    ])
}

/// A bzImage of version 2.15 around `payload`.
fn bzimage_with(payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len()).unwrap_or_default();
    image(&[
        (0x1f1, &[1]),
        (0x1fe, &[0x55, 0xaa, 0xeb, 0x6a]),
        (0x202, b"HdrS\x0f\x02"),
        (0x211, &[1]),
        (0x22c, &words(&[0x7fff_ffff])),
        (0x234, &[1, 0, 1, 0]),
        (0x238, &words(&[2047])),
        (0x248, &words(&[0x40, size])),
        (0x258, &words(&[0x40_0000, 0, 0x10_0000])),
        (0x400, &[0xcc; 0x40]),
        (0x440, payload),
    ])
}

/// A header with its checksum: magic, words, then what makes the sum 0.
fn checked(magic: u32, fields: &[u32]) -> Vec<u32> {
    let sum = fields
        .iter()
        .fold(magic, |sum, word| sum.wrapping_add(*word));
    [&[magic], fields, &[sum.wrapping_neg()]].concat()
}

fn multiboot1_seeds() -> Vec<Vec<u8>> {
    const LOAD: u32 = 0x20_0000;
    let flat = checked(0x1bad_b002, &[1 << 16 | 3]);
    let addresses = [LOAD, LOAD, LOAD + 40, LOAD + 64, LOAD + 32];
    let flat = words(&[&flat[..], &addresses].concat());
    vec![
        image(&[(0, &flat), (32, &CODE)]),
        image(&[(0, &flat), (32, &CODE), (40, &[0])]),
        elf_32(&words(&checked(0x1bad_b002, &[2]))),
    ]
}

fn multiboot2_seeds() -> Vec<Vec<u8>> {
    const LOAD: u32 = 0x20_0000;
    // Address tag, entry tag, end.
    let tags = [
        [2, 24, LOAD, LOAD, LOAD + 80, LOAD + 128].as_slice(),
        &[3, 12, LOAD + 72, 0, 6 | 1 << 16, 8, 0, 8],
    ];
    let header = checked(0xe852_50d6, &[0, 72]);
    let flat = words(&[&header[..], tags.concat().as_slice()].concat());
    let in_elf = words(&[&checked(0xe852_50d6, &[0, 24])[..], &[0, 8]].concat());
    vec![
        image(&[(0, &flat), (72, &CODE)]),
        image(&[(0, &flat), (72, &CODE), (80, &[0])]),
        elf_32(&in_elf),
    ]
}

macro_rules! image_target {
    ($name:ident, $protocol:ident, $seeds:expr, $what:literal) => {
        #[doc = $what]
        pub mod $name {
            use super::*;

            /// The entry point; its input is an image.
            pub fn target(data: &[u8]) {
                // What is refused is refused; what is checked, `load_image` does.
                let _ = load_image(data, PROTOCOL);
            }

            /// Images that load.
            #[must_use]
            pub fn seeds() -> Vec<Vec<u8>> {
                $seeds
            }

            /// By which they are started.
            pub const PROTOCOL: BootProtocol = BootProtocol::$protocol;
        }
    };
}

image_target!(
    elf,
    Linux,
    vec![elf_64(&CODE), elf_64(&[0x90; 9])],
    "ELF, by the Linux boot protocol."
);
image_target!(
    pvh,
    Pvh,
    vec![elf_64(&CODE), elf_64(&[0x90; 9])],
    "ELF with a PVH note."
);
image_target!(multiboot1, Multiboot1, multiboot1_seeds(), "Multiboot 1.");
image_target!(multiboot2, Multiboot2, multiboot2_seeds(), "Multiboot 2.");
image_target!(
    bzimage,
    Auto,
    vec![
        bzimage_with(&[]),
        bzimage_with(b"\x90\x90\x90"),
        bzimage_with(&packed(GZIP)),
        bzimage_with(&packed(LZ4)),
    ],
    "bzImage."
);

macro_rules! payload_target {
    ($name:ident, $compression:ident, $packed:expr, $what:literal) => {
        #[doc = $what]
        pub mod $name {
            use super::*;

            /// The entry point; its input is a payload.
            pub fn target(data: &[u8]) {
                let _ = unpack(data, COMPRESSION);
            }

            /// A payload, as the usual tool packs it.
            #[must_use]
            pub fn seeds() -> Vec<Vec<u8>> {
                vec![packed($packed)]
            }

            /// How it is packed.
            pub const COMPRESSION: Compression = Compression::$compression;
        }
    };
}

payload_target!(gzip, Gzip, GZIP, "gzip -n -9");
payload_target!(bzip2, Bzip2, BZIP2, "bzip2 -9");
payload_target!(lzma, Lzma, LZMA, "lzma -9");
payload_target!(xz, Xz, XZ, "xz --check=crc32 --x86 --lzma2=,dict=32MiB");
payload_target!(lz4, Lz4, LZ4, "lz4 -l -9");
payload_target!(zstd, Zstd, ZSTD, "zstd -22 --ultra");

fn packed(digits: &str) -> Vec<u8> {
    corpus::parse(digits).unwrap_or_default()
}

// A 64-bit ELF image of 128 bytes, packed.
const GZIP: &str = "\
    1f8b0800000000000203ab77f57163626464800126063b06084f014c3a30600207060b06980e10cd0ec41570\
    5905149a03262c804a7f79fd77020800005c9c634480000000";
const BZIP2: &str = "\
    425a683931415926535933b6802000002c7ca1fec0c0004000004143040040c000000804022000545034000f\
    51ea0c451ea1e936a3404b2964db3e2a010eac88354c01ce58c59dcf758700428e13a3d4dd001128b26e7e2e\
    e48a70a120676d0040";
const LZMA: &str = "\
    5d00000004ffffffffffffffff003f914584683d89a6da8acc93e24ef1e3cba4990d5e28675d29095a825070\
    882133702a7911f5cfce18290bdec4c7f53bc3ffff2bb80000";
const XZ: &str = "\
    fd377a585a0000016922de360201040021011a0001c980b3e0007f00315d003f914584683d89a6da8acc93e2\
    4ef1e3cba4990d5e28675d29095a825070882133702a7911f5cfce18290bdec4c60578e0000000005c9c6344\
    00014980010000008e5858e23e300d8b020000000001595a";
const LZ4: &str = "\
    02214c1842000000847f454c460201010001004202003e000e00112006002e40000100334000382400110008\
    005507000000781e0019200800140817001a10080080f4ebfd9090909090";
const ZSTD: &str = "\
    28b52ffd0488fd0100b2440c14e0690caa0f00a55f04f3800f7904ea35fae852a6bbbbbb920affff20ffff3f\
    3ffef6ffdb625dffcfffedf16d76c5101404004046bf87037c20401c3d70d7d8";
