use std::io::{Read, Write};

use super::images::{Elf, bzimage, hex};
use super::*;
use crate::Compression;
use crate::bzimage::payload;
use crate::decompress::decompress;

const LARGE: u64 = 64 * MIB;

/// What the usual tools made of [`calls`], with a kernel build's arguments.
pub(super) const PACKED: [(Compression, &str); 6] = [
    (
        Compression::Gzip, // gzip -n -9
        "1f8b08000000000002032dcf111083000000c0eec2dd6d108661380cc3300c87c3300c27dd8561381c86c3300c27dd85c364b0a7 \
          e7df8e4b10745db77db9f3c3950b67be39f1c527470eecf960cb8635efbcb162c98239335e993261cc8827863ccefedcf9e1ca85 \
          33df9cf8e2932307f67cb065c39a77de58b164c19c19af4c993066c413c3bf3ff9cc236000020000",
    ),
    (
        Compression::Bzip2, // bzip2 -9
        "425a683931415926535978b0d4c20000fcffffc80988080808080808080808080808080808480808080808080808080848080820 \
          009209510819346834604ffd54d083553ffd554683234d188006991a280000000000000008cf24927d934ead7b29ab6eeaf7d9c3 \
          8db75fcba75eddfc79f5efe692d76df65555555555555555d00090006e0004c42044002243f8bb9229c28483c586a610",
    ),
    (
        Compression::Lzma, // lzma -9
        "5d00000004ffffffffffffffff00743ebdd10ba29e7a4ef387f47d41ee45d1b7acb16dada26a4a0f8e743007e3f646805615beeb \
          68109925e3afe4adc71ced020cf4f210d38be532e4a82eb54b98a6b1a69b22bdc727f0958295b1a006f174a95729201be5a94bd2 \
          62215bf396ba7c55066035bffff7148000",
    ),
    (
        Compression::Xz, // xz --check=crc32 --x86 --lzma2=,dict=32MiB
        "fd377a585a0000016922de360201040021011a0001c980b3e001ff000f5d0073fffdf00c6297c857b23344c700000000f9cc2360 \
          000127800400000096c678e73e300d8b020000000001595a",
    ),
    (
        Compression::Lz4, // lz4 -l -9
        "02214c1809010000a3e8fb0f0000909090e8f3080013eb080013e3080013db080013d3080013cb080013c3080013bb080013b308 \
          0013ab080013a30800139b080013930800138b080013830800137b080013730800136b080013630800135b080013530800134b08 \
          0013430800133b080013330800132b080013230800131b080013130800130b08001303080023fb0e000103080013eb080013e308 \
          0013db080013d3080013cb080013c3080013bb080013b3080013ab080013a30800139b080013930800138b080013830800137b08 \
          0013730800136b080013630800135b080013530800134b080013430800133b080013330800132b080013230800131b0800131308 \
          00130b080070030e0000909090",
    ),
    (
        Compression::Zstd, // zstd -22 --ultra
        "28b52ffd0488150300f404e8fb0f0000909090e8f3ebe3dbd3cbc3bbb3aba39b938b837b736b635b534b433b332b231b130b03fb \
          0ef3ebe3dbd3cbc3bbb3aba39b938b837b736b635b534b433b332b231b130b030e00009090903ea810f8ec19e00f10143fbb2304 \
          d69f52ed453e59",
    ),
];

/// 64 calls of the function at 0x1000: the x86 filter of xz makes them equal.
fn calls() -> Vec<u8> {
    let call = |index: u32| {
        [
            &[0xe8][..],
            &(0x1000 - 8 * index - 5).to_le_bytes(),
            &[0x90; 3],
        ]
        .concat()
    };
    (0..64).flat_map(call).collect()
}

