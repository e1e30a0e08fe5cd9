use super::images::bzimage;
use super::*;
use crate::bzimage::payload;
use crate::layout;

/// An image that starts itself: 4 KiB of protected-mode code without a payload.
fn own_code() -> Vec<u8> {
    let mut image = bzimage(&[]);
    image.resize(0x400, 0);
    image.extend([0x90; 4096]);
    image
}

/// With `bytes` at `offset`.
fn patched(mut image: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    image[offset..offset + bytes.len()].copy_from_slice(bytes);
    image
}

#[test]
fn an_image_without_a_payload_is_started_where_it_wants_to_be() {
    let image = own_code();
    let loaded = check_load(&image, None);
    assert_eq!((loaded.state.rip, loaded.state.efer), (0x40_0200, 0x500)); // the 64-bit entry
    assert_eq!(
        loaded.bytes(0x40_0000, 4097),
        image[0x400..]
            .iter()
            .copied()
            .chain([0])
            .collect::<Vec<_>>()
    );
    // A payload of no known compression is the image's own business.
    let unknown = patched(bzimage(b"what is this"), 0x410, b"code");
    assert_eq!(check_load(&unknown, None).state.rip, 0x40_0200);
}

#[test]
fn older_headers_have_fewer_fields() {
    let state = |version: u8| {
        let image = patched(own_code(), 0x206, &[version]);
        check_load(&image, None).state
    };
    assert_eq!(
        (state(12).rip, state(12).cr3),
        (0x40_0200, layout::PAGE_TABLES)
    );
    assert_eq!((state(11).rip, state(11).cr0), (0x40_0000, 0x11)); // no XLF_KERNEL_64
    assert_eq!(
        (state(9).rip, state(9).rsi),
        (layout::HIGH_MEMORY, layout::ZERO_PAGE)
    ); // no pref_address
    let fixed = patched(own_code(), 0x234, &[0]);
    assert_eq!(
        check_load(&fixed, None).state.rip,
        layout::HIGH_MEMORY + 0x200
    );
    let no_preference = patched(own_code(), 0x258, &[0; 8]);
    assert_eq!(
        check_load(&no_preference, None).state.rip,
        layout::HIGH_MEMORY + 0x200
    );
}

#[test]
fn the_header_ends_where_its_jump_says() {
    // Of a header that ends at 0x238, cmdline_size is not the image's: the old limit holds.
    let image = patched(own_code(), 0x200, &[0xeb, 0x36]);
    let with = |size: usize| {
        try_load(&image, None, |guest| {
            guest.cmdline = &*"x".repeat(size).leak()
        })
    };
    assert_eq!(with(255).unwrap().u32(layout::ZERO_PAGE + 0x238), 255);
    assert_eq!(
        with(256).err().unwrap().to_string(),
        "the command line has 256 bytes, the kernel takes 255"
    );
    let loaded = check_load(&image, None);
    assert_eq!(
        loaded.bytes(layout::ZERO_PAGE + 0x1f1, 0x1f),
        image[0x1f1..0x210]
    );
    // A jump that leads nowhere does not make a header longer than the zero page has room for.
    let long = patched(own_code(), 0x200, &[0xeb, 0xff]);
    let loaded = check_load(&long, None);
    assert_eq!(loaded.bytes(layout::ZERO_PAGE + 0x290, 0x40), [0; 0x40]);
}

#[test]
fn setup_sectors_of_zero_are_four() {
    let mut image = patched(own_code(), 0x1f1, &[0]);
    image.resize(5 * 512, 0);
    image.extend(b"protected mode");
    let loaded = check_load(&image, None);
    assert_eq!(loaded.bytes(0x40_0000, 14), b"protected mode");
}

#[test]
fn initrd_limit_is_the_images() {
    let image = patched(own_code(), 0x22c, &0x7f_ffff_u32.to_le_bytes());
    let at = |image: &[u8]| check_load(image, Some(b"initrd")).u32(layout::ZERO_PAGE + 0x218);
    assert_eq!(at(&image), 0x7f_f000);
    assert_eq!(at(&patched(image, 0x22c, &[0; 4])), 0xff_f000); // before 2.03: 0x37ffffff
}

#[test]
fn impossible_headers_are_refused_by_field() {
    check_refusals(
        &own_code(),
        BootProtocol::Auto,
        "206: 0102 -> bzImage: version is 0x201, older than 2.02
         206: 0000 -> bzImage: version is 0x0, older than 2.02
         211: 00 -> bzImage: loadflags is 0x0, a zImage, which is loaded low
         1f1: ff -> bzImage: no protected-mode part
         24c: ffffffff -> bzImage payload: 4294967295 bytes at offset 0x440 are behind the end of the file, 0x1400
         248: ffffffff01000000 -> bzImage payload: 1 bytes at offset 0x1000003ff are behind the end of the file, 0x1400
         258: 0000000001000000 -> bzImage protected-mode part: 0x100000 bytes at 0x100000000 do not lie in the guest's memory
         258: ffffffffffffffff -> bzImage protected-mode part: 0x100000 bytes at 0xffffffffffffffff do not lie in the guest's memory
         258: 0080000000000000 -> bzImage protected-mode part at 0x8000..0x108000 overlaps the loader's structures at 0x400..0x30000
         260: 00000001 -> bzImage protected-mode part: 0x1000000 bytes at 0x400000 do not lie in the guest's memory
         1fe: 0000 -> no kernel format: the file begins with 0x00000000, and is no ELF, bzImage or multiboot image
         202: 00 -> no kernel format: the file begins with 0x00000000, and is no ELF, bzImage or multiboot image",
    );
    let short = &own_code()[..0x402];
    let short = patched(patched(short.to_vec(), 0x260, &[0; 4]), 0x206, &[15]);
    let wanted = "bzImage: pref_address is 0x400200, not in a part that is loaded";
    assert_eq!(refusal(&short, BootProtocol::Auto), wanted);
}

#[test]
fn a_payload_larger_than_memory_is_not_read() {
    let image = bzimage(&[0x1f; 1 << 20]);
    let error = payload(&Source::Bytes(&image), MIB - 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "bzImage payload has more than 0xfffff bytes, the most that its memory takes"
    );
}

#[test]
fn payload_wants_one() {
    let refused = |image: &[u8]| payload(&Source::Bytes(image), MIB).unwrap_err().to_string();
    assert_eq!(refused(b"no bzImage"), "bzImage: no setup header (HdrS)");
    assert_eq!(
        refused(&own_code()),
        "bzImage: no payload of a known compression"
    );
    assert_eq!(
        refused(&bzimage(b"raw")),
        "bzImage: no payload of a known compression"
    );
    assert_eq!(
        refused(&patched(bzimage(b"BZh"), 0x206, &[7])),
        "bzImage: no payload of a known compression"
    );
}

#[test]
fn every_truncation_is_refused() {
    // Its end is known by the payload alone, so that is to be there.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &images::Elf::vmlinux().build()).unwrap();
    check_truncations(&bzimage(&encoder.finish().unwrap()), BootProtocol::Auto);
}

#[test]
fn protocols_that_it_does_not_speak_are_refused() {
    let refused = |protocol| refusal(&own_code(), protocol);
    assert_eq!(
        refused(BootProtocol::Pvh),
        "bzImage: no PVH note in its payload"
    );
    assert_eq!(
        refused(BootProtocol::Multiboot2),
        "multiboot 2: no header in the first 32 KiB"
    );
    assert_eq!(
        refused(BootProtocol::Multiboot1),
        "multiboot: no header in the first 8 KiB"
    );
}
