//! The floppy controller with the DMA controllers behind it, both reached by ports.
//!
//! What is behind them keeps nothing, as with [`drives`](crate::drives).

use std::sync::Arc;

use trivisor_buses::{Shell, Slots, Widths, Woken};
use trivisor_devices_hvm::i8237::{
    Channel, DmaPorts, FIRST_PORTS, I8237, PAGE_PORTS, Part, Requesters, SECOND_PORTS,
};
use trivisor_devices_hvm::i82077::{DATA_RATE_PORTS, DataRatePort, DriveConfig, I82077, PORTS};

use crate::bus::{BusFuzzer, Space, World, device};
use crate::drives::{Descriptors, Numbers};

/// Ports that are worth a visit: the floppy controller's first.
const REGISTERS: &[u64] = &[
    0x3f5, 0x3f4, 0x3f2, 0x3f7, 0x3f3, 0x3f0, 0x3f1, 0x04, 0x05, 0x08, 0x0a, 0x0b, 0x0c, 0x0d,
    0x0e, 0x0f, 0x09, 0x80, 0x81, 0xd0, 0xd4, 0xd6, 0xda, 0xde, 0xc4, 0xc6,
];

fn fit_dma(world: &World, slots: &mut Slots) -> Arc<Shell<I8237>> {
    let mut dma = I8237::new(Arc::new(Descriptors));
    dma.enable_cascade();
    let dma = slots.unaddressed("i8237", dma);
    for number in [1, 6] {
        // Two chips that always ask.
        let mut channel = Channel::new(dma.clone(), number);
        trivisor_buses::DmaChannel::request(&mut channel, true);
    }
    let _no_lines = world;
    dma
}

fn fit_ports(
    slots: &mut Slots,
    dma: &Arc<Shell<I8237>>,
    requesters: &Requesters,
) -> Result<(), trivisor_buses::FitError> {
    for (base, size, part) in [
        (0x00, FIRST_PORTS, Part::First),
        (0xc0, SECOND_PORTS, Part::Second),
        (0x80, PAGE_PORTS, Part::Pages),
    ] {
        let ports = DmaPorts::new(dma.clone(), part, requesters.clone());
        slots.pio_alias(base, size, &Shell::new("dma", Widths::BYTES, ports))?;
    }
    Ok(())
}

fn fit_both(world: &World, slots: &mut Slots) -> Result<(), trivisor_buses::FitError> {
    let dma = fit_dma(world, slots);
    let drive = |read_only| DriveConfig {
        kind: trivisor_devices_hvm::i82077::DriveKind::Inch3High,
        disk: Some(Numbers::sized(world, read_only, 1440 << 10)),
    };
    let channel = Box::new(Channel::new(dma.clone(), 2));
    let chip = I82077::new(
        [Some(drive(false)), Some(drive(true))],
        world.host.line(),
        channel,
    );
    #[expect(
        clippy::expect_used,
        reason = "a target that cannot be set up is wrong itself"
    )]
    let chip = chip.expect("both are floppy disks");
    let chip = slots.pio("i82077", 0x3f0, PORTS, Widths::BYTES, chip)?;
    let port = Shell::new("i82077", Widths::BYTES, DataRatePort(chip.clone()));
    slots.pio_alias(0x3f7, DATA_RATE_PORTS, &port)?;
    let mut requesters = Requesters::default();
    if let Some(requester) = requesters.get_mut(2) {
        *requester = Some(chip as Arc<dyn Woken>);
    }
    fit_ports(slots, &dma, &requesters)
}

/// The operation that writes to a port.
fn put(port: u64, value: u8) -> Vec<u8> {
    let index = REGISTERS.iter().position(|register| *register == port);
    let index = index.and_then(|index| u8::try_from(index).ok());
    vec![0, index.unwrap_or_default(), 0, value]
}

/// The operation that reads one.
fn get(port: u64) -> Vec<u8> {
    let mut read = put(port, 0);
    read.truncate(3);
    if let Some(first) = read.first_mut() {
        *first = 5;
    }
    read
}