/// Packs as a kernel's build does, without the appended size.
fn pack(compression: Compression, data: &[u8]) -> Vec<u8> {
    match compression {
        Compression::Gzip => {
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut packed = Vec::new();
            let mut encoder = bzip2::read::BzEncoder::new(data, bzip2::Compression::best());
            encoder.read_to_end(&mut packed).unwrap();
            packed
        }
        Compression::Lzma => {
            let options = lzma_rust2::LzmaOptions::with_preset(6);
            let mut encoder =
                lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, None).unwrap();
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Xz => {
            let mut options = lzma_rust2::XzOptions::with_preset(6);
            options.set_check_sum_type(lzma_rust2::CheckType::Crc32);
            options.prepend_pre_filter(lzma_rust2::FilterType::BcjX86, 0);
            let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Lz4 => {
            let mut packed = 0x184c_2102_u32.to_le_bytes().to_vec();
            for block in data.chunks(8 << 20) {
                let block = lz4_flex::block::compress(block);
                packed.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
                packed.extend(block);
            }
            packed
        }
        Compression::Zstd => {
            ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest)
        }
        Compression::Lzo => panic!("nobody packs it here"),
    }
}

/// With the size that a kernel's build appends for all but gzip.
fn pack_for_kernel(compression: Compression, data: &[u8]) -> Vec<u8> {
    let mut packed = pack(compression, data);
    if compression != Compression::Gzip {
        packed.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    }
    packed
}

fn all() -> impl Iterator<Item = Compression> {
    PACKED.iter().map(|(compression, _)| *compression)
}

#[test]
fn formats_are_known_by_the_magic_of_linux() {
    for (compression, packed) in PACKED {
        assert_eq!(Compression::detect(&hex(packed)), Some(compression));
        assert_eq!(
            Compression::detect(&pack(compression, b"x")),
            Some(compression)
        );
    }
    assert_eq!(Compression::detect(&[0x1f, 0x9e]), Some(Compression::Gzip));
    assert_eq!(Compression::detect(&[0x89, 0x4c]), Some(Compression::Lzo));
    for none in [&b""[..], b"B", b"\x7fELF", b"ZB"] {
        assert_eq!(Compression::detect(none), None);
    }
}

#[test]
fn what_the_usual_tools_packed_is_unpacked() {
    for (compression, packed) in PACKED {
        let image = bzimage(&hex(packed));
        assert_eq!(
            payload(&Source::Bytes(&image), LARGE).unwrap(),
            calls(),
            "{compression}"
        );
    }
}

#[test]
fn what_is_packed_is_unpacked_byte_for_byte() {
    // More than one block of bzip2, and two of LZ4; little that repeats, so that nothing is trivial.
    let mut noise = 1_u32;
    let mut step = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if noise >> 30 == 0 {
            noise.to_le_bytes()[3]
        } else {
            0xe8
        }
    };
    let data: Vec<u8> = (0..(8 << 20) + 1).map(|_| step()).collect();
    for compression in all() {
        let size = if compression == Compression::Lz4 {
            data.len()
        } else {
            (1 << 20) + 1
        };
        let data = &data[..size];
        let packed = pack(compression, data);
        for appended in [&[][..], &u32::try_from(size).unwrap().to_le_bytes()] {
            let image = bzimage(&[&packed, appended].concat());
            let unpacked = payload(&Source::Bytes(&image), LARGE).unwrap();
            assert!(unpacked == data, "{compression}: {} bytes", unpacked.len());
        }
    }
}

#[test]
fn a_packed_kernel_boots_as_linux_with_its_setup_header() {
    for compression in all() {
        let image = bzimage(&pack_for_kernel(compression, &Elf::pvh(true).build()));
        let loaded = check_load(&image, None);
        assert_eq!(
            (loaded.state.rip, loaded.state.cr0),
            (0x10_0004, 0x8000_0011),
            "{compression}"
        );
        assert_eq!(loaded.bytes(0x10_0000, 13), b"code at 1 MiB");
        assert_eq!(loaded.bytes(loaded.state.rsi + 0x206, 2), [0x0f, 2]); // version of the image's header
        assert_eq!(
            check_load_as(&image, BootProtocol::Pvh).state.rip,
            0x10_0008
        );
        let plain = bzimage(&pack_for_kernel(compression, &Elf::vmlinux().build()));
        assert_eq!(
            refusal(&plain, BootProtocol::Pvh),
            "bzImage: no PVH note in its payload"
        );
    }
}

