//! What the chip shows, as a picture.
//!
//! Scan lines that only repeat the one above are left out, and so are dots that the 256-colour modes double: mode 0x13
//! is a picture of 320 by 200.

use trivisor_buses::FrameSink;
use trivisor_memory::FileMapping;

use super::core::{COLOURS, VgaChip};
use super::dispi::Mode;
use super::regs::{
    AttributeMode, CrtcMode, GraphicsMisc, GraphicsMode, MaxScan, Underline, attr, crtc, gfx, seq,
};

/// Red, green, blue.
type Rgb = [u8; 3];

/// Where a scan line's dots are in the planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    /// The address counter at its beginning.
    pub(super) counter: u32,
    /// The line in its character row.
    pub(super) row_scan: u32,
    /// It is above the line compare, and pans.
    pub(super) pans: bool,
}

/// A chip that is looked at.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) chip: &'a VgaChip,
    pub(super) memory: &'a FileMapping,
    /// Frames so far, for what blinks.
    pub(super) frame: u64,
}

impl View<'_> {
    /// Draws everything.
    pub(super) fn render(&self, sink: &mut dyn FrameSink) {
        let chip = self.chip;
        let (width, height) = self.size();
        sink.set_size(width, height);
        let black = vec![0; bytes(width) * 3];
        let colours = chip.colours();
        let palette = chip.palette();
        let mode = chip.dispi.enabled().then(|| chip.dispi.mode());
        let mut dots = Vec::new();
        let mut rgb = Vec::new();
        for y in 0..height {
            if self.is_blank() {
                sink.row(y, &black);
                continue;
            }
            rgb.clear();
            match mode {
                Some(mode) if mode.bpp > 8 => self.direct_row(mode, y, &mut rgb),
                Some(mode) => {
                    self.indexed_row(mode, y, &mut dots);
                    look_up(
                        &dots,
                        &colours,
                        (mode.bpp == 4).then_some(&palette),
                        &mut rgb,
                    );
                }
                None => {
                    let wide = self.vga_row(y, &mut dots);
                    look_up(&dots, &colours, (!wide).then_some(&palette), &mut rgb);
                }
            }
            rgb.resize(black.len(), 0);
            sink.row(y, &rgb);
        }
    }

    /// Width and height of the picture.
    pub(super) fn size(&self) -> (u32, u32) {
        let chip = self.chip;
        if chip.dispi.enabled() {
            let mode = chip.dispi.mode();
            return (mode.width, mode.height);
        }
        let dots = if chip.is_text() { chip.dots() } else { 8 };
        let width = chip.columns() * dots;
        let width = if chip.is_wide() { width / 2 } else { width };
        (width, chip.v_display().div_ceil(chip.repeats()))
    }

    /// Nothing is shown: the palette is the processor's, or the screen is off.
    pub(super) fn is_blank(&self) -> bool {
        self.chip.attr_index & 0x20 == 0 || self.chip.seq[seq::CLOCKING] & 0x20 != 0
    }

    /// The planes at a counter.
    pub(super) fn fetch(&self, line: Line, column: u32) -> [u8; 4] {
        let at = self
            .chip
            .plane_address(line.counter.wrapping_add(column), line.row_scan);
        self.planes(at)
    }

    /// The bytes of the four planes at an address.
    fn planes(&self, at: u64) -> [u8; 4] {
        let mut planes = [0; 4];
        self.memory.read(at * 4, &mut planes);
        planes
    }

    /// A row of a mode of more than 256 colours.
    fn direct_row(&self, mode: Mode, y: u32, rgb: &mut Vec<u8>) {
        let size = match mode.bpp {
            15 | 16 => 2,
            24 => 3,
            _ => 4,
        };
        let row = self.linear(mode, y, mode.x * size, mode.width * size);
        for pixel in row.chunks_exact(bytes(size)) {
            rgb.extend(match *pixel {
                [low, high] => {
                    let pixel = u16::from_le_bytes([low, high]);
                    let (red, green) = if mode.bpp == 15 {
                        (five(pixel >> 10), five(pixel >> 5))
                    } else {
                        (five(pixel >> 11), six((pixel >> 5).to_le_bytes()[0]))
                    };
                    [red, green, five(pixel)]
                }
                [blue, green, red, ..] => [red, green, blue],
                _ => [0; 3],
            });
        }
    }

    /// A row of a mode of the display interface with a palette, a byte a pixel.
    fn indexed_row(&self, mode: Mode, y: u32, dots: &mut Vec<u8>) {
        dots.clear();
        if mode.bpp == 8 {
            dots.extend(self.linear(mode, y, mode.x, mode.width));
            return;
        }
        let first = mode.x / 8;
        let row = self.linear(mode, y, first * 4, (mode.width / 8 + 1) * 4);
        for planes in row.as_chunks::<4>().0 {
            planar(*planes, dots);
        }
        pan(dots, mode.x % 8, mode.width);
    }

    /// Bytes of a line, from `at` in it on.
    fn linear(&self, mode: Mode, y: u32, at: u32, len: u32) -> Vec<u8> {
        let at = u64::from(mode.y + y) * u64::from(mode.stride) + u64::from(at);
        let len = u64::from(len).min(self.memory.size().saturating_sub(at));
        let mut row = vec![0; usize::try_from(len).unwrap_or(0)];
        self.memory.read(at, &mut row);
        row
    }

    /// Row `y` of a mode of the VGA's own; `true`: its dots are colours of the DAC, not of the palette.
    fn vga_row(&self, y: u32, dots: &mut Vec<u8>) -> bool {
        let chip = self.chip;
        dots.clear();
        let line = chip.line(y * chip.repeats());
        let (width, _) = self.size();
        let mode = GraphicsMode::from_bits(chip.gfx[gfx::MODE]);
        let wide = chip.is_wide();
        // One more, for what pans into sight.
        for column in 0..=chip.columns() {
            if chip.is_text() {
                self.character(line, column, dots);
                continue;
            }
            let planes = self.fetch(line, column);
            if wide {
                dots.extend(planes);
            } else if mode.interleave() {
                interleaved(planes, dots);
            } else {
                planar(planes, dots);
            }
        }
        let split_stands = AttributeMode::from_bits(chip.attr[attr::MODE]).split_stands();
        let panned = if line.pans || !split_stands {
            u32::from(chip.attr[attr::PANNING])
        } else {
            chip.no_panning()
        };
        let panned = match (chip.is_text() && chip.dots() == 9, wide) {
            // Nine dots: 8 is none, 0 is one.
            (true, _) => (panned + 1) % 9,
            (false, true) => panned / 2 % 4,
            (false, false) => panned % 8,
        };
        pan(dots, panned, width);
        wide
    }

    /// A scan line of a character.
    fn character(&self, line: Line, column: u32, dots: &mut Vec<u8>) {
        let chip = self.chip;
        let [code, attribute, ..] = self.fetch(line, column);
        let mode = AttributeMode::from_bits(chip.attr[attr::MODE]);
        let font = chip.font(attribute & 0x08 != 0);
        let [_, _, glyph, _] = self.planes(font + u64::from(code) * 32 + u64::from(line.row_scan));
        let mut foreground = attribute & 0x0f;
        let mut background = attribute >> 4;
        if mode.blink() {
            if background & 8 != 0 && self.frame & 0x20 != 0 {
                foreground = background & 7;
            }
            background &= 7;
        }
        let counter = line.counter.wrapping_add(column) & 0xffff;
        let underlined = mode.mono()
            && attribute & 7 == 1
            && Underline::from_bits(chip.crtc[crtc::UNDERLINE]).row() == low(line.row_scan);
        let cursor = chip.cursor_lines();
        let at_cursor = cursor.is_some_and(|(start, end)| {
            counter == chip.cursor_counter() && (start..=end).contains(&line.row_scan)
        });
        let solid = underlined || at_cursor && self.frame & 0x10 == 0;
        let glyph = if solid { 0xff } else { glyph };
        let dot = |on: bool| if on { foreground } else { background };
        dots.extend((0..8).map(|bit| dot(glyph & 0x80 >> bit != 0)));
        if chip.dots() == 9 {
            let joined = mode.line_graphics() && (0xc0..=0xdf).contains(&code);
            dots.push(dot(solid || joined && glyph & 1 != 0));
        }
    }
}

