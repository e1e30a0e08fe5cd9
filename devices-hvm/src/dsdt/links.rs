//! Where PCI's interrupts lead: link devices, a PIRQ of the ISA bridge each, which an operating system can lead elsewhere.
//!
//! Source: ACPI 6.5, 6.2 (`_CRS`, `_DIS`, `_PRS`, `_PRT`, `_SRS`), 6.3.7 (`_STA`), 6.4.3.6 (interrupts); Intel 290550, 2.2
//! (PIRQRC).

use acpi_tables::aml::{
    And, Arg, CreateDWordField, Device, EISAName, Field, FieldAccessType, FieldEntry,
    FieldLockRule, FieldUpdateRule, If, Method, Name, OpRegion, OpRegionSpace, Or, Package,
    PackageBuilder, Path, ResourceTemplate, Return, Store, ZERO,
};
use acpi_tables::{Aml, AmlSink};

use super::{DEVICES, Done};
use crate::map;
use crate::piix3::regs::{PirqRoute, offset};

/// PIRQ A to D: the link device, the field that is its register, and that field's name from everywhere.
const LINKS: [(&str, [u8; 4], &str); 4] = [
    ("LNKA", *b"PRQA", "\\_SB_.PCI0.ISA_.PRQA"),
    ("LNKB", *b"PRQB", "\\_SB_.PCI0.ISA_.PRQB"),
    ("LNKC", *b"PRQC", "\\_SB_.PCI0.ISA_.PRQC"),
    ("LNKD", *b"PRQD", "\\_SB_.PCI0.ISA_.PRQD"),
];

/// The bit of a route that leads it nowhere.
const DISABLE: u8 = PirqRoute::new().with_disable(true).into_bits();
/// The bits of a route that are its interrupt.
const IRQ: u8 = PirqRoute::new().with_irq(0xf).into_bits();

/// `_STA`: there, and it works; with bit 1 it leads somewhere.
const OFF: u8 = 0b1001;
const ON: u8 = 0b1011;

/// Place of the first interrupt in a descriptor.
const FIRST: u8 = 5;

/// Interrupts of which a link may have one: level-triggered, active high, shared.
struct Interrupts<'a>(&'a [u8]);

impl Aml for Interrupts<'_> {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let count = u8::try_from(self.0.len()).unwrap_or(u8::MAX);
        sink.byte(0x89);
        sink.word(2 + 4 * u16::from(count));
        // A consumer's.
        sink.byte(0b1001);
        sink.byte(count);
        self.0.iter().for_each(|irq| sink.dword((*irq).into()));
    }
}

/// The routes as fields of the ISA bridge's configuration space.
pub(super) fn registers() -> Done {
    let (first, count) = (offset::PIRQRC, LINKS.len().to_le_bytes()[0]);
    let region = OpRegion::new("PIRQ".into(), OpRegionSpace::PCIConfig, &first, &count);
    let fields = LINKS.map(|(_, register, _)| FieldEntry::Named(register, 8));
    let fields = Field::new(
        "PIRQ".into(),
        FieldAccessType::Byte,
        FieldLockRule::NoLock,
        FieldUpdateRule::Preserve,
        fields.to_vec(),
    );
    let mut aml = Vec::new();
    region.to_aml_bytes(&mut aml);
    fields.to_aml_bytes(&mut aml);
    Done(aml)
}

/// The four link devices.
pub(super) fn devices() -> Done {
    let mut aml = Vec::new();
    for ((name, _, register), uid) in LINKS.into_iter().zip(1_u8..) {
        device(&mut aml, name, &Path::new(register), uid);
    }
    Done(aml)
}

