//! Whole drivers: what SeaBIOS and Linux do from the first look to data.

use super::*;

/// As `ata.c` of SeaBIOS looks for drives: reset, then registers that keep what is written, then the signature.
#[test]
fn firmware_finds_the_drives_and_reads_the_boot_sector() {
    let mut rig = Rig::new();
    rig.disk.put(510, &[0x55, 0xaa]);
    for (base, control, drives) in [
        (0x1f0_u16, 0x3f6_u16, [Some(0_u16), Some(0xeb14)]),
        (0x170, 0x376, [Some(0), None]),
    ] {
        rig.put(control, 0x0a | 0x04);
        assert_eq!(rig.get(base + 7), 0x80, "held in reset");
        rig.put(control, 0x0a);
        assert_eq!(rig.get(base + 7) & 0x80, 0);
        for (device, signature) in drives.into_iter().enumerate() {
            let dh = 0xa0 | u8::try_from(device << 4).unwrap();
            rig.put(base + 6, dh);
            assert_eq!(rig.get(base + 6), dh);
            let found = rig.get(base + 7) != 0 || rig.get(base + 4) != 0;
            assert_eq!(found, signature.is_some(), "{base:x} {device}");
            let Some(signature) = signature else {
                continue;
            };
            assert_eq!(
                (rig.get(base + 2), rig.get(base + 3), rig.get(base + 1)),
                (1, 1, 1)
            );
            let read = u16::from_le_bytes([rig.get(base + 4), rig.get(base + 5)]);
            assert_eq!(read, signature);
        }
        // Registers that keep what is written.
        rig.put(base + 2, 0x55);
        rig.put(base + 3, 0xaa);
        assert_eq!((rig.get(base + 2), rig.get(base + 3)), (0x55, 0xaa));
    }
    // No interrupts, as SeaBIOS has it.
    rig.command([1, 0, 0, 0, 0xe0], 0x20);
    assert_eq!(rig.status(), 0x58);
    let sector = rig.read_words(256);
    assert_eq!(sector[510..], [0x55, 0xaa]);
    assert_eq!(rig.status(), 0x50);
    assert_eq!(rig.edges(), []);
    // The boot record of a CD: sector 17, a packet of READ(10).
    let data = rig.packet(&[0x28, 0, 0, 0, 0, 17, 0, 0, 1], 2048);
    assert_eq!(data, sectors(17 * 4, 4));
    assert_eq!(rig.status(), 0x50);
}

/// As `ata_piix` and libata: soft reset, IDENTIFY, the transfer mode, then DMA with an interrupt.
#[test]
fn a_driver_with_interrupts_moves_sectors_by_dma() {
    let mut rig = Rig::new();
    rig.put(0x3f6, 0x08);
    rig.put(0x3f6, 0x0c);
    rig.put(0x3f6, 0x08);
    assert_eq!(rig.edges(), [], "a reset makes no interrupt");
    rig.put(0x1f6, 0xa0);
    assert_eq!(rig.get(0x1f1), 1);
    rig.command([0, 0, 0, 0, 0xa0], 0xec);
    assert_eq!(rig.edges(), [true]);
    assert_eq!(rig.status(), 0x58);
    assert_eq!(rig.edges(), [false]);
    let identify = rig.read_words(256);
    assert_eq!(rig.edges(), [], "the last block ends without an interrupt");
    assert_eq!(rig.status(), 0x50);
    let word = |at: usize| u16::from_le_bytes([identify[at * 2], identify[at * 2 + 1]]);
    assert_eq!((word(60), word(61), word(100)), (1024, 0, 1024));
    let sum = identify
        .iter()
        .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    assert_eq!(sum, 0);
    rig.put(0x1f1, 3);
    rig.command([0x22, 0, 0, 0, 0xa0], 0xef);
    assert_eq!((rig.status(), rig.edges()), (0x50, vec![true, false]));
    rig.put(0x1f1, 3);
    rig.command([0x47, 0, 0, 0, 0xa0], 0xef);
    assert_eq!((rig.status(), rig.get(0x1f1)), (0x41, 4), "no such mode");
    rig.edges();

    rig.table(&[(0x8000, 0x400), (0x4000, 0xc00)]);
    rig.put(BMIBA_AT, 0x08);
    rig.command_ext(100, 8, 0x25);
    assert_eq!(rig.get(0x3f6), 0x58);
    assert_eq!((rig.edges(), rig.get(BMIBA_AT + 2)), (vec![], 0));
    rig.disk.hold(true);
    rig.put(BMIBA_AT, 0x09);
    assert_eq!(rig.get(0x3f6), 0xc0, "it works, and nobody waits");
    assert_eq!((rig.edges(), rig.get(BMIBA_AT + 2)), (vec![], 1));
    assert_eq!(
        rig.disk.take_seen().last(),
        Some(&(trivisor_buses::StorageOp::Read, 51200, 4096))
    );
    rig.disk.end(0);
    rig.wake();
    assert_eq!((rig.edges(), rig.get(BMIBA_AT + 2)), (vec![true], 4));
    assert_eq!((rig.status(), rig.edges()), (0x50, vec![false]));
    rig.put(BMIBA_AT, 0x08);
    rig.put(BMIBA_AT + 2, 0x04);
    assert_eq!(rig.get(BMIBA_AT + 2), 0);
    let data = [rig.memory(0x8000, 0x400), rig.memory(0x4000, 0xc00)].concat();
    assert_eq!(data, sectors(100, 8));
    rig.disk.hold(false);

    // And back, to other sectors.
    rig.table(&[(0x8000, 0x400)]);
    rig.put(BMIBA_AT, 0x01);
    rig.command([2, 7, 0, 0, 0xe0], 0xca);
    assert_eq!((rig.edges(), rig.status()), (vec![true], 0x50));
    rig.put(0x1f7, 0xe7);
    assert_eq!(rig.status(), 0x50);
    rig.command([2, 7, 0, 0, 0xe0], 0x20);
    assert_eq!(rig.read_words(512), sectors(100, 2));
    assert!(
        rig.disk
            .take_seen()
            .iter()
            .any(|seen| seen.0 == trivisor_buses::StorageOp::Flush)
    );
}
