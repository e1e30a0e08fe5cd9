use std::fs::File;

use trivisor_buses::testing::TestHost;
use trivisor_buses::{Fitted, MachineEvent, Msi};

use super::*;

const GIB: u64 = 1 << 30;

fn board() -> BasicBoard {
    BasicBoard {
        cpus: 2,
        ram: RamLayout::new(256 << 20).unwrap(),
        serial: None,
        pmem: Vec::new(),
        debug_exit: None,
        generation_id: *b"generation-id-16",
    }
}

fn image(size: u64, read_only: bool) -> Arc<FileMapping> {
    let file: File = tempfile::tempfile().unwrap();
    file.set_len(size).unwrap();
    Arc::new(FileMapping::new(file, read_only).unwrap())
}

fn try_fit(board: BasicBoard) -> Result<(Arc<TestHost>, Fitted), FitError> {
    let host = TestHost::new();
    let mut slots = Slots::new(host.as_host());
    board.fit(&mut slots)?;
    Ok((host, slots.finish()))
}

fn fit(board: BasicBoard) -> (Arc<TestHost>, Fitted) {
    try_fit(board).unwrap()
}

fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    let mut value = [0; 8];
    value[..width].copy_from_slice(&bytes[at..at + width]);
    u64::from_le_bytes(value)
}

