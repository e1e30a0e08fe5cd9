use super::*;
use crate::source::Fields;

const AT: u32 = 0xf_0400;

fn describe(cpus: u8, level: u32) -> Vec<u8> {
    let description = Description {
        cpus,
        local_apic: 0xfee0_0000,
        io_apic: IoApic {
            id: 7,
            address: 0xfec0_0000,
        },
        pins: 24,
        level,
    };
    build(&description, AT)
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The entries as a kernel walks them, from the pointer on, with all checksums checked.
fn walk(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (pointer, table) = bytes.split_at(16);
    assert_eq!(pointer[..4], *b"_MP_");
    assert_eq!(Fields(pointer).u32(4), AT + 16);
    assert_eq!((pointer[8], pointer[9], sum(pointer)), (1, 4, 0));
    assert_eq!(pointer[11..], [0; 5]);
    let header = Fields(table);
    assert_eq!(table[..4], *b"PCMP");
    assert_eq!(usize::from(header.u16(4)), table.len());
    assert_eq!((table[6], sum(table)), (4, 0));
    assert_eq!(header.u32(36), 0xfee0_0000);
    let mut rest = &table[44..];
    let mut entries = Vec::new();
    while let [kind, ..] = *rest {
        let (entry, behind) = rest.split_at(if kind == 0 { 20 } else { 8 });
        entries.push(entry.to_vec());
        rest = behind;
    }
    assert_eq!(usize::from(header.u16(34)), entries.len());
    assert!(entries.is_sorted_by_key(|entry| entry[0]));
    entries
}

fn of_kind(entries: &[Vec<u8>], kind: u8) -> Vec<&[u8]> {
    let entries = entries.iter().map(Vec::as_slice);
    entries.filter(|entry| entry[0] == kind).collect()
}

#[test]
fn every_processor_is_there_and_the_first_one_starts() {
    for cpus in [1, 3, 255] {
        let entries = walk(&describe(cpus, 0));
        let processors = of_kind(&entries, 0);
        assert_eq!(processors.len(), usize::from(cpus));
        for (index, processor) in (0..cpus).zip(processors) {
            let flags = if index == 0 { 3 } else { 1 };
            assert_eq!(processor[1..4], [index, 0x14, flags]);
            assert_eq!(Fields(processor).u32(8), 0x201);
        }
    }
}

#[test]
fn pins_are_the_interrupts_of_their_numbers() {
    let entries = walk(&describe(2, 1 << 16 | 1 << 23));
    assert_eq!(of_kind(&entries, 1), [b"\x01\x00ISA   "]);
    let chip = of_kind(&entries, 2);
    assert_eq!(chip, [[2, 7, 0x11, 1, 0, 0, 0xc0, 0xfe]]);
    let pins = of_kind(&entries, 3);
    assert_eq!(pins.len(), 24);
    for (pin, entry) in (0..).zip(pins) {
        let flags = if matches!(pin, 16 | 23) { 0xd } else { 0x5 };
        assert_eq!(*entry, [3, 0, flags, 0, 0, pin, 7, pin]);
    }
    assert_eq!(of_kind(&entries, 4), [[4, 1, 0, 0, 0, 0, 0xff, 1]]);
}

#[test]
fn pins_beyond_the_mask_are_edge_triggered() {
    let description = Description {
        cpus: 1,
        local_apic: 0,
        io_apic: IoApic { id: 0, address: 0 },
        pins: 40,
        level: !0,
    };
    let entries = walk_any(&build(&description, AT));
    let flags: Vec<u8> = entries.iter().map(|entry| entry[2]).collect();
    assert_eq!(flags[..32], [0xd; 32]);
    assert_eq!(flags[32..], [0x5; 8]);
}

/// The pins of a table at any address.
fn walk_any(bytes: &[u8]) -> Vec<Vec<u8>> {
    let pins = bytes[16 + 44 + 20..].chunks(8);
    let pins = pins.filter(|entry| entry[0] == 3);
    pins.map(<[u8]>::to_vec).collect()
}
