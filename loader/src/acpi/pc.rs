//! ACPI tables of a PC: fixed hardware, 8259s beside the I/O APIC; for firmware that puts them where it likes.
//!
//! Sources: ACPI 6.5, chapter 5; QEMU, hw/acpi/bios-linker-loader (the commands of `etc/table-loader`).
//!
//! | table | section | says |
//! |---|---|---|
//! | RSDP | 5.2.5.3 | where RSDT and XSDT are |
//! | RSDT, XSDT | 5.2.7, 5.2.8 | where the others are |
//! | FADT | 5.2.9 | the ports of power management, the SCI, where FACS and DSDT are |
//! | FACS | 5.2.10 | global lock, waking vector |
//! | MADT | 5.2.12 | local APICs, I/O APIC, interrupts that are not what a PC/AT has |
//! | DSDT | 5.2.11.1 | the caller's AML |
//!
//! Pointers hold offsets until the tables are put somewhere: by firmware, which follows [`Relocatable::script`], or by
//! [`Relocatable::placed`].

use acpi_tables::AmlSink;
use acpi_tables::facs::FACS;
use acpi_tables::fadt::{FADTBuilder, Flags, PmProfile};
use acpi_tables::madt::{EnabledStatus, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;

use acpi_tables::Aml;

use super::fixed::{VENDOR, port};
use super::{ALIGNMENT, IoApic, OEM_ID, OEM_REVISION, OEM_TABLE_ID, Tables, bytes, table};

/// The FACS starts at a multiple of this (5.2.10).
const FACS_ALIGNMENT: usize = 64;
/// Place of the checksum in a table's header (5.2.6).
const CHECKSUM: usize = 9;
/// Bytes of a table's header.
const HEADER: usize = 36;

/// What the tables of a PC are to say.
#[derive(Debug, Clone, Copy)]
pub struct Pc<'a> {
    /// vCPUs. The identifier of each one's local APIC is its index.
    pub cpus: u8,
    /// Guest-physical address of the local APICs.
    pub local_apic: u32,
    /// The I/O APIC, whose pin 2 is the timer's interrupt 0.
    pub io_apic: IoApic,
    /// ISA interrupt of ACPI events.
    pub sci: u8,
    /// ISA interrupts that are level-triggered and active high, as PCI's: the SCI is among them without a word.
    pub level_triggered: &'a [u8],
    /// Port of SMI commands, and what switches ACPI on and off there.
    pub smi_command: (u16, u8, u8),
    /// First port of power management in PIIX4's order: PM1a events, control 4 behind, timer 8 behind.
    pub pm_base: u16,
    /// First of the four ports of general purpose events.
    pub gpe0: u16,
    /// Port of the reset register, a byte, and what resets.
    pub reset: (u16, u8),
    /// Index of the century in the clock's RAM.
    pub century: u8,
    /// IA-PC boot architecture flags: see [`boot_arch`](super::boot_arch).
    pub boot_arch: u16,
    /// The namespace: the AML of the DSDT, without a header.
    pub aml: &'a [u8],
}

/// A pointer among the tables: where it is, and its bytes.
type Pointer = (usize, usize);
/// A table whose checksum is to be made: where it is, and its bytes.
type Extent = (usize, usize);

/// Tables whose pointers are offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relocatable {
    /// All tables but the RSDP.
    pub tables: Vec<u8>,
    /// The RSDP.
    pub rsdp: Vec<u8>,
    pointers: Vec<Pointer>,
    extents: Vec<Extent>,
}

/// Name of [`Relocatable::tables`] as firmware's file.
pub const TABLES_FILE: &str = "etc/acpi/tables";
/// Name of [`Relocatable::rsdp`] as firmware's file.
pub const RSDP_FILE: &str = "etc/acpi/rsdp";
/// Name of [`Relocatable::script`] as firmware's file.
pub const SCRIPT_FILE: &str = "etc/table-loader";

/// Places of pointers in the RSDP, and of what its two checksums cover (5.2.5.3).
const RSDP_POINTERS: [Pointer; 2] = [(16, 4), (24, 8)];
const RSDP_CHECKSUMS: [(usize, Extent); 2] = [(8, (0, 20)), (32, (0, 36))];

