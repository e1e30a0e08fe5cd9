//! Dictionaries of the chips of a PC.

use trivisor_devices_hvm as hvm;

use crate::bus::words::{get, line, push, put};

/// Selects a register of configuration space, and writes and reads it; CONFIG_ADDRESS and CONFIG_DATA are the first
/// two registers of the fuzzer.
pub(super) fn configure(register: u8, value: u32) -> Vec<u8> {
    let address = 0x8000_0000_u32 | u32::from(register);
    let parts = [
        put(0, &address.to_le_bytes()),
        put(1, &value.to_le_bytes()),
        get(1, 2).to_vec(),
    ];
    parts.concat()
}

/// Each register with each value, and the one that every function has: command and status.
fn configurations(registers: &[u8], values: &[u32]) -> Vec<Vec<u8>> {
    let registers = [0x04].iter().chain(registers);
    registers
        .flat_map(|register| values.iter().map(|value| configure(*register, *value)))
        .collect()
}

/// Attributes of memory, SMRAM and the rest of the host bridge.
pub(super) fn i440fx() -> Vec<Vec<u8>> {
    use hvm::i440fx::regs::{Smram, offset};
    // Registers by four: each attribute of memory is one of four in a half of a byte.
    let others = [
        offset::PMCCFG,
        offset::AXC,
        offset::DRAMT,
        offset::PAM + 3,
        offset::DRB,
        offset::FDHC,
        offset::ERRCMD,
    ];
    let mut all = configurations(&others, &[0, 0x1111_1111, 0x2222_2222, u32::MAX]);
    let smram = Smram::new().with_g_smrame(true);
    for smram in [
        smram,
        smram.with_d_open(true),
        smram.with_d_cls(true),
        smram.with_d_lck(true),
    ] {
        // It is the third of the four that begin with MTT.
        all.push(configure(offset::MTT, u32::from(smram.into_bits()) << 16));
    }
    all
}

/// Routes of the four lines and the lines themselves, the reset control, and the rest of the ISA bridge.
pub(super) fn piix3() -> Vec<Vec<u8>> {
    use hvm::piix3::regs::{PirqRoute, ResetControl, offset};
    let others = [
        offset::IORT,
        offset::TOM & !3,
        offset::MBIRQ0,
        offset::MBDMA & !3,
        offset::PCSC,
        offset::APICBASE,
        offset::SMICNTL,
        offset::SEE,
        offset::FTMR,
        offset::CTLTMR,
    ];
    let mut all = configurations(&others, &[0, u32::MAX]);
    for irq in 0..16 {
        let route = PirqRoute::new().with_irq(irq);
        let routes = [route, route, route.with_disable(true), route].map(PirqRoute::into_bits);
        all.push(configure(offset::PIRQRC, u32::from_le_bytes(routes)));
    }
    let reset = ResetControl::new();
    for value in [
        reset,
        reset.with_srst(true),
        reset.with_rcpu(true),
        reset.with_srst(true).with_rcpu(true),
    ] {
        // Port 0xcf9 is the fuzzer's third register.
        all.push(put(2, &[value.into_bits()]));
    }
    for pirq in 0..4 {
        all.extend([false, true].map(|high| line(pirq, high).to_vec()));
    }
    all
}

/// Bytes for the keyboard, and its answer.
pub(super) fn to_keyboard(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|byte| put(0, &[*byte])).collect()
}

/// Bytes for the mouse.
pub(super) fn to_mouse(bytes: &[u8]) -> Vec<u8> {
    let first = put(1, &[hvm::i8042::regs::command::WRITE_AUXILIARY]);
    let byte = |byte: &u8| [&first[..], &put(0, &[*byte])].concat();
    bytes.iter().flat_map(byte).collect()
}

