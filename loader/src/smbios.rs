//! SMBIOS: who made the machine, and what memory it has, as `dmidecode` and Linux's `/sys/class/dmi` show it.
//!
//! Source: DMTF, System Management BIOS Reference Specification, DSP0134, version 3.0.0.
//!
//! | type | section | says |
//! |---|---|---|
//! | entry point | 5.2.2 | where the structures are |
//! | 0 | 7.1 | BIOS: vendor, version; a virtual machine |
//! | 1 | 7.2 | system: Trivisor, mode |
//! | 3 | 7.4 | chassis |
//! | 4 | 7.5 | processor: one socket with a core a vCPU |
//! | 16, 17, 19 | 7.17, 7.18, 7.20 | memory: an array of one device, and its ranges |
//! | 127 | 7.45 | end |

use acpi_tables::AmlSink;

#[cfg(test)]
mod tests;

/// Bytes of the entry point.
const ENTRY_POINT: u8 = 24;

/// Behind the entry point, aligned.
const STRUCTURES: usize = 32;

/// What the structures are to say. No string is empty.
#[derive(Debug, Clone, Copy)]
pub struct Description<'a> {
    /// Manufacturer of the machine.
    pub manufacturer: &'a str,
    /// Its model.
    pub product: &'a str,
    /// Its version.
    pub version: &'a str,
    /// vCPUs.
    pub cpus: u8,
    /// The runs of RAM: first address and bytes, each a multiple of 1 KiB.
    pub ram: &'a [(u64, u64)],
}

/// Handles of the structures that others refer to.
mod handle {
    pub(super) const CHASSIS: u16 = 0x300;
    pub(super) const PROCESSOR: u16 = 0x400;
    pub(super) const MEMORY_ARRAY: u16 = 0x1000;
    pub(super) const MEMORY_DEVICE: u16 = 0x1100;
    pub(super) const MEMORY_RANGE: u16 = 0x1300;
    pub(super) const NONE: u16 = 0xffff;
    /// Error information is not provided.
    pub(super) const NO_ERRORS: u16 = 0xfffe;
}

/// Builds entry point and structures, to be copied to `address`: for a kernel that is not told where they
/// are, a multiple of 16 between 0xf0000 and 0xfffff (5.2).
#[must_use]
pub fn build(description: &Description<'_>, address: u64) -> Vec<u8> {
    let structures = structures(description);
    let mut bytes = entry_point(address + STRUCTURES as u64, structures.len());
    bytes.resize(STRUCTURES, 0);
    bytes.extend(structures);
    bytes
}

/// Entry point and structures apart, for firmware that puts them where it likes and corrects the entry point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The entry point, for structures at address 0.
    pub entry_point: Vec<u8>,
    /// The structures.
    pub structures: Vec<u8>,
}

impl Parts {
    /// Builds both.
    #[must_use]
    pub fn new(description: &Description<'_>) -> Self {
        let structures = structures(description);
        Self {
            entry_point: entry_point(0, structures.len()),
            structures,
        }
    }
}

/// The 64-bit entry point (5.2.2).
fn entry_point(structures: u64, size: usize) -> Vec<u8> {
    let mut entry = b"_SM3_".to_vec();
    entry.byte(0); // checksum
    entry.vec(&[ENTRY_POINT, 3, 0, 0]); // length, version 3.0.0
    entry.vec(&[1, 0]); // entry point revision, reserved
    entry.dword(u32::try_from(size).unwrap_or(u32::MAX));
    entry.qword(structures);
    let sum = entry.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    entry
        .iter_mut()
        .skip(5)
        .take(1)
        .for_each(|checksum| *checksum = sum.wrapping_neg());
    entry
}

fn structures(description: &Description<'_>) -> Vec<u8> {
    let &Description {
        manufacturer,
        product,
        version,
        cpus,
        ram,
    } = description;
    let size = ram.iter().map(|(_, size)| size).sum();
    let mut all = Structures::default();
    all.bios(manufacturer, version);
    all.system(manufacturer, product, version);
    all.chassis(manufacturer);
    all.processor(manufacturer, cpus);
    all.memory_array(size);
    all.memory_device(manufacturer, size);
    for (handle, (start, size)) in (handle::MEMORY_RANGE..).zip(ram) {
        all.memory_range(handle, *start, *size);
    }
    all.push(127, 0x7f00, &[], &[]);
    all.0
}

#[derive(Default)]
struct Structures(Vec<u8>);

impl Structures {
    /// Header, formatted part, then the strings that it refers to by number, from 1 on (6.1).
    fn push(&mut self, kind: u8, handle: u16, formatted: &[u8], strings: &[&str]) {
        // No structure of ours is near 255 bytes long.
        let length = u8::try_from(4 + formatted.len()).unwrap_or(u8::MAX);
        self.0.vec(&[kind, length]);
        self.0.word(handle);
        self.0.vec(formatted);
        for string in strings {
            // What would end the string early is not a part of it.
            self.0.extend(string.bytes().filter(|byte| *byte != 0));
            self.0.byte(0);
        }
        self.0.vec(if strings.is_empty() { &[0, 0] } else { &[0] });
    }

    fn bios(&mut self, vendor: &str, version: &str) {
        const NO_CHARACTERISTICS: u64 = 1 << 3;
        const VIRTUAL_MACHINE: u8 = 1 << 4;
        let mut body = vec![1, 2]; // vendor, version
        body.word(0xe000); // segment
        body.vec(&[0, 0]); // no release date, ROM of 64 KiB
        body.qword(NO_CHARACTERISTICS);
        body.vec(&[0, VIRTUAL_MACHINE]);
        body.vec(&[0xff; 4]); // no release of firmware or embedded controller
        self.push(0, 0x000, &body, &[vendor, version]);
    }

