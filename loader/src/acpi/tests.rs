use super::*;
use crate::source::Fields;

const AML: &[u8] = &[0x08, b'T', b'E', b'S', b'T', 0x00];

fn platform(cpus: u8, nvdimms: &[Nvdimm]) -> Platform<'_> {
    Platform {
        cpus,
        local_apic: 0xfee0_0000,
        io_apic: IoApic {
            id: 3,
            address: 0xfec0_0000,
        },
        sleep_control: 0x600,
        sleep_status: 0x601,
        reset: 0x602,
        reset_value: 0x5a,
        boot_arch: boot_arch::NO_VGA,
        aml: AML,
        nvdimms,
        ecam: None,
    }
}

const NVDIMM: Nvdimm = Nvdimm {
    handle: 7,
    address: 0x1_4000_0000,
    size: 0x20_0000,
    read_only: false,
    flush_hint: 0xfea0_1000,
};

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The table at `address` of tables built for 0xe0000, its header checked (5.2.6).
fn table_at(tables: &Tables, address: u64) -> &[u8] {
    assert!(address.is_multiple_of(16), "{address:#x}");
    let start = usize::try_from(address - tables.address).unwrap();
    let length = usize::try_from(Fields(&tables.bytes[start..]).u32(4)).unwrap();
    let table = &tables.bytes[start..start + length];
    assert_eq!(sum(table), 0, "checksum of {:?}", &table[..4]);
    assert_eq!(table[10..16], *b"TRIVIS");
    assert_eq!(table[16..24], *b"TRIVISOR");
    table
}

/// Every table: as a kernel finds them, from the RSDP on.
fn all(tables: &Tables) -> Vec<&[u8]> {
    let rsdp = Fields(&tables.bytes);
    assert_eq!(tables.bytes[..8], *b"RSD PTR ");
    assert_eq!(sum(&tables.bytes[..20]), 0);
    assert_eq!(sum(&tables.bytes[..36]), 0);
    assert_eq!(tables.bytes[9..15], *b"TRIVIS");
    assert_eq!((rsdp.u8(15), rsdp.u32(16), rsdp.u32(20)), (2, 0, 36));
    let xsdt = table_at(tables, rsdp.u64(24));
    assert_eq!((&xsdt[..4], xsdt[8]), (&b"XSDT"[..], 1));
    let pointers = xsdt[36..].chunks(8).map(|pointer| Fields(pointer).u64(0));
    let mut found: Vec<&[u8]> = pointers.map(|address| table_at(tables, address)).collect();
    let fadt = *found
        .iter()
        .find(|table| table.starts_with(b"FACP"))
        .unwrap();
    found.push(table_at(tables, Fields(fadt).u64(140)));
    found
}

fn build_for(platform: &Platform<'_>) -> Tables {
    build(platform, 0xe_0000, 0x1_0000).unwrap()
}

fn find<'a>(tables: &'a Tables, signature: &[u8; 4]) -> &'a [u8] {
    let found = all(tables)
        .into_iter()
        .find(|table| table.starts_with(signature));
    found.unwrap_or_else(|| panic!("{signature:?}"))
}

#[test]
fn tables_are_found_by_the_root_pointer() {
    let names = |nvdimms: &[Nvdimm]| -> Vec<String> {
        let tables = build_for(&platform(1, nvdimms));
        all(&tables)
            .iter()
            .map(|table| String::from_utf8_lossy(&table[..4]).into_owned())
            .collect()
    };
    assert_eq!(names(&[]), ["FACP", "APIC", "DSDT"]);
    assert_eq!(names(&[NVDIMM]), ["FACP", "APIC", "NFIT", "DSDT"]);
}

#[test]
fn mcfg_says_where_the_configuration_space_is() {
    let ecam = Ecam {
        address: 0xe000_0000,
        last_bus: 3,
    };
    let tables = build_for(&Platform {
        ecam: Some(ecam),
        ..platform(1, &[])
    });
    let at = Fields(find(&tables, b"MCFG"));
    assert_eq!((at.u32(4), at.u8(8)), (60, 1));
    assert_eq!((at.u64(44), at.u16(52)), (0xe000_0000, 0));
    assert_eq!((at.u8(54), at.u8(55)), (0, 3));
}