/// The ACPI table of this signature, wherever it is.
fn acpi_table(fitted: &Fitted, signature: &[u8; 4]) -> Vec<u8> {
    let placed = &fitted.placed[0];
    let table = placed
        .bytes
        .chunks(16)
        .position(|chunk| chunk.starts_with(signature));
    let bytes = &placed.bytes[16 * table.expect("signature")..];
    let length = usize::try_from(number(bytes, 4, 4)).unwrap();
    bytes[..length].to_vec()
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn chips_are_where_the_map_says() {
    let (_, fitted) = fit(BasicBoard {
        debug_exit: Some(map::DEBUG_EXIT),
        pmem: vec![image(4096, false), image(4096, false)],
        ..board()
    });
    assert_eq!(
        fitted.ports.list(),
        [
            (0x60, 0x64, "i8042"),
            (0x70, 0x71, "rtc"),
            (0xf4, 0xf7, "debug-exit"),
            (0x3f8, 0x3ff, "uart"),
            (0x505, 0x505, "pvpanic"),
            (0x600, 0x607, "power"),
        ]
    );
    assert_eq!(
        fitted.mmio.list(),
        [
            (0xfea0_0000, 0xfea0_0fff, "pmem"),
            (0xfea0_1000, 0xfea0_1fff, "pmem"),
            (0xfec0_0000, 0xfec0_0fff, "ioapic"),
        ]
    );
    let names: Vec<&str> = fitted.components.iter().map(|(name, _)| *name).collect();
    let expected = [
        "ioapic",
        "uart",
        "rtc",
        "power",
        "i8042",
        "pvpanic",
        "debug-exit",
        "vmgenid",
        "pmem",
        "pmem",
    ];
    assert_eq!(names, expected);
    assert_eq!(fitted.consoles.len(), 1);
    assert!(fitted.eoi.is_some());
}

#[test]
fn interrupts_arrive_at_their_pins() {
    let (host, fitted) = fit(board());
    let (mut ports, mut mmio) = (fitted.ports.view(), fitted.mmio.view());
    let mut route = |pin: u8, vector: u32| {
        mmio.write(map::IO_APIC.into(), &[0x10 + 2 * pin, 0, 0, 0]);
        mmio.write(u64::from(map::IO_APIC) + 0x10, &vector.to_le_bytes());
    };
    route(map::COM1_PIN, 0x44);
    route(map::POWER_PIN, 0x49);
    let sent = |vector| Msi {
        address: 0xfee0_0000,
        data: vector,
    };

    fitted.power_button.as_ref().unwrap().press();
    assert_eq!(host.messages.take(), [sent(0x49)]);
    let mut events = [0; 4];
    ports.read(u64::from(map::POWER) + 4, &mut events);
    assert_eq!(events, [1, 0, 0, 0]);

    // IER: received data available.
    ports.write(u64::from(map::COM1) + 1, &[1]);
    assert_eq!(fitted.consoles[0].push(b"x"), 1);
    assert_eq!(host.messages.take(), [sent(0x44)]);
    assert_eq!((fitted.ports.unclaimed(), fitted.mmio.unclaimed()), (0, 0));
}

#[test]
fn every_way_out_is_told() {
    let (host, fitted) = fit(BasicBoard {
        debug_exit: Some(0x501),
        ..board()
    });
    let mut ports = fitted.ports.view();
    let fadt = acpi_table(&fitted, b"FACP");
    let (reset, sleep_control) = (number(&fadt, 120, 8), number(&fadt, 248, 8));
    ports.write(sleep_control, &[5 << 2 | 1 << 5]);
    ports.write(reset, &fadt[128..129]);
    ports.write(0x64, &[0xfe]);
    ports.write(0x505, &[1]);
    ports.write(0x501, &[7, 0, 0, 0]);
    let expected = [
        MachineEvent::PowerOff,
        MachineEvent::Reset,
        MachineEvent::Reset,
        MachineEvent::Panicked { events: 1 },
        MachineEvent::DebugExit { value: 7 },
    ];
    assert_eq!(host.events.take(), expected);
}

#[test]
fn every_table_adds_up_and_lies_in_the_firmware_area() {
    let (_, fitted) = fit(BasicBoard {
        pmem: vec![image(4096, false)],
        ..board()
    });
    for signature in [b"XSDT", b"FACP", b"APIC", b"NFIT", b"DSDT"] {
        let table = acpi_table(&fitted, signature);
        let sum = table.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!(sum, 0, "{signature:?}");
    }
    let ranges: Vec<(u64, u64)> = fitted
        .placed
        .iter()
        .map(|placed| (placed.address, placed.address + placed.bytes.len() as u64))
        .collect();
    let [(acpi, acpi_end), (smbios, smbios_end), (mp, mp_end)] = ranges[..] else {
        panic!("{ranges:x?}");
    };
    assert_eq!(
        (fitted.rsdp, acpi, smbios),
        (Some(0xe_0000), 0xe_0000, 0xf_0000)
    );
    assert!(acpi_end <= smbios && smbios_end <= mp && mp_end <= map::GENERATION_ID);
    assert_eq!(fitted.placed[0].bytes[..8], *b"RSD PTR ");
    assert_eq!(fitted.placed[1].bytes[..5], *b"_SM3_");
    assert_eq!(fitted.placed[2].bytes[..4], *b"_MP_");
    assert!(holds(&fitted.placed[1].bytes, b"Trivisor\0basic\0"));
}

#[test]
fn namespace_agrees_with_the_board() {
    let (_, fitted) = fit(BasicBoard {
        pmem: vec![image(4096, false), image(4096, false)],
        ..board()
    });
    let dsdt = acpi_table(&fitted, b"DSDT");
    // Name \_S5_, a package of four: 5, 0, 0, 0.
    assert!(holds(&dsdt, b"\x08\\_S5_\x12\x07\x04\x0a\x05\x00\x00\x00"));
    for (first, count) in [(0x3f8_u16, 8), (0x70, 2), (0x505, 1)] {
        let [low, high] = first.to_le_bytes();
        let descriptor = [0x47, 1, low, high, low, high, 1, count];
        assert!(holds(&dsdt, &descriptor), "ports {first:#x}");
    }
    for pin in [4, 9] {
        // Consumer, edge-triggered, active high, exclusive.
        let descriptor = [0x89, 6, 0, 3, 1, pin, 0, 0, 0];
        assert!(holds(&dsdt, &descriptor), "pin {pin}");
    }
    // OperationRegion EVRG in port space at 0x604, 4 bytes.
    assert!(holds(&dsdt, b"\x5b\x80EVRG\x01\x0b\x04\x06\x0a\x04"));
    // Name ADDR, a package of two: 0xffff0, 0.
    assert!(holds(
        &dsdt,
        b"\x08ADDR\x12\x08\x02\x0c\xf0\xff\x0f\x00\x00"
    ));
    for (name, handle) in [(b"N001", b"\x01".as_slice()), (b"N002", b"\x0a\x02")] {
        let device = [name, b"\x08_ADR".as_slice(), handle].concat();
        assert!(holds(&dsdt, &device), "{name:?}");
    }
    let (_, fitted) = fit(board());
    assert!(!holds(&acpi_table(&fitted, b"DSDT"), b"ACPI0012"));
}

#[test]
fn images_lie_above_ram_and_the_nfit_agrees() {
    for (ram, first) in [
        (1 << 20, 4 * GIB),
        (3 * GIB, 4 * GIB),
        (4 * GIB, 5 * GIB),
        (4 * GIB + 4096, 6 * GIB),
    ] {
        let sizes = [(4096, false), (GIB, true), (GIB + 4096, false)];
        let (_, fitted) = fit(BasicBoard {
            ram: RamLayout::new(ram).unwrap(),
            pmem: sizes.map(|(size, read_only)| image(size, read_only)).into(),
            ..board()
        });
        let addresses: Vec<u64> = fitted.mapped.iter().map(|mapped| mapped.address).collect();
        assert_eq!(addresses, [first, first + GIB, first + 2 * GIB], "{ram:#x}");
        let nfit = acpi_table(&fitted, b"NFIT");
        for (index, (size, read_only)) in sizes.into_iter().enumerate() {
            let module = &nfit[40 + 160 * index..];
            assert_eq!(
                (number(module, 32, 8), number(module, 40, 8)),
                (addresses[index], size)
            );
            assert_eq!(number(module, 100, 2), if read_only { 8 } else { 0 });
            let hint = number(module, 152, 8);
            assert_eq!(hint, 0xfea0_0000 + 0x1000 * index as u64);
            fitted.mmio.view().write(hint, &1_u64.to_le_bytes());
        }
        assert_eq!(fitted.mmio.unclaimed(), 0);
    }
}

#[test]
fn the_largest_board_fits_and_a_larger_one_is_refused() {
    let with = |count| BasicBoard {
        cpus: 64,
        pmem: vec![image(4096, false); count],
        ..board()
    };
    let (_, fitted) = fit(with(map::MAX_PMEM));
    assert!(fitted.placed[0].bytes.len() <= map::ACPI_SIZE);
    let refused = try_fit(with(map::MAX_PMEM + 1)).unwrap_err();
    let FitError::Chip { chip, reason } = refused else {
        panic!("{refused}");
    };
    let message = "257 images of persistent memory: there is room for the flush hints of 256";
    assert_eq!((chip, reason.to_string().as_str()), ("pmem", message));
}

#[test]
fn images_beyond_the_address_space_are_refused() {
    // RAM's end is 1 GiB behind its size.
    let with = |size| BasicBoard {
        ram: RamLayout::new(size).unwrap(),
        pmem: vec![image(4096, false)],
        ..board()
    };
    let end = 1_u64 << 52;
    assert!(try_fit(with(end - 2 * GIB)).is_ok());
    let refused = try_fit(with(end - GIB - 4096)).unwrap_err();
    let FitError::Chip { reason, .. } = refused else {
        panic!("{refused}");
    };
    let expected = BoardError::Unaddressable {
        index: 0,
        size: 4096,
        address: end,
        end,
    };
    assert_eq!(reason.downcast_ref(), Some(&expected));
}

#[test]
fn a_debug_exit_on_another_chip_is_refused() {
    let refused = try_fit(BasicBoard {
        debug_exit: Some(0x3fc),
        ..board()
    });
    assert!(matches!(refused, Err(FitError::Route(_))));
}

#[test]
fn the_generation_id_stands_in_memory_from_the_start_on() {
    let (host, fitted) = fit(board());
    fitted
        .components
        .iter()
        .for_each(|(_, component)| component.start());
    let mut id = [0; 16];
    host.as_host().dma.read(0xf_fff0, &mut id).unwrap();
    assert_eq!(id, *b"generation-id-16");
}

#[test]
fn a_board_at_rest_saves_and_restores() {
    let (_, from) = fit(board());
    let (_, to) = fit(board());
    from.power_button.as_ref().unwrap().press();
    for ((name, from), (_, to)) in from.components.iter().zip(&to.components) {
        let state = from.save();
        to.restore(&state).unwrap();
        assert_eq!(to.save(), state, "{name}");
    }
    let mut events = [0; 4];
    to.ports.view().read(0x604, &mut events);
    assert_eq!(events, [1, 0, 0, 0]);
}
