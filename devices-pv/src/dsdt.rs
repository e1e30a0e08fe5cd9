//! The namespace of the pv board in AML, beside that of the basic one.
//!
//! Sources: ACPI 6.5, 6.1 (identification), 6.2.13 (`_PRT`), 6.4 (resources); PCI Firmware Specification 3.0, 4.

use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Memory32Fixed, Name, ONE,
    Package, PackageBuilder, Path, ResourceTemplate, ZERO,
};
use trivisor_virtio_device::mmio;

use crate::map;

/// Devices on bus 0.
const DEVICES: u32 = 32;

/// The root of PCI: which addresses its functions may have, and where their interrupts lead.
pub(crate) fn pci_root() -> Vec<u8> {
    let mut aml = Vec::new();
    let ports = AddressSpace::new_io(*map::PCI_PORTS.start(), *map::PCI_PORTS.end(), None);
    let memory = AddressSpace::new_memory(
        AddressSpaceCacheable::NotCacheable,
        true,
        *map::PCI_MEMORY.start(),
        *map::PCI_MEMORY.end(),
        None,
    );
    let routing = routing();
    Device::new(
        "PCI0".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0A08")),
            &Name::new("_CID".into(), &EISAName::new("PNP0A03")),
            &Name::new("_SEG".into(), &ZERO),
            &Name::new("_BBN".into(), &ZERO),
            &Name::new("_UID".into(), &ZERO),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![
                    &AddressSpace::new_bus_number(0_u16, map::LAST_BUS.into()),
                    &IO::new(map::PCI_CONFIG, map::PCI_CONFIG, 1, 8),
                    &ports,
                    &memory,
                ]),
            ),
            &Name::new("_PRT".into(), &routing),
        ],
    )
    .to_aml_bytes(&mut aml);
    // The configuration space has to be reserved by a device (PCI Firmware Specification 3.0, 4.1.2).
    #[expect(clippy::cast_possible_truncation, reason = "it lies below 4 GiB")]
    let ecam = Memory32Fixed::new(true, map::ECAM as u32, (u32::from(map::LAST_BUS) + 1) << 20);
    Device::new(
        "MBRD".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0C02")),
            &Name::new("_CRS".into(), &ResourceTemplate::new(vec![&ecam])),
        ],
    )
    .to_aml_bytes(&mut aml);
    aml
}

/// Each device's four pins, each a step further on the four lines, without link devices.
fn routing() -> PackageBuilder {
    let mut routes = PackageBuilder::new();
    for device in 0..DEVICES {
        for pin in 0..4_u32 {
            let line = u32::from(map::PCI_PINS) + (device + pin) % 4;
            let address = device << 16 | 0xffff;
            routes.add_element(&Package::new(vec![&address, &pin, &ZERO, &line]));
        }
    }
    routes
}

/// The first `count` devices on virtio over MMIO.
pub(crate) fn virtio_mmio(count: usize) -> Vec<u8> {
    let mut aml = Vec::new();
    for (index, (address, pin)) in (0_u8..).zip(map::mmio().take(count)) {
        #[expect(clippy::cast_possible_truncation, reason = "both lie below 4 GiB")]
        let registers = Memory32Fixed::new(true, address as u32, mmio::SIZE as u32);
        Device::new(
            Path::new(&format!("VR{index:02X}")),
            vec![
                &Name::new("_HID".into(), &"LNRO0005"),
                &Name::new("_UID".into(), &index),
                &Name::new("_CCA".into(), &ONE),
                &Name::new(
                    "_CRS".into(),
                    &ResourceTemplate::new(vec![
                        &registers,
                        // Consumer, level-triggered, active high, its own.
                        &Interrupt::new(true, false, false, false, pin.into()),
                    ]),
                ),
            ],
        )
        .to_aml_bytes(&mut aml);
    }
    aml
}
