use std::time::Duration;

use super::*;

/// Loads glyphs as a BIOS does, by way of plane 2; the rest of the font stays.
fn load_font(vga: &mut Vga, at: u64, glyphs: &[(u8, [u8; 16])]) {
    for (port, index, value) in [
        (0x3c4, 0, 1),
        (0x3c4, 2, 4),
        (0x3c4, 4, 7),
        (0x3c4, 0, 3),
        (0x3ce, 4, 2),
        (0x3ce, 5, 0),
        (0x3ce, 6, 4),
    ] {
        set(vga, port, index, value);
    }
    for (code, glyph) in glyphs {
        poke(vga, 0xa_0000 + at + u64::from(*code) * 32, glyph);
    }
    for (port, index, value) in [
        (0x3c4, 0, 1),
        (0x3c4, 2, 3),
        (0x3c4, 4, 3),
        (0x3c4, 0, 3),
        (0x3ce, 4, 0),
        (0x3ce, 5, 0x10),
        (0x3ce, 6, 0x0e),
    ] {
        set(vga, port, index, value);
    }
}

/// Rows of a glyph that tell which they are, and the last dot of each set.
fn glyph(first: u8) -> [u8; 16] {
    let mut rows = 0..16;
    [(); 16].map(|()| first ^ rows.next().unwrap_or(0) << 1 | 1)
}

fn text_screen() -> (Vga, Arc<TestHost>) {
    let (mut vga, host) = vga();
    set_mode(&mut vga, &TEXT);
    poke(&mut vga, 0xb_8000, &[b' ', 7].repeat(2000));
    (vga, host)
}

fn grid(vga: &Vga) -> TextGrid {
    look(vga, |view| view.text()).unwrap()
}

/// The dots of a character cell, a row of them.
fn dots(frame: &Frame, column: usize, row: usize, line: usize, on: [u8; 3]) -> Vec<bool> {
    (0..9)
        .map(|dot| frame.at(column * 9 + dot, row * 16 + line) == on)
        .collect()
}

fn bits(byte: u8, ninth: bool) -> Vec<bool> {
    let mut bits: Vec<bool> = (0..8).map(|bit| byte & 0x80 >> bit != 0).collect();
    bits.push(ninth);
    bits
}

#[test]
fn code_page_437_is_whole() {
    let letters = code_page();
    assert_eq!(
        (letters[0x01], letters[0x1f], letters[0x7f]),
        ('☺', '▼', '⌂')
    );
    assert_eq!(
        (letters[0x80], letters[0xb3], letters[0xdb]),
        ('Ç', '│', '█')
    );
    assert_eq!(
        (letters[0xe1], letters[0xfe], letters[0xff]),
        ('ß', '■', ' ')
    );
    assert!((0x20..0x7f).all(|code: u8| letters[usize::from(code)] == char::from(code)));
    assert!(letters.iter().all(|letter| !letter.is_control()));
}

#[test]
fn characters_are_read_off_the_screen() {
    let (mut vga, _) = text_screen();
    poke(&mut vga, 0xb_8000, b"C\x07:\x07\\\x1f>\x1f");
    poke(&mut vga, 0xb_8000 + 160 * 24 + 158, &[0xb3, 0x70]);
    set(&mut vga, 0x3d4, 0x0f, 5);
    let found = grid(&vga);
    assert_eq!(
        (found.columns, found.cells.len(), found.cursor),
        (80, 2000, Some((5, 0)))
    );
    let text = found.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[1]), (25, "C:\\>", ""));
    assert_eq!(lines[24], format!("{}│", " ".repeat(79)));

    // Scrolled by two lines; the cursor is below the screen, then off.
    set(&mut vga, 0x3d4, 0x0d, 160);
    set(&mut vga, 0x3d4, 0x0e, 0x10);
    let found = grid(&vga);
    assert!(found.text().lines().nth(22).unwrap().ends_with('│'));
    assert_eq!(found.cursor, None);
    set(&mut vga, 0x3d4, 0x0e, 0);
    set(&mut vga, 0x3d4, 0x0f, 162);
    assert_eq!(grid(&vga).cursor, Some((2, 0)));
    set(&mut vga, 0x3d4, 0x0a, 0x2d);
    assert_eq!(grid(&vga).cursor, None);
}

