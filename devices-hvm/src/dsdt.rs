//! The namespace of the hvm board in AML: the body of its DSDT.
//!
//! Sources: ACPI 6.5, chapters 6 (resources, `_PRT`), 7.4.2 (`_S5`) and 9 (devices); QEMU, docs/specs/pvpanic.rst.

mod links;

use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, BufferData, Device, EISAName, IO, Interrupt, Name, ONE,
    Package, Path, ResourceTemplate, Scope, ZERO,
};
use acpi_tables::{Aml, AmlSink};
use trivisor_memory::RamLayout;
use trivisor_mode_basic::{pvpanic, rtc, uart};

use crate::cmos::Floppies;
use crate::i8237::{FIRST_PORTS, PAGE_PORTS, SECOND_PORTS};
use crate::i82077::{self, DATA_RATE_PORTS};
use crate::{fw_cfg, i8042, map, piix4_pm};

/// Devices on bus 0.
const DEVICES: u32 = 32;

/// The body of the DSDT.
pub(crate) fn aml(ram: RamLayout, floppies: Floppies) -> Vec<u8> {
    let mut aml = Vec::new();
    // SUS_TYP of PMCNTRL; the second byte is for a PM1b that does not exist.
    let soft_off = Package::new(vec![&piix4_pm::regs::SOFT_OFF, &ZERO, &ZERO, &ZERO]);
    Name::new("\\_S5_".into(), &soft_off).to_aml_bytes(&mut aml);
    let Done(mut devices) = links::devices();
    pci_root(&mut devices, ram, floppies);
    aml.extend(Scope::raw("\\_SB_".into(), devices));
    aml
}

/// The root of PCI: which addresses lead to it, where its interrupts lead, and the chips behind its ISA bridge.
fn pci_root(aml: &mut Vec<u8>, ram: RamLayout, floppies: Floppies) {
    let below = AddressSpace::new_io(0_u16, map::PCI_CONFIG - 1, None);
    let above = AddressSpace::new_io(map::PCI_CONFIG + 8, 0xffff, None);
    let memory = |first: u32, last: u32, cacheable| {
        AddressSpace::new_memory(cacheable, true, first, last, None)
    };
    let display = memory(0xa_0000, 0xb_ffff, AddressSpaceCacheable::Cacheable);
    let first = map::pci_memory(ram.low().size);
    let uncached = AddressSpaceCacheable::NotCacheable;
    let functions = memory(first, map::PCI_MEMORY_LAST, uncached);
    let routing = links::routing();
    let isa = isa(floppies);
    Device::new(
        "PCI0".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0A03")),
            &Name::new("_UID".into(), &ZERO),
            &Name::new("_ADR".into(), &ZERO),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![
                    &AddressSpace::new_bus_number(0_u16, 0xff),
                    &IO::new(map::PCI_CONFIG, map::PCI_CONFIG, 1, 8),
                    &below,
                    &above,
                    &display,
                    &functions,
                ]),
            ),
            &Name::new("_PRT".into(), &routing),
            &isa,
        ],
    )
    .to_aml_bytes(aml);
}

/// AML that is done.
struct Done(Vec<u8>);

