//! Whatever the registers hold, a picture is bounded and nothing panics.

use super::*;

#[test]
fn any_registers_make_a_picture() {
    let (mut vga, _) = with_memory(256 << 10);
    let mut random = Random(0x0dd0_5eed_cafe_f00d);
    let mut kinds = [0; 2];
    for _ in 0..200 {
        out(&mut vga, 0x3c2, random.byte() | 1);
        set(&mut vga, 0x3d4, 0x11, 0);
        for index in 0..0x19 {
            let value = match random.below(3) {
                0 => 0x00,
                1 => 0xff,
                _ => random.byte(),
            };
            set(
                &mut vga,
                0x3d4,
                index,
                if index == 0x11 { value & 0x7f } else { value },
            );
        }
        for index in 0..5 {
            set(&mut vga, 0x3c4, index, random.byte());
        }
        for index in 0..9 {
            set(&mut vga, 0x3ce, index, random.byte());
        }
        set(&mut vga, 0x3c4, 1, random.byte() & !0x20);
        inb(&mut vga, 0x3da);
        for index in 0..0x15 {
            out(&mut vga, 0x3c0, index);
            out(&mut vga, 0x3c0, random.byte());
        }
        out(&mut vga, 0x3c0, 0x20);
        poke(
            &mut vga,
            0xa_0000 + random.below(0x1_fff0),
            &[random.byte(); 16],
        );
        let frame = Frame::of(&vga);
        let text = look(&vga, |view| view.text());
        kinds[usize::from(text.is_some())] += 1;
        if let Some(grid) = text {
            assert!(grid.columns <= 256 && grid.cells.len().is_multiple_of(grid.columns));
            let (width, height) = frame.size();
            assert!(width >= grid.columns * 8 && height <= 1024);
        }
    }
    assert!(kinds.iter().all(|kind| *kind > 20), "{kinds:?}");
}

#[test]
fn any_mode_of_the_display_interface_lies_in_memory() {
    let mut random = Random(0xfeed_f00d_dead_beef);
    for size in [256 << 10, 16 << 20] {
        let (mut vga, _) = with_memory(size);
        set_mode(&mut vga, &MODE_12);
        for round in 0..60 {
            for index in 1..10 {
                let value = match random.below(4) {
                    0 => 0,
                    1 => 0xffff,
                    2 => 8 << random.below(8),
                    _ => u16::from_le_bytes([random.byte(), random.byte()]),
                };
                vga.dispi_write(index, value);
            }
            vga.dispi_write(4, 0x81);
            let mode = vga.chip.dispi.mode();
            let last = u64::from(mode.y + mode.height) * u64::from(mode.stride);
            assert!(last <= size && mode.width * mode.height > 0, "{mode:?}");
            assert!(vga.chip.dispi.is_settled(size));
            if round % 10 == 0 || size < 1 << 20 {
                Frame::of(&vga);
            }
            poke(&mut vga, 0xa_fff8, &[random.byte(); 16]);
            peek(&mut vga, 0xa_ffff);
        }
    }
}

#[test]
fn the_start_address_wraps_at_the_end_of_a_plane() {
    let (mut vga, _) = with_memory(256 << 10);
    set_mode(&mut vga, &MODE_12);
    set(&mut vga, 0x3d4, 0x0c, 0xff);
    set(&mut vga, 0x3d4, 0x0d, 0xff);
    poke(&mut vga, 0xa_ffff, &[0x80]);
    poke(&mut vga, 0xa_0000, &[0x80]);
    let frame = Frame::of(&vga);
    assert_eq!(
        [0, 8, 16].map(|x| frame.at(x, 0)),
        [0x3f, 0x3f, 0].map(colour)
    );
}
