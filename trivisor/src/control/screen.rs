//! What a screen shows, put together from what the VM process says: within bounds, and written by this process.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use trivisor_backends::display;
use trivisor_buses::screen::{MAX_HEIGHT, MAX_WIDTH};

use crate::failure::chain;
use crate::protocol::{MAX_TEXT, PIECE, Piece};

/// A picture that is complete: three bytes a pixel.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

/// What was shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Picture(Picture),
    /// Lines, without a control character but their ends.
    Text(String),
}

/// What came is no screen's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoScreen;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Picture { width: u32, height: u32 },
    Text,
}

/// A screen in the making.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    /// What it will be, and of how many bytes.
    kind: Option<(Kind, usize)>,
    bytes: Vec<u8>,
}

impl Assembly {
    /// More is to come.
    pub(crate) const fn has_begun(&self) -> bool {
        self.kind.is_some()
    }

    /// Takes the next piece; `Some` when it was the last.
    pub(crate) fn take(&mut self, piece: Piece) -> Result<Option<Shown>, NoScreen> {
        let (kind, wanted) = match (self.kind, piece) {
            (None, Piece::Picture { width, height }) => {
                let possible =
                    (1..=MAX_WIDTH).contains(&width) && (1..=MAX_HEIGHT).contains(&height);
                if !possible {
                    return Err(NoScreen);
                }
                let bytes = to_usize(width) * to_usize(height) * 3;
                (Kind::Picture { width, height }, bytes)
            }
            (None, Piece::Text { bytes }) => {
                let bytes = to_usize(bytes);
                (bytes <= MAX_TEXT)
                    .then_some((Kind::Text, bytes))
                    .ok_or(NoScreen)?
            }
            (Some((kind, wanted)), Piece::Bytes(bytes)) => {
                let room = wanted - self.bytes.len();
                if bytes.is_empty() || bytes.len() > room.min(PIECE) {
                    return Err(NoScreen);
                }
                self.bytes.extend(bytes);
                (kind, wanted)
            }
            _ => return Err(NoScreen),
        };
        self.kind = Some((kind, wanted));
        if self.bytes.len() < wanted {
            return Ok(None);
        }
        self.kind = None;
        let bytes = std::mem::take(&mut self.bytes);
        Ok(Some(match kind {
            Kind::Picture { width, height } => Shown::Picture(Picture {
                width,
                height,
                pixels: bytes,
            }),
            Kind::Text => Shown::Text(harmless(bytes)?),
        }))
    }
}

/// A text that a terminal can be given.
fn harmless(bytes: Vec<u8>) -> Result<String, NoScreen> {
    let text = String::from_utf8(bytes).map_err(|_| NoScreen)?;
    let control = |letter: char| letter.is_control() && letter != '\n';
    if text.contains(control) {
        return Err(NoScreen);
    }
    Ok(text)
}

impl Picture {
    /// Makes a file of it; why that cannot be.
    pub(crate) fn save(&self, path: &Path) -> Result<(), String> {
        let why = |error: &std::io::Error| format!("{} cannot be written: {error}", path.display());
        // Nobody may be at the other end of a pipe.
        if path.metadata().is_ok_and(|found| !found.is_file()) {
            return Err(format!("{} is no plain file", path.display()));
        }
        let file = File::create(path).map_err(|error| why(&error))?;
        self.write(&file)
    }

    /// Puts it into an open file, in place of what that holds.
    pub(crate) fn write(&self, file: &File) -> Result<(), String> {
        let image = display::encode(self.width, self.height, &self.pixels);
        let image = image.map_err(|error| chain(&error))?;
        let written = file.set_len(0).and_then(|()| file.write_all_at(&image, 0));
        written.map_err(|error| error.to_string())
    }
}

/// Numbers of 32 bits fit.
fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Piece = Piece::Picture {
        width: 2,
        height: 3,
    };

    #[test]
    fn a_picture_comes_in_pieces() {
        let mut assembly = Assembly::default();
        for _ in 0..2 {
            assert_eq!(assembly.take(SMALL), Ok(None));
            assert!(assembly.has_begun());
            assert_eq!(assembly.take(Piece::Bytes(vec![1; 17])), Ok(None));
            let Ok(Some(Shown::Picture(picture))) = assembly.take(Piece::Bytes(vec![2])) else {
                panic!("it is complete");
            };
            assert_eq!((picture.width, picture.height), (2, 3));
            assert_eq!(picture.pixels, [&[1; 17][..], &[2]].concat());
            assert!(!assembly.has_begun());
        }
    }

    #[test]
    fn a_text_is_harmless() {
        let take = |bytes: &[u8]| {
            let mut assembly = Assembly::default();
            let len = u32::try_from(bytes.len()).unwrap();
            match assembly.take(Piece::Text { bytes: len }) {
                Ok(None) => assembly.take(Piece::Bytes(bytes.to_vec())),
                taken => taken,
            }
        };
        for text in ["", "a\n", "C:\\>─é\n\n"] {
            assert_eq!(take(text.as_bytes()), Ok(Some(Shown::Text(text.into()))));
        }
        for text in [&b"\x1b[2J"[..], b"a\r\n", b"\xff", "\u{9b}".as_bytes()] {
            assert_eq!(take(text), Err(NoScreen), "{text:?}");
        }
    }

    #[test]
    fn what_is_out_of_place_or_too_much_is_refused() {
        let picture = |width, height| Piece::Picture { width, height };
        let large = u32::try_from(MAX_TEXT + 1).unwrap();
        for first in [
            picture(0, 1),
            picture(1, 0),
            picture(MAX_WIDTH + 1, 1),
            picture(u32::MAX, u32::MAX),
            Piece::Text { bytes: large },
            Piece::Text { bytes: u32::MAX },
            Piece::Bytes(vec![1]),
        ] {
            assert_eq!(
                Assembly::default().take(first.clone()),
                Err(NoScreen),
                "{first:?}"
            );
        }
        for second in [
            SMALL,
            Piece::Text { bytes: 1 },
            Piece::Bytes(vec![]),
            Piece::Bytes(vec![0; 19]),
        ] {
            let mut assembly = Assembly::default();
            assert_eq!(assembly.take(SMALL), Ok(None));
            assert_eq!(assembly.take(second.clone()), Err(NoScreen), "{second:?}");
        }
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(picture(100, 100)), Ok(None));
        assert_eq!(
            assembly.take(Piece::Bytes(vec![0; PIECE + 1])),
            Err(NoScreen)
        );
    }

    #[test]
    fn a_file_is_made_where_one_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let picture = Picture {
            width: 1,
            height: 1,
            pixels: vec![1, 2, 3],
        };
        let file = folder.path().join("a.png");
        std::fs::write(&file, [0; 9000]).unwrap();
        picture.save(&file).unwrap();
        let written = std::fs::read(&file).unwrap();
        assert!(written.starts_with(b"\x89PNG") && written.len() < 200);
        let why = picture.save(folder.path()).unwrap_err();
        assert!(why.contains("is no plain file"), "{why}");
        let why = picture.save(&folder.path().join("b/a.png")).unwrap_err();
        assert!(why.contains("cannot be written"), "{why}");
    }
}
