use std::time::Duration;

use trivisor_buses::testing::check_ports;

use super::*;
use crate::registers;

#[test]
fn configuration_space_is_as_its_table_says() {
    let rows = [
        (0x00, 0x1111_1234, 0x1111_1234),
        (0x04, 0x0000_0000, 0x0000_0547),
        (0x08, 0x0300_0002, 0x0300_0002),
        (0x0c, 0x0000_0000, 0x0000_ffff),
        (0x10, 0x0000_0008, 0xfff0_0008),
        (0x18, 0x0000_0000, 0xffff_f000),
        (0x2c, 0x1100_1af4, 0x1100_1af4),
        (0x3c, 0x0000_0000, 0x0000_00ff),
    ];
    registers::check(|| vga().0, &rows);
}

fn check(vga: &mut Vga, script: &str) {
    check_ports(&mut Ports(vga), script);
}

#[test]
fn reset_values_are_those_of_the_table() {
    let (mut vga, _) = vga();
    let script = "r 3c0 -> 00\n r 3c1 -> 00\n r 3c2 -> 00\n r 3c4 -> 00\n r 3c5 -> 00\n r 3c6 -> ff\n r 3c7 -> 00\n \
                  r 3c8 -> 00\n r 3c9 -> 00\n r 3ca -> 00\n r 3cc -> 00\n r 3ce -> 00\n r 3cf -> 00\n r 3b4 -> 00\n \
                  r 3b5 -> 00\n w 3c2 01\n r 3d4 -> 00\n r 3d5 -> 00";
    check(&mut vga, script);
    assert_eq!((vga.chip.dispi.index, vga.dispi_read(0)), (0, 0xb0c5));
    assert_eq!((1..12).map(|index| vga.dispi_read(index)).sum::<u16>(), 16);
    check(
        &mut vga,
        "w 3c2 ef\n w 3c6 0f\n w 3c4 04\n w 3c5 0e\n w 3c7 09",
    );
    vga.dispi_write(0, 0xb0c2);
    vga.reset();
    check(&mut vga, script);
    assert_eq!((vga.refused(), vga.dispi_read(0)), (0, 0xb0c5));
}

#[test]
fn what_is_not_there_is_refused_and_counted() {
    let (mut vga, _) = vga();
    check(
        &mut vga,
        "r 3c3 -> error\n w 3c3 00 -> error\n r 3cb -> error\n r 3cd -> error\n w 3c1 00 -> error\n w 3ca 00 -> error\n \
         w 3cc 00 -> error\n r 3d4 -> error\n r 3da -> error\n w 3d5 00 -> error\n w 3c2 01\n r 3b4 -> error\n \
         r 3ba -> error\n w 3b5 00 -> error",
    );
    assert_eq!(vga.refused(), 13);
}

#[test]
fn attribute_registers_take_turns_with_their_index() {
    let (mut vga, _) = vga();
    check(
        &mut vga,
        "w 3c2 01\n w 3c0 03\n r 3c0 -> 03\n w 3c0 ff\n r 3c0 -> 03\n r 3c1 -> 3f\n \
         # An input status in between begins anew.\n \
         w 3c0 10\n r 3da -> 08\n w 3c0 11\n w 3c0 a5\n r 3c1 -> a5\n \
         # Bits that do not exist.\n \
         w 3c0 10\n w 3c0 ff\n r 3c1 -> ef\n w 3c0 12\n w 3c0 ff\n r 3c1 -> 3f\n w 3c0 13\n w 3c0 ff\n r 3c1 -> 0f\n \
         w 3c0 14\n w 3c0 ff\n r 3c1 -> 0f\n w 3c0 15\n w 3c0 ff\n r 3c1 -> 00\n \
         # With PAS, the palette is the display's.\n \
         w 3c0 e3\n r 3c0 -> 23\n w 3c0 11\n r 3c0 -> 23\n r 3c1 -> 3f\n w 3c0 34\n w 3c0 05\n r 3c1 -> 05",
    );
}

