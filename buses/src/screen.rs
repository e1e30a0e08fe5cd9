//! What a display shows, for who looks at it: as a picture, or as characters.

/// Takes a picture, row by row.
pub trait FrameSink {
    /// The picture has this size, at most [`MAX_WIDTH`] by [`MAX_HEIGHT`]. It comes first.
    fn set_size(&mut self, width: u32, height: u32);

    /// Row `y`, counted from the top: three bytes a pixel, red first.
    fn row(&mut self, y: u32, rgb: &[u8]);
}

/// No picture is wider, in pixels.
pub const MAX_WIDTH: u32 = 2560;
/// No picture is higher, in pixels.
pub const MAX_HEIGHT: u32 = 2048;

/// The characters of a screen in text mode.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextGrid {
    /// Characters of a row.
    pub columns: usize,
    /// Row by row.
    pub cells: Vec<char>,
    /// Column and row of the cursor, where there is one to see.
    pub cursor: Option<(usize, usize)>,
}

impl TextGrid {
    /// The rows, without the spaces at their ends; a line feed ends each.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for row in self.cells.chunks(self.columns.max(1)) {
            let row: String = row.iter().collect();
            text += row.trim_end_matches(' ');
            text.push('\n');
        }
        text
    }
}

/// A display that can be looked at. Nothing is drawn before somebody does.
pub trait Screen: Send + Sync {
    /// Draws what it shows now.
    fn render(&self, sink: &mut dyn FrameSink);

    /// The characters that it shows now; `None` while it shows graphics.
    fn text(&self) -> Option<TextGrid>;
}