    fn system(&mut self, manufacturer: &str, product: &str, version: &str) {
        const POWER_SWITCH: u8 = 6;
        let mut body = vec![1, 2, 3, 0]; // manufacturer, product, version, no serial number
        body.vec(&[0; 16]); // UUID: not present
        body.vec(&[POWER_SWITCH, 0, 0]); // no stock number, no family
        self.push(1, 0x100, &body, &[manufacturer, product, version]);
    }

    fn chassis(&mut self, manufacturer: &str) {
        const OTHER: u8 = 1;
        const UNKNOWN: u8 = 2;
        const SAFE: u8 = 3;
        let mut body = vec![1, OTHER, 0, 0, 0]; // manufacturer, type, no version, serial or asset number
        body.vec(&[SAFE, SAFE, SAFE, UNKNOWN]); // boot-up, power supply, thermal, security
        body.dword(0); // OEM-defined
        body.vec(&[0, 0, 0, 0, 0]); // height, power cords, elements: count and length, no stock number
        self.push(3, handle::CHASSIS, &body, &[manufacturer]);
    }

    fn processor(&mut self, manufacturer: &str, cpus: u8) {
        const CENTRAL: u8 = 3;
        const UNKNOWN: u8 = 2;
        const OTHER: u8 = 1;
        const POPULATED_ENABLED: u8 = 1 << 6 | 1;
        const CAPABLE_64_BIT: u16 = 1 << 2;
        let mut body = vec![1, CENTRAL, OTHER, 2]; // socket, type, family, manufacturer
        body.qword(0); // identification: CPUID tells
        body.vec(&[0, 0]); // no version, voltage unknown
        body.vec(&[0; 6]); // clock, greatest and present speed: unknown
        body.vec(&[POPULATED_ENABLED, UNKNOWN]); // status, upgrade
        [handle::NONE; 3].iter().for_each(|cache| body.word(*cache));
        body.vec(&[0, 0, 0]); // no serial, asset or part number
        body.vec(&[cpus, cpus, cpus]); // cores, enabled, threads
        body.word(CAPABLE_64_BIT);
        body.word(OTHER.into()); // family
        [cpus; 3]
            .iter()
            .for_each(|count| body.word((*count).into()));
        self.push(4, handle::PROCESSOR, &body, &["CPU 0", manufacturer]);
    }

    fn memory_array(&mut self, size: u64) {
        const OTHER: u8 = 1;
        const SYSTEM_MEMORY: u8 = 3;
        const MULTI_BIT_ECC: u8 = 6;
        const EXTENDED: u32 = 0x8000_0000;
        let mut body = vec![OTHER, SYSTEM_MEMORY, MULTI_BIT_ECC];
        let kib = u32::try_from(size >> 10).ok().filter(|kib| *kib < EXTENDED);
        body.dword(kib.unwrap_or(EXTENDED));
        body.word(handle::NO_ERRORS);
        body.word(1); // devices
        body.qword(if kib.is_some() { 0 } else { size });
        self.push(16, handle::MEMORY_ARRAY, &body, &[]);
    }

    fn memory_device(&mut self, manufacturer: &str, size: u64) {
        const UNKNOWN_WIDTH: u16 = 0xffff;
        const DIMM: u8 = 9;
        const RAM: u8 = 7;
        const OTHER: u16 = 1 << 1;
        const EXTENDED: u16 = 0x7fff;
        const IN_KIB: u16 = 0x8000;
        let mib = size >> 20;
        let whole = size.is_multiple_of(1 << 20);
        // Bytes below 32 GiB in MiB, odd ones below 32 MiB in KiB, else by the extended field in MiB.
        let (short, extended) = match (u16::try_from(mib), u16::try_from(size >> 10)) {
            (_, Ok(kib)) if !whole && kib < IN_KIB => (kib | IN_KIB, 0),
            (Ok(mib), _) if mib < EXTENDED => (mib, 0),
            _ => (
                EXTENDED,
                u32::try_from(mib).unwrap_or(u32::MAX) & 0x7fff_ffff,
            ),
        };
        let mut body = Vec::new();
        body.word(handle::MEMORY_ARRAY);
        body.word(handle::NO_ERRORS);
        body.word(UNKNOWN_WIDTH); // total
        body.word(UNKNOWN_WIDTH); // data
        body.word(short);
        body.vec(&[DIMM, 0, 1, 0, RAM]); // form, no set, locator, no bank, type
        body.word(OTHER); // type detail
        body.word(0); // speed: unknown
        body.vec(&[2, 0, 0, 0, 0]); // manufacturer; no serial, asset or part number; rank unknown
        body.dword(extended);
        body.vec(&[0; 8]); // configured speed and voltages: unknown
        self.push(17, handle::MEMORY_DEVICE, &body, &["DIMM 0", manufacturer]);
    }

    fn memory_range(&mut self, handle: u16, start: u64, size: u64) {
        let last = start.saturating_add(size.saturating_sub(1));
        let mut body = Vec::new();
        match (u32::try_from(start >> 10), u32::try_from(last >> 10)) {
            (Ok(first), Ok(last)) if last != u32::MAX => {
                body.dword(first);
                body.dword(last);
            }
            _ => body.vec(&[0xff; 8]),
        }
        let extended = body.starts_with(&[0xff; 4]);
        body.word(handle::MEMORY_ARRAY);
        body.byte(1); // devices
        body.qword(if extended { start } else { 0 });
        body.qword(if extended { last } else { 0 });
        self.push(19, handle, &body, &[]);
    }
}
