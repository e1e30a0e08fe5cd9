//! The ports and the window that a VGA has on any PC, whatever its base address registers hold.

use std::sync::Arc;

use trivisor_buses::routing::PortSpace;
use trivisor_buses::{FitError, MmioAddress, PioAddress, Posted, Slots};
use trivisor_pci::{FunctionShell, PciFunction};
use vm_device::{DeviceMmio, DevicePio};

use super::regs::port;
use super::{Vga, WINDOW, WINDOW_SIZE};

/// Ports of the VGA: the first, and how many.
const PORTS: [(u16, u16); 5] = [
    (port::CRTC_INDEX_MONO, 2),
    (port::STATUS1_MONO, 1),
    (port::ATTRIBUTE, 16),
    (port::CRTC_INDEX, 2),
    (port::STATUS1, 1),
];

/// Ports of the display interface: its registers of 16 bits begin at three ports next to each other.
const DISPI_PORTS: u64 = 4;

/// Where writes only change what is to be seen: the window, and all that the VGA has at its ports. Those of the display
/// interface are none of these, for they clear memory that the guest reaches without this device.
const POSTED: [Posted; 4] = [
    Posted::Ports {
        first: port::ATTRIBUTE,
        count: 16,
    },
    Posted::Ports {
        first: port::CRTC_INDEX,
        count: 2,
    },
    Posted::Ports {
        first: port::CRTC_INDEX_MONO,
        count: 2,
    },
    Posted::Memory {
        address: WINDOW,
        size: 0x2_0000,
    },
];

pub(super) fn attach(slots: &mut Slots, chip: &Arc<FunctionShell<Vga>>) -> Result<(), FitError> {
    for (first, count) in PORTS {
        let ports = Arc::new(VgaPorts(chip.clone()));
        slots
            .ports()
            .attach("vga", first.into(), count.into(), ports)?;
    }
    let ports = Arc::new(DispiPorts(chip.clone()));
    slots
        .ports()
        .attach("vga-dispi", port::DISPI_INDEX.into(), DISPI_PORTS, ports)?;
    let window = Arc::new(Window(chip.clone()));
    slots
        .memory()
        .attach("vga-window", WINDOW, WINDOW_SIZE, window)?;
    for posted in POSTED {
        slots.posted(posted);
    }
    Ok(())
}

/// Runs `with` if the function answers in port space.
fn in_ports(chip: &FunctionShell<Vga>, with: impl FnOnce(&mut Vga)) {
    chip.with(|vga| {
        if vga.endpoint().config().command().io() {
            with(vga);
        }
    });
}

/// The VGA's own, a byte each.
struct VgaPorts(Arc<FunctionShell<Vga>>);

impl DevicePio for VgaPorts {
    fn pio_read(&self, base: PioAddress, offset: u16, data: &mut [u8]) {
        data.fill(0xff);
        in_ports(&self.0, |vga| {
            for (port, byte) in (base.0.wrapping_add(offset)..).zip(data) {
                *byte = vga.port_read(port).unwrap_or(0xff);
            }
        });
    }

    fn pio_write(&self, base: PioAddress, offset: u16, data: &[u8]) {
        in_ports(&self.0, |vga| {
            for (port, byte) in (base.0.wrapping_add(offset)..).zip(data) {
                // Counted; the others are taken all the same.
                let _refused = vga.port_write(port, *byte);
            }
        });
    }
}

impl PortSpace for VgaPorts {}

/// Index and data of the display interface, 16 bits each.
struct DispiPorts(Arc<FunctionShell<Vga>>);

impl DevicePio for DispiPorts {
    fn pio_read(&self, base: PioAddress, offset: u16, data: &mut [u8]) {
        data.fill(0xff);
        in_ports(&self.0, |vga| {
            let index = vga.chip.dispi.index;
            match (base.0.wrapping_add(offset), data) {
                (port::DISPI_INDEX, [low, high]) => [*low, *high] = index.to_le_bytes(),
                (port::DISPI_DATA | port::DISPI_DATA_ALIGNED, [low, high]) => {
                    [*low, *high] = vga.dispi_read(index).to_le_bytes();
                }
                _ => vga.refused += 1,
            }
        });
    }

    fn pio_write(&self, base: PioAddress, offset: u16, data: &[u8]) {
        in_ports(&self.0, |vga| match (base.0.wrapping_add(offset), data) {
            (port::DISPI_INDEX, [low, high]) => {
                vga.chip.dispi.index = u16::from_le_bytes([*low, *high]);
            }
            (port::DISPI_DATA | port::DISPI_DATA_ALIGNED, [low, high]) => {
                let value = u16::from_le_bytes([*low, *high]);
                vga.dispi_write(vga.chip.dispi.index, value);
            }
            _ => vga.refused += 1,
        });
    }
}

impl PortSpace for DispiPorts {}

/// 0xa0000 to 0xbffff.
struct Window(Arc<FunctionShell<Vga>>);

impl DeviceMmio for Window {
    fn mmio_read(&self, _base: MmioAddress, offset: u64, data: &mut [u8]) {
        data.fill(0xff);
        self.0.with(|vga| {
            if vga.endpoint().config().command().memory() {
                for (at, byte) in (offset..).zip(data) {
                    *byte = vga.chip.read_memory(at, &vga.memory);
                }
            }
        });
    }

    fn mmio_write(&self, _base: MmioAddress, offset: u64, data: &[u8]) {
        self.0.with(|vga| {
            if vga.endpoint().config().command().memory() {
                for (at, byte) in (offset..).zip(data) {
                    vga.chip.write_memory(at, *byte, &vga.memory);
                }
            }
        });
    }
}
