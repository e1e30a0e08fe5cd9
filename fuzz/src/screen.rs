//! Displays: the VGA on a PCI bus, reached by memory, and looked at.

use std::collections::BTreeSet;
use std::sync::Arc;

use trivisor_buses::{FitError, Slots};
use trivisor_devices_hvm::vga as chip;
use trivisor_devices_hvm::vga::regs::{DispiEnable, GraphicsMode, attr, crtc, dispi, gfx, seq};
use trivisor_memory::FileMapping;
use trivisor_pci::{RootBus, Windows, ecam};

use crate::bus::words::{self, LOOK, TWIN};
use crate::bus::{BusFuzzer, Space, World, device};

/// Where offsets count from: the window.
const BASE: u64 = chip::WINDOW;
const ECAM: u64 = 0xb000_0000;
const LINEAR: u64 = 0xc000_0000;
const MEMORY: u64 = 256 << 10;
const PORTS: u64 = LINEAR + MEMORY + 0x400;
const DISPI: u64 = LINEAR + MEMORY + 0x500;

/// A VGA that answers from the start.
#[expect(
    clippy::expect_used,
    reason = "a target that cannot be set up is wrong itself"
)]
fn fit(world: &World, slots: &mut Slots) -> Result<(), FitError> {
    let bus = RootBus::new(slots.ports(), slots.memory(), None);
    let memory = Arc::new(FileMapping::zeroed(MEMORY).expect("the host has memory"));
    let vga = chip::fit(slots, &bus, memory).expect("the bus is empty");
    let windows = Windows {
        memory32: LINEAR..LINEAR + 0x100_0000,
        ..Windows::default()
    };
    bus.assign(&windows).expect("the windows are large enough");
    vga.with(|vga| {
        use trivisor_pci::PciFunction;
        vga.config_write(4, &[3]);
    });
    slots
        .memory()
        .attach("ecam", ECAM, ecam::SIZE, bus.ecam())
        .expect("nobody is there");
    world.host.shown.take();
    Ok(())
}

const REGISTERS: &[u64] = &[
    // Ports: attribute, miscellaneous, sequencer, DAC, graphics, CRTC, status.
    PORTS - BASE,
    PORTS + 0x02 - BASE,
    PORTS + 0x04 - BASE,
    PORTS + 0x06 - BASE,
    PORTS + 0x08 - BASE,
    PORTS + 0x09 - BASE,
    PORTS + 0x0e - BASE,
    PORTS + 0x14 - BASE,
    PORTS + 0x1a - BASE,
    // The display interface.
    DISPI - BASE,
    DISPI + 0x02 - BASE,
    DISPI + 0x04 - BASE,
    DISPI + 0x06 - BASE,
    DISPI + 0x08 - BASE,
    DISPI + 0x0a - BASE,
    DISPI + 0x0c - BASE,
    DISPI + 0x0e - BASE,
    DISPI + 0x10 - BASE,
    DISPI + 0x12 - BASE,
    DISPI + 0x14 - BASE,
    // The window, and display memory.
    0,
    0x0123,
    0xffff,
    0x1_0000,
    0x1_7fff,
    0x1_8000,
    0x1_8fa0,
    0x1_ffff,
    LINEAR - BASE,
    LINEAR + MEMORY - 4 - BASE,
    // Command, and base address registers.
    ECAM + 0x04 - BASE,
    ECAM + 0x10 - BASE,
    ECAM + 0x18 - BASE,
];

device! {
    /// `vga`.
    vga = BusFuzzer {
        space: Space::Memory,
        base: BASE,
        size: chip::WINDOW_SIZE,
        registers: REGISTERS,
        fit,
    }, seeds: mode_seeds(), words: vga_words();
}

/// A mode of a BIOS: miscellaneous output, each block's registers in order, and the attribute mode.
type Mode = (u8, [u8; 4], [u8; 9], [u8; 25], u8);

