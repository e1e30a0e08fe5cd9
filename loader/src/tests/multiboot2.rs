use super::images::{Elf, multiboot2, tag, words};
use super::*;
use crate::layout;

const OPTIONAL: u16 = 1;

/// A flat image: the header, then code. All goes to 2 MiB, with bss up to a page.
fn flat() -> Vec<u8> {
    let load = 0x20_0000;
    let size = 16 + 24 + 16 + 8 + 4;
    let address = tag(2, 0, &[load, load, load + size, load + 0x1000]);
    [
        multiboot2(&[address, tag(3, 0, &[load + 64])]),
        b"code".to_vec(),
    ]
    .concat()
}

fn elf(tags: &[Vec<u8>]) -> Vec<u8> {
    Elf::with_header(&multiboot2(tags)).build()
}

/// The tags of the information: type and contents.
fn information(loaded: &Loaded) -> Vec<(u32, Vec<u8>)> {
    let (mut at, end) = (
        loaded.state.rbx + 8,
        loaded.state.rbx + u64::from(loaded.u32(loaded.state.rbx)),
    );
    let mut tags = Vec::new();
    while at < end {
        let size = loaded.u32(at + 4) as usize;
        tags.push((loaded.u32(at), loaded.bytes(at + 8, size - 8)));
        at += size.next_multiple_of(8) as u64;
    }
    assert_eq!(at, end);
    tags
}

fn find(loaded: &Loaded, kind: u32) -> Option<Vec<u8>> {
    let mut tags = information(loaded).into_iter().filter(|tag| tag.0 == kind);
    let found = tags.next().map(|tag| tag.1);
    assert!(tags.next().is_none());
    found
}

#[test]
fn address_tags_place_a_flat_image() {
    let loaded = check_load(&flat(), None);
    assert_eq!(
        (loaded.state.rip, loaded.state.rax, loaded.state.rbx),
        (0x20_0040, 0x36d7_6289, layout::MULTIBOOT_INFO)
    );
    assert_eq!(
        (loaded.state.cr0, loaded.state.cr3, loaded.state.cs.long),
        (0x11, 0, false)
    );
    assert_eq!(loaded.bytes(0x20_0000, 69), [&flat()[..], &[0]].concat());
    assert_eq!(loaded.bytes(0x413, 2), 639_u16.to_le_bytes());
}

#[test]
fn a_load_address_of_all_ones_is_the_beginning_of_the_file() {
    let address = tag(2, 0, &[0x20_0010, !0, 0, 0]);
    let header = multiboot2(&[address, tag(3, 0, &[0x20_0010])]);
    let image = [vec![0xee; 16], header].concat();
    let loaded = check_load(&image, None);
    assert_eq!(loaded.bytes(0x20_0000, image.len()), image);
    let low = multiboot2(&[tag(2, 0, &[0x8, !0, 0, 0])]);
    assert_eq!(
        refusal(&[vec![0xee; 16], low].concat(), BootProtocol::Auto),
        "multiboot 2: header_addr is 0x8, too low for the file's beginning"
    );
}

#[test]
fn elf_headers_place_an_elf_image_and_the_entry_tag_outranks_them() {
    assert_eq!(check_load(&elf(&[]), None).state.rip, 0x10_0004);
    assert_eq!(
        check_load(&elf(&[tag(3, 0, &[0x10_000c])]), None).state.rip,
        0x10_000c
    );
    assert_eq!(
        refusal(&elf(&[tag(3, 0, &[0x50_0000])]), BootProtocol::Auto),
        "multiboot 2: entry_addr is 0x500000, not in a part that is loaded"
    );
}

#[test]
fn version_2_comes_before_version_1() {
    let headers = [multiboot2(&[]), images::multiboot1(0, &[])].concat();
    let image = Elf::with_header(&headers).build();
    assert_eq!(check_load(&image, None).state.rax, 0x36d7_6289);
    assert_eq!(
        check_load_as(&image, BootProtocol::Multiboot1).state.rax,
        0x2bad_b002
    );
}

