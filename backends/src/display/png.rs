//! A picture as a file.

use ::png::{BitDepth, ColorType, Compression, Encoder, EncodingError};
use thiserror::Error;
use trivisor_buses::screen::{MAX_HEIGHT, MAX_WIDTH};

/// A picture that cannot be a file.
#[derive(Debug, Error)]
pub enum PictureError {
    /// No screen is so large, or so small.
    #[error("a picture of {width} by {height} pixels is not possible")]
    Size {
        /// Pixels of a row.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The pixels are too few or too many, or the encoder refuses.
    #[error("the picture cannot be encoded")]
    Encode(#[from] EncodingError),
}

/// Encodes a picture as PNG; its pixels have three bytes each, red first, row by row.
///
/// # Errors
/// When the size is not possible, or is not that of the pixels.
pub fn encode(width: u32, height: u32, rgb: &[u8]) -> Result<Vec<u8>, PictureError> {
    if !(1..=MAX_WIDTH).contains(&width) || !(1..=MAX_HEIGHT).contains(&height) {
        return Err(PictureError::Size { width, height });
    }
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, width, height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(file)
}
