use super::images::Elf;
use super::*;
use crate::layout;

#[test]
fn entry_is_in_64_bit_mode_with_4_gib_mapped() {
    let loaded = check_load(&Elf::vmlinux().build(), None);
    let state = loaded.state;
    assert_eq!(
        (state.rip, state.rsi, state.rsp),
        (0x10_0004, layout::ZERO_PAGE, layout::STACK_END)
    );
    assert_eq!(
        (state.cr0, state.cr3, state.cr4, state.efer),
        (0x8000_0011, layout::PAGE_TABLES, 0x20, 0x500)
    );
    assert_eq!((state.cs.selector, state.data.selector), (0x10, 0x18)); // __BOOT_CS, __BOOT_DS
    assert!(state.cs.long && !state.cs.big && state.data.big && !state.data.long);
    assert_eq!(loaded.u64(layout::GDT + 0x10), 0x00af_9b00_0000_ffff);
    for address in [
        0,
        0x1234,
        0x10_0004,
        0x3fff_ffff,
        0x4000_0000,
        0xfee0_0000,
        0xffff_ffff,
    ] {
        assert_eq!(translate(&loaded, address), Some(address));
    }
    assert_eq!(translate(&loaded, 1 << 32), None);
    assert_eq!(translate(&loaded, 1 << 39), None);
}

/// Walks the page tables as a CPU does.
fn translate(loaded: &Loaded, address: u64) -> Option<u64> {
    const FRAME: u64 = 0x000f_ffff_ffff_f000;
    let entry = |table: u64, shift: u32| {
        let entry = loaded.u64((table & FRAME) + 8 * (address >> shift & 0x1ff));
        (entry & 3 == 3).then_some(entry)
    };
    let directory = entry(entry(loaded.state.cr3, 39)?, 30)?;
    let page = entry(directory, 21)?;
    assert_eq!(page & 0x80, 0x80);
    Some((page & FRAME & !0x1f_ffff) + (address & 0x1f_ffff))
}

#[test]
fn zero_page_of_a_bare_elf() {
    let initrd = [0xa5; 3 * 4096 + 1];
    let loaded = check_load(&Elf::vmlinux().build(), Some(&initrd));
    let page = layout::ZERO_PAGE;
    assert_eq!(loaded.bytes(page + 0x1fe, 2), [0x55, 0xaa]);
    assert_eq!(loaded.bytes(page + 0x202, 6), *b"HdrS\x0c\x02");
    assert_eq!(loaded.bytes(page + 0x210, 2), [0xff, 1]); // type_of_loader, loadflags
    assert_eq!(loaded.string(loaded.u32(page + 0x228).into()), CMDLINE);
    assert_eq!(loaded.u64(page + 0x70), 0xe_0000); // acpi_rsdp_addr
    let (address, size) = (loaded.u32(page + 0x218), loaded.u32(page + 0x21c));
    assert_eq!(
        (u64::from(address), size as usize),
        (16 * MIB - 4 * 4096, initrd.len())
    );
    assert_eq!(loaded.bytes(address.into(), initrd.len()), initrd);
}

#[test]
fn memory_map_has_e820_types() {
    let regions = [
        region(0, 0x9_fc00, MemoryKind::Ram),
        region(0xe_0000, MIB, MemoryKind::Reserved),
        region(MIB, 15 * MIB, MemoryKind::Ram),
        region(15 * MIB, 16 * MIB, MemoryKind::AcpiReclaimable),
        region(1 << 32, 5 << 30, MemoryKind::Persistent),
    ];
    let image = Elf::vmlinux().build();
    let loaded = try_load(&image, None, |guest| {
        guest.regions = &*Box::leak(Box::new(regions))
    })
    .unwrap();
    let page = layout::ZERO_PAGE;
    assert_eq!(loaded.bytes(page + 0x1e8, 1), [5]);
    let kinds = [1, 2, 1, 3, 7];
    for ((region, kind), at) in regions.iter().zip(kinds).zip((page + 0x2d0..).step_by(20)) {
        assert_eq!(
            (loaded.u64(at), loaded.u64(at + 8), loaded.u32(at + 16)),
            (region.start, region.size, kind)
        );
    }
    assert_eq!(loaded.bytes(page + 0x2d0 + 100, 20), [0; 20]);
}

#[test]
fn setup_data_is_the_random_seed() {
    let loaded = check_load(&Elf::vmlinux().build(), None);
    let data = loaded.u64(layout::ZERO_PAGE + 0x250);
    assert_eq!(
        (
            loaded.u64(data),
            loaded.u32(data + 8),
            loaded.u32(data + 12)
        ),
        (0, 9, 32)
    );
    assert_eq!(loaded.bytes(data + 16, 32), SEED);
}

#[test]
fn a_map_of_128_regions_fits() {
    let regions: Vec<_> = (0..129)
        .map(|index| region(index * MIB, (index + 1) * MIB, MemoryKind::Ram))
        .collect();
    let image = Elf::vmlinux().build();
    let with = |count: usize| {
        try_load(&image, None, |guest| {
            guest.regions = &*regions[..count].to_vec().leak()
        })
    };
    assert_eq!(
        with(128).unwrap().u64(layout::ZERO_PAGE + 0x2d0 + 127 * 20),
        127 * MIB
    );
    assert_eq!(
        with(129).err().unwrap().to_string(),
        "Linux: e820_entries is 0x81, more than 128"
    );
}

#[test]
fn cmdline_has_a_limit() {
    let image = Elf::vmlinux().build();
    let with = |size: usize| {
        try_load(&image, None, |guest| {
            guest.cmdline = &*"x".repeat(size).leak()
        })
    };
    assert_eq!(with(2047).unwrap().string(layout::CMDLINE).len(), 2047);
    assert_eq!(
        with(2048).err().unwrap().to_string(),
        "the command line has 2048 bytes, the kernel takes 2047"
    );
    assert_eq!(with(0).unwrap().string(layout::CMDLINE), "");
}

#[test]
fn a_32_bit_linux_has_to_be_asked_for() {
    let image = Elf {
        is_64_bit: false,
        ..Elf::vmlinux()
    }
    .build();
    assert_eq!(
        refusal(&image, BootProtocol::Auto),
        "ELF: no PVH note or multiboot header in a 32-bit image"
    );
    let state = check_load_as(&image, BootProtocol::Linux).state;
    assert_eq!(
        (state.rip, state.rsi, state.cr0),
        (0x10_0004, layout::ZERO_PAGE, 0x11)
    );
}

#[test]
fn initrd_stays_below_its_limit_and_above_the_kernel() {
    let image = Elf::vmlinux().build();
    // RAM above 4 GiB is never its place, nor is what is reserved.
    let regions = [
        region(MIB, 8 * MIB, MemoryKind::Ram),
        region(1 << 32, 1 << 33, MemoryKind::Ram),
    ];
    let with = |size: usize| {
        let initrd = vec![1; size];
        try_load(&image, Some(&initrd), |guest| {
            guest.regions = &*Box::leak(Box::new(regions))
        })
    };
    let loaded = with(4096).unwrap();
    assert_eq!(
        u64::from(loaded.u32(layout::ZERO_PAGE + 0x218)),
        8 * MIB - 4096
    );
    // The kernel ends at 0x20000d.
    let room = 6 * (1 << 20) - 4096;
    assert_eq!(
        with(room).unwrap().u32(layout::ZERO_PAGE + 0x218),
        0x20_1000
    );
    let too_large = "the initial RAM disk of 6287361 bytes does not fit between the kernel's end 0x20000d and 0x80000000";
    assert_eq!(with(room + 1).err().unwrap().to_string(), too_large);
}
