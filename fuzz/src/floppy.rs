//! The floppy controller with the DMA controllers behind it, both reached by ports.
//!
//! What is behind them keeps nothing, as with [`drives`](crate::drives).

use std::sync::Arc;

use trivisor_buses::{Shell, Slots, Widths, Woken};
use trivisor_devices_hvm::i8237::regs::{Command, Mode, SingleBit, offset};
use trivisor_devices_hvm::i8237::{
    Channel, DmaPorts, FIRST_PORTS, I8237, PAGE_PORTS, Part, Requesters, SECOND_PORTS,
};
use trivisor_devices_hvm::i82077::regs::{Configure, Dor, Dsr, Perpendicular};
use trivisor_devices_hvm::i82077::{DATA_RATE_PORTS, DataRatePort, DriveConfig, I82077, PORTS};

use crate::bus::words::{self, TWIN};
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
    words::write(REGISTERS, port, &[value])
}

/// The operation that reads one.
fn get(port: u64) -> Vec<u8> {
    words::read(REGISTERS, port, 0)
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
    let mut steps = [put(0x3f2, MOTOR_A), put(0x3f7, 0), channel_2(mode, 0x3ff)].concat();
    for (at, byte) in bytes.iter().enumerate() {
        if at == bytes.len() / 2 {
            steps.extend(TWIN);
        }
        steps.extend(put(0x3f5, *byte));
    }
    steps.extend(TWIN);
    for _ in 0..12 {
        steps.extend([get(0x3f4), get(0x3f5)].concat());
    }
    steps.extend([put(0x0a, 2), put(0x3f4, 0x80), get(0x3f4), TWIN.to_vec()].concat());
    steps
}

/// Each command of the controller, with parameters.
const COMMANDS: [&[u8]; 22] = [
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

/// Modes of channel 2: to memory, from memory, to memory and again, verify.
const MODES: [u8; 4] = [0x46, 0x4a, 0x56, 0x42];

/// Each command in each mode.
fn command_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for bytes in COMMANDS {
        seeds.extend(MODES.map(|mode| command(mode, bytes)));
    }
    // Without DMA, and with implied seeks.
    for first in [&[0x03, 0xaf, 0x03][..], &[0x13, 0, 0x40, 0]] {
        for bytes in COMMANDS.iter().take(7) {
            seeds.push([put(0x3f2, MOTOR_A), fifo(first), command(0x46, bytes)].concat());
        }
    }
    seeds
}

/// DOR: drive A with its motor on, out of reset, with DMA and interrupts.
const MOTOR_A: u8 = Dor::new()
    .with_run(true)
    .with_gate(true)
    .with_motors(1)
    .into_bits();

/// Bytes into the FIFO.
fn fifo(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| put(0x3f5, *byte)).collect()
}

/// Each command, each register, and channel 2 of the DMA controller.
fn floppy_words() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = COMMANDS.map(fifo).to_vec();
    let run = Dor::new().with_run(true);
    for dor in [
        Dor::new(),
        run,
        run.with_gate(true).with_motors(0b11).with_drive(1),
        run.with_gate(true).with_motors(0b1111).with_drive(3),
        Dor::from_bits(MOTOR_A),
    ] {
        all.push(put(0x3f2, dor.into_bits()));
    }
    let dsr = Dsr::new();
    for dsr in [dsr.with_reset(true), dsr.with_power_down(true), dsr] {
        all.push(put(0x3f4, dsr.into_bits()));
    }
    all.extend((0..4).map(|rate| put(0x3f7, rate)));
    all.push(put(0x3f3, 1));
    let configure = Configure::new().with_threshold(7);
    for configure in [
        configure,
        configure.with_implied_seek(true),
        configure.with_poll_disabled(true),
    ] {
        all.push(fifo(&[0x13, 0, configure.into_bits(), 0]));
    }
    let perpendicular = Perpendicular::new().with_overwrite(true).with_drives(0xf);
    all.push(fifo(&[0x12, perpendicular.into_bits()]));
    for mode in MODES {
        all.extend([0_u16, 0x1ff, 0xffff].map(|count| channel_2(mode, count)));
    }
    // A result; data without DMA.
    all.push([get(0x3f4), get(0x3f5)].concat().repeat(7));
    all.push(fifo(&[0xf6; 8]));
    all.push(words::read_string(REGISTERS, 0x3f5, 0, 0));
    all.push(words::write_string(REGISTERS, 0x3f5, 0, 0, [0xf6; 4]));
    all
}

