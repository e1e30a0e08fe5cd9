//! What the screen shows, on its way to the control process.

use std::io;

use trivisor_backends::display::FrameBuffer;

use super::VmProcess;
use crate::protocol::{Answer, MAX_TEXT, PIECE, Piece, Report};

impl VmProcess {
    /// Answers a request for what the screen shows.
    pub(super) fn send_screen(&self, text: bool) -> io::Result<()> {
        let tell = |answer| self.channel.send(&Report::Answer(answer));
        let Some(screen) = self.machine.screen() else {
            return tell(Answer::Absent);
        };
        if !text {
            return self.send_picture(|piece| Report::Answer(Answer::Screen(piece)));
        }
        let Some(grid) = screen.text() else {
            return tell(Answer::Graphics);
        };
        let text = grid.text();
        let end = (0..=MAX_TEXT.min(text.len()))
            .rev()
            .find(|end| text.is_char_boundary(*end))
            .unwrap_or(0);
        let text = text.get(..end).unwrap_or_default().as_bytes();
        let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX);
        tell(Answer::Screen(Piece::Text { bytes }))?;
        let mut pieces = text.chunks(PIECE);
        pieces.try_for_each(|piece| tell(Answer::Screen(Piece::Bytes(piece.to_vec()))))
    }

    /// Draws the screen, where there is one, and tells the picture piece by piece.
    pub(super) fn send_picture(&self, report: impl Fn(Piece) -> Report) -> io::Result<()> {
        let Some(screen) = self.machine.screen() else {
            return Ok(());
        };
        let mut frame = FrameBuffer::default();
        screen.render(&mut frame);
        let (width, height) = frame.size();
        self.channel
            .send(&report(Piece::Picture { width, height }))?;
        let mut pieces = frame.pixels().chunks(PIECE);
        pieces.try_for_each(|piece| self.channel.send(&report(Piece::Bytes(piece.to_vec()))))
    }
}
