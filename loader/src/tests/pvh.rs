use super::images::{Elf, Segment, note, pvh_note, words};
use super::*;
use crate::layout;

/// XEN_HVM_START_MAGIC_VALUE, version 1, no flags.
const START: [u32; 3] = [0x336e_c578, 1, 0];

#[test]
fn entry_is_in_flat_protected_mode() {
    for is_64_bit in [false, true] {
        let loaded = check_load(&Elf::pvh(is_64_bit).build(), None);
        let state = loaded.state;
        assert_eq!((state.rip, state.rbx), (0x10_0008, layout::PVH_INFO));
        assert_eq!(
            (state.cr0, state.cr3, state.cr4, state.efer),
            (0x11, 0, 0, 0)
        );
        let flat = |segment: crate::Segment| {
            (
                segment.base,
                segment.limit,
                segment.big,
                segment.long,
                segment.granular,
            )
        };
        assert_eq!(flat(state.cs), (0, !0, true, false, true));
        assert_eq!(flat(state.data), (0, !0, true, false, true));
        assert_eq!((state.cs.kind, state.data.kind), (0xb, 3));
        assert_eq!(
            (state.tr.limit, state.tr.kind, state.tr.code_or_data),
            (0x67, 0xb, false)
        );
        assert_eq!((state.gdt.base, state.gdt.limit), (layout::GDT, 47));
        // The descriptors in memory are those of the hidden parts.
        assert_eq!(
            loaded.u64(layout::GDT + u64::from(state.cs.selector)),
            0x00cf_9b00_0000_ffff
        );
        assert_eq!(
            loaded.u64(layout::GDT + u64::from(state.data.selector)),
            0x00cf_9300_0000_ffff
        );
        assert_eq!(
            loaded.u64(layout::GDT + u64::from(state.tr.selector)),
            0x0000_8b00_0000_0067
        );
    }
}

#[test]
fn start_info_tells_of_memory_and_cmdline() {
    let loaded = check_load(&Elf::pvh(false).build(), None);
    let info = loaded.state.rbx;
    assert_eq!(loaded.bytes(info, 12), words(&START));
    assert_eq!((loaded.u32(info + 12), loaded.u64(info + 16)), (0, 0)); // modules
    assert_eq!(loaded.string(loaded.u64(info + 24)), CMDLINE);
    assert_eq!(loaded.u64(info + 32), 0xe_0000); // rsdp_paddr
    let (map, count) = (loaded.u64(info + 40), loaded.u32(info + 48));
    let entry = |at: u64| {
        (
            loaded.u64(at),
            loaded.u64(at + 8),
            loaded.u32(at + 16),
            loaded.u32(at + 20),
        )
    };
    let entries: Vec<_> = (0..u64::from(count))
        .map(|index| entry(map + 24 * index))
        .collect();
    assert_eq!(
        entries,
        [
            (0, 0x9_fc00, 1, 0),
            (0x9_fc00, 0x400, 2, 0),
            (0xe_0000, 0x2_0000, 2, 0),
            (MIB, 15 * MIB, 1, 0)
        ]
    );
}

#[test]
fn initrd_is_the_first_module_at_the_top_of_memory() {
    let initrd = [0x5a; 5000];
    let loaded = check_load(&Elf::pvh(false).build(), Some(&initrd));
    let info = loaded.state.rbx;
    assert_eq!(loaded.u32(info + 12), 1);
    let module = loaded.u64(info + 16);
    assert_eq!(
        (loaded.u64(module), loaded.u64(module + 8)),
        (16 * MIB - 8192, 5000)
    );
    assert_eq!((loaded.u64(module + 16), loaded.u64(module + 24)), (0, 0));
    assert_eq!(
        loaded.bytes(16 * MIB - 8192, 5001),
        [&initrd[..], &[0]].concat()
    );
}

#[test]
fn the_note_is_found_among_others() {
    let entry = |notes: &[u8], align: u64| {
        let mut image = Elf::pvh(true);
        image.segments[0] = Segment::notes(notes, align);
        check_load(&image.build(), None).state.rip
    };
    let others = [
        note(b"GNU\0", 18, &words(&[0x66])),
        note(b"Xen\0", 5, b"linux"),
        note(b"Linux", 0x100, b""),
    ];
    let notes = [
        others.concat(),
        pvh_note(0x10_0008),
        note(b"Xen\0", 18, b"late"),
    ]
    .concat();
    assert_eq!(entry(&notes, 4), 0x10_0008);
    assert_eq!(entry(&notes, 1), 0x10_0008); // treated as 4, as everybody does
    assert_eq!(
        entry(&note(b"Xen\0", 18, &0x10_0009_u64.to_le_bytes()), 4),
        0x10_0009
    );
    // With an alignment of 8, contents of 4 bytes are padded to 8, and those behind a name of 4 are not moved.
    let padded = [
        note(b"GNU\0", 1, &words(&[7])),
        vec![0; 4],
        pvh_note(0x10_000a),
    ]
    .concat();
    assert_eq!(entry(&padded, 8), 0x10_000a);
}

#[test]
fn wrong_notes_are_no_entry() {
    let refused = |notes: &[u8]| {
        let mut image = Elf::pvh(true);
        image.segments[0] = Segment::notes(notes, 4);
        refusal(&image.build(), BootProtocol::Pvh)
    };
    assert_eq!(
        refused(&note(b"Xen\0", 18, b"two")),
        "ELF: PHYS32_ENTRY is 0x3, not 4 or 8 bytes long"
    );
    assert_eq!(
        refused(&pvh_note(0xf0_0000)),
        "PVH: PHYS32_ENTRY is 0xf00000, not in a part that is loaded"
    );
    assert_eq!(refused(&note(b"Xen", 18, b"four")), "ELF: no PVH note");
    assert_eq!(
        refused(&note(b"Xen\0", 18, b"four")[..18]),
        "ELF: no PVH note"
    );
    assert_eq!(refused(&words(&[!0, !0, 18, 0])), "ELF: no PVH note");
    assert_eq!(refused(&[0; 13]), "ELF: no PVH note");
    assert_eq!(
        refused(&vec![0; 0x1_0001]),
        "ELF: p_filesz is 0x10001, more than 64 KiB of notes"
    );
}

#[test]
fn another_protocol_may_be_asked_for() {
    let image = Elf::pvh(true).build();
    assert_eq!(
        check_load_as(&image, BootProtocol::Linux).state.rip,
        0x10_0004
    );
    assert_eq!(
        refusal(&image, BootProtocol::Multiboot1),
        "multiboot: no header in the first 8 KiB"
    );
    assert_eq!(
        refusal(&image, BootProtocol::Multiboot2),
        "multiboot 2: no header in the first 32 KiB"
    );
}

#[test]
fn a_map_of_160_regions_fits() {
    let regions = |count: u64| {
        (0..count).map(|index| region(index * MIB, (index + 1) * MIB, MemoryKind::Ram))
    };
    let regions: Vec<_> = regions(161).collect();
    let image = Elf::pvh(true).build();
    let with = |count: usize| {
        try_load(&image, None, |guest| {
            guest.regions = &*regions[..count].to_vec().leak()
        })
    };
    let loaded = with(160).unwrap();
    assert_eq!(loaded.u64(layout::PVH_INFO + 0x80 + 159 * 24), 159 * MIB);
    assert_eq!(loaded.u64(layout::PVH_INFO + 0x80 + 160 * 24), 0);
    assert_eq!(
        with(161).err().unwrap().to_string(),
        "PVH: memmap_entries is 0xa1, more than 160"
    );
}
