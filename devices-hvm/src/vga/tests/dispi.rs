//! The Bochs display interface.

use super::*;

fn set_vbe(vga: &mut Vga, width: u16, height: u16, bpp: u16, enable: u16) {
    vga.dispi_write(4, 0);
    for (index, value) in [(1, width), (2, height), (3, bpp), (4, enable)] {
        vga.dispi_write(index, value);
    }
}

/// What a BIOS sets around it: colours that tell their numbers, and the display on.
fn ready(size: u64) -> Vga {
    let (mut vga, _) = with_memory(size);
    set_mode(&mut vga, &MODE_12);
    vga
}

#[test]
fn registers_are_those_of_the_table() {
    let (mut vga, _) = with_memory(16 << 20);
    for id in 0xb0c0..=0xb0c5 {
        vga.dispi_write(0, id);
        assert_eq!(vga.dispi_read(0), id);
    }
    vga.dispi_write(0, 0xb0c6);
    vga.dispi_write(0, 0);
    assert_eq!(vga.dispi_read(0), 0xb0c5);
    vga.dispi_write(4, 2);
    assert_eq!(
        (1..=4).map(|at| vga.dispi_read(at)).collect::<Vec<_>>(),
        [2560, 1600, 32, 2]
    );
    vga.dispi_write(4, 0xfffe);
    assert_eq!(vga.dispi_read(4), 0xe2, "bits that do not exist");
    set_vbe(&mut vga, 1024, 768, 32, 0x41);
    let found: Vec<u16> = (0..=11).map(|index| vga.dispi_read(index)).collect();
    assert_eq!(
        found,
        [0xb0c5, 1024, 768, 32, 0x41, 0, 1024, 4096, 0, 0, 256, 0]
    );
    vga.dispi_write(10, 7);
    vga.dispi_write(7, 7);
    vga.dispi_write(0xffff, 7);
    assert_eq!(
        (
            vga.dispi_read(10),
            vga.dispi_read(7),
            vga.dispi_read(0xffff)
        ),
        (256, 4096, 0)
    );
    // The bank counts blocks of 64 KiB, and ends with the mode.
    vga.dispi_write(5, 0x1ff);
    assert_eq!(vga.dispi_read(5), 0xff);
    vga.dispi_write(4, 0);
    assert_eq!(vga.dispi_read(5), 0);
}

#[test]
fn virtual_screens_and_offsets_are_kept_inside_of_memory() {
    let (mut vga, _) = with_memory(16 << 20);
    set_vbe(&mut vga, 1021, 600, 16, 1);
    assert_eq!((vga.dispi_read(1), vga.dispi_read(6)), (1016, 1016));
    vga.dispi_write(6, 2048);
    assert_eq!((vga.dispi_read(6), vga.dispi_read(7)), (2048, 4096));
    for (register, most) in [(8, 2048 - 1016), (9, 4096 - 600)] {
        vga.dispi_write(register, most);
        assert_eq!(vga.dispi_read(register), most);
        vga.dispi_write(register, most + 1);
        assert_eq!(vga.dispi_read(register), 0);
    }
    vga.dispi_write(6, 8);
    assert_eq!(vga.dispi_read(6), 1016, "at least the width");
    // Enabled again, all of it begins anew.
    vga.dispi_write(8, 0);
    vga.dispi_write(6, 4096);
    set_vbe(&mut vga, 640, 480, 7, 1);
    let found: Vec<u16> = (1..=9).map(|index| vga.dispi_read(index)).collect();
    assert_eq!(found, [640, 480, 8, 1, 0, 640, 26214, 0, 0]);
}

#[test]
fn each_depth_is_drawn() {
    let bytes = |bpp: u16| usize::from(bpp.div_ceil(8));
    for (bpp, pixel, wanted) in [
        (8, &[0xa5][..], colour(0xa5)),
        (15, &[0x01, 0x7c], [0xff, 0x00, 0x08]),
        (16, &[0x3f, 0x08], [0x08, 0x04, 0xff]),
        (24, &[1, 2, 3], [3, 2, 1]),
        (32, &[1, 2, 3, 0xff], [3, 2, 1]),
    ] {
        let mut vga = ready(4 << 20);
        set_vbe(&mut vga, 800, 600, bpp, 0x41);
        let at = (599 * 800 + 799) * bytes(bpp);
        vga.bar_write(LINEAR, u64::try_from(at).unwrap(), pixel)
            .unwrap();
        let frame = Frame::of(&vga);
        assert_eq!(
            (frame.size(), look(&vga, |view| view.text())),
            ((800, 600), None)
        );
        assert_eq!(frame.at(799, 599), wanted, "{bpp}");
        assert_ne!(frame.at(798, 599), wanted, "{bpp}");
        // On a wider screen, from an offset on.
        vga.dispi_write(6, 1024);
        vga.dispi_write(8, 100);
        vga.dispi_write(9, 50);
        let at = (51 * 1024 + 102) * bytes(bpp);
        vga.bar_write(LINEAR, u64::try_from(at).unwrap(), pixel)
            .unwrap();
        let frame = Frame::of(&vga);
        assert_eq!(
            (frame.at(2, 1), frame.size()),
            (wanted, (800, 600)),
            "{bpp}"
        );
    }
}

