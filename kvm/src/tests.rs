use kvm_bindings::{CpuId, kvm_cpuid_entry2};
use trivisor_emulator::registers::efer;
use trivisor_emulator::{AccessKind, General, System};

use crate::cpu_table::{Action, BOOT_MSRS, CPUID, Register};
use crate::paging::{PageFault, Paging};
use crate::vcpu::VcpuRegisters;
use crate::{cpuid, registers};

fn host_cpuid() -> CpuId {
    let entry = |function, index, fill| kvm_cpuid_entry2 {
        function,
        index,
        eax: fill,
        ebx: fill,
        ecx: fill,
        edx: fill,
        ..kvm_cpuid_entry2::default()
    };
    let leaves = [
        (1, 0),
        (4, 0),
        (4, 3),
        (6, 0),
        (0xa, 0),
        (0xb, 0),
        (0xb, 1),
        (0xb, 2),
        (0x4000_0001, 0),
        (0x8000_0008, 0),
    ];
    let entries: Vec<_> = leaves
        .iter()
        .map(|&(leaf, index)| entry(leaf, index, !0))
        .collect();
    CpuId::from_entries(&entries).unwrap()
}

fn leaf(cpuid: &CpuId, function: u32, index: u32) -> kvm_cpuid_entry2 {
    *cpuid
        .as_slice()
        .iter()
        .find(|entry| entry.function == function && entry.index == index)
        .unwrap()
}

#[test]
fn every_row_of_the_table_is_applied_and_says_why() {
    for pvm in [false, true] {
        let cpuid = cpuid::for_vm(&host_cpuid(), 1, pvm);
        for row in CPUID {
            let found = leaf(&cpuid, row.leaf, 0);
            let value = match row.register {
                Register::Eax => found.eax,
                Register::Ebx => found.ebx,
                Register::Ecx => found.ecx,
                Register::Edx => found.edx,
            };
            let wanted = match row.action {
                Action::Set => row.bits,
                Action::Mask if row.host == crate::cpu_table::Host::Pvm && !pvm => row.bits,
                Action::Mask => 0,
            };
            assert_eq!(value & row.bits, wanted, "{row:x?}");
            assert!(row.why.len() > 10, "{row:x?} says why");
        }
    }
    assert!(BOOT_MSRS.iter().all(|(_, _, why)| why.len() > 10));
}

#[test]
fn what_kvm_offers_of_clock_steal_time_and_eoi_is_the_guests() {
    const CLOCKSOURCE2: u32 = 1 << 3;
    const STEAL_TIME: u32 = 1 << 5;
    const PV_EOI: u32 = 1 << 6;
    let wanted = CLOCKSOURCE2 | STEAL_TIME | PV_EOI;
    for pvm in [false, true] {
        let mut host = host_cpuid();
        let cpuid = cpuid::for_vm(&host, 1, pvm);
        assert_eq!(leaf(&cpuid, 0x4000_0001, 0).eax & wanted, wanted);
        // And no more than that.
        let entries = host.as_mut_slice().iter_mut();
        for entry in entries.filter(|entry| entry.function == 0x4000_0001) {
            entry.eax = 0;
        }
        let cpuid = cpuid::for_vm(&host, 1, pvm);
        assert_eq!(leaf(&cpuid, 0x4000_0001, 0).eax, 0);
    }
}

#[test]
fn topology_agrees_with_apic_identifiers() {
    for (vcpus, bits) in [(1, 0), (2, 1), (3, 2), (4, 2), (63, 6), (64, 6)] {
        let shared = cpuid::for_vm(&host_cpuid(), vcpus, false);
        let count = u32::from(vcpus);
        for index in [0, vcpus - 1] {
            let cpuid = cpuid::for_vcpu(&shared, index);
            let id = u32::from(index);
            let first = leaf(&cpuid, 1, 0);
            assert_eq!(first.ebx >> 24, id);
            assert_eq!((first.ebx >> 16) & 0xff, 1 << bits);
            assert_eq!(first.edx >> 28 & 1, u32::from(vcpus > 1));
            let (threads, cores, end) = (
                leaf(&cpuid, 0xb, 0),
                leaf(&cpuid, 0xb, 1),
                leaf(&cpuid, 0xb, 2),
            );
            assert_eq!(
                (threads.eax, threads.ebx, threads.ecx, threads.edx),
                (0, 1, 0x100, id)
            );
            assert_eq!(
                (cores.eax, cores.ebx, cores.ecx, cores.edx),
                (bits, count, 0x201, id)
            );
            assert_eq!((end.eax, end.ebx, end.ecx, end.edx), (0, 0, 2, id));
            assert_eq!(leaf(&cpuid, 4, 0).eax >> 26, (1 << bits) - 1);
            assert_eq!(
                leaf(&cpuid, 0x8000_0008, 0).ecx & 0xf0ff,
                bits << 12 | (count - 1)
            );
        }
    }
}