#[test]
fn fadt_is_that_of_a_hardware_reduced_machine() {
    let tables = build_for(&platform(1, &[]));
    let fadt = find(&tables, b"FACP");
    let at = Fields(fadt);
    // Length, major and minor version (offset 131), of release 6.5.
    assert_eq!((at.u32(4), at.u8(8), at.u8(131)), (276, 6, 5));
    assert_eq!((at.u32(36), at.u64(132)), (0, 0), "no FACS");
    assert_eq!(u64::from(at.u32(40)), at.u64(140), "DSDT and X_DSDT");
    assert!(
        fadt[46..108].iter().all(|byte| *byte == 0),
        "fixed hardware"
    );
    assert_eq!(
        at.u16(109),
        1 << 2,
        "IA-PC boot architecture: no VGA, no 8042, a clock"
    );
    let flags = 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10 | 1 << 12 | 1 << 20;
    assert_eq!(at.u32(112), flags);
    // Generic addresses: port space, 8 bits, offset 0, byte access.
    for (offset, port) in [(116, 0x602), (244, 0x600), (256, 0x601)] {
        assert_eq!(
            (fadt[offset..offset + 4].to_vec(), at.u64(offset + 4)),
            (vec![1, 8, 0, 1], port)
        );
    }
    assert_eq!(at.u8(128), 0x5a, "reset value");
    assert!(
        fadt[148..244].iter().all(|byte| *byte == 0),
        "fixed hardware, extended"
    );
    assert_eq!(fadt[268..276], *b"Trivisor");
}

#[test]
fn madt_lists_every_processor_and_the_io_apic() {
    for cpus in [1, 2, 64] {
        let tables = build_for(&platform(cpus, &[]));
        let madt = find(&tables, b"APIC");
        let at = Fields(madt);
        assert_eq!((at.u8(8), at.u32(36), at.u32(40)), (6, 0xfee0_0000, 0));
        let (processors, io_apic) = madt[44..].split_at(8 * usize::from(cpus));
        for (index, processor) in (0..cpus).zip(processors.chunks(8)) {
            assert_eq!(processor, [0, 8, index, index, 1, 0, 0, 0]);
        }
        assert_eq!(io_apic, [1, 12, 3, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
    }
}

#[test]
fn dsdt_is_the_boards() {
    let tables = build_for(&platform(1, &[]));
    let dsdt = find(&tables, b"DSDT");
    assert_eq!((dsdt[8], &dsdt[36..]), (2, AML));
}

#[test]
fn nfit_describes_each_module() {
    let second = Nvdimm {
        handle: 8,
        address: 0x1_8000_0000,
        size: 0x1000,
        read_only: true,
        flush_hint: 0xfea0_2000,
    };
    let tables = build_for(&platform(1, &[NVDIMM, second]));
    let nfit = find(&tables, b"NFIT");
    assert_eq!(
        (nfit[8], nfit.len(), Fields(nfit).u32(36)),
        (1, 40 + 2 * 160, 0)
    );
    for (index, (module, nvdimm)) in (1..).zip(nfit[40..].chunks(160).zip([NVDIMM, second])) {
        let (range, rest) = module.split_at(56);
        let (mapping, rest) = rest.split_at(48);
        let (control, hint) = rest.split_at(32);

        let at = Fields(range);
        assert_eq!(
            (at.u16(0), at.u16(2), at.u16(4), at.u16(6)),
            (0, 56, index, 0)
        );
        // 66f0d379-b4f3-4074-ac43-0d3318b78cdb, its first three fields little-endian.
        assert_eq!(
            (at.u32(16), at.u16(20), at.u16(22)),
            (0x66f0_d379, 0xb4f3, 0x4074)
        );
        assert_eq!(
            range[24..32],
            [0xac, 0x43, 0x0d, 0x33, 0x18, 0xb7, 0x8c, 0xdb]
        );
        assert_eq!(
            (at.u64(32), at.u64(40), at.u64(48)),
            (nvdimm.address, nvdimm.size, 0x8008)
        );

        let at = Fields(mapping);
        assert_eq!((at.u16(0), at.u16(2), at.u32(4)), (1, 48, nvdimm.handle));
        assert_eq!(
            (at.u16(12), at.u16(14)),
            (index, index),
            "SPA range, control region"
        );
        assert_eq!((at.u64(16), at.u64(24), at.u64(32)), (nvdimm.size, 0, 0));
        assert_eq!((at.u16(40), at.u16(42)), (0, 1), "interleave");
        assert_eq!(at.u16(44), if nvdimm.read_only { 8 } else { 0 }, "state");

        let at = Fields(control);
        assert_eq!((at.u16(0), at.u16(2), at.u16(4)), (4, 32, index));
        assert_eq!(
            (at.u32(24), at.u16(28), at.u16(30)),
            (index.into(), 0x0301, 0)
        );

        let at = Fields(hint);
        assert_eq!(
            (at.u16(0), at.u16(2), at.u32(4), at.u16(8)),
            (6, 24, nvdimm.handle, 1)
        );
        assert_eq!(at.u64(16), nvdimm.flush_hint);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let size = build_for(&platform(64, &[NVDIMM])).bytes.len();
    assert!(build(&platform(64, &[NVDIMM]), 0xe_0000, size).is_ok());
    let refused = build(&platform(64, &[NVDIMM]), 0xe_0000, size - 1);
    let room = size - 1;
    assert_eq!(
        refused,
        Err(AcpiError::Room {
            size,
            room,
            address: 0xe_0000
        })
    );
    let refused = build(&platform(1, &vec![NVDIMM; 65536]), 0xe_0000, usize::MAX);
    assert_eq!(refused, Err(AcpiError::Nvdimms { count: 65536 }));
}