#[test]
fn sequencer_and_graphics_registers_keep_the_bits_that_exist() {
    let (mut vga, _) = vga();
    for (index, mask) in (0..).zip(regs::seq::MASKS) {
        set(&mut vga, 0x3c4, index, 0xff);
        assert_eq!(inb(&mut vga, 0x3c5), mask, "sequencer {index}");
    }
    for (index, mask) in (0..).zip(regs::gfx::MASKS) {
        set(&mut vga, 0x3ce, index, 0xff);
        assert_eq!(inb(&mut vga, 0x3cf), mask, "graphics {index}");
    }
    check(
        &mut vga,
        "w 3c4 05\n w 3c5 ff\n r 3c5 -> 00\n r 3c4 -> 05\n w 3ce ff\n w 3cf ff\n r 3cf -> 00\n r 3ce -> ff",
    );
}

#[test]
fn miscellaneous_output_moves_the_crtc() {
    let (mut vga, _) = vga();
    check(
        &mut vga,
        "w 3c2 fe\n r 3cc -> ee\n w 3b4 0e\n w 3b5 a5\n w 3ba 02\n r 3ca -> 02\n w 3c2 67\n r 3cc -> 67\n r 3d4 -> 0e\n \
         r 3d5 -> a5\n w 3da ff\n r 3ca -> 03",
    );
}

#[test]
fn crtc_registers_are_protected() {
    let (mut vga, _) = vga();
    out(&mut vga, 0x3c2, 1);
    for index in 0..0x19 {
        set(&mut vga, 0x3d4, index, index | 0x40);
    }
    for index in 0..0x19 {
        out(&mut vga, 0x3d4, index);
        assert_eq!(inb(&mut vga, 0x3d5), index | 0x40);
    }
    check(
        &mut vga,
        "w 3d4 11\n w 3d5 8e\n w 3d4 00\n w 3d5 ff\n r 3d5 -> 40\n w 3d4 06\n w 3d5 ff\n r 3d5 -> 46\n \
         # Line compare alone.\n \
         w 3d4 07\n w 3d5 ff\n r 3d5 -> 57\n w 3d5 00\n r 3d5 -> 47\n w 3d4 08\n w 3d5 11\n r 3d5 -> 11\n \
         w 3d4 11\n w 3d5 0e\n w 3d4 07\n w 3d5 1f\n r 3d5 -> 1f\n w 3d4 19\n w 3d5 ff\n r 3d5 -> 00",
    );
}

#[test]
fn the_dac_goes_through_its_colours() {
    let (mut vga, _) = vga();
    check(
        &mut vga,
        "w 3c8 fe\n r 3c7 -> 00\n w 3c9 01\n w 3c9 02\n r 3c8 -> fe\n w 3c9 03\n r 3c8 -> ff\n w 3c9 ff\n w 3c9 ff\n \
         w 3c9 ff\n r 3c8 -> 00\n w 3c7 fe\n r 3c7 -> 03\n r 3c9 -> 01\n r 3c9 -> 02\n r 3c9 -> 03\n \
         # Six bits.\n \
         r 3c9 -> 3f\n r 3c9 -> 3f\n r 3c9 -> 3f\n r 3c9 -> 00\n \
         # A colour that is not complete is not taken.\n \
         w 3c8 10\n w 3c9 05\n w 3c9 06\n w 3c8 10\n w 3c7 10\n r 3c9 -> 00\n w 3c6 7f\n r 3c6 -> 7f",
    );
    vga.dispi_write(4, 0x20);
    check(
        &mut vga,
        "w 3c8 20\n w 3c9 ff\n w 3c9 80\n w 3c9 7f\n w 3c7 20\n r 3c9 -> ff\n r 3c9 -> 80\n r 3c9 -> 7f",
    );
}