/// Builds the tables.
#[must_use]
pub fn build(pc: &Pc<'_>) -> Relocatable {
    let mut all = Relocatable {
        tables: bytes(&FACS::new()),
        rsdp: Vec::new(),
        pointers: Vec::new(),
        extents: Vec::new(),
    };
    let dsdt = all.push(&table(*b"DSDT", 2, pc.aml), &[]);
    let fadt = all.push(&fadt(pc, dsdt), &[(36, 4), (40, 4), (140, 8)]);
    let madt = all.push(&madt(pc), &[]);
    let (mut narrow, mut wide) = (Vec::new(), Vec::new());
    for address in [fadt, madt] {
        narrow.dword(address);
        wide.qword(address.into());
    }
    let entries = |size: usize| [0, 1].map(|index| (HEADER + index * size, size));
    let rsdt = all.push(&table(*b"RSDT", 1, &narrow), &entries(4));
    let xsdt = all.push(&table(*b"XSDT", 1, &wide), &entries(8));
    all.rsdp = bytes(&Rsdp::new(OEM_ID, xsdt.into()));
    put(&mut all.rsdp, 16, &rsdt.to_le_bytes());
    all
}

impl Relocatable {
    /// Appends a table that has these pointers; its offset.
    fn push(&mut self, table: &[u8], pointers: &[Pointer]) -> u32 {
        let offset = self.tables.len().next_multiple_of(ALIGNMENT);
        self.tables.resize(offset, 0);
        self.tables.extend_from_slice(table);
        let own = pointers.iter().map(|(at, size)| (offset + at, *size));
        self.pointers.extend(own);
        self.extents.push((offset, table.len()));
        u32::try_from(offset).unwrap_or(u32::MAX)
    }

    /// What firmware is to do: the content of `etc/table-loader`.
    #[must_use]
    pub fn script(&self) -> Vec<u8> {
        let mut script = Script::default();
        script.allocate(TABLES_FILE, FACS_ALIGNMENT, Zone::High);
        script.allocate(RSDP_FILE, ALIGNMENT, Zone::BelowOneMegabyte);
        for (at, size) in &self.pointers {
            script.add_pointer(TABLES_FILE, *at, *size);
        }
        for extent in &self.extents {
            script.add_checksum(TABLES_FILE, extent.0 + CHECKSUM, *extent);
        }
        for (at, size) in RSDP_POINTERS {
            script.add_pointer(RSDP_FILE, at, size);
        }
        for (at, extent) in RSDP_CHECKSUMS {
            script.add_checksum(RSDP_FILE, at, extent);
        }
        script.0
    }

    /// The same without firmware: RSDP and tables for a place at `address`, a multiple of 64.
    #[must_use]
    pub fn placed(mut self, address: u64) -> Tables {
        let start = self.rsdp.len().next_multiple_of(FACS_ALIGNMENT);
        let base = address + start as u64;
        for (at, size) in &self.pointers {
            add(&mut self.tables, *at, *size, base);
        }
        for (at, len) in &self.extents {
            fix_checksum(&mut self.tables, at + CHECKSUM, (*at, *len));
        }
        for (at, size) in RSDP_POINTERS {
            add(&mut self.rsdp, at, size, base);
        }
        for (at, extent) in RSDP_CHECKSUMS {
            fix_checksum(&mut self.rsdp, at, extent);
        }
        self.rsdp.resize(start, 0);
        self.rsdp.append(&mut self.tables);
        Tables {
            address,
            bytes: self.rsdp,
        }
    }
}

fn fadt(pc: &Pc<'_>, dsdt: u32) -> Vec<u8> {
    /// Latencies that mean "there is no such state" (5.2.9).
    const NO_C2: u16 = 0xfff;
    const NO_C3: u16 = 0xfff;
    let (command, enable, disable) = pc.smi_command;
    let (reset, reset_value) = pc.reset;
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION)
        .preferred_pm_profile(PmProfile::Desktop)
        .flag(Flags::Wbinvd)
        .flag(Flags::ProcC1)
        // The power button is fixed hardware; there is no sleep button, and the clock does not wake.
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::ResetRegSup)
        .gpe_info(pc.gpe0.into(), 0, 4, 0, 0);
    fadt.dsdt = dsdt.into();
    fadt.x_dsdt = u64::from(dsdt).into();
    fadt.sci_int = u16::from(pc.sci).into();
    fadt.smi_cmd = u32::from(command).into();
    fadt.acpi_enable = enable;
    fadt.acpi_disable = disable;
    let block = |offset: u32| (u32::from(pc.pm_base) + offset).into();
    (fadt.pm1a_evt_blk, fadt.pm1_evt_len) = (block(0), 4);
    (fadt.pm1a_cnt_blk, fadt.pm1_cnt_len) = (block(4), 2);
    (fadt.pm_tmr_blk, fadt.pm_tmr_len) = (block(8), 4);
    fadt.p_lvl2_lat = NO_C2.into();
    fadt.p_lvl3_lat = NO_C3.into();
    fadt.century = pc.century;
    fadt.iapc_boot_arch = pc.boot_arch.into();
    fadt.reset_reg = port(reset);
    fadt.reset_value = reset_value;
    fadt.hypervisor_vendor_identity = VENDOR.into();
    bytes(&fadt.finalize())
}

