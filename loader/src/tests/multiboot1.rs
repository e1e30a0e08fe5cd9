use super::images::{Elf, Segment, multiboot1, words};
use super::*;
use crate::layout;

const ADDRESS_FIELDS: u32 = 1 << 16;

/// A flat image: 64 bytes, the header, code. All goes to 2 MiB, with bss up to a page.
fn flat() -> Vec<u8> {
    let (load, size) = (0x20_0000, 64 + 32 + 4);
    let fields = [load + 64, load, load + size, load + 0x1000, load + 96];
    [
        vec![0xee; 64],
        multiboot1(ADDRESS_FIELDS | 3, &fields),
        b"code".to_vec(),
    ]
    .concat()
}

fn elf() -> Vec<u8> {
    Elf::with_header(&multiboot1(3, &[])).build()
}

#[test]
fn address_fields_place_a_flat_image() {
    let loaded = check_load(&flat(), None);
    assert_eq!(
        (loaded.state.rip, loaded.state.rax, loaded.state.rbx),
        (0x20_0060, 0x2bad_b002, layout::MULTIBOOT_INFO)
    );
    assert_eq!(
        (loaded.state.cr0, loaded.state.cr3, loaded.state.cs.long),
        (0x11, 0, false)
    );
    assert_eq!(loaded.bytes(0x20_0000, 101), [&flat()[..], &[0]].concat());
}

#[test]
fn data_may_end_with_the_file() {
    let mut image = flat();
    image[64 + 20..64 + 28].fill(0); // load_end_addr, bss_end_addr
    image.extend(b"and more");
    assert_eq!(
        check_load(&image, None).bytes(0x20_0000 + 100, 9),
        b"and more\0"
    );
}

#[test]
fn text_may_begin_behind_the_beginning_of_the_file() {
    let mut image = flat();
    image[64 + 16..64 + 20].copy_from_slice(&words(&[0x20_0040])); // load_addr
    let loaded = check_load(&image, None);
    assert_eq!(
        loaded.bytes(0x20_003c, 8),
        [&[0; 4][..], &words(&[0x1bad_b002])].concat()
    );
}

#[test]
fn elf_headers_place_an_elf_image() {
    let state = check_load(&elf(), None).state;
    assert_eq!((state.rip, state.rax), (0x10_0004, 0x2bad_b002));
    // Address fields outrank them.
    let fields = [0x30_0078, 0x30_0000, 0, 0, 0x30_0078];
    let state = check_load(
        &Elf::with_header(&multiboot1(ADDRESS_FIELDS, &fields)).build(),
        None,
    )
    .state;
    assert_eq!(state.rip, 0x30_0078);
}

#[test]
fn a_virtual_entry_is_translated() {
    let mut image = Elf::with_header(&multiboot1(0, &[]));
    image.segments[0].virtual_address = 0xc010_0000;
    image.segments[1].virtual_address = 0xc020_0000;
    image.entry = 0xc010_0004;
    assert_eq!(check_load(&image.build(), None).state.rip, 0x10_0004);
    image.entry = 0x10_0004;
    assert_eq!(check_load(&image.build(), None).state.rip, 0x10_0004);
    image.entry = 0xd000_0000;
    assert_eq!(
        refusal(&image.build(), BootProtocol::Auto),
        "ELF: e_entry is 0xd0000000, not in a part that is loaded"
    );
}

/// Xen believes these words more than the information.
#[test]
fn the_bios_data_area_says_where_low_memory_ends() {
    let loaded = check_load(&elf(), None);
    assert_eq!(loaded.bytes(0x40e, 2), 0x9fc0_u16.to_le_bytes());
    assert_eq!(loaded.bytes(0x413, 2), 639_u16.to_le_bytes());
    let whole = try_load(&elf(), None, |guest| {
        guest.regions = &[MemoryRegion {
            start: 0,
            size: 16 * MIB,
            kind: MemoryKind::Ram,
        }];
    });
    let whole = whole.unwrap();
    assert_eq!(whole.bytes(0x40e, 2), [0, 0]);
    assert_eq!(whole.bytes(0x413, 2), 640_u16.to_le_bytes());
}

#[test]
fn information_tells_of_memory_cmdline_and_loader() {
    let loaded = check_load(&elf(), None);
    let info = loaded.state.rbx;
    assert_eq!(loaded.u32(info), 1 | 1 << 2 | 1 << 6 | 1 << 9);
    assert_eq!(
        (loaded.u32(info + 4), loaded.u32(info + 8)),
        (639, 15 << 10)
    ); // mem_lower, mem_upper
    assert_eq!(loaded.string(loaded.u32(info + 16).into()), CMDLINE);
    assert_eq!(loaded.u32(info + 20), 0); // mods_count
    assert_eq!(loaded.string(loaded.u32(info + 64).into()), "trivisor");
    let (size, map) = (loaded.u32(info + 44), u64::from(loaded.u32(info + 48)));
    let entry = |at: u64| {
        (
            loaded.u32(at),
            loaded.u64(at + 4),
            loaded.u64(at + 12),
            loaded.u32(at + 20),
        )
    };
    let entries: Vec<_> = (map..map + u64::from(size))
        .step_by(24)
        .map(entry)
        .collect();
    assert_eq!(
        entries,
        [
            (20, 0, 0x9_fc00, 1),
            (20, 0x9_fc00, 0x400, 2),
            (20, 0xe_0000, 0x2_0000, 2),
            (20, MIB, 15 * MIB, 1)
        ]
    );
}