#[test]
fn the_font_of_plane_2_is_drawn() {
    let (mut vga, host) = text_screen();
    load_font(
        &mut vga,
        0,
        &[(b'A', glyph(0x5a)), (0xc4, glyph(0x81)), (b'B', [0; 16])],
    );
    poke(&mut vga, 0xb_8000, b"A\x1eB\x24\xc4\x07A\x8e");
    set(&mut vga, 0x3d4, 0x0a, 0x20);
    let frame = Frame::of(&vga);
    assert_eq!(frame.size(), (720, 400));
    let palette = |value: u8| colour(TEXT_PALETTE[usize::from(value)]);
    for line in 0..16 {
        let row = glyph(0x5a)[line];
        assert_eq!(dots(&frame, 0, 0, line, palette(14)), bits(row, false));
        assert_eq!(
            dots(&frame, 0, 0, line, palette(1)),
            bits(!row, true),
            "background"
        );
        assert_eq!(dots(&frame, 1, 0, line, palette(2)), [true; 9]);
        let row = glyph(0x81)[line];
        assert_eq!(
            dots(&frame, 2, 0, line, palette(7)),
            bits(row, true),
            "joined"
        );
    }
    // Without LGE the ninth dot is background.
    inb(&mut vga, 0x3da);
    out(&mut vga, 0x3c0, 0x30);
    out(&mut vga, 0x3c0, 0x08);
    let frame = Frame::of(&vga);
    assert_eq!(dots(&frame, 2, 0, 0, palette(7)), bits(0x81, false));
    // Blinking: 32 frames it shows, 32 it does not.
    let shows = |vga: &Vga| dots(&Frame::of(vga), 3, 0, 0, palette(14)) == bits(0x5b, false);
    assert!(shows(&vga));
    host.advance(Duration::from_millis(500));
    assert!(!shows(&vga));
    assert_eq!(dots(&Frame::of(&vga), 3, 0, 0, palette(0)), [true; 9]);
    host.advance(Duration::from_millis(450));
    assert!(shows(&vga));
    // Without BLINK the bit is a bright background.
    inb(&mut vga, 0x3da);
    out(&mut vga, 0x3c0, 0x30);
    out(&mut vga, 0x3c0, 0x04);
    assert_eq!(
        dots(&Frame::of(&vga), 3, 0, 0, palette(8)),
        bits(!0x5b, true)
    );
    // Eight dots.
    set(&mut vga, 0x3c4, 1, 1);
    assert_eq!(Frame::of(&vga).size(), (640, 400));
}

#[test]
fn the_cursor_blinks_where_it_stands() {
    let (mut vga, host) = text_screen();
    set(&mut vga, 0x3d4, 0x0f, 81);
    let on = colour(7);
    let lines = |vga: &Vga| {
        let frame = Frame::of(vga);
        let all = (0..400).filter(|y| (0..720).any(|x| frame.at(x, *y) == on));
        let lines: Vec<usize> = all.collect();
        for line in &lines {
            assert_eq!(dots(&frame, 1, 1, line - 16, on), [true; 9]);
        }
        lines
    };
    assert_eq!(lines(&vga), [29, 30]);
    host.advance(Duration::from_millis(250));
    assert_eq!(lines(&vga), [0; 0]);
    host.advance(Duration::from_millis(230));
    assert_eq!(lines(&vga), [29, 30]);
    set(&mut vga, 0x3d4, 0x0a, 0x0f);
    assert_eq!(lines(&vga), [0; 0], "it begins behind its end");
    set(&mut vga, 0x3d4, 0x0a, 0x00);
    assert_eq!(lines(&vga).len(), 15);
}

#[test]
fn attribute_bit_3_selects_a_font() {
    let (mut vga, _) = text_screen();
    for (select, place) in [
        (0x00, 0),
        (0x04, 0x4000),
        (0x08, 0x8000),
        (0x0c, 0xc000),
        (0x20, 0x2000),
        (0x24, 0x6000),
        (0x28, 0xa000),
        (0x2c, 0xe000),
    ] {
        let first = u64::from(select == 0) * 0x4000;
        load_font(&mut vga, first, &[(b'A', glyph(0x10))]);
        load_font(&mut vga, place, &[(b'A', glyph(0xc0))]);
        // The other one, for attributes without the bit.
        let other = u8::from(select == 0);
        set(&mut vga, 0x3c4, 3, select | other);
        poke(&mut vga, 0xb_8000, b"A\x0fA\x07");
        set(&mut vga, 0x3d4, 0x0a, 0x20);
        let frame = Frame::of(&vga);
        let bright = colour(TEXT_PALETTE[15]);
        assert_eq!(
            dots(&frame, 0, 0, 1, bright),
            bits(0xc3, false),
            "{select:#x}"
        );
        if place != 0 {
            load_font(&mut vga, 0, &[(b'A', glyph(0x20))]);
            let frame = Frame::of(&vga);
            assert_eq!(dots(&frame, 1, 0, 1, colour(7)), bits(0x23, false));
        } else {
            assert_eq!(dots(&frame, 1, 0, 1, colour(7)), bits(0x13, false));
        }
    }
}