impl VgaChip {
    /// The VGA's own mode is a text mode.
    pub(super) fn is_text(&self) -> bool {
        !GraphicsMisc::from_bits(self.gfx[gfx::MISC]).graphics()
    }

    /// 256 colours.
    fn is_wide(&self) -> bool {
        !self.is_text() && GraphicsMode::from_bits(self.gfx[gfx::MODE]).shift256()
    }

    /// Characters of a row.
    pub(super) fn columns(&self) -> u32 {
        u32::from(self.crtc[crtc::H_DISPLAY]) + 1
    }

    /// Dots of a character.
    const fn dots(&self) -> u32 {
        if self.seq[seq::CLOCKING] & 1 != 0 {
            8
        } else {
            9
        }
    }

    /// What the panning register holds when nothing pans.
    fn no_panning(&self) -> u32 {
        if self.is_text() && self.dots() == 9 {
            8
        } else {
            0
        }
    }

    /// Scan lines of a character row.
    pub(super) fn row_lines(&self) -> u32 {
        u32::from(MaxScan::from_bits(self.crtc[crtc::MAX_SCAN]).lines()) + 1
    }

    /// 2 where each line comes twice.
    pub(super) fn doubling(&self) -> u32 {
        u32::from(MaxScan::from_bits(self.crtc[crtc::MAX_SCAN]).double()) + 1
    }