#[test]
fn output_is_bounded() {
    let data = vec![0x42; 3 << 20];
    for compression in all() {
        let packed = pack_for_kernel(compression, &data);
        let unpack = |max: u64| decompress(&packed, compression, max);
        assert_eq!(unpack(3 * MIB).unwrap(), data, "{compression}");
        for max in [0, 1, MIB, 3 * MIB - 1] {
            match unpack(max) {
                Err(LoadError::TooLarge { max: told, .. }) => {
                    assert_eq!(told, max, "{compression}")
                }
                other => panic!("{compression}: {:?}", other.map(|unpacked| unpacked.len())),
            }
        }
    }
}

#[test]
fn a_bomb_is_refused_with_the_guests_memory() {
    // 64 MiB for a guest of 16 MiB, whose map has 0x9fc00 bytes less 384 KiB.
    let bomb = vec![0; 64 << 20];
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Lz4] {
        let image = bzimage(&pack_for_kernel(compression, &bomb));
        let wanted = "bzImage: its decompressed payload has more than 0xf9fc00 bytes, the most that its memory takes";
        assert_eq!(refusal(&image, BootProtocol::Auto), wanted, "{compression}");
    }
}

#[test]
fn a_huge_window_is_refused_before_it_is_allocated() {
    let refused =
        |compression: Compression, packed: &str| match decompress(&hex(packed), compression, LARGE)
        {
            Err(LoadError::Decompress { source, .. }) => source.to_string(),
            other => panic!("{compression}: {:?}", other.map(|unpacked| unpacked.len())),
        };
    // Dictionaries of 4 GiB less 16 bytes, and a window of 1 GiB.
    assert!(
        refused(Compression::Lzma, "5d f0ffffff ffffffffffffffff 00743ebdd1").contains("mem_limit")
    );
    let xz = "fd377a585a0000016922de36 0200210128000000 e6a011b3 01";
    assert!(refused(Compression::Xz, xz).contains("mem_limit"));
    assert!(refused(Compression::Zstd, "28b52ffd 00 a0 010000").contains("too big"));
}

#[test]
fn every_truncation_of_a_stream_is_refused() {
    for (compression, packed) in PACKED {
        let packed = hex(packed);
        for size in 0..packed.len() {
            let result = decompress(&packed[..size], compression, LARGE);
            assert!(
                matches!(result, Err(LoadError::Decompress { .. })),
                "{compression}: {size} of {}",
                packed.len()
            );
        }
    }
}

#[test]
fn checksums_are_checked() {
    for (compression, packed) in PACKED {
        // lzma and lz4 have none.
        let flip = match compression {
            Compression::Gzip => 8,
            Compression::Bzip2 => 3,
            Compression::Xz => 32,
            Compression::Zstd => 1,
            Compression::Lzma | Compression::Lz4 | Compression::Lzo => continue,
        };
        let mut packed = hex(packed);
        let at = packed.len() - flip;
        packed[at] ^= 0x10;
        let result = decompress(&packed, compression, LARGE);
        assert!(
            matches!(result, Err(LoadError::Decompress { .. })),
            "{compression}"
        );
    }
}

#[test]
fn a_wrong_appended_size_of_lz4_is_a_block_cut_off() {
    let mut packed = pack_for_kernel(Compression::Lz4, b"kernel");
    *packed.last_mut().unwrap() ^= 1;
    let error = decompress(&packed, Compression::Lz4, LARGE).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bzImage: its payload cannot be decompressed from lz4"
    );
}

#[test]
fn small_blocks_of_lz4_cost_little() {
    // Each is one literal; a block's room of 8 MiB for each would be terabytes.
    let blocks = [2, 0, 0, 0, 0x10, b'x'].repeat(1 << 20);
    let packed = [&hex("02214c18")[..], &blocks].concat();
    let unpacked = decompress(&packed, Compression::Lz4, LARGE).unwrap();
    assert_eq!(unpacked, vec![b'x'; 1 << 20]);
}

#[test]
fn lzo_is_refused_by_its_name() {
    let image = bzimage(&hex("894c5a4f000d0a1a0a"));
    let wanted = "bzImage: its payload is compressed with lzo, which is not supported";
    assert_eq!(refusal(&image, BootProtocol::Auto), wanted);
    assert_eq!(
        payload(&Source::Bytes(&image), LARGE)
            .unwrap_err()
            .to_string(),
        wanted
    );
}