impl Aml for Done {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

/// A device with an identification and resources.
fn device(name: &str, hid: &dyn Aml, resources: Vec<&dyn Aml>) -> Done {
    let mut aml = Vec::new();
    Device::new(
        Path::new(name),
        vec![
            &Name::new("_HID".into(), hid),
            &Name::new("_UID".into(), &ONE),
            &Name::new("_CRS".into(), &ResourceTemplate::new(resources)),
        ],
    )
    .to_aml_bytes(&mut aml);
    Done(aml)
}

/// The ISA bridge and what stands behind it.
fn isa(floppies: Floppies) -> Done {
    let address = u32::from(map::SOUTH_BRIDGE) << 16;
    let irq = |irq: usize| {
        let number = u32::try_from(irq).unwrap_or_default();
        // A consumer's, edge-triggered, active high, not shared.
        Interrupt::new(true, true, false, false, number)
    };
    let serial = device(
        "COM1",
        &EISAName::new("PNP0501"),
        vec![&ports(map::COM1, uart::PORTS), &irq(map::COM1_IRQ)],
    );
    let keyboard = device(
        "KBD_",
        &EISAName::new("PNP0303"),
        vec![
            &ports(map::KEYBOARD + i8042::regs::offset::DATA, 1),
            &ports(map::KEYBOARD + i8042::regs::offset::STATUS_COMMAND, 1),
            &irq(map::KEYBOARD_IRQ),
        ],
    );
    let mouse = device(
        "MOU_",
        &EISAName::new("PNP0F13"),
        vec![&irq(map::MOUSE_IRQ)],
    );
    let clock = device(
        "RTC_",
        &EISAName::new("PNP0B00"),
        vec![&ports(map::RTC, rtc::PORTS), &irq(map::RTC_IRQ)],
    );
    let [first, second] = map::DMA;
    let dma = device(
        "DMA_",
        &EISAName::new("PNP0200"),
        vec![
            &ports(first, FIRST_PORTS),
            &ports(map::DMA_PAGES, PAGE_PORTS),
            &ports(second, SECOND_PORTS),
            &DmaChannel(4),
        ],
    );
    let floppy = floppy(floppies, &irq(map::FLOPPY_IRQ));
    let crash_report = device(
        "PEVT",
        &"QEMU0001",
        vec![&ports(map::PVPANIC, pvpanic::PORTS)],
    );
    // Ports that no function of PCI may have.
    let taken = device(
        "MBRD",
        &EISAName::new("PNP0C02"),
        vec![
            &ports(map::APM, piix4_pm::APM_PORTS),
            &ports(map::FW_CFG, fw_cfg::PORTS),
            &ports(map::GPE0, piix4_pm::GPE_PORTS),
            &ports(map::POWER_MANAGEMENT, piix4_pm::PM_PORTS),
        ],
    );
    let address = Name::new("_ADR".into(), &address);
    let routes = links::registers();
    let mut children: Vec<&dyn Aml> = vec![&address, &routes];
    children.extend([&serial as &dyn Aml, &keyboard, &mouse, &clock, &dma]);
    children.extend(floppy.as_ref().map(|floppy| floppy as &dyn Aml));
    children.extend([&crash_report as &dyn Aml, &taken]);
    let mut aml = Vec::new();
    Device::new("ISA_".into(), children).to_aml_bytes(&mut aml);
    Done(aml)
}

fn ports(first: u16, count: u16) -> IO {
    // No chip of the board has more than 255.
    IO::new(first, first, 1, u8::try_from(count).unwrap_or(u8::MAX))
}

/// A channel of ISA's DMA, 8 bits wide (ACPI 6.5, 6.4.2.2).
struct DmaChannel(u8);

impl Aml for DmaChannel {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        // Compatibility mode, no bus master.
        sink.vec(&[0x2a, 1 << self.0, 0x00]);
    }
}

/// The floppy controller, where there is one, and which of its four drives there are (ACPI 6.5, 9.9.1).
fn floppy(floppies: Floppies, irq: &Interrupt) -> Option<Done> {
    if floppies.iter().all(Option::is_none) {
        return None;
    }
    // A dword each drive, and one for a tape.
    let present = floppies.map(|kind| u8::from(kind.is_some()));
    let mut drives = vec![0; 20];
    for (dword, present) in drives.chunks_mut(4).zip(present) {
        dword
            .iter_mut()
            .zip([present])
            .for_each(|(to, from)| *to = from);
    }
    let drives = BufferData::new(drives);
    let mut aml = Vec::new();
    Device::new(
        "FDC0".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0700")),
            &Name::new("_FDE".into(), &drives),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![
                    &ports(map::FLOPPY + i82077::regs::offset::DOR, i82077::PORTS - 2),
                    &ports(map::FLOPPY_DATA_RATE, DATA_RATE_PORTS),
                    irq,
                    &DmaChannel(2),
                ]),
            ),
        ],
    )
    .to_aml_bytes(&mut aml);
    Some(Done(aml))
}