#[test]
fn eight_bits_of_the_dac() {
    let mut vga = ready(1 << 20);
    set_vbe(&mut vga, 640, 480, 8, 0x21);
    out(&mut vga, 0x3c8, 7);
    for part in [0x12, 0x80, 0xff] {
        out(&mut vga, 0x3c9, part);
    }
    vga.bar_write(LINEAR, 0, &[7]).unwrap();
    assert_eq!(Frame::of(&vga).at(0, 0), [0x12, 0x80, 0xff]);
}

#[test]
fn four_bits_lie_in_planes_of_any_size() {
    let mut vga = ready(1 << 20);
    set_vbe(&mut vga, 1280, 1024, 4, 1);
    assert_eq!((vga.dispi_read(6), vga.dispi_read(7)), (1280, 1638));
    // The last line is behind the first 64 KiB of a plane.
    let at = 1023 * 160 + 159;
    vga.dispi_write(5, u16::try_from(at >> 16).unwrap());
    set(&mut vga, 0x3c4, 2, 5);
    poke(&mut vga, 0xa_0000 + (at & 0xffff), &[1]);
    let frame = Frame::of(&vga);
    assert_eq!(frame.size(), (1280, 1024));
    assert_eq!(
        (frame.at(1279, 1023), frame.at(1278, 1023)),
        (colour(5), colour(0))
    );
    vga.dispi_write(6, 1288);
    vga.dispi_write(8, 3);
    vga.dispi_write(5, 0);
    poke(&mut vga, 0xa_0000, &[0b0001_0000]);
    assert_eq!(Frame::of(&vga).at(0, 0), colour(5));
}

#[test]
fn the_bank_shows_at_a0000_with_no_bios() {
    let (mut vga, _) = with_memory(16 << 20);
    out(&mut vga, 0x3c2, 2);
    set_vbe(&mut vga, 1024, 768, 32, 1);
    vga.dispi_write(5, 0xff);
    poke(&mut vga, 0xa_fffe, &[1, 2]);
    let mut data = [0; 4];
    vga.bar_read(LINEAR, (16 << 20) - 4, &mut data).unwrap();
    assert_eq!((data, peek(&mut vga, 0xa_ffff)), ([0, 0, 1, 2], 2));
    poke(&mut vga, 0xb_0000, &[9]);
    assert_eq!(peek(&mut vga, 0xb_0000), 0xff);
}

#[test]
fn memory_is_cleared_unless_it_is_to_stay() {
    let (mut vga, _) = vga();
    let filled = |vga: &mut Vga| vga.bar_write(LINEAR, 1000, &[9; 8]).unwrap();
    let first = |vga: &mut Vga| {
        let mut data = [0; 8];
        vga.bar_read(LINEAR, 1000, &mut data).unwrap();
        data
    };
    filled(&mut vga);
    vga.bar_write(LINEAR, 640 * 480, &[7]).unwrap();
    set_vbe(&mut vga, 640, 480, 8, 0x81);
    assert_eq!(first(&mut vga), [9; 8]);
    vga.dispi_write(4, 1);
    assert_eq!(first(&mut vga), [9; 8], "it was enabled before");
    set_vbe(&mut vga, 640, 480, 8, 1);
    assert_eq!(first(&mut vga), [0; 8]);
    let mut behind = [0];
    vga.bar_read(LINEAR, 640 * 480, &mut behind).unwrap();
    assert_eq!(behind, [7]);
}

#[test]
fn the_vga_follows_the_mode() {
    let (mut vga, _) = with_memory(4 << 20);
    out(&mut vga, 0x3c2, 1);
    set_vbe(&mut vga, 800, 600, 8, 1);
    let registers = |vga: &mut Vga, port: u16, indices: &[u8]| -> Vec<u8> {
        let read = |index: &u8| {
            out(vga, port, *index);
            inb(vga, port + 1)
        };
        indices.iter().map(read).collect()
    };
    assert_eq!(registers(&mut vga, 0x3c4, &[2, 4]), [0x0f, 0x0e]);
    assert_eq!(registers(&mut vga, 0x3ce, &[5, 6]), [0x40, 0x05]);
    let crtc = registers(&mut vga, 0x3d4, &[0x01, 0x07, 0x09, 0x12, 0x13, 0x17, 0x18]);
    assert_eq!(crtc, [99, 0x50, 0x40, 0x57, 100, 0x03, 0xff]);
}
