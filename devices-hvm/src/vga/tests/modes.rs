//! Graphics modes, set as a BIOS sets them.

use super::*;

#[test]
fn mode_12_has_sixteen_colours_in_planes() {
    let (mut vga, _) = vga();
    set_mode(&mut vga, &MODE_12);
    assert_eq!(look(&vga, |view| view.text()), None);
    // A dot of colour 10 at 641 of line 479, by set/reset and bit mask.
    set(&mut vga, 0x3ce, 0, 10);
    set(&mut vga, 0x3ce, 1, 0x0f);
    set(&mut vga, 0x3ce, 8, 0x40);
    let at = 0xa_0000 + 479 * 80 + 79;
    peek(&mut vga, at);
    poke(&mut vga, at, &[0]);
    let frame = Frame::of(&vga);
    assert_eq!(frame.size(), (640, 480));
    assert_eq!(frame.at(633, 479), colour(0x3a));
    assert_eq!(frame.at(632, 479), colour(0));
    assert_eq!(frame.at(634, 479), colour(0));
    // A plane that is off, and the colour select register.
    inb(&mut vga, 0x3da);
    out(&mut vga, 0x3c0, 0x32);
    out(&mut vga, 0x3c0, 0x07);
    assert_eq!(Frame::of(&vga).at(633, 479), colour(0x02));
    for (index, value) in [(0x32, 0x0f), (0x30, 0x81), (0x34, 0x0b)] {
        out(&mut vga, 0x3c0, index);
        out(&mut vga, 0x3c0, value);
    }
    assert_eq!(Frame::of(&vga).at(633, 479), colour(0xba));
    out(&mut vga, 0x3c6, 0x0f);
    assert_eq!(Frame::of(&vga).at(633, 479), colour(0x0a), "the DAC's mask");
}

#[test]
fn mode_13_has_a_byte_a_pixel() {
    let (mut vga, _) = vga();
    set_mode(&mut vga, &MODE_13);
    for (x, y, value) in [
        (0_usize, 0_usize, 1),
        (1, 0, 2),
        (319, 0, 3),
        (0, 1, 4),
        (319, 199, 5),
    ] {
        poke(
            &mut vga,
            0xa_0000 + u64::try_from(y * 320 + x).unwrap(),
            &[value],
        );
    }
    let frame = Frame::of(&vga);
    assert_eq!(frame.size(), (320, 200));
    for (x, y, value) in [
        (0, 0, 1),
        (1, 0, 2),
        (319, 0, 3),
        (0, 1, 4),
        (319, 199, 5),
        (2, 0, 0),
    ] {
        assert_eq!(frame.at(x, y), colour(value), "{x}, {y}");
    }
    // Unchained, as games use it: bytes for the CRTC, a plane a write, a page by the start address.
    set(&mut vga, 0x3c4, 4, 6);
    set(&mut vga, 0x3d4, 0x11, 0);
    set(&mut vga, 0x3d4, 0x14, 0);
    set(&mut vga, 0x3d4, 0x17, 0xe3);
    set(&mut vga, 0x3c4, 2, 4);
    poke(&mut vga, 0xa_4000 + 80, &[0x77]);
    set(&mut vga, 0x3d4, 0x0c, 0x40);
    let frame = Frame::of(&vga);
    assert_eq!((frame.at(2, 1), frame.at(1, 1)), (colour(0x77), colour(0)));
    // Two dots to the left.
    inb(&mut vga, 0x3da);
    out(&mut vga, 0x3c0, 0x33);
    out(&mut vga, 0x3c0, 4);
    assert_eq!(Frame::of(&vga).at(0, 1), colour(0x77));
}

#[test]
fn mode_d_doubles_its_lines() {
    let (mut vga, _) = vga();
    set_mode(&mut vga, &MODE_D);
    set(&mut vga, 0x3c4, 2, 9);
    poke(&mut vga, 0xa_0000 + 199 * 40 + 39, &[1]);
    let frame = Frame::of(&vga);
    assert_eq!(frame.size(), (320, 200));
    assert_eq!(
        (frame.at(319, 199), frame.at(318, 199)),
        (colour(0x11), colour(0))
    );
}

#[test]
fn mode_4_has_two_banks_of_lines() {
    let (mut vga, _) = vga();
    set_mode(&mut vga, &MODE_4);
    poke(&mut vga, 0xb_8000, &[0b00_01_10_11, 0b11_10_01_00]);
    poke(&mut vga, 0xb_a000 + 79, &[0b00_00_00_10]);
    poke(&mut vga, 0xb_8000 + 80, &[0b11_00_00_00]);
    let frame = Frame::of(&vga);
    assert_eq!(frame.size(), (320, 200));
    let wanted = [0, 0x13, 0x15, 0x17, 0x17, 0x15, 0x13, 0].map(colour);
    let found: Vec<_> = (0..8).map(|x| frame.at(x, 0)).collect();
    assert_eq!(found, wanted);
    assert_eq!(frame.at(319, 1), colour(0x15));
    assert_eq!((frame.at(0, 2), frame.at(0, 1)), (colour(0x17), colour(0)));
}

#[test]
fn text_comes_back_after_graphics() {
    let (mut vga, _) = vga();
    set_mode(&mut vga, &MODE_13);
    poke(&mut vga, 0xa_0000, &[0xff; 4000]);
    set_mode(&mut vga, &TEXT);
    poke(&mut vga, 0xb_8000, &[b' ', 7].repeat(2000));
    poke(&mut vga, 0xb_8000, b"b\x07a\x07c\x07k\x07");
    let text = look(&vga, |view| view.text()).unwrap().text();
    assert_eq!(text.trim_end(), "back");
    assert_eq!(
        (peek(&mut vga, 0xb_8002), peek(&mut vga, 0xb_8003)),
        (b'a', 7)
    );
}
