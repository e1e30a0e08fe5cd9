//! What a text mode shows, as characters.

use trivisor_buses::TextGrid;

use super::render::View;

/// Code page 437. Of its spaces, 0x00 and 0xff become common ones.
const CODE_PAGE: &str = concat!(
    " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼",
    " !\"#$%&'()*+,-./0123456789:;<=>?",
    "@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_",
    "`abcdefghijklmnopqrstuvwxyz{|}~⌂",
    "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒ",
    "áíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐",
    "└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀",
    "αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ",
);

/// The characters of code page 437, in order.
#[must_use]
pub fn code_page() -> [char; 256] {
    let mut letters = CODE_PAGE.chars();
    [(); 256].map(|()| letters.next().unwrap_or(' '))
}

impl View<'_> {
    /// The characters, as code page 437 has them whatever font is loaded; `None` in graphics modes. A screen that is
    /// off has none.
    pub(super) fn text(&self) -> Option<TextGrid> {
        let chip = self.chip;
        if chip.dispi.enabled() || !chip.is_text() {
            return None;
        }
        if self.is_blank() {
            return Some(TextGrid::default());
        }
        let letters = code_page();
        let (columns, lines) = (chip.columns(), chip.row_lines() * chip.doubling());
        let rows = chip.v_display().div_ceil(lines);
        let mut cells = Vec::new();
        let mut cursor = None;
        for row in 0..rows {
            let line = chip.line(row * lines);
            for column in 0..columns {
                let [code, ..] = self.fetch(line, column);
                let letter = letters.get(usize::from(code));
                cells.push(letter.copied().unwrap_or(' '));
                let counter = line.counter.wrapping_add(column) & 0xffff;
                if counter == chip.cursor_counter() && chip.cursor_lines().is_some() {
                    cursor = cursor
                        .or_else(|| usize::try_from(column).ok().zip(usize::try_from(row).ok()));
                }
            }
        }
        let columns = usize::try_from(columns).unwrap_or(1);
        Some(TextGrid {
            columns,
            cells,
            cursor,
        })
    }
}