const MODES: [Mode; 4] = [
    // Text of 80 columns.
    (
        0x67,
        [0x00, 0x03, 0x00, 0x02],
        [0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff],
        [
            0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00, 0x00,
            0x00, 0x00, 0x9c, 0x0e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
        ],
        0x0c,
    ),
    // Planes, 640 by 480.
    (
        0xe3,
        [0x01, 0x0f, 0x00, 0x06],
        [0x05, 0x03, 0x00, 0x08, 0x00, 0x02, 0x05, 0x0f, 0xff],
        [
            0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00,
            0x00, 0x00, 0xea, 0x0c, 0xdf, 0x28, 0x00, 0xe7, 0x04, 0xe3, 0xff,
        ],
        0x01,
    ),
    // 256 colours.
    (
        0x63,
        [0x01, 0x0f, 0x00, 0x0e],
        [0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x05, 0x0f, 0xff],
        [
            0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0x00, 0x41, 0x00, 0x00, 0x00, 0x00,
            0x00, 0x00, 0x9c, 0x0e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff,
        ],
        0x41,
    ),
    // Four colours, in two banks of lines.
    (
        0x63,
        [0x09, 0x03, 0x00, 0x02],
        [0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x0f, 0x0f, 0xff],
        [
            0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0x00, 0xc1, 0x00, 0x00, 0x00, 0x00,
            0x00, 0x00, 0x9c, 0x0e, 0x8f, 0x14, 0x00, 0x96, 0xb9, 0xa2, 0xff,
        ],
        0x01,
    ),
];

/// The modes of a BIOS and of the display interface, each with accesses of its memory and a look.
fn mode_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (misc, seq, gfx, crtc, attribute) in MODES {
        let mut seed = write(PORTS + 0x02, &[misc]);
        let mut block = |port: u64, first: u8, values: &[u8]| {
            for (index, value) in (first..).zip(values) {
                seed.extend(write(port, &[index, *value]));
            }
        };
        block(PORTS + 0x04, 1, &seq);
        block(PORTS + 0x0e, 0, &gfx);
        block(PORTS + 0x14, 0, &crtc);
        for byte in [0x10, attribute, 0x01, 0x07, 0x20] {
            seed.extend(write(PORTS, &[byte]));
        }
        for part in [0, 1, 0x20, 0x3f] {
            seed.extend(write(PORTS + 0x09, &[part]));
        }
        for at in [BASE, BASE + 0x1_8000, BASE + 0x1_8fa0] {
            seed.extend(write(at, &[0x41, 0x17, 0x42, 0x1e]));
            seed.extend(read(at));
        }
        seed.extend(LOOK);
        seed.extend(TWIN);
        seed.extend(write(BASE + 0x123, &[0x99; 8]));
        seed.extend(LOOK);
        seeds.push(seed);
    }
    for bpp in [4_u16, 8, 15, 16, 24, 32] {
        let mut seed = Vec::new();
        for (at, value) in [
            (0x02, 320),
            (0x04, 200),
            (0x06, bpp),
            (0x08, 0x41),
            (0x0c, 400),
            (0x10, 8),
            (0x12, 3),
            (0x0a, 1),
        ] {
            seed.extend(write(DISPI + at, &u16::to_le_bytes(value)));
        }
        seed.extend(write(PORTS + 0x02, &[2]));
        seed.extend(write(PORTS, &[0x20]));
        seed.extend(write(BASE, &[0x5a; 8]));
        seed.extend(write(LINEAR, &[0xa5; 8]));
        seed.extend(LOOK);
        seed.extend(TWIN);
        seed.extend(write(DISPI + 0x08, &[0, 0]));
        seed.extend(LOOK);
        seeds.push(seed);
    }
    seeds
}