fn madt(pc: &Pc<'_>) -> Vec<u8> {
    const PCAT_COMPAT: u32 = 1;
    /// Interrupt source override (5.2.12.5), local APIC NMI (5.2.12.7).
    const OVERRIDE: u8 = 2;
    const LOCAL_NMI: u8 = 4;
    /// MPS INTI flags: active high, level-triggered.
    const LEVEL_HIGH: u16 = 0b1101;
    let mut body = Vec::new();
    body.dword(pc.local_apic);
    body.dword(PCAT_COMPAT);
    for cpu in 0..pc.cpus {
        ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled).to_aml_bytes(&mut body);
    }
    let io_apic = acpi_tables::madt::IoApic::new(pc.io_apic.id, pc.io_apic.address, 0);
    io_apic.to_aml_bytes(&mut body);
    let mut interrupt = |irq: u8, pin: u8, flags: u16| {
        body.vec(&[OVERRIDE, 10, 0, irq]);
        body.dword(pin.into());
        body.word(flags);
    };
    interrupt(0, 2, 0);
    interrupt(pc.sci, pc.sci, LEVEL_HIGH);
    let others = pc.level_triggered.iter().filter(|irq| **irq != pc.sci);
    others.for_each(|irq| interrupt(*irq, *irq, LEVEL_HIGH));
    // All processors, LINT1.
    body.vec(&[LOCAL_NMI, 6, 0xff, 0, 0, 1]);
    table(*b"APIC", 3, &body)
}

#[derive(Clone, Copy)]
enum Zone {
    High = 1,
    BelowOneMegabyte = 2,
}

/// Commands, each of 128 bytes.
#[derive(Default)]
struct Script(Vec<u8>);

impl Script {
    const ALLOCATE: u32 = 1;
    const ADD_POINTER: u32 = 2;
    const ADD_CHECKSUM: u32 = 3;
    /// Bytes of a command, and of a file's name in it.
    const COMMAND: usize = 128;
    const NAME: usize = 56;

    fn command(&mut self, kind: u32, files: &[&str], numbers: &[usize], last: &[u8]) {
        let start = self.0.len();
        self.0.dword(kind);
        for name in files {
            let end = self.0.len() + Self::NAME;
            self.0.extend(name.bytes());
            self.0.resize(end, 0);
        }
        for number in numbers {
            self.0.dword(u32::try_from(*number).unwrap_or(u32::MAX));
        }
        self.0.extend_from_slice(last);
        self.0.resize(start + Self::COMMAND, 0);
    }

    fn allocate(&mut self, file: &str, alignment: usize, zone: Zone) {
        self.command(Self::ALLOCATE, &[file], &[alignment], &[zone as u8]);
    }

    /// The pointer at `at` in `file` leads into the tables.
    fn add_pointer(&mut self, file: &str, at: usize, size: usize) {
        let size = u8::try_from(size).unwrap_or_default();
        self.command(Self::ADD_POINTER, &[file, TABLES_FILE], &[at], &[size]);
    }