#[test]
fn retraces_follow_guest_time() {
    let (mut vga, host) = vga();
    set_mode(&mut vga, &TEXT);
    let (mut frames, mut retrace, mut lines, mut hidden) = (0, false, 0, false);
    // Ten milliseconds of each 70 Hz, in steps of a microsecond.
    for _ in 0..100_000 {
        host.advance(Duration::from_micros(1));
        let status = inb(&mut vga, 0x3da);
        assert_eq!(status & !0x09, 0);
        let (now_hidden, now_retrace) = (status & 1 != 0, status & 8 != 0);
        assert!(now_hidden || !now_retrace);
        frames += u32::from(now_retrace && !retrace);
        lines += u32::from(now_hidden && !hidden);
        (hidden, retrace) = (now_hidden, now_retrace);
    }
    assert_eq!(frames, 7, "100 ms at 70 Hz");
    assert!(
        (2790..=2810).contains(&lines),
        "{lines}: 400 of 449 lines a frame"
    );
}

#[test]
fn who_waits_for_a_retrace_sees_one_whatever_the_crtc_holds() {
    let (mut vga, host) = vga();
    out(&mut vga, 0x3c2, 1);
    for value in [0x00, 0xff, 0x5a] {
        set(&mut vga, 0x3d4, 0x11, 0);
        for index in 0..0x19 {
            set(
                &mut vga,
                0x3d4,
                index,
                if index == 0x11 { value & 0x7f } else { value },
            );
        }
        let mut seen = [false; 2];
        // The longest frame there is has 1,025 lines.
        for _ in 0..7_000 {
            host.advance(Duration::from_micros(5));
            seen[usize::from(inb(&mut vga, 0x3da) & 8 != 0)] = true;
        }
        assert_eq!(seen, [true; 2], "{value:#x}");
    }
}

#[test]
fn memory_and_registers_stand_behind_base_address_registers() {
    let (mut vga, host) = vga();
    vga.bar_write(LINEAR, 0xf_fffc, &[1, 2, 3, 4]).unwrap();
    let mut data = [0; 8];
    vga.bar_read(LINEAR, 0xf_fff8, &mut data).unwrap();
    assert_eq!(data, [0, 0, 0, 0, 1, 2, 3, 4]);
    assert_eq!(
        vga.bar_read(LINEAR, 0xf_fffc, &mut data),
        Err(AccessError::NoRegister)
    );
    assert_eq!(
        vga.bar_write(LINEAR, 1 << 20, &data),
        Err(AccessError::NoRegister)
    );

    // Index and data at once, as by an `out` of 16 bits.
    vga.bar_write(REGISTERS, 0x404, &[2, 0x0d]).unwrap();
    let mut data = [0; 2];
    vga.bar_read(REGISTERS, 0x404, &mut data).unwrap();
    assert_eq!((data, inb(&mut vga, 0x3c5)), ([2, 0x0d], 0x0d));
    vga.bar_read(REGISTERS, 0x402, &mut data).unwrap();
    assert_eq!(data, [0, 0xff], "the second one is no port");

    vga.bar_write(REGISTERS, 0x502, &[0x20, 0x03, 0x58, 0x02])
        .unwrap();
    assert_eq!((vga.dispi_read(1), vga.dispi_read(2)), (0x320, 0x258));
    vga.bar_read(REGISTERS, 0x514, &mut data).unwrap();
    assert_eq!(data, [16, 0], "64 KiB each");
    for (at, len, error) in [
        (0x000, 4, AccessError::NoRegister),
        (0x3fe, 4, AccessError::NoRegister),
        (0x41e, 4, AccessError::NoRegister),
        (0x420, 1, AccessError::NoRegister),
        (0x500, 1, AccessError::Width),
        (0x501, 2, AccessError::Width),
        (0x516, 2, AccessError::NoRegister),
        (0x600, 4, AccessError::NoRegister),
    ] {
        let mut data = [0; 4];
        assert_eq!(
            vga.bar_read(REGISTERS, at, &mut data[..len]),
            Err(error),
            "{at:#x}"
        );
        assert_eq!(
            vga.bar_write(REGISTERS, at, &data[..len]),
            Err(error),
            "{at:#x}"
        );
    }
    vga.window_moved(LINEAR, Some(0xfd00_0000));
    vga.window_moved(REGISTERS, Some(0xfe00_0000));
    vga.window_moved(LINEAR, None);
    assert_eq!(host.shown.take(), [Some(0xfd00_0000), None]);
}

