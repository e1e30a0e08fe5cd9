//! Damaged images: whatever they are, there is an answer and no panic.

use proptest::prelude::*;

use super::images::{Elf, bzimage, hex, multiboot1, multiboot2, tag};
use super::*;
use crate::Compression;
use crate::decompress::decompress;

/// Where and with what to overwrite, as shares of the image and interesting numbers.
fn damage() -> impl Strategy<Value = Vec<(usize, u64, usize)>> {
    let number = prop_oneof![
        any::<u64>(),
        Just(0),
        Just(u64::MAX),
        (0_u32..64).prop_map(|bit| 1 << bit),
        (0_u64..0x400).prop_map(|offset| offset.wrapping_sub(0x200)),
        0_u64..0x200_0000,
    ];
    let width = prop_oneof![Just(1_usize), Just(2), Just(4), Just(8)];
    proptest::collection::vec((any::<usize>(), number, width), 1..6)
}

fn damaged(mut image: Vec<u8>, damage: &[(usize, u64, usize)], cut: Option<usize>) -> Vec<u8> {
    for (at, value, width) in damage {
        let at = at % image.len();
        for (byte, value) in image[at..].iter_mut().zip(value.to_le_bytes()).take(*width) {
            *byte = value;
        }
    }
    if let Some(cut) = cut {
        image.truncate(cut % image.len());
    }
    image
}

fn images() -> Vec<Vec<u8>> {
    let load = 0x20_0000;
    let flat_1 = multiboot1(1 << 16, &[load, load, load + 32, load + 64, load]);
    let flat_2 = multiboot2(&[
        tag(2, 0, &[load, load, load + 64, load + 80]),
        tag(3, 0, &[load]),
    ]);
    let mut own_code = bzimage(&[]);
    own_code.extend([0x90; 1024]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut packed, &Elf::pvh(true).build()).unwrap();
    vec![
        Elf::vmlinux().build(),
        Elf::pvh(true).build(),
        Elf::pvh(false).build(),
        Elf::with_header(&multiboot1(3, &[])).build(),
        Elf::with_header(&multiboot2(&[
            tag(1, 0, &[4, 6]),
            tag(6, 0, &[]),
            tag(10, 1, &[0, !0, 4096, 0]),
        ]))
        .build(),
        flat_1,
        flat_2,
        bzimage(&packed.finish().unwrap()),
        own_code,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_image_is_loaded_or_refused(
        index in 0_usize..9,
        damage in damage(),
        cut in proptest::option::weighted(0.2, any::<usize>()),
        protocol in 0_usize..5,
    ) {
        use BootProtocol::{Auto, Linux, Multiboot1, Multiboot2, Pvh};
        let image = damaged(images().swap_remove(index), &damage, cut);
        let protocol = [Auto, Pvh, Linux, Multiboot1, Multiboot2][protocol];
        let (memory, regions) = (ram(16 * MIB), map(16 * MIB));
        let guest = Guest { protocol, ..guest(&regions) };
        if let Ok(state) = load(&memory, Source::Bytes(&image), Some(Source::Bytes(b"initrd")), &guest) {
            prop_assert!(state.rip < 16 * MIB);
        }
    }

    #[test]
    fn a_damaged_stream_is_unpacked_or_refused(
        index in 0_usize..6,
        damage in damage(),
        cut in proptest::option::weighted(0.2, any::<usize>()),
    ) {
        const MAX: u64 = MIB;
        let (compression, packed) = compression::PACKED[index];
        let packed = damaged(hex(packed), &damage, cut);
        if let Ok(unpacked) = decompress(&packed, compression, MAX) {
            prop_assert!(unpacked.len() as u64 <= MAX);
        }
        // Detection is by two bytes, and may find another format.
        if let Some(found) = Compression::detect(&packed) {
            let _ = decompress(&packed, found, MAX);
        }
    }

    #[test]
    fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        prop_assert!(try_load(&bytes, None, |_| ()).is_err());
    }
}