    /// Scan lines that show the same, from the first one on.
    fn repeats(&self) -> u32 {
        let mode = CrtcMode::from_bits(self.crtc[crtc::MODE]);
        if self.is_text() || !(mode.map13() && mode.map14()) {
            self.doubling()
        } else {
            self.doubling() * self.row_lines()
        }
    }

    /// What scan line `y` shows.
    pub(super) fn line(&self, y: u32) -> Line {
        let preset = self.crtc[crtc::PRESET];
        let (pans, y, start) = match y.checked_sub(self.line_compare() + 1) {
            Some(below) => (false, below / self.doubling(), 0),
            None => {
                let start = u32::from(self.start()) + u32::from(preset >> 5 & 3);
                let y = y / self.doubling() + u32::from(preset & 0x1f);
                (true, y, start)
            }
        };
        Line {
            counter: start + y / self.row_lines() * self.pitch(),
            row_scan: y % self.row_lines(),
            pans,
        }
    }

    /// The counter at the top.
    pub(super) const fn start(&self) -> u16 {
        u16::from_be_bytes([self.crtc[crtc::START_HIGH], self.crtc[crtc::START_LOW]])
    }

    /// From a row to the next, in counts.
    pub(super) fn pitch(&self) -> u32 {
        u32::from(self.crtc[crtc::OFFSET]) * 2
    }

    /// The address in the planes that a counter stands for.
    fn plane_address(&self, counter: u32, row_scan: u32) -> u64 {
        let mode = CrtcMode::from_bits(self.crtc[crtc::MODE]);
        let mut at = if Underline::from_bits(self.crtc[crtc::UNDERLINE]).double_word() {
            counter << 2 | counter >> 14 & 3
        } else if mode.byte() {
            counter
        } else {
            let top = if mode.wrap() { 15 } else { 13 };
            counter << 1 | counter >> top & 1
        };
        if !mode.map13() {
            at = at & !0x2000 | (row_scan & 1) << 13;
        }
        if !mode.map14() {
            at = at & !0x4000 | (row_scan >> 1 & 1) << 14;
        }
        u64::from(at & 0xffff)
    }

    /// The address in plane 2 of the font that attributes select by bit 3.
    fn font(&self, bit3: bool) -> u64 {
        let select = self.seq[seq::FONTS];
        let number = if bit3 {
            select >> 2 & 3 | select >> 3 & 4
        } else {
            select & 3 | select >> 2 & 4
        };
        // Number, and half of the block of 16 KiB.
        u64::from(number & 3) * 0x4000 + u64::from(number >> 2) * 0x2000
    }

