//! What firmware is told of the board, or a kernel without it: fw_cfg's items, ACPI, SMBIOS.

use trivisor_buses::Slots;
use trivisor_loader::{acpi, smbios};
use trivisor_memory::RamLayout;
use trivisor_mode_basic::rtc;

use crate::fw_cfg::regs::key;
use crate::fw_cfg::{FileError, Items};
use crate::{map, piix4_pm};

/// What firmware finds behind its keys and names.
pub(super) fn items(
    ram: RamLayout,
    cpus: u8,
    files: &[(String, Vec<u8>)],
    tables: &acpi::pc::Relocatable,
) -> Result<Items, FileError> {
    let count = u16::from(cpus).to_le_bytes();
    let runs = runs(ram);
    let smbios = smbios::Parts::new(&description(cpus, &runs));
    let mut items = Items::default()
        .with(key::RAM_SIZE, &ram.size().to_le_bytes())
        .with(key::NB_CPUS, &count)
        .with(key::MAX_CPUS, &count)
        .with(key::NO_GRAPHIC, &[0, 0])
        .with(key::BOOT_MENU, &[0, 0])
        .with(key::IRQ0_OVERRIDE, &[1])
        .with_file("etc/e820", &e820(ram))?
        .with_file(acpi::pc::TABLES_FILE, &tables.tables)?
        .with_file(acpi::pc::RSDP_FILE, &tables.rsdp)?
        .with_file(acpi::pc::SCRIPT_FILE, &tables.script())?
        .with_file("etc/smbios/smbios-anchor", &smbios.entry_point)?
        .with_file("etc/smbios/smbios-tables", &smbios.structures)?;
    for (name, bytes) in files {
        items = items.with_file(name, bytes)?;
    }
    Ok(items)
}

fn runs(ram: RamLayout) -> Vec<(u64, u64)> {
    ram.ranges().map(|run| (run.start, run.size)).collect()
}

const fn description(cpus: u8, runs: &[(u64, u64)]) -> smbios::Description<'_> {
    smbios::Description {
        manufacturer: "Trivisor",
        product: "hvm",
        version: env!("CARGO_PKG_VERSION"),
        cpus,
        ram: runs,
    }
}

/// What ACPI says of the board.
pub(super) const fn platform(cpus: u8, aml: &[u8]) -> acpi::pc::Pc<'_> {
    acpi::pc::Pc {
        cpus,
        local_apic: map::LOCAL_APIC,
        io_apic: acpi::IoApic {
            id: 0,
            address: map::IO_APIC,
        },
        #[expect(clippy::cast_possible_truncation, reason = "it is 9")]
        sci: map::SCI_IRQ as u8,
        level_triggered: &map::PIRQ_POSSIBLE,
        smi_command: (
            map::APM,
            piix4_pm::regs::ACPI_ENABLE,
            piix4_pm::regs::ACPI_DISABLE,
        ),
        pm_base: map::POWER_MANAGEMENT,
        gpe0: map::GPE0,
        reset: (map::RESET, map::RESET_VALUE),
        century: rtc::regs::index::CENTURY,
        boot_arch: acpi::boot_arch::LEGACY_DEVICES
            | acpi::boot_arch::KEYBOARD_8042
            | acpi::boot_arch::NO_VGA,
        aml,
    }
}

/// Puts ACPI and SMBIOS tables where a kernel looks for them.
pub(super) fn place(slots: &mut Slots, ram: RamLayout, cpus: u8, tables: acpi::pc::Relocatable) {
    let tables = tables.placed(map::ACPI);
    slots.rsdp(tables.address);
    slots.place(tables.address, tables.bytes);
    let runs = runs(ram);
    let bytes = smbios::build(&description(cpus, &runs), map::SMBIOS);
    slots.place(map::SMBIOS, bytes);
}

/// RAM, as firmware takes it: address, bytes, type 1.
pub(super) fn e820(ram: RamLayout) -> Vec<u8> {
    const RAM: u32 = 1;
    let mut table = Vec::new();
    for run in ram.ranges() {
        table.extend(run.start.to_le_bytes());
        table.extend(run.size.to_le_bytes());
        table.extend(RAM.to_le_bytes());
    }
    table
}
