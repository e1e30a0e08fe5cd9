//! Addresses and interrupt lines of the pv board beside those of the basic one
//! ([`trivisor_mode_basic::map`]), all in one place.
//!
//! | ports | what | | memory | what |
//! |---|---|---|---|---|
//! | 0x0cf8 to 0x0cff | PCI configuration access | | 0xc0000000, 512 MiB | PCI functions |
//! | 0x1000 to 0xffff | PCI functions | | 0xe0000000, 1 MiB | PCI configuration space of bus 0 |
//! | | | | 0xe8000000 | virtio over MMIO, a page a device |
//!
//! | pin | line |
//! |---|---|
//! | 16 to 19 | PCI's four interrupt lines, level-triggered, shared |
//! | 16 to 23, 5 to 7, 10 to 15 | with virtio over MMIO there is no PCI: a pin a device |

use std::ops::RangeInclusive;

use trivisor_virtio_device::mmio::SIZE as MMIO_SIZE;

/// PCI configuration access: address and data.
pub const PCI_CONFIG: u16 = 0xcf8;
/// Ports of PCI functions.
pub const PCI_PORTS: RangeInclusive<u16> = 0x1000..=0xffff;
/// Memory of PCI functions.
pub const PCI_MEMORY: RangeInclusive<u32> = 0xc000_0000..=0xdfff_ffff;
/// PCI configuration space.
pub const ECAM: u64 = 0xe000_0000;
/// The last PCI bus.
pub const LAST_BUS: u8 = 0;
/// The first of the four pins of PCI's interrupt lines.
pub const PCI_PINS: u8 = 16;

/// The first device on virtio over MMIO.
pub const MMIO: u64 = 0xe800_0000;
/// From one of them to the next: a page, so that a host can treat each on its own.
pub const MMIO_STRIDE: u64 = 0x1000;
/// Their pins, in their order.
pub const MMIO_PINS: [u8; 17] = [
    16, 17, 18, 19, 20, 21, 22, 23, 5, 6, 7, 10, 11, 12, 13, 14, 15,
];

/// Address and pin of each device on virtio over MMIO.
pub fn mmio() -> impl Iterator<Item = (u64, u8)> {
    (0..).map(|index| MMIO + index * MMIO_STRIDE).zip(MMIO_PINS)
}

/// What the command line of a Linux that reads no ACPI says of the first `count` devices on virtio over MMIO: they
/// stand in the DSDT as well, and one that reads both would meet each twice.
#[must_use]
pub fn mmio_parameters(count: usize) -> String {
    let parameter =
        |(address, pin)| format!("virtio_mmio.device={:#x}@{address:#x}:{pin}", MMIO_SIZE);
    let parameters: Vec<String> = mmio().take(count).map(parameter).collect();
    parameters.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_has_a_parameter_of_its_own() {
        assert_eq!(mmio_parameters(0), "");
        assert_eq!(
            mmio_parameters(2),
            "virtio_mmio.device=0x200@0xe8000000:16 virtio_mmio.device=0x200@0xe8001000:17"
        );
        assert_eq!(mmio_parameters(99).matches('@').count(), MMIO_PINS.len());
    }
}