#[test]
fn initrd_is_the_first_module() {
    let loaded = check_load(&elf(), Some(b"initrd"));
    let info = loaded.state.rbx;
    assert_eq!((loaded.u32(info) >> 3 & 1, loaded.u32(info + 20)), (1, 1));
    let module = u64::from(loaded.u32(info + 24));
    let (start, end) = (loaded.u32(module), loaded.u32(module + 4));
    assert_eq!((start, end), (0xff_f000, 0xff_f006));
    assert_eq!(loaded.string(start.into()), "initrd");
    assert_eq!(
        (
            loaded.string(loaded.u32(module + 8).into()),
            loaded.u32(module + 12)
        ),
        (String::new(), 0)
    );
}

#[test]
fn upper_memory_ends_at_the_first_hole() {
    let regions = [
        region(0, 0xa_0000, MemoryKind::Ram),
        region(MIB, 3 * MIB, MemoryKind::Ram),
        region(3 * MIB, 4 * MIB, MemoryKind::Ram),
        region(5 * MIB, 6 * MIB, MemoryKind::Ram),
    ];
    let loaded = try_load(&elf(), None, |guest| {
        guest.regions = &*Box::leak(Box::new(regions))
    })
    .unwrap();
    assert_eq!(
        (
            loaded.u32(loaded.state.rbx + 4),
            loaded.u32(loaded.state.rbx + 8)
        ),
        (640, 3 << 10)
    );
}

#[test]
fn the_header_is_looked_for_in_8_kib() {
    let at = |offset: usize| {
        let mut image = Elf::with_header(&[]);
        image.segments = vec![Segment::load(
            MIB,
            &[vec![0; offset], multiboot1(0, &[])].concat(),
        )];
        let image = image.build();
        try_load(&image, None, |_| ()).map(|loaded| loaded.state.rip)
    };
    let start = 88; // of the segment in the file
    assert!(at(0).is_ok() && at(4).is_ok() && at(8192 - 12 - start).is_ok());
    assert!(at(2).is_err() && at(8192 - 8 - start).is_err());
    // A sum that is wrong makes no header.
    let mut image = elf();
    image[120 + 8] ^= 1;
    assert_eq!(
        refusal(&image, BootProtocol::Multiboot1),
        "multiboot: no header in the first 8 KiB"
    );
}

#[test]
fn what_the_machine_does_not_have_is_refused_by_name() {
    let demand = |flags: u32| {
        refusal(
            &Elf::with_header(&multiboot1(flags, &[])).build(),
            BootProtocol::Auto,
        )
    };
    assert_eq!(
        demand(7),
        "multiboot: flags is 0x7, which demands a video mode (bit 2): there is no screen"
    );
    assert_eq!(
        demand(0x8000),
        "multiboot: flags is 0x8000, which demands what version 0.6.96 does not know (bits 3 to 15)"
    );
    check_load(
        &Elf::with_header(&multiboot1(0xfffe_0003, &[])).build(),
        None,
    ); // wishes
    assert_eq!(
        refusal(&multiboot1(0, &[]), BootProtocol::Auto),
        "multiboot: no address fields, and it is no ELF image"
    );
}

#[test]
fn impossible_address_fields_are_refused() {
    check_refusals(
        &flat(),
        BootProtocol::Auto,
        "50: 41002000 -> multiboot: load_addr is 0x200041, above header_addr
         50: 00001000 -> multiboot: load_addr is 0x100000, before the file's beginning
         54: 00002000 -> multiboot: load_end_addr is 0x200000, not above load_addr
         54: 00001000 -> multiboot: load_end_addr is 0x100000, not above load_addr
         54: 65002000 -> multiboot image: 101 bytes at offset 0x0 are behind the end of the file, 0x64
         54: 00003000 -> multiboot: bss_end_addr is 0x201000, below the end of the data
         58: ffffffff -> multiboot image: 0xffdfffff bytes at 0x200000 do not lie in the guest's memory
         58: 63002000 -> multiboot: bss_end_addr is 0x200063, below the end of the data
         5c: 00102000 -> multiboot: entry_addr is 0x201000, not in a part that is loaded
         5c: ffff1f00 -> multiboot: entry_addr is 0x1fffff, not in a part that is loaded
         4c: 40000000500000000000000000000000 -> multiboot: load_addr is 0x50, above header_addr",
    );
    let mut low = flat();
    low[64 + 12..64 + 32].copy_from_slice(&words(&[0x1_0040, 0x1_0000, 0, 0, 0x1_0060]));
    assert_eq!(
        refusal(&low, BootProtocol::Auto),
        "multiboot image at 0x10000..0x10064 overlaps the loader's structures at 0x400..0x30000"
    );
}

#[test]
fn every_truncation_is_refused() {
    check_truncations(&flat(), BootProtocol::Auto);
    check_truncations(&flat(), BootProtocol::Multiboot1);
    check_truncations(&elf(), BootProtocol::Auto);
}

#[test]
fn a_map_larger_than_its_room_is_refused() {
    let regions: Vec<_> = (0..673)
        .map(|index| region(index * MIB, (index + 1) * MIB, MemoryKind::Ram))
        .collect();
    let with = |count: usize| {
        try_load(&elf(), None, |guest| {
            guest.regions = &*regions[..count].to_vec().leak()
        })
    };
    assert_eq!(
        with(672).unwrap().u64(layout::MULTIBOOT_INFO + 0x4000 - 20),
        671 * MIB
    );
    assert_eq!(
        with(673).err().unwrap().to_string(),
        "multiboot: mmap_length is 0x3f18, more than 16128 bytes"
    );
}