/// Channel 2 in a mode, with a count.
fn channel_2(mode: u8, count: u16) -> Vec<u8> {
    let [low, high] = count.to_le_bytes();
    let writes = [
        (0x0a, 6),
        (0x0c, 0),
        (0x04, 0),
        (0x04, 0x10),
        (0x05, low),
        (0x05, high),
        (0x0b, mode),
        (0x81, 1),
        (0x0a, 2),
    ];
    writes
        .into_iter()
        .flat_map(|(port, value)| put(port, value))
        .collect()
}

/// A command after a reset, a twin in the middle and behind it, and its result.
fn command(mode: u8, bytes: &[u8]) -> Vec<u8> {
    let mut steps = [put(0x3f2, 0x1c), put(0x3f7, 0), channel_2(mode, 0x3ff)].concat();
    for (at, byte) in bytes.iter().enumerate() {
        if at == bytes.len() / 2 {
            steps.extend([15, 1]);
        }
        steps.extend(put(0x3f5, *byte));
    }
    steps.extend([15, 1]);
    for _ in 0..12 {
        steps.extend([get(0x3f4), get(0x3f5)].concat());
    }
    steps.extend([put(0x0a, 2), put(0x3f4, 0x80), get(0x3f4), vec![15, 1]].concat());
    steps
}

/// The dictionary: each command of the controller.
fn commands() -> Vec<Vec<u8>> {
    let commands: [&[u8]; 22] = [
        &[0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff],
        &[0x46, 4, 0, 1, 18, 2, 18, 0x1b, 0xff],
        &[0xc5, 0, 0, 0, 17, 2, 18, 0x1b, 0xff],
        &[0x45, 1, 0, 0, 1, 2, 2, 0x1b, 0xff],
        &[0xe6, 0, 1, 0, 1, 2, 18, 0x1b, 0xff],
        &[0x4d, 0, 2, 2, 0x54, 0xf6],
        &[0x4d, 0, 2, 255, 0x54, 0xf6],
        &[0x4a, 0],
        &[0x07, 0, 0x08],
        &[0x0f, 0, 5, 0x08],
        &[0x0f, 0, 255, 0x08, 0, 0, 0x07, 0, 0x08],
        &[0x08],
        &[0x04, 0],
        &[0x03, 0xaf, 0x02],
        &[0x13, 0, 0x57, 0],
        &[0x10],
        &[0x0e],
        &[0x12, 0x85],
        &[0x94],
        &[0x14],
        &[0x8e, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01],
        &[0x18],
    ];
    let mut seeds = Vec::new();
    for bytes in commands {
        seeds.extend([0x46, 0x4a, 0x56, 0x42].map(|mode| command(mode, bytes)));
    }
    // Without DMA, and with implied seeks.
    for first in [&[0x03, 0xaf, 0x03][..], &[0x13, 0, 0x40, 0]] {
        for bytes in commands.iter().take(7) {
            let begin: Vec<u8> = first.iter().flat_map(|byte| put(0x3f5, *byte)).collect();
            seeds.push([put(0x3f2, 0x1c), begin, command(0x46, bytes)].concat());
        }
    }
    seeds
}

device! {
    /// `i82077`, with `i8237` behind it.
    i82077 = BusFuzzer {
        space: Space::Ports,
        base: 0,
        size: 0x3f8,
        registers: REGISTERS,
        fit: fit_both,
    }, commands();

    /// `i8237` alone, with chips on two channels that ask for ever.
    i8237 = BusFuzzer {
        space: Space::Ports,
        base: 0,
        size: 0xe0,
        registers: &[0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 0x80, 0x81, 0x87, 0xc0, 0xd0, 0xd4, 0xd6, 0xda, 0xde],
        fit: |world, slots| {
            let dma = fit_dma(world, slots);
            fit_ports(slots, &dma, &Requesters::default())
        },
    };
}