#[test]
fn information_has_a_tag_for_each_matter() {
    let loaded = check_load(&elf(&[]), Some(b"initrd"));
    assert_eq!(loaded.u32(loaded.state.rbx + 4), 0);
    let tags = information(&loaded);
    let kinds: Vec<u32> = tags.iter().map(|tag| tag.0).collect();
    assert_eq!(kinds, [2, 4, 3, 6, 15, 1, 0]);
    assert_eq!(tags[0].1, b"trivisor\0");
    assert_eq!(tags[1].1, words(&[639, 15 << 10]));
    assert_eq!(
        tags[2].1,
        [&words(&[0xff_f000, 0xff_f006])[..], &[0]].concat()
    );
    assert_eq!(loaded.string(0xff_f000), "initrd");
    let entries = [
        (0, 0x9_fc00, 1),
        (0x9_fc00, 0x400, 2),
        (0xe_0000, 0x2_0000, 2),
        (0x10_0000, 0xf0_0000, 1),
    ];
    let entries = entries.map(|(start, size, kind)| words(&[start, 0, size, 0, kind, 0]));
    assert_eq!(tags[3].1, [words(&[24, 0]), entries.concat()].concat());
    assert_eq!(tags[4].1, loaded.bytes(0xe_0000, 36));
    assert_eq!(tags[5].1, [CMDLINE.as_bytes(), b"\0"].concat());
    assert!(tags[6].1.is_empty());
}

#[test]
fn the_root_pointer_is_as_long_as_its_revision_says() {
    let (memory, regions) = (ram(16 * MIB), map(16 * MIB));
    memory
        .write_slice(
            b"RSD PTR .OEM12\0\0.... and behind it",
            GuestAddress(0xe_0000),
        )
        .unwrap();
    let guest = guest(&regions);
    let state = load(&memory, Source::Bytes(&elf(&[])), None, &guest).unwrap();
    let loaded = Loaded { memory, state };
    assert_eq!(find(&loaded, 14), Some(loaded.bytes(0xe_0000, 20)));
    assert_eq!(find(&loaded, 15), None);
    let none = try_load(&elf(&[]), None, |guest| guest.rsdp = None).unwrap();
    assert_eq!((find(&none, 14), find(&none, 15)), (None, None));
    let error = try_load(&elf(&[]), None, |guest| guest.rsdp = Some(1 << 40))
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "the ACPI root pointer at 0x10000000000 does not lie in the guest's memory"
    );
}

#[test]
fn a_relocatable_image_is_told_where_it_is() {
    assert_eq!(find(&check_load(&elf(&[]), None), 21), None);
    let image = elf(&[tag(10, 0, &[0, !0, 0x1000, 0])]);
    assert_eq!(
        find(&check_load(&image, None), 21),
        Some(words(&[0x10_0000]))
    );
}

#[test]
fn the_header_is_looked_for_in_32_kib() {
    let at = |offset: usize| {
        let mut image = Elf::with_header(&[]);
        image.segments[0].data = [vec![0; offset], multiboot2(&[])].concat();
        image.segments[0].memory_size = 1 << 16;
        try_load(&image.build(), None, |_| ()).map(|loaded| loaded.state.rax)
    };
    let start = 120; // of the segment in the file
    assert!(at(0).is_ok() && at(8).is_ok() && at(32768 - 24 - start).is_ok());
    assert!(at(4).is_err());
    assert_eq!(
        at(32768 - 16 - start).unwrap_err().to_string(),
        "multiboot 2: header_length is 0x18, not 16 bytes, or past the first 32 KiB"
    );
}

#[test]
fn what_the_machine_does_not_have_is_refused_by_name() {
    let demands = [
        (
            tag(1, 0, &[4, 9]),
            "mbi_tag_types is 0x9, a demand for information that is not given",
        ),
        (
            tag(1, 0, &[13]),
            "mbi_tag_types is 0xd, a demand for information that is not given",
        ),
        (
            tag(1, 0, &[22]),
            "mbi_tag_types is 0x16, a demand for information that is not given",
        ),
        (
            tag(1, 0, &[0]),
            "mbi_tag_types is 0x0, a demand for information that is not given",
        ),
        (
            tag(4, 0, &[3]),
            "console_flags is 0x3, a demand for a console (bit 0): there is no screen",
        ),
        (
            tag(5, 0, &[80, 25, 0]),
            "tag type is 0x5, a demand for a framebuffer: there is no screen",
        ),
        (
            tag(11, 0, &[]),
            "tag type is 0xb, a demand that version 2.0 does not know",
        ),
    ];
    for (demand, wanted) in demands {
        assert_eq!(
            refusal(&elf(std::slice::from_ref(&demand)), BootProtocol::Auto),
            format!("multiboot 2: {wanted}")
        );
        let wish = [&demand[..2], &OPTIONAL.to_le_bytes(), &demand[4..]].concat();
        check_load(&elf(&[wish]), None);
    }
    let met = [
        tag(1, 0, &[1, 2, 3, 4, 6, 8, 14, 15]),
        tag(4, 0, &[2]),
        tag(6, 0, &[]),
        tag(7, 0, &[]),
        tag(9, 0, &[0]),
    ];
    check_load(&elf(&met), None);
}

