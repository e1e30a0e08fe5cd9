use std::io::Cursor;

use super::*;

fn drawn(width: u32, height: u32) -> FrameBuffer {
    let mut frame = FrameBuffer::default();
    draw(&mut frame, width, height, 1);
    frame
}

/// A picture whose pixels tell where they are, with `seed` in the blue of row 2.
fn draw(frame: &mut FrameBuffer, width: u32, height: u32, seed: u8) {
    frame.set_size(width, height);
    for y in 0..height {
        let low = |number: u32| number.to_le_bytes()[0];
        let blue = if y == 2 { seed } else { 7 };
        let row: Vec<u8> = (0..width).flat_map(|x| [low(x), low(y), blue]).collect();
        frame.row(y, &row);
    }
}

#[test]
fn rows_that_changed_are_told_once() {
    let mut frame = FrameBuffer::default();
    assert_eq!((frame.size(), frame.take_dirty()), ((0, 0), vec![]));
    draw(&mut frame, 10, 5, 1);
    assert_eq!(
        frame.take_dirty(),
        vec![Range { start: 0, end: 5 }],
        "a new size: all of it"
    );
    assert_eq!(frame.take_dirty(), []);
    draw(&mut frame, 10, 5, 1);
    assert_eq!(frame.take_dirty(), [], "the same picture");
    draw(&mut frame, 10, 5, 2);
    assert_eq!(frame.take_dirty(), vec![Range { start: 2, end: 3 }]);
    frame.row(0, &[9; 30]);
    frame.row(1, &[9; 30]);
    frame.row(4, &[9; 30]);
    assert_eq!(frame.take_dirty(), [0..2, 4..5]);
    draw(&mut frame, 11, 5, 2);
    assert_eq!(frame.take_dirty(), vec![Range { start: 0, end: 5 }]);
}

#[test]
fn what_does_not_fit_is_left_out() {
    let mut frame = drawn(10, 5);
    let before = frame.clone();
    frame.row(5, &[9; 30]);
    frame.row(u32::MAX, &[9; 30]);
    frame.row(0, &[9; 29]);
    assert_eq!(frame, before);
    frame.row(0, &[9; 60]);
    assert_eq!(
        frame.pixels()[..33],
        [&[9; 30][..], &[0, 1, 7][..]].concat()
    );
    frame.set_size(u32::MAX, u32::MAX);
    assert_eq!(frame.size(), (MAX_WIDTH, MAX_HEIGHT));
    frame.set_size(0, u32::MAX);
    assert_eq!(frame.pixels().len(), 0);
    frame.row(0, &[]);
}

#[test]
fn a_png_holds_the_picture() {
    for (width, height) in [(1, 1), (10, 5), (720, 400), (2560, 1600)] {
        let frame = drawn(width, height);
        let file = encode(width, height, frame.pixels()).unwrap();
        let mut reader = ::png::Decoder::new(Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (width, height));
        assert_eq!(
            (info.color_type, info.bit_depth),
            (::png::ColorType::Rgb, ::png::BitDepth::Eight)
        );
        assert!(pixels == frame.pixels(), "{width} by {height}");
    }
}

#[test]
fn sizes_that_are_not_possible_are_refused() {
    for (width, height) in [(0, 1), (1, 0), (MAX_WIDTH + 1, 1), (1, MAX_HEIGHT + 1)] {
        let error = encode(width, height, &[]).unwrap_err();
        assert!(matches!(error, PictureError::Size { .. }), "{error}");
    }
    for pixels in [&[0; 29][..], &[0; 31]] {
        let error = encode(5, 2, pixels).unwrap_err();
        assert!(matches!(error, PictureError::Encode(_)), "{error}");
    }
}