#[test]
fn sizes_of_memory_that_no_vga_has_are_refused() {
    for size in [4096, 128 << 10, 768 << 10, 512 << 20] {
        let host = TestHost::new();
        let memory = Arc::new(FileMapping::zeroed(size).unwrap());
        let error = Vga::new(memory, host.clone(), host).unwrap_err();
        assert!(matches!(error, VgaError::Memory { size: found } if found == size));
    }
}

/// The function on a bus, its ports on the machine's.
mod on_a_bus {
    use trivisor_buses::{Slots, Wire};
    use trivisor_pci::Windows;

    use super::*;

    #[test]
    fn ports_and_window_answer_when_command_lets_them() {
        let host = TestHost::new();
        let mut slots = Slots::new(host.as_host());
        let wires = [(); 4].map(|()| Wire::new(host.clone()));
        let bus = RootBus::new(slots.ports(), slots.memory(), Some(wires));
        let memory = Arc::new(FileMapping::zeroed(1 << 20).unwrap());
        let chip = fit(&mut slots, &bus, memory).unwrap();
        let windows = Windows {
            memory32: 0xc000_0000..0xd000_0000,
            ..Windows::default()
        };
        bus.assign(&windows).unwrap();
        let fitted = slots.finish();
        assert_eq!((fitted.screens.len(), fitted.components.len()), (1, 1));
        let (mut ports, mut memory) = (fitted.ports.view(), fitted.mmio.view());
        let mut data = [0; 2];
        ports.read(0x1ce, &mut data);
        assert_eq!(data, [0xff; 2]);
        memory.read(0xa_0000, &mut data);
        assert_eq!((data, host.shown.take()), ([0xff; 2], vec![]));

        chip.with(|vga| vga.endpoint.write_config(4, &[3]));
        assert_eq!(host.shown.take(), [Some(0xc000_0000)]);
        ports.read(0x1ce, &mut data);
        assert_eq!(data, [0, 0]);
        for (port, wanted) in [(0x1cf, [0xc5, 0xb0]), (0x1d0, [0xc5, 0xb0])] {
            ports.read(port, &mut data);
            assert_eq!(data, wanted, "{port:#x}");
        }
        ports.write(0x1ce, &[10, 0]);
        ports.read(0x1d0, &mut data);
        assert_eq!(data, [16, 0]);
        let mut wide = [0; 4];
        ports.read(0x1ce, &mut wide);
        assert_eq!((wide, chip.with(|vga| vga.refused())), ([0xff; 4], 1));
        // Index and data by one access, and the window after that.
        ports.write(0x3c2, &[0x63]);
        ports.write(0x3c4, &[0x02, 0x0f]);
        ports.write(0x3c4, &[0x04, 0x0e]);
        ports.write(0x3ce, &[0x06, 0x05]);
        ports.write(0x3ce, &[0x08, 0xff]);
        memory.write(0xa_0010, &[1, 2, 3, 4]);
        let mut data = [0; 4];
        memory.read(0xa_0010, &mut data);
        assert_eq!(data, [1, 2, 3, 4]);
        memory.read(0xc000_0040, &mut data);
        assert_eq!(data, [1, 2, 3, 4], "chain 4: address 0x10 in four planes");
        // An access across the end is the neighbour's for the rest.
        ports.write(0x3cf, &[0xaa, 0xbb]);
        ports.read(0x3cf, &mut data[..2]);
        assert_eq!(data[..2], [0xaa, 0xff]);

        chip.with(|vga| vga.endpoint.write_config(4, &[1]));
        assert_eq!(host.shown.take(), [None]);
        memory.read(0xa_0010, &mut data);
        assert_eq!(data, [0xff; 4]);
    }
}