/// Ports of the two controllers and their pages.
const DMA_REGISTERS: &[u64] = &[
    0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15, 0x80, 0x81, 0x87, 0xc0, 0xd0, 0xd4, 0xd6, 0xda,
    0xde,
];

/// Each register of both controllers with what it can be told.
fn dma_words() -> Vec<Vec<u8>> {
    let put = |at: u64, value: u8| words::write(DMA_REGISTERS, at, &[value]);
    let first = |register: u16| u64::from(register);
    let mut all = vec![
        put(first(offset::REQUEST), 5),
        put(first(offset::REQUEST), 1),
        put(first(offset::CLEAR_FLIP_FLOP), 0),
        put(first(offset::TEMPORARY_MASTER_CLEAR), 0),
        put(first(offset::CLEAR_MASK), 0),
        put(first(offset::ALL_MASK), 0),
        put(first(offset::ALL_MASK), 0xf),
    ];
    // The second controller's registers are twice as far from each other.
    let second = |register: u16| 0xc0 + 2 * u64::from(register);
    all.extend([
        put(second(offset::TEMPORARY_MASTER_CLEAR), 0),
        put(second(offset::ALL_MASK), 0),
    ]);
    for at in [
        first(offset::STATUS_COMMAND),
        second(offset::STATUS_COMMAND),
    ] {
        let command = Command::new();
        all.extend([command, command.with_disable(true)].map(|value| put(at, value.into_bits())));
    }
    for channel in 0..4 {
        for (kind, transfer) in [
            (0, 0),
            (0, 1),
            (0, 2),
            (0, 3),
            (1, 1),
            (1, 2),
            (2, 1),
            (3, 0),
        ] {
            let mode = Mode::new()
                .with_channel(channel)
                .with_kind(kind)
                .with_transfer(transfer);
            for mode in [mode, mode.with_autoinit(true), mode.with_decrement(true)] {
                all.push(put(first(offset::MODE), mode.into_bits()));
            }
            all.push(put(second(offset::MODE), mode.into_bits()));
        }
    }
    for channel in 0..4 {
        for set in [false, true] {
            let bit = SingleBit::new()
                .with_channel(channel)
                .with_set(set)
                .into_bits();
            all.push(put(first(offset::SINGLE_MASK), bit));
            all.push(put(second(offset::SINGLE_MASK), bit));
        }
    }
    // Addresses and counts, in two halves; pages.
    for at in [0, 1, 2, 3, 4, 5, 0xc0] {
        all.extend(
            [[0, 0], [0xff, 0x01], [0xff, 0xff]]
                .map(|[low, high]| [put(at, low), put(at, high)].concat()),
        );
    }
    for at in [0x80, 0x81, 0x87] {
        all.extend([0, 1, 0xff].map(|page| put(at, page)));
    }
    all
}

device! {
    /// `i82077`, with `i8237` behind it.
    i82077 = BusFuzzer {
        space: Space::Ports,
        base: 0,
        size: 0x3f8,
        registers: REGISTERS,
        fit: fit_both,
    }, seeds: command_seeds(), words: floppy_words();

    /// `i8237` alone, with chips on two channels that ask for ever.
    i8237 = BusFuzzer {
        space: Space::Ports,
        base: 0,
        size: 0xe0,
        registers: DMA_REGISTERS,
        fit: |world, slots| {
            let dma = fit_dma(world, slots);
            fit_ports(slots, &dma, &Requesters::default())
        },
    }, words: dma_words();
}