    /// First and last line of the cursor in its row; `None`: there is no cursor.
    pub(super) fn cursor_lines(&self) -> Option<(u32, u32)> {
        let start = self.crtc[crtc::CURSOR_START];
        let (first, last) = (start & 0x1f, self.crtc[crtc::CURSOR_END] & 0x1f);
        (start & 0x20 == 0 && first <= last).then_some((first.into(), last.into()))
    }

    /// Where it stands.
    pub(super) fn cursor_counter(&self) -> u32 {
        let bytes = [self.crtc[crtc::CURSOR_HIGH], self.crtc[crtc::CURSOR_LOW]];
        u16::from_be_bytes(bytes).into()
    }

    /// What the DAC makes of its 256 inputs.
    fn colours(&self) -> [Rgb; COLOURS] {
        let wide = self.dispi.wide_dac();
        let level = |part: u8| if wide { part } else { six(part) };
        let mut index = 0..=u8::MAX;
        [(); COLOURS].map(|()| {
            let index = index.next().unwrap_or(0) & self.dac.mask;
            let colour = self.dac.colours.get(usize::from(index));
            colour.copied().unwrap_or_default().map(level)
        })
    }

    /// What the attribute controller makes of the 16 values of four planes.
    fn palette(&self) -> [u8; 16] {
        let mode = AttributeMode::from_bits(self.attr[attr::MODE]);
        let (enabled, select) = (self.attr[attr::PLANES] & 0x0f, self.attr[attr::COLOUR]);
        let mut value = 0..16;
        [(); 16].map(|()| {
            let value = value.next().unwrap_or(0_u8) & enabled;
            let own = self.attr.get(usize::from(value)).copied().unwrap_or(0);
            let own = if mode.select_54() {
                own & 0x0f | (select & 0x03) << 4
            } else {
                own & 0x3f
            };
            own | (select & 0x0c) << 4
        })
    }
}

/// Dots to colours, by way of the palette where there is one.
fn look_up(dots: &[u8], colours: &[Rgb; COLOURS], palette: Option<&[u8; 16]>, rgb: &mut Vec<u8>) {
    for dot in dots {
        let index = match palette {
            Some(palette) => palette.get(usize::from(*dot & 0x0f)).copied().unwrap_or(0),
            None => *dot,
        };
        let colour = colours.get(usize::from(index));
        rgb.extend(colour.copied().unwrap_or_default());
    }
}

/// Eight dots of four planes, leftmost first.
fn planar([a, b, c, d]: [u8; 4], dots: &mut Vec<u8>) {
    let bit = |plane: u8, shift: u8| plane >> shift & 1;
    dots.extend(
        (0..8).rev().map(|shift| {
            bit(a, shift) | bit(b, shift) << 1 | bit(c, shift) << 2 | bit(d, shift) << 3
        }),
    );
}

/// Eight dots of two bits, planes 0 and 1 one after the other; planes 2 and 3 have their high bits.
fn interleaved([a, b, c, d]: [u8; 4], dots: &mut Vec<u8>) {
    for (low, high) in [(a, c), (b, d)] {
        let shifts = [6, 4, 2, 0];
        dots.extend(shifts.map(|shift| low >> shift & 3 | (high >> shift & 3) << 2));
    }
}

/// Leaves `width` dots, the first ones out of sight.
fn pan(dots: &mut Vec<u8>, by: u32, width: u32) {
    dots.drain(..bytes(by).min(dots.len()));
    dots.truncate(bytes(width));
}

/// Six bits to eight.
const fn six(part: u8) -> u8 {
    part << 2 | part >> 4 & 3
}

/// The low five bits to eight.
const fn five(pixel: u16) -> u8 {
    let [low, _] = pixel.to_le_bytes();
    let part = low & 0x1f;
    part << 3 | part >> 2
}

const fn low(number: u32) -> u8 {
    let [low, ..] = number.to_le_bytes();
    low
}

/// Sizes of pictures are small.
fn bytes(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
