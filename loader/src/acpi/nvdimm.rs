//! NFIT: persistent memory, and where it is flushed.

use acpi_tables::AmlSink;

use super::{AcpiError, table};

/// A piece of persistent memory, which is a module of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nvdimm {
    /// Its NFIT device handle (5.2.25.3): the `_ADR` of its device in the namespace.
    pub handle: u32,
    /// Guest-physical address.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// Writes do not last.
    pub read_only: bool,
    /// Guest-physical address to write to when all writes before are to last.
    pub flush_hint: u64,
}

// Types of the structures (5.2.25).
const SPA_RANGE: u16 = 0;
const REGION_MAPPING: u16 = 1;
const CONTROL_REGION: u16 = 4;
const FLUSH_HINT_ADDRESS: u16 = 6;

/// Address range type of a byte-addressable persistent memory region (5.2.25.2):
/// 66f0d379-b4f3-4074-ac43-0d3318b78cdb.
const PERSISTENT_MEMORY: [u8; 16] = [
    0x79, 0xd3, 0xf0, 0x66, 0xf3, 0xb4, 0x74, 0x40, 0xac, 0x43, 0x0d, 0x33, 0x18, 0xb7, 0x8c, 0xdb,
];

/// Memory attributes of UEFI: write-back, non-volatile.
const WRITE_BACK_NON_VOLATILE: u64 = 1 << 3 | 1 << 15;

/// NVDIMM state flags (5.2.25.3): not armed, writes do not last. Linux takes such a region as read-only.
const NOT_ARMED: u16 = 1 << 3;

/// Region format interface code (JEDEC): byte-addressable, without an energy source of its own.
const BYTE_ADDRESSABLE: u16 = 0x0301;

/// The NVDIMM firmware interface table.
pub(super) fn nfit(nvdimms: &[Nvdimm]) -> Result<Vec<u8>, AcpiError> {
    let count = nvdimms.len();
    let last = u16::try_from(count).map_err(|_| AcpiError::Nvdimms { count })?;
    let mut body = Vec::new();
    body.dword(0); // reserved
    for (index, nvdimm) in (1..=last).zip(nvdimms) {
        spa_range(&mut body, index, nvdimm);
        region_mapping(&mut body, index, nvdimm);
        control_region(&mut body, index);
        flush_hint(&mut body, nvdimm);
    }
    Ok(table(*b"NFIT", 1, &body))
}

/// System physical address range structure (5.2.25.2).
fn spa_range(table: &mut Vec<u8>, index: u16, nvdimm: &Nvdimm) {
    table.word(SPA_RANGE);
    table.word(56); // length
    table.word(index);
    table.word(0); // flags: no proximity domain, no location cookie
    table.dword(0); // reserved
    table.dword(0); // proximity domain
    table.vec(&PERSISTENT_MEMORY);
    table.qword(nvdimm.address);
    table.qword(nvdimm.size);
    table.qword(WRITE_BACK_NON_VOLATILE);
}

/// NVDIMM region mapping structure (5.2.25.3): the module makes the whole range, without interleaving.
fn region_mapping(table: &mut Vec<u8>, index: u16, nvdimm: &Nvdimm) {
    table.word(REGION_MAPPING);
    table.word(48); // length
    table.dword(nvdimm.handle);
    table.word(0); // physical identification: SMBIOS does not list it
    table.word(0); // region of the module
    table.word(index); // SPA range
    table.word(index); // control region
    table.qword(nvdimm.size);
    table.qword(0); // offset in the range
    table.qword(0); // address in the module
    table.word(0); // interleave structure
    table.word(1); // interleave ways
    table.word(if nvdimm.read_only { NOT_ARMED } else { 0 });
    table.word(0); // reserved
}

/// NVDIMM control region structure (5.2.25.6), without block control windows. Vendor and device are nobody's.
fn control_region(table: &mut Vec<u8>, index: u16) {
    table.word(CONTROL_REGION);
    table.word(32); // length
    table.word(index);
    table.vec(&[0; 12]); // vendor, device, revision; the same of the subsystem
    table.vec(&[0; 6]); // valid fields: none of manufacturing location and date; reserved
    table.dword(index.into()); // serial number
    table.word(BYTE_ADDRESSABLE);
    table.word(0); // number of block control windows
}

/// Flush hint address structure (5.2.25.8), one address.
fn flush_hint(table: &mut Vec<u8>, nvdimm: &Nvdimm) {
    table.word(FLUSH_HINT_ADDRESS);
    table.word(24); // length
    table.dword(nvdimm.handle);
    table.word(1); // number of addresses
    table.vec(&[0; 6]); // reserved
    table.qword(nvdimm.flush_hint);
}
