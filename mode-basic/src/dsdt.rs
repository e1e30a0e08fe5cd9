//! The namespace of the basic board in AML: the body of its DSDT.
//!
//! Sources: ACPI 6.5, chapters 5 (events), 6 (resources), 9 (devices) and 20 (AML); Microsoft, Virtual Machine
//! Generation ID; QEMU, docs/specs/pvpanic.rst.

use acpi_tables::Aml;
use acpi_tables::aml::{
    And, Device, EISAName, Field, FieldAccessType, FieldEntry, FieldLockRule, FieldUpdateRule, IO,
    If, Interrupt, Local, Method, Name, Notify, ONE, OpRegion, OpRegionSpace, Package, Path,
    ResourceTemplate, Scope, Store, ZERO,
};
use trivisor_loader::acpi::Nvdimm;

use crate::{map, power, pvpanic, rtc, uart};

/// Notification: the power button was pressed (5.6.6).
const BUTTON_PRESSED: u8 = 0x80;

/// Events in bits of the power block's event register.
const POWER_BUTTON: u32 = power::regs::Events::new()
    .with_power_button(true)
    .into_bits();

/// The body of the DSDT; `more` are devices of a larger board.
pub(crate) fn aml(nvdimms: &[Nvdimm], more: &[u8]) -> Vec<u8> {
    let mut aml = Vec::new();
    // SLP_TYP of the sleep control register; the second byte is for a PM1b that does not exist.
    let soft_off = Package::new(vec![&power::regs::S5, &ZERO, &ZERO, &ZERO]);
    Name::new("\\_S5_".into(), &soft_off).to_aml_bytes(&mut aml);

    let mut devices = Vec::new();
    serial_port(&mut devices);
    clock(&mut devices);
    crash_report(&mut devices);
    power_button(&mut devices);
    generation_id(&mut devices);
    generic_events(&mut devices);
    if !nvdimms.is_empty() {
        persistent_memory(&mut devices, nvdimms);
    }
    devices.extend_from_slice(more);
    aml.extend(Scope::raw("\\_SB_".into(), devices));
    aml
}

fn serial_port(aml: &mut Vec<u8>) {
    Device::new(
        "COM1".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0501")),
            &Name::new("_UID".into(), &ONE),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![
                    &ports(map::COM1, uart::PORTS),
                    &edge_triggered(map::COM1_PIN),
                ]),
            ),
        ],
    )
    .to_aml_bytes(aml);
}

/// Without an interrupt: the chip does not drive its line.
fn clock(aml: &mut Vec<u8>) {
    Device::new(
        "RTC_".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0B00")),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![&ports(map::RTC, rtc::PORTS)]),
            ),
        ],
    )
    .to_aml_bytes(aml);
}

fn crash_report(aml: &mut Vec<u8>) {
    Device::new(
        "PEVT".into(),
        vec![
            &Name::new("_HID".into(), &"QEMU0001"),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![&ports(map::PVPANIC, pvpanic::PORTS)]),
            ),
        ],
    )
    .to_aml_bytes(aml);
}

fn power_button(aml: &mut Vec<u8>) {
    Device::new(
        "PWRB".into(),
        vec![&Name::new("_HID".into(), &EISAName::new("PNP0C0C"))],
    )
    .to_aml_bytes(aml);
}

/// Guests find it by its compatible identification; the other one is what QEMU calls it.
fn generation_id(aml: &mut Vec<u8>) {
    // Low half, high half.
    let address = Package::new(vec![&map::GENERATION_ID, &ZERO]);
    Device::new(
        "VGEN".into(),
        vec![
            &Name::new("_HID".into(), &"QEMUVGID"),
            &Name::new("_CID".into(), &"VM_Gen_Counter"),
            &Name::new("_DDN".into(), &"VM_Gen_Counter"),
            &Name::new("ADDR".into(), &address),
        ],
    )
    .to_aml_bytes(aml);
}

/// Reads the power block's event register, which clears it, and notifies whom it names.
fn generic_events(aml: &mut Vec<u8>) {
    let register = map::POWER + power::regs::offset::EVENTS;
    Device::new(
        "GED_".into(),
        vec![
            &Name::new("_HID".into(), &"ACPI0013"),
            &Name::new("_UID".into(), &ZERO),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(vec![&edge_triggered(map::POWER_PIN)]),
            ),
            &OpRegion::new("EVRG".into(), OpRegionSpace::SystemIO, &register, &4_u8),
            &Field::new(
                "EVRG".into(),
                FieldAccessType::DWord,
                FieldLockRule::NoLock,
                FieldUpdateRule::WriteAsZeroes,
                vec![FieldEntry::Named(*b"EVTS", 32)],
            ),
            &Method::new(
                "_EVT".into(),
                1,
                true,
                vec![
                    &Store::new(&Local(0), &Path::new("EVTS")),
                    &If::new(
                        &And::new(&ZERO, &Local(0), &POWER_BUTTON),
                        vec![&Notify::new(&Path::new("\\_SB_.PWRB"), &BUTTON_PRESSED)],
                    ),
                ],
            ),
        ],
    )
    .to_aml_bytes(aml);
}

/// NVDIMM root device (9.19.2), and a device a module. What they are stands in the NFIT.
fn persistent_memory(aml: &mut Vec<u8>, nvdimms: &[Nvdimm]) {
    let modules: Vec<Module> = nvdimms.iter().map(|nvdimm| Module(nvdimm.handle)).collect();
    let hid = Name::new("_HID".into(), &"ACPI0012");
    let mut children: Vec<&dyn Aml> = vec![&hid];
    children.extend(modules.iter().map(|module| module as &dyn Aml));
    Device::new("NVDR".into(), children).to_aml_bytes(aml);
}

/// A module, by its NFIT device handle.
struct Module(u32);

impl Aml for Module {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        // Three digits hold the handles of all images that a board takes.
        let name = format!("N{:03X}", self.0 & 0xfff);
        Device::new(Path::new(&name), vec![&Name::new("_ADR".into(), &self.0)]).to_aml_bytes(sink);
    }
}

fn ports(first: u16, count: u16) -> IO {
    // No chip of the board has more than 255.
    IO::new(first, first, 1, u8::try_from(count).unwrap_or(u8::MAX))
}

/// An interrupt of its own: edge-triggered, active high. In the extended form, which no guest overrides.
fn edge_triggered(pin: u8) -> Interrupt {
    Interrupt::new(true, true, false, false, pin.into())
}
