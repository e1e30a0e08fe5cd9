use super::images::{Elf, Segment};
use super::*;

#[test]
fn segments_go_where_p_paddr_says() {
    let mut image = Elf::vmlinux();
    image.segments[1].virtual_address = 0xffff_ffff_8020_0000;
    let loaded = check_load(&image.build(), None);
    assert_eq!(loaded.bytes(0x10_0000, 14), b"code at 1 MiB\0");
    assert_eq!(loaded.bytes(0x20_0000, 14), b"data at 2 MiB\0");
}

#[test]
fn empty_segments_are_left_out() {
    let mut image = Elf::vmlinux();
    image
        .segments
        .push(Segment::load(0xffff_ffff_ffff_f000, b""));
    check_load(&image.build(), None);
}

#[test]
fn every_truncation_is_refused() {
    check_truncations(&Elf::vmlinux().build(), BootProtocol::Auto);
    check_truncations(&Elf::pvh(true).build(), BootProtocol::Auto);
    check_truncations(&Elf::pvh(false).build(), BootProtocol::Auto);
}

#[test]
fn impossible_headers_are_refused_by_field() {
    check_refusals(
        &Elf::vmlinux().build(),
        BootProtocol::Auto,
        "04: 03 -> ELF: EI_CLASS is 0x3, not 1 (32-bit) or 2 (64-bit)
         05: 02 -> ELF: EI_DATA is 0x2, not 1 (little-endian)
         10: 0100 -> ELF: e_type is 0x1, not 2 (executable) or 3 (shared)
         10: 0400 -> ELF: e_type is 0x4, not 2 (executable) or 3 (shared)
         12: b700 -> ELF: e_machine is 183 (AArch64), not 62 (x86-64) or 3 (80386)
         12: f300 -> ELF: e_machine is 243 (RISC-V), not 62 (x86-64) or 3 (80386)
         12: 1500 -> ELF: e_machine is 21 (64-bit PowerPC), not 62 (x86-64) or 3 (80386)
         12: 3412 -> ELF: e_machine is 4660 (unknown), not 62 (x86-64) or 3 (80386)
         18: 00001080ffffffff -> ELF: e_entry is 0xffffffff80100000, not below 4 GiB
         18: 0010100000000000 -> ELF: e_entry is 0x101000, not in a part that is loaded
         20: ffffffffffffffff -> ELF program header: 56 bytes at offset 0xffffffffffffffff are behind the end of the file, 0xcd
         20: 9500000000000000 -> ELF program header: 56 bytes at offset 0xcd are behind the end of the file, 0xcd
         36: 2000 -> ELF: e_phentsize is 0x20, not the size of a program header
         38: 0000 -> ELF: e_phnum is 0x0, not 1 to 128
         38: ffff -> ELF: e_phnum is 0xffff, not 1 to 128
         48: ffffffffffffffff -> ELF segment: 13 bytes at offset 0xffffffffffffffff are behind the end of the file, 0xcd
         58: 0000000100000000 -> ELF segment: 0x1000 bytes at 0x1000000 do not lie in the guest's memory
         58: 00f8ff0000000000 -> ELF segment: 0x1000 bytes at 0xfff800 do not lie in the guest's memory
         58: 00f0ffffffffffff -> ELF: p_paddr is 0xfffffffffffff000, at the end of the address space
         58: 00f00d0000000000 -> ELF segment: 0x1000 bytes at 0xdf000 do not lie in the guest's memory
         58: 01f00d0000000000 -> ELF segment at 0xdf001..0xe0001 overlaps reserved memory at 0xe0000..0x100000
         58: 0000000000000000 -> ELF segment at 0x0..0x1000 overlaps the loader's structures at 0x400..0x30000
         58: 01f0020000000000 -> ELF segment at 0x2f001..0x30001 overlaps the loader's structures at 0x400..0x30000
         58: 01f01f0000000000 -> ELF segment at 0x200000..0x20000d overlaps ELF segment at 0x1ff001..0x200001
         60: 0110000000000000 -> ELF: p_filesz is 0x1001, more than p_memsz
         68: ffffffffffffffff -> ELF: p_paddr is 0x100000, at the end of the address space
         68: ffffffffffffefff -> ELF segment: 0xffefffffffffffff bytes at 0x100000 do not lie in the guest's memory",
    );
}

#[test]
fn headers_of_32_bit_images_are_checked_as_well() {
    let image = Elf::pvh(false).build();
    check_refusals(
        &image,
        BootProtocol::Auto,
        "04: 02 -> ELF: e_phentsize is 0x0, not the size of a program header
         2a: 3800 -> ELF: e_phentsize is 0x38, not the size of a program header
         2c: 0000 -> ELF: e_phnum is 0x0, not 1 to 128
         60: 01f0ff00 -> ELF segment: 0x1000 bytes at 0xfff001 do not lie in the guest's memory",
    );
}

#[test]
fn an_image_without_segments_is_refused() {
    let mut image = Elf::vmlinux();
    image
        .segments
        .iter_mut()
        .for_each(|segment| segment.kind = 6);
    assert_eq!(
        refusal(&image.build(), BootProtocol::Auto),
        "ELF: no segment to load (PT_LOAD)"
    );
}

#[test]
fn a_kernel_larger_than_memory_is_refused() {
    let mut image = Elf::vmlinux();
    image.segments[0].memory_size = 15 * MIB;
    image.segments.pop();
    check_load(&image.build(), None);
    image.segments[0].memory_size += 1;
    assert_eq!(
        refusal(&image.build(), BootProtocol::Auto),
        "ELF segment: 0xf00001 bytes at 0x100000 do not lie in the guest's memory"
    );
}

#[test]
fn ram_of_the_map_may_be_in_parts_that_touch() {
    let mut image = Elf::vmlinux();
    image.segments[0].memory_size = 4 * MIB;
    image.segments.pop();
    let image = image.build();
    let parts = [
        region(MIB, 2 * MIB, MemoryKind::Ram),
        region(2 * MIB, 5 * MIB, MemoryKind::Ram),
    ];
    try_load(&image, None, |guest| {
        guest.regions = &*Box::leak(Box::new(parts))
    })
    .unwrap();
    let hole = [
        region(MIB, 2 * MIB, MemoryKind::Ram),
        region(2 * MIB + 1, 5 * MIB, MemoryKind::Ram),
    ];
    let result = try_load(&image, None, |guest| {
        guest.regions = &*Box::leak(Box::new(hole))
    });
    assert!(matches!(
        result,
        Err(LoadError::OutsideMemory { address: MIB, .. })
    ));
}