#[test]
fn registers_go_to_kvm_and_back() {
    let mut general = General::default();
    for (index, register) in (1..).zip(&mut general.gpr) {
        *register = index;
    }
    (general.rip, general.rflags) = (0x1000, 0x202);
    let mut system = System {
        cr0: 0x8000_0011,
        cr4: 0x20,
        efer: efer::LMA,
        ..System::default()
    };
    (
        system.cs.selector,
        system.cs.kind,
        system.cs.long,
        system.cs.present,
    ) = (0x10, 0xb, true, true);
    (system.tr.base, system.idt.limit) = (0x5000, 0xfff);
    let (mut k_general, mut k_system) = Default::default();
    registers::to_kvm_general(&general, &mut k_general);
    registers::to_kvm_system(&system, &mut k_system);
    assert_eq!(k_general.r15, 16);
    assert_eq!(
        registers::from_kvm(&k_general, &k_system),
        VcpuRegisters {
            general,
            system,
            cr2: 0,
            cr3: 0
        }
    );
}

/// Page tables from address 0 on, 8 or 4 bytes an entry.
struct Tables(Vec<u8>);

impl Tables {
    fn set(&mut self, address: usize, entry: u64, size: usize) -> &mut Self {
        self.0[address..address + size].copy_from_slice(&entry.to_le_bytes()[..size]);
        self
    }

    fn read(&self, address: u64, size: usize) -> Option<u64> {
        let start = usize::try_from(address).ok()?;
        let mut entry = [0; 8];
        entry[..size].copy_from_slice(self.0.get(start..start + size)?);
        Some(u64::from_le_bytes(entry))
    }
}

const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const PS: u64 = 0x80;
const NX: u64 = 1 << 63;
const LONG: Paging = Paging {
    cr0: 0x8001_0001,
    cr3: 0x1000,
    cr4: 0x20,
    efer: efer::LMA | 1 << 11,
    ac: false,
};

/// Four levels: 0x0000_0000 a user page 0x5000 that is not executable, 0x0020_0000 a 2 MiB kernel page.
fn long_tables(leaf: u64) -> Tables {
    let mut tables = Tables(vec![0; 0x6000]);
    tables
        .set(0x1000, 0x2000 | P | W | U, 8)
        .set(0x2000, 0x3000 | P | W | U, 8);
    tables
        .set(0x3000, 0x4000 | P | W | U, 8)
        .set(0x3008, 0x4000_0000 | P | W | PS, 8);
    tables.set(0x4000, 0x5000 | leaf, 8);
    tables
}

fn walk(
    paging: Paging,
    tables: &Tables,
    address: u64,
    kind: AccessKind,
    user: bool,
) -> Result<u64, PageFault> {
    paging.translate(address, kind, user, |address, size| {
        tables.read(address, size)
    })
}

#[test]
fn four_levels_and_large_pages_are_walked() {
    let tables = long_tables(P | W | U);
    assert_eq!(
        walk(LONG, &tables, 0x123, AccessKind::Write, true),
        Ok(0x5123)
    );
    assert_eq!(
        walk(LONG, &tables, 0x0020_0456, AccessKind::Fetch, false),
        Ok(0x4000_0456)
    );
    assert_eq!(
        walk(LONG, &tables, 0x0020_0456, AccessKind::Read, true),
        Err(PageFault { error_code: 5 })
    );
    assert_eq!(
        walk(LONG, &tables, 0x1000, AccessKind::Write, false),
        Err(PageFault { error_code: 2 })
    );
    assert_eq!(
        walk(LONG, &tables, 1 << 39, AccessKind::Fetch, true),
        Err(PageFault { error_code: 0x14 })
    );
    let five = Paging {
        cr4: LONG.cr4 | 1 << 12,
        cr3: 0,
        ..LONG
    };
    let mut tables = tables;
    tables.set(0, 0x1000 | P | W | U, 8);
    assert_eq!(
        walk(five, &tables, 0x123, AccessKind::Read, true),
        Ok(0x5123)
    );
}