fn device(aml: &mut Vec<u8>, name: &str, register: &Path, uid: u8) {
    let off = And::new(&ZERO, register, &DISABLE);
    let irq = Path::new("IRQ_");

    let possible = Interrupts(&map::PIRQ_POSSIBLE);
    let possible = ResourceTemplate::new(vec![&possible]);
    let status = [Return::new(&OFF), Return::new(&ON)];
    let [is_off, is_on] = &status;
    let is_off = If::new(&off, vec![is_off]);
    let disable = Or::new(register, register, &DISABLE);

    // `_CRS`: no interrupt where it leads nowhere.
    let none = Interrupts(&[0]);
    let none = ResourceTemplate::new(vec![&none]);
    let buffer = Path::new("BUF_");
    let current = Name::new("BUF_".into(), &none);
    let first_of_current = CreateDWordField::new(&irq, &buffer, &FIRST);
    let number = And::new(&irq, register, &IRQ);
    let number_of_none = Store::new(&irq, &ZERO);
    let clear = If::new(&off, vec![&number_of_none]);
    let give = Return::new(&buffer);

    // `_SRS`, which also switches it on.
    let first_of_wanted = CreateDWordField::new(&irq, &Arg(0), &FIRST);
    let route = Store::new(register, &irq);

    Device::new(
        Path::new(name),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0C0F")),
            &Name::new("_UID".into(), &uid),
            &Name::new("_PRS".into(), &possible),
            &Method::new("_STA".into(), 0, false, vec![&is_off, is_on]),
            &Method::new("_DIS".into(), 0, false, vec![&disable]),
            &Method::new(
                "_CRS".into(),
                0,
                true,
                vec![&current, &first_of_current, &number, &clear, &give],
            ),
            &Method::new("_SRS".into(), 1, true, vec![&first_of_wanted, &route]),
        ],
    )
    .to_aml_bytes(aml);
}

/// `_PRT`: each device's four pins lead to a PIRQ each, a step further from device to device.
pub(super) fn routing() -> PackageBuilder {
    let mut routes = PackageBuilder::new();
    let links = LINKS.map(|(name, ..)| Path::new(name));
    for device in 0..DEVICES {
        for (pin, link) in (0_u32..4).zip(rotated(&links, device)) {
            let address = device << 16 | 0xffff;
            routes.add_element(&Package::new(vec![&address, &pin, link, &ZERO]));
        }
    }
    routes
}

/// The links of a device's pins: PIRQ A is that of device 1's first pin.
fn rotated(links: &[Path; 4], device: u32) -> impl Iterator<Item = &Path> {
    let skipped = usize::try_from((device + 3) % 4).unwrap_or(0);
    links.iter().cycle().skip(skipped).take(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(aml: &[u8], wanted: &[u8]) -> usize {
        aml.windows(wanted.len())
            .filter(|found| *found == wanted)
            .count()
    }

    #[test]
    fn each_pin_leads_to_the_link_of_its_line() {
        let mut aml = Vec::new();
        routing().to_aml_bytes(&mut aml);
        for (device, links) in [
            (1_u8, b"ABCD"),
            (2, b"BCDA"),
            (3, b"CDAB"),
            (4, b"DABC"),
            (31, b"CDAB"),
        ] {
            for (pin, link) in (0_u8..).zip(links) {
                let mut entry = vec![0x0c, 0xff, 0xff, device, 0];
                match pin {
                    0 | 1 => entry.push(pin),
                    _ => entry.extend([0x0a, pin]),
                }
                entry.extend([b'L', b'N', b'K', *link, 0]);
                assert_eq!(holds(&aml, &entry), 1, "device {device}, pin {pin}");
            }
        }
        assert_eq!(holds(&aml, b"LNK"), 128);
    }

    #[test]
    fn links_are_behind_the_registers_of_the_isa_bridge() {
        let Done(aml) = registers();
        assert_eq!(holds(&aml, b"\x5b\x80PIRQ\x02\x0a\x60\x0a\x04"), 1);
        let fields = b"PIRQ\x01PRQA\x08PRQB\x08PRQC\x08PRQD\x08";
        assert_eq!(holds(&aml, fields), 1);
        let Done(aml) = devices();
        for link in [b'A', b'B', b'C', b'D'] {
            let name = [b'L', b'N', b'K', link];
            assert_eq!(holds(&aml, &name), 1);
            // `_STA`, `_DIS` twice, `_CRS` twice, `_SRS`.
            let register = [&b"\\/\x04_SB_PCI0ISA_PRQ"[..], &[link]].concat();
            assert_eq!(holds(&aml, &register), 6, "PIRQ {link}");
        }
        let possible = b"\x89\x0e\x00\x09\x03\x05\x00\x00\x00\x0a\x00\x00\x00\x0b\x00\x00\x00\x79";
        assert_eq!(holds(&aml, possible), 4);
        // What firmware has chosen is among them.
        assert!(
            map::PIRQ_IRQS
                .iter()
                .all(|irq| map::PIRQ_POSSIBLE.contains(irq))
        );
    }
}