#[test]
fn the_screen_is_split_and_pans() {
    let (mut vga, _) = text_screen();
    poke(&mut vga, 0xb_8000, b"t\x07o\x07p\x07");
    poke(&mut vga, 0xb_8000 + 320, b"r\x07e\x07s\x07t\x07");
    set(&mut vga, 0x3d4, 0x0d, 160);
    // Line compare 319: 20 rows, then the beginning of memory.
    set(&mut vga, 0x3d4, 0x18, 0x3f);
    set(&mut vga, 0x3d4, 0x11, 0x0e);
    set(&mut vga, 0x3d4, 0x07, 0x1f);
    set(&mut vga, 0x3d4, 0x09, 0x0f);
    let text = grid(&vga).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        (lines[0], lines[19], lines[20], lines[22]),
        ("rest", "", "top", "rest")
    );

    load_font(&mut vga, 0, &[(b'r', [0x81; 16]), (b't', [0x81; 16])]);
    set(&mut vga, 0x3d4, 0x0a, 0x20);
    let panned = |vga: &mut Vga, value: u8, mode: u8| {
        inb(vga, 0x3da);
        for (index, value) in [(0x33, value), (0x30, mode)] {
            out(vga, 0x3c0, index);
            out(vga, 0x3c0, value);
        }
        let frame = Frame::of(vga);
        let first = |y: usize| (0..9).find(|x| frame.at(*x, y) == colour(7));
        (first(0), first(20 * 16))
    };
    assert_eq!(panned(&mut vga, 8, 0x0c), (Some(0), Some(0)));
    assert_eq!(panned(&mut vga, 2, 0x0c), (Some(4), Some(4)));
    assert_eq!(
        panned(&mut vga, 2, 0x2c),
        (Some(4), Some(0)),
        "the lower part stands"
    );
}

#[test]
fn underlined_and_forty_columns() {
    let (mut vga, _) = text_screen();
    poke(&mut vga, 0xb_8000, b" \x01 \x07");
    set(&mut vga, 0x3d4, 0x0a, 0x20);
    set(&mut vga, 0x3d4, 0x14, 0x0d);
    inb(&mut vga, 0x3da);
    out(&mut vga, 0x3c0, 0x30);
    out(&mut vga, 0x3c0, 0x0e);
    let frame = Frame::of(&vga);
    assert_eq!(dots(&frame, 0, 0, 13, colour(1)), [true; 9]);
    assert_eq!(dots(&frame, 0, 0, 12, colour(1)), [false; 9]);
    assert_eq!(dots(&frame, 1, 0, 13, colour(7)), [false; 9]);
    set(&mut vga, 0x3d4, 0x11, 0);
    set(&mut vga, 0x3d4, 0x01, 0x27);
    set(&mut vga, 0x3d4, 0x13, 0x14);
    assert_eq!(
        (grid(&vga).columns, Frame::of(&vga).size()),
        (40, (360, 400))
    );
}

#[test]
fn a_screen_that_is_off_shows_nothing() {
    let (mut vga, _) = text_screen();
    poke(&mut vga, 0xb_8000, b"A\x70");
    let black = |vga: &Vga| Frame::of(vga).rows.iter().flatten().all(|part| *part == 0);
    assert!(!black(&vga));
    set(&mut vga, 0x3c4, 1, 0x20);
    assert!(black(&vga) && grid(&vga).cells.is_empty());
    set(&mut vga, 0x3c4, 1, 0x00);
    inb(&mut vga, 0x3da);
    out(&mut vga, 0x3c0, 0x00);
    assert!(black(&vga));
    assert_eq!(grid(&vga), TextGrid::default());
    let (fresh, _) = super::vga();
    assert!(black(&fresh), "as after a reset");
}