#[test]
fn impossible_headers_are_refused() {
    let tags = |tags: &[Vec<u8>]| refusal(&multiboot2(tags), BootProtocol::Auto);
    assert_eq!(
        tags(&[]),
        "multiboot 2: no address tag, and it is no ELF image"
    );
    let address = tag(2, 0, &[0x10_0000, 0x10_0000, 0, 0]);
    assert_eq!(
        tags(&[address]),
        "multiboot 2: no entry address tag beside its address tag"
    );
    assert_eq!(
        tags(&[tag(2, 0, &[0])]),
        "multiboot 2: tag size is 0xc, too small, or past the header's end"
    );
    assert_eq!(
        tags(&[words(&[6, 0])]),
        "multiboot 2: tag size is 0x0, too small, or past the header's end"
    );
    assert_eq!(
        tags(&[words(&[6, !0])]),
        "multiboot 2: tag size is 0xffffffff, too small, or past the header's end"
    );
    // Without room for an end tag.
    let header = |architecture: u32, length: u32| {
        let magic = 0xe852_50d6_u32;
        let sum = 0_u32
            .wrapping_sub(magic)
            .wrapping_sub(architecture)
            .wrapping_sub(length);
        refusal(
            &words(&[magic, architecture, length, sum, 6, 8]),
            BootProtocol::Auto,
        )
    };
    assert_eq!(header(0, 16), "multiboot 2: no end tag in its header");
    assert_eq!(header(0, 24), "multiboot 2: no end tag in its header");
    assert_eq!(
        header(0, 25),
        "multiboot 2 header: 9 bytes at offset 0x10 are behind the end of the file, 0x18"
    );
    assert_eq!(
        header(0, 15),
        "multiboot 2: header_length is 0xf, not 16 bytes, or past the first 32 KiB"
    );
    assert_eq!(
        header(0, !0),
        "multiboot 2: header_length is 0xffffffff, not 16 bytes, or past the first 32 KiB"
    );
    assert_eq!(
        header(4, 24),
        "multiboot 2: architecture is 0x4, not 0 (i386)"
    );
}

#[test]
fn every_truncation_is_refused() {
    check_truncations(&flat(), BootProtocol::Auto);
    check_truncations(&flat(), BootProtocol::Multiboot2);
    check_truncations(&elf(&[tag(6, 0, &[])]), BootProtocol::Auto);
}

#[test]
fn information_has_its_room_and_the_cmdline_what_is_left() {
    let image = elf(&[]);
    let with = |size: usize| {
        let cmdline: &str = "x".repeat(size).leak();
        try_load(&image, None, |guest| guest.cmdline = cmdline)
    };
    let error = with(0x4000).err().unwrap();
    let LoadError::CmdlineTooLong { max, .. } = error else {
        panic!("{error}")
    };
    let loaded = with(max).unwrap();
    assert!(u64::from(loaded.u32(loaded.state.rbx)) <= layout::MULTIBOOT_INFO_SIZE);
    assert!(u64::from(loaded.u32(loaded.state.rbx)) > layout::MULTIBOOT_INFO_SIZE - 8);
    assert_eq!(find(&loaded, 1).unwrap().len(), max + 1);
    assert!(with(max + 1).is_err());
    let regions: Vec<_> = (0..1000)
        .map(|index| region(index * MIB, (index + 1) * MIB, MemoryKind::Ram))
        .collect();
    let error = try_load(&image, None, |guest| guest.regions = &*regions.leak())
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "multiboot 2: memory map size is 0x5dc8, too much for 16 KiB of information"
    );
}