/// Each command of the controller, the keyboard and the mouse, with parameters.
pub(super) fn i8042() -> Vec<Vec<u8>> {
    use hvm::i8042::ps2::{keyboard, mouse};
    use hvm::i8042::regs::{CommandByte, command};
    let with = |command: u8, value: u8| [put(1, &[command]), put(0, &[value])].concat();
    let interrupts = CommandByte::new()
        .with_keyboard_interrupt(true)
        .with_auxiliary_interrupt(true);
    let mut all: Vec<Vec<u8>> = [
        interrupts,
        interrupts.with_translate(true),
        interrupts.with_keyboard_disabled(true),
        interrupts.with_auxiliary_disabled(true),
        CommandByte::new(),
    ]
    .map(|byte| with(command::WRITE_RAM, byte.into_bits()))
    .to_vec();
    all.extend([
        with(command::WRITE_RAM + 0x1f, 0x5a),
        with(command::WRITE_OUTPUT, 0x03),
        with(command::WRITE_OUTPUT, 0x01),
        with(command::WRITE_OUTPUT, 0x02),
        with(command::WRITE_KEYBOARD_BUFFER, 0x1e),
        with(command::WRITE_AUXILIARY_BUFFER, 0x08),
    ]);
    let alone = [
        command::READ_RAM,
        command::READ_RAM + 0x1f,
        command::DISABLE_AUXILIARY,
        command::ENABLE_AUXILIARY,
        command::TEST_AUXILIARY,
        command::SELF_TEST,
        command::TEST_KEYBOARD,
        command::DISABLE_KEYBOARD,
        command::ENABLE_KEYBOARD,
        command::READ_INPUT,
        command::READ_OUTPUT,
        command::PULSE_OUTPUT,
        0xff,
    ];
    all.extend(alone.map(|command| [put(1, &[command]), get(0, 0).to_vec()].concat()));
    {
        use keyboard::command as to;
        all.extend((to::SET_LEDS..=to::RESET).map(|byte| to_keyboard(&[byte])));
        all.extend([
            to_keyboard(&[to::SET_LEDS, 7]),
            to_keyboard(&[to::SCAN_CODE_SET, 0]),
            to_keyboard(&[to::SCAN_CODE_SET, 1]),
            to_keyboard(&[to::SCAN_CODE_SET, 2]),
            to_keyboard(&[to::SET_TYPEMATIC, 0x7f]),
        ]);
    }
    {
        use mouse::command as to;
        all.extend((to::SCALING_1..=to::RESET).map(|byte| to_mouse(&[byte])));
        all.push(to_mouse(&[to::SET_RESOLUTION, 3]));
        for rates in [[200, 100, 80], [200, 200, 80]] {
            all.push(rates.map(|rate| to_mouse(&[to::SET_RATE, rate])).concat());
        }
    }
    // Keys: with and without a code of two bytes, and Pause; motion with and without buttons and wheel.
    all.extend(
        [
            &[30, 0x9e][..],
            &[105, 119, 99],
            &[5, 0xfb, 0, 0],
            &[0x7f, 0x80, 1, 0x1f],
        ]
        .map(push),
    );
    all
}

/// The function's registers; then those of its ports, wherever PMBA is now.
pub(super) fn piix4_pm() -> Vec<Vec<u8>> {
    use hvm::piix4_pm::regs::{ACPI_DISABLE, ACPI_ENABLE, Pmcntrl, Pmen, Pmsts, SOFT_OFF, offset};
    let others = [
        offset::CNTA,
        offset::DEVACTB,
        offset::DEVRESJ,
        offset::SMBBA,
        offset::SMBHSTCFG & !3,
    ];
    let mut all = configurations(&others, &[0, u32::MAX]);
    all.extend([0, 0xb001, 0xc001, u32::MAX].map(|base| configure(offset::PMBA, base)));
    all.extend([0, 1].map(|enable| configure(offset::PMREGMISC, enable)));
    all.extend([ACPI_ENABLE, ACPI_DISABLE, 0].map(|command| put(2, &[command])));
    all.push(put(3, &[0x5a]));
    for (index, values) in [
        (4, [Pmsts::new().with_tmrof(true).into_bits(), u16::MAX]),
        (5, [Pmen::new().with_tmrof(true).into_bits(), u16::MAX]),
        (6, [Pmcntrl::new().with_sci_en(true).into_bits(), 0]),
        (9, [0, u16::MAX]),
        (10, [0, u16::MAX]),
    ] {
        all.extend(values.map(|value: u16| put(index, &value.to_le_bytes())));
    }
    for state in 0..8 {
        let sleep = Pmcntrl::new()
            .with_sus_en(true)
            .with_sus_typ(SOFT_OFF ^ state);
        all.push(put(6, &sleep.into_bits().to_le_bytes()));
    }
    all
}