#[test]
fn rights_are_those_of_all_levels() {
    let check = |leaf: u64, kind, user| {
        walk(LONG, &long_tables(leaf), 0, kind, user).map_err(|fault| fault.error_code)
    };
    assert_eq!(check(P | U, AccessKind::Write, true), Err(7));
    assert_eq!(
        check(P | U, AccessKind::Modify, false),
        Err(3),
        "CR0.WP holds in ring 0"
    );
    assert_eq!(check(P | W, AccessKind::Read, true), Err(5));
    assert_eq!(check(P | W | U | NX, AccessKind::Fetch, true), Err(0x15));
    assert_eq!(check(P | W | U | NX, AccessKind::Read, true), Ok(0x5000));
    let no_wp = Paging {
        cr0: LONG.cr0 & !(1 << 16),
        ..LONG
    };
    assert_eq!(
        walk(no_wp, &long_tables(P | U), 0, AccessKind::Write, false),
        Ok(0x5000)
    );
    let guarded = Paging {
        cr4: LONG.cr4 | 1 << 20 | 1 << 21,
        ..LONG
    };
    let tables = long_tables(P | W | U);
    assert_eq!(
        walk(guarded, &tables, 0, AccessKind::Fetch, false),
        Err(PageFault { error_code: 0x11 }),
        "SMEP"
    );
    assert_eq!(
        walk(guarded, &tables, 0, AccessKind::Read, false),
        Err(PageFault { error_code: 1 }),
        "SMAP"
    );
    assert_eq!(
        walk(
            Paging {
                ac: true,
                ..guarded
            },
            &tables,
            0,
            AccessKind::Read,
            false
        ),
        Ok(0x5000)
    );
}

#[test]
fn older_kinds_of_paging_are_walked() {
    let real = Paging { cr0: 0, ..LONG };
    assert_eq!(
        walk(
            real,
            &long_tables(0),
            0x1_2345_6789,
            AccessKind::Read,
            false
        ),
        Ok(0x2345_6789)
    );
    let mut tables = Tables(vec![0; 0x6000]);
    tables
        .set(0x1000, 0x3000 | P | W | U, 4)
        .set(0x3004, 0x5000 | P | W | U, 4)
        .set(0x1004, 0x0080_0000 | 0x2000 | P | W | U | PS, 4);
    let legacy = Paging {
        cr0: LONG.cr0,
        cr3: 0x1000,
        cr4: 0x10,
        efer: 0,
        ac: false,
    };
    assert_eq!(
        walk(legacy, &tables, 0x1abc, AccessKind::Write, true),
        Ok(0x5abc)
    );
    assert_eq!(
        walk(legacy, &tables, 0x0040_1234, AccessKind::Write, true),
        Ok(0x1_0080_1234),
        "PSE-36"
    );
    let mut tables = Tables(vec![0; 0x6000]);
    tables
        .set(0x1020, 0x2000 | P, 8)
        .set(0x2000, 0x3000 | P | W | U, 8)
        .set(0x3008, 0x5000 | P | W | U, 8);
    let pae = Paging {
        cr3: 0x1020,
        cr4: 0x20,
        ..legacy
    };
    assert_eq!(
        walk(pae, &tables, 0x1abc, AccessKind::Write, true),
        Ok(0x5abc)
    );
}

#[test]
fn a_loop_in_page_tables_ends() {
    let mut tables = Tables(vec![0; 0x2000]);
    tables.set(0x1000, 0x1000 | P | W | U, 8);
    assert_eq!(
        walk(LONG, &tables, 0, AccessKind::Read, true),
        Ok(0x1000),
        "a table may map itself"
    );
}