    fn add_checksum(&mut self, file: &str, at: usize, (start, len): Extent) {
        self.command(Self::ADD_CHECKSUM, &[file], &[at, start, len], &[]);
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    let place = bytes.iter_mut().skip(at);
    place.zip(value).for_each(|(byte, value)| *byte = *value);
}

/// Adds `base` to a little-endian number.
fn add(bytes: &mut [u8], at: usize, size: usize, base: u64) {
    let mut number = [0; 8];
    let old = bytes.iter().skip(at).take(size);
    number
        .iter_mut()
        .zip(old)
        .for_each(|(to, from)| *to = *from);
    let sum = u64::from_le_bytes(number).wrapping_add(base).to_le_bytes();
    put(bytes, at, sum.get(..size).unwrap_or_default());
}

/// Makes the bytes of an extent add up to 0.
fn fix_checksum(bytes: &mut [u8], at: usize, (start, len): Extent) {
    let extent = bytes.iter().skip(start).take(len);
    let sum = extent.fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    if let Some(checksum) = bytes.get_mut(at) {
        *checksum = checksum.wrapping_sub(sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Fields;

    fn pc() -> Relocatable {
        build(&Pc {
            cpus: 2,
            local_apic: 0xfee0_0000,
            io_apic: IoApic {
                id: 0,
                address: 0xfec0_0000,
            },
            sci: 9,
            level_triggered: &[9, 10, 11],
            smi_command: (0xb2, 0xf1, 0xf0),
            pm_base: 0xb000,
            gpe0: 0xafe0,
            reset: (0xcf9, 6),
            century: 0x32,
            boot_arch: 0,
            aml: &[0x08, b'T', b'E', b'S', b'T', 0x00],
        })
    }

    fn sum(bytes: &[u8]) -> u8 {
        bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
    }

    /// The table at an address, its checksum checked; and its signature.
    fn table_at(tables: &Tables, address: u64) -> (&[u8], &[u8]) {
        let offset = usize::try_from(address - tables.address).unwrap();
        let table = &tables.bytes[offset..];
        let len = Fields(table).u32(4) as usize;
        let table = &table[..len];
        if &table[..4] != b"FACS" {
            assert_eq!(sum(table), 0);
        }
        (table, &table[..4])
    }

    fn check(tables: &Tables) {
        let rsdp = &tables.bytes[..36];
        assert_eq!(&rsdp[..8], b"RSD PTR ");
        assert_eq!((sum(&rsdp[..20]), sum(rsdp)), (0, 0));
        let (rsdt, name) = table_at(tables, Fields(rsdp).u32(16).into());
        assert_eq!((name, rsdt.len()), (&b"RSDT"[..], 36 + 8));
        let (xsdt, name) = table_at(tables, Fields(rsdp).u64(24));
        assert_eq!((name, xsdt.len()), (&b"XSDT"[..], 36 + 16));
        for index in 0..2 {
            let narrow = Fields(rsdt).u32(36 + 4 * index);
            assert_eq!(Fields(xsdt).u64(36 + 8 * index), u64::from(narrow));
        }
        let (fadt, name) = table_at(tables, Fields(xsdt).u64(36));
        assert_eq!((name, fadt.len()), (&b"FACP"[..], 276));
        let facs = Fields(fadt).u32(36);
        assert_eq!(table_at(tables, facs.into()).1, b"FACS");
        assert!(facs.is_multiple_of(64));
        let dsdt = Fields(fadt).u64(140);
        assert_eq!(u64::from(Fields(fadt).u32(40)), dsdt);
        assert_eq!(table_at(tables, dsdt).1, b"DSDT");
        assert_eq!(Fields(fadt).u32(56), 0xb000);
        assert_eq!(Fields(fadt).u32(64), 0xb004);
        assert_eq!(Fields(fadt).u32(76), 0xb008);
        assert_eq!(Fields(fadt).u32(80), 0xafe0);
        assert_eq!(fadt[108], 0x32);
        let (madt, name) = table_at(tables, Fields(xsdt).u64(44));
        assert_eq!(name, b"APIC");
        // Two local APICs, an I/O APIC, interrupts 0, 9, 10 and 11, an NMI.
        assert_eq!(madt.len(), 44 + 2 * 8 + 12 + 4 * 10 + 6);
        assert_eq!(&madt[72..82], [2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
        assert_eq!(&madt[82..92], [2, 10, 0, 9, 9, 0, 0, 0, 13, 0]);
    }

    #[test]
    fn placed_tables_lead_to_each_other() {
        check(&pc().placed(0xe_0000));
    }

    /// Does what firmware does with the script.
    fn follow(files: &Relocatable, tables_at: u64) -> Tables {
        let (mut tables, mut rsdp) = (files.tables.clone(), files.rsdp.clone());
        let mut allocated = Vec::new();
        for command in files.script().chunks(128) {
            let name = |at: usize| {
                let name = &command[at..at + 56];
                let end = name.iter().position(|byte| *byte == 0).unwrap();
                std::str::from_utf8(&name[..end]).unwrap().to_owned()
            };
            let number = |at: usize| Fields(command).u32(at) as usize;
            let file = name(4);
            let target = if file == TABLES_FILE {
                &mut tables
            } else {
                &mut rsdp
            };
            match Fields(command).u32(0) {
                1 => allocated.push((file, number(60), command[64])),
                2 => {
                    assert_eq!(name(60), TABLES_FILE);
                    add(target, number(116), command[120].into(), tables_at);
                }
                3 => fix_checksum(target, number(60), (number(64), number(68))),
                other => panic!("command {other}"),
            }
        }
        let expected = [
            (TABLES_FILE.to_owned(), 64, 1),
            (RSDP_FILE.to_owned(), 16, 2),
        ];
        assert_eq!(allocated, expected);
        rsdp.resize(64, 0);
        rsdp.append(&mut tables);
        Tables {
            address: tables_at - 64,
            bytes: rsdp,
        }
    }

    #[test]
    fn firmware_gets_the_same_by_the_script() {
        let tables = follow(&pc(), 0x3ff_0000);
        check(&tables);
        assert_eq!(tables, pc().placed(0x3ff_0000 - 64));
    }
}
