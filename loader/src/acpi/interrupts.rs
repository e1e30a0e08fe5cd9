//! MADT: the interrupt controllers.

use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};
use acpi_tables::{Aml, AmlSink};

use super::{Platform, table};

/// The multiple APIC description table. Its flag for a pair of 8259 is clear.
pub(super) fn madt(platform: &Platform<'_>) -> Vec<u8> {
    let mut body = Vec::new();
    body.dword(platform.local_apic);
    body.dword(0); // flags
    for cpu in 0..platform.cpus {
        ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled).to_aml_bytes(&mut body);
    }
    IoApic::new(platform.io_apic.id, platform.io_apic.address, 0).to_aml_bytes(&mut body);
    table(*b"APIC", 6, &body)
}
