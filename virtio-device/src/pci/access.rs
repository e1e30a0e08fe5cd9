//! The capabilities that point to the registers, and the one that gives access to them by configuration space:
//! virtio 1.3, 4.1.4 and 4.1.4.9.

use trivisor_pci::{ConfigError, ConfigSpace};

use super::regs::{
    BAR, BAR_SIZE, COMMON, CONFIG, CapabilityType, ISR, NOTIFY, NOTIFY_MULTIPLIER, PART,
};

/// PCI's identifier of a vendor's capability.
const VENDOR_SPECIFIC: u8 = 0x09;

/// Offsets in a capability.
const CAP_BAR: u8 = 4;
const CAP_OFFSET: u8 = 8;
const CAP_LENGTH: u8 = 12;
const CAP_DATA: u8 = 16;

/// The access capability.
#[derive(Debug, Clone, Copy)]
pub(super) struct PciAccess {
    /// Its offset in configuration space.
    capability: u8,
}

/// What follows identifier and link: `struct virtio_pci_cap`, with 4 bytes more where there are any.
fn body(kind: CapabilityType, offset: u64, length: u64, more: Option<u32>) -> Vec<u8> {
    let size: u8 = if more.is_some() { 20 } else { 16 };
    let mut body = vec![size, kind as u8, BAR, 0, 0, 0];
    #[expect(clippy::cast_possible_truncation, reason = "both lie in 64 KiB")]
    for field in [offset as u32, length as u32].into_iter().chain(more) {
        body.extend(field.to_le_bytes());
    }
    body
}

/// Adds all of them.
pub(super) fn add_capabilities(config: &mut ConfigSpace) -> Result<PciAccess, ConfigError> {
    let plain = [
        (CapabilityType::Common, COMMON, PART),
        (CapabilityType::Isr, ISR, PART),
        (CapabilityType::Device, CONFIG, PART),
    ];
    for (kind, offset, length) in plain {
        config.add_capability(VENDOR_SPECIFIC, &body(kind, offset, length, None), &[])?;
    }
    let notify = body(
        CapabilityType::Notify,
        NOTIFY,
        PART,
        Some(NOTIFY_MULTIPLIER),
    );
    config.add_capability(VENDOR_SPECIFIC, &notify, &[])?;
    // The driver writes register, offset and length.
    let access = body(CapabilityType::Pci, 0, 0, Some(0));
    let mut writable = vec![0, 0, 0xff, 0, 0, 0];
    writable.extend([0xff; 8]);
    let capability = config.add_capability(VENDOR_SPECIFIC, &access, &writable)?;
    Ok(PciAccess { capability })
}

impl PciAccess {
    /// The register, offset and width that an access of configuration space at `offset` is for; `None`: it is for
    /// configuration space itself.
    pub(super) fn target(self, offset: u16, config: &ConfigSpace) -> Option<(u8, u64, usize)> {
        let at = |field: u8| self.capability + field;
        if offset != u16::from(at(CAP_DATA)) {
            return None;
        }
        let [bar] = config.get(at(CAP_BAR));
        let from = u64::from(u32::from_le_bytes(config.get(at(CAP_OFFSET))));
        let width = u32::from_le_bytes(config.get(at(CAP_LENGTH)));
        let width = usize::try_from(width).ok()?;
        let fits =
            matches!(width, 1 | 2 | 4) && from.is_multiple_of(width as u64) && from < BAR_SIZE;
        fits.then_some((bar, from, width))
    }
}
