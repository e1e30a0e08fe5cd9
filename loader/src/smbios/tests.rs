use super::*;
use crate::source::Fields;

const AT: u64 = 0xf_0000;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn describe(ram: &[(u64, u64)]) -> Vec<u8> {
    let description = Description {
        manufacturer: "Maker",
        product: "Model",
        version: "1.2",
        cpus: 3,
        ram,
    };
    build(&description, AT)
}

/// Type, formatted part with its header, strings.
type Structure = (u8, Vec<u8>, Vec<String>);

/// The structures as a reader walks them, the entry point checked.
fn walk(bytes: &[u8]) -> Vec<Structure> {
    let entry = Fields(bytes);
    assert_eq!(bytes[..5], *b"_SM3_");
    let sum = bytes[..24]
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    assert_eq!(sum, 0);
    assert_eq!(bytes[6..12], [24, 3, 0, 0, 1, 0]);
    let start = usize::try_from(entry.u64(16) - AT).unwrap();
    let mut rest = &bytes[start..];
    assert_eq!(rest.len(), usize::try_from(entry.u32(12)).unwrap());
    let mut structures = Vec::new();
    while let [kind, length, ..] = *rest {
        let (formatted, strings) = rest.split_at(length.into());
        let end = strings.windows(2).position(|pair| pair == [0, 0]).unwrap();
        let names = strings[..end]
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty());
        let names = names
            .map(|name| String::from_utf8(name.to_vec()).unwrap())
            .collect();
        structures.push((kind, formatted.to_vec(), names));
        rest = &strings[end + 2..];
    }
    structures
}

fn find(structures: &[Structure], kind: u8) -> &Structure {
    structures
        .iter()
        .find(|structure| structure.0 == kind)
        .unwrap()
}

#[test]
fn structures_have_the_lengths_of_their_version() {
    let structures = walk(&describe(&[(0, 3 * GIB), (4 * GIB, GIB)]));
    let found: Vec<(u8, usize)> = structures
        .iter()
        .map(|(kind, bytes, _)| (*kind, bytes.len()))
        .collect();
    let expected = [
        (0, 0x18),
        (1, 0x1b),
        (3, 0x16),
        (4, 0x30),
        (16, 0x17),
        (17, 0x28),
        (19, 0x1f),
        (19, 0x1f),
        (127, 4),
    ];
    assert_eq!(found, expected);
    let mut handles: Vec<u16> = structures
        .iter()
        .map(|(_, bytes, _)| Fields(bytes).u16(2))
        .collect();
    handles.dedup();
    assert_eq!(handles.len(), structures.len());
}

#[test]
fn it_says_who_made_what() {
    let structures = walk(&describe(&[(0, GIB)]));
    let strings = |kind| find(&structures, kind).2.clone();
    assert_eq!(strings(0), ["Maker", "1.2"]);
    assert_eq!(strings(1), ["Maker", "Model", "1.2"]);
    assert_eq!(strings(3), ["Maker"]);
    assert_eq!(find(&structures, 0).1[0x13], 0x10, "a virtual machine");
    let processor = &find(&structures, 4).1;
    assert_eq!(processor[0x23..0x26], [3; 3]);
    assert_eq!(
        (Fields(processor).u16(0x2a), Fields(processor).u16(0x2e)),
        (3, 3)
    );
}

#[test]
fn memory_has_its_size_in_every_unit() {
    // Size: KiB with bit 15, or MiB, or 0x7fff and the extended size in MiB.
    for (size, short, extended) in [
        (MIB + 0x1000, 0x8404, 0),
        (256 * MIB, 256, 0),
        (32766 * MIB, 32766, 0),
        (32767 * MIB, 0x7fff, 32767),
        (64 * GIB, 0x7fff, 65536),
        (64 * GIB + 0x1000, 0x7fff, 65536),
    ] {
        let structures = walk(&describe(&[(0, size)]));
        let at = Fields(&find(&structures, 17).1);
        assert_eq!((at.u16(0x0c), at.u32(0x1c)), (short, extended), "{size:#x}");
    }
}

#[test]
fn memory_ranges_are_those_of_ram() {
    let ram = [(0, 3 * GIB), (4 * GIB, 4096 * GIB)];
    let structures = walk(&describe(&ram));
    let array = Fields(&find(&structures, 16).1);
    assert_eq!((array.u32(7), array.u64(15)), (0x8000_0000, 4099 * GIB));
    let ranges: Vec<_> = structures
        .iter()
        .filter(|structure| structure.0 == 19)
        .collect();
    let [low, high] = ranges[..] else {
        panic!("{} ranges", ranges.len())
    };
    let at = Fields(&low.1);
    assert_eq!(
        (at.u32(4), at.u32(8), at.u64(15), at.u64(23)),
        (0, 0x2f_ffff, 0, 0)
    );
    let at = Fields(&high.1);
    assert_eq!((at.u32(4), at.u32(8)), (u32::MAX, u32::MAX));
    assert_eq!((at.u64(15), at.u64(23)), (4 * GIB, 4100 * GIB - 1));
}