/// Each indexed register with what the modes of a BIOS put there, with nothing and with all; each register of the display
/// interface; colours; and memory.
fn vga_words() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut indexed = |port: u64, index: usize, values: &[u8]| {
        let index = u8::try_from(index).unwrap_or_default();
        let values = values.iter();
        all.extend(values.map(|value| write(port, &[index, *value])));
    };
    for index in 0..seq::COUNT {
        // Index 0, the reset, is in none of the modes.
        let of_modes =
            MODES.map(|(_, seq, ..)| index.checked_sub(1).and_then(|at| seq.get(at).copied()));
        indexed(
            PORTS + 0x04,
            index,
            &distinct(&of_modes, seq::MASKS.get(index)),
        );
    }
    for index in 0..gfx::COUNT {
        let of_modes = MODES.map(|(_, _, gfx, ..)| gfx.get(index).copied());
        indexed(
            PORTS + 0x0e,
            index,
            &distinct(&of_modes, gfx::MASKS.get(index)),
        );
    }
    for write_mode in 0..4 {
        let mode = GraphicsMode::new().with_write_mode(write_mode);
        let modes = [mode, mode.with_compare(true)].map(GraphicsMode::into_bits);
        indexed(PORTS + 0x0e, gfx::MODE, &modes);
    }
    for index in 0..crtc::COUNT {
        let of_modes = MODES.map(|(_, _, _, crtc, _)| crtc.get(index).copied());
        indexed(PORTS + 0x14, index, &distinct(&of_modes, Some(&0xff)));
    }
    for index in 0..attr::COUNT {
        let (index, mask) = (u8::try_from(index).unwrap_or_default(), attr::mask(index));
        // The index, then the value; bit 5 of an index shows the screen.
        all.extend(
            [0, mask].map(|value| [write(PORTS, &[index]), write(PORTS, &[value])].concat()),
        );
    }
    let mode = u8::try_from(attr::MODE).unwrap_or_default();
    for (misc, .., attribute) in MODES {
        all.push([write(PORTS, &[mode]), write(PORTS, &[attribute])].concat());
        all.push(write(PORTS + 0x02, &[misc]));
    }
    all.push(write(PORTS, &[0x20]));
    all.push(read(PORTS + 0x1a));
    let colour = [0x3f, 0x20, 0x00].map(|part| write(PORTS + 0x09, &[part]));
    all.push([write(PORTS + 0x08, &[1]), colour.concat()].concat());
    all.extend(dispi_words());
    for at in [BASE, BASE + 0x1_8000, LINEAR] {
        all.extend([
            write(at, &[0x41, 0x17, 0x42, 0x1e]),
            write(at, &[0x5a; 8]),
            read(at),
        ]);
    }
    all
}

/// Values without the same twice: those there are, none, and all bits that there are.
fn distinct(values: &[Option<u8>], mask: Option<&u8>) -> Vec<u8> {
    let values = values.iter().flatten().chain(&[0]).chain(mask);
    values
        .copied()
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

fn dispi_words() -> Vec<Vec<u8>> {
    let enable = DispiEnable::new().with_enabled(true).with_linear(true);
    let enables = [
        enable,
        enable.with_keep_memory(true),
        enable.with_wide_dac(true),
        enable.with_capabilities(true),
        DispiEnable::new(),
    ];
    // The largest pictures are left to chance: each takes a tenth of a second.
    let registers: [(u16, &[u16]); 10] = [
        (dispi::ID, &[dispi::ID0, dispi::ID5]),
        (dispi::XRES, &[1, 8, 320, 640, u16::MAX]),
        (dispi::YRES, &[1, 200, 480, u16::MAX]),
        (dispi::BPP, &[4, 8, 15, 16, 24, 32]),
        (dispi::ENABLE, &enables.map(DispiEnable::into_bits)),
        (dispi::BANK, &[0, 1, 3, 4, u16::MAX]),
        (dispi::VIRT_WIDTH, &[8, 400, 1024, u16::MAX]),
        (dispi::VIRT_HEIGHT, &[0, 1024]),
        (dispi::X_OFFSET, &[0, 8, 80, u16::MAX]),
        (dispi::Y_OFFSET, &[0, 3, 200, u16::MAX]),
    ];
    let words = registers.into_iter().flat_map(|(register, values)| {
        let at = DISPI + 2 * u64::from(register);
        values
            .iter()
            .map(move |value| write(at, &value.to_le_bytes()))
    });
    words.collect()
}

/// The operation that writes to one of the registers.
fn write(at: u64, data: &[u8]) -> Vec<u8> {
    words::write(REGISTERS, at - BASE, data)
}

/// The operation that reads four bytes.
fn read(at: u64) -> Vec<u8> {
    words::read(REGISTERS, at - BASE, 2)
}
