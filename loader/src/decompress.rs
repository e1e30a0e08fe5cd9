//! The payload of a bzImage, decompressed.
//!
//! Sources: Linux, lib/decompress.c (which magic is which format) and scripts/Makefile.lib (how a kernel's
//! build packs: all but gzip get the size of the unpacked kernel appended, four bytes).

use std::fmt::{self, Display};
use std::io::{self, ErrorKind, Read};

use crate::error::LoadError;

/// How a payload is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// CONFIG_KERNEL_GZIP (RFC 1952).
    Gzip,
    /// CONFIG_KERNEL_BZIP2.
    Bzip2,
    /// CONFIG_KERNEL_LZMA: the format of LZMA utils.
    Lzma,
    /// CONFIG_KERNEL_XZ.
    Xz,
    /// CONFIG_KERNEL_LZO: known by name only.
    Lzo,
    /// CONFIG_KERNEL_LZ4: the legacy frame.
    Lz4,
    /// CONFIG_KERNEL_ZSTD (RFC 8878).
    Zstd,
}

/// The magic of the legacy LZ4 frame.
const LZ4_MAGIC: u32 = 0x184c_2102;

/// What a block of the legacy LZ4 frame holds at most (LZ4_DEFAULT_UNCOMPRESSED_CHUNK_SIZE).
const LZ4_BLOCK: usize = 8 << 20;

/// A byte of an LZ4 block stands for at most so many.
const LZ4_RATIO: usize = 255;

/// The largest dictionary or window that a kernel's build asks for: xz and `zstd -22 --ultra`.
const MAX_WINDOW: u64 = 128 << 20;

/// The same in KiB for LZMA, with 1 MiB for what its decoder needs beside the dictionary.
const LZMA_MEMORY_KIB: u32 = 129 << 10;

impl Compression {
    /// The format that a payload begins with.
    #[must_use]
    pub fn detect(payload: &[u8]) -> Option<Self> {
        match payload {
            [0x1f, 0x8b | 0x9e, ..] => Some(Self::Gzip),
            [0x42, 0x5a, ..] => Some(Self::Bzip2),
            [0x5d, 0x00, ..] => Some(Self::Lzma),
            [0xfd, 0x37, ..] => Some(Self::Xz),
            [0x89, 0x4c, ..] => Some(Self::Lzo),
            [0x02, 0x21, ..] => Some(Self::Lz4),
            [0x28, 0xb5, ..] => Some(Self::Zstd),
            _ => None,
        }
    }
}

impl Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}

/// Decompresses a payload to at most `max` bytes. Bytes behind the compressed stream are not looked at.
pub(crate) fn decompress(
    payload: &[u8],
    compression: Compression,
    max: u64,
) -> Result<Vec<u8>, LoadError> {
    let result = match compression {
        Compression::Gzip => read(flate2::bufread::GzDecoder::new(payload), max),
        Compression::Bzip2 => read(bzip2::bufread::BzDecoder::new(payload), max),
        Compression::Lzma => lzma_rust2::LzmaReader::new_mem_limit(payload, LZMA_MEMORY_KIB, None)
            .and_then(|reader| read(reader, max)),
        Compression::Xz => read(
            lzma_rust2::XzReader::new_mem_limit(payload, false, LZMA_MEMORY_KIB),
            max,
        ),
        Compression::Lz4 => lz4(payload, max),
        Compression::Zstd => zstd(payload, max),
        Compression::Lzo => return Err(LoadError::Compression(compression)),
    };
    match result {
        Ok(Some(unpacked)) => Ok(unpacked),
        Ok(None) => Err(LoadError::TooLarge {
            what: "bzImage: its decompressed payload",
            max,
        }),
        Err(source) => Err(LoadError::Decompress {
            compression,
            source,
        }),
    }
}

/// Reads to the end; `None` when that lies behind `max` bytes.
fn read(reader: impl Read, max: u64) -> io::Result<Option<Vec<u8>>> {
    let mut unpacked = Vec::new();
    reader
        .take(max.saturating_add(1))
        .read_to_end(&mut unpacked)?;
    Ok((unpacked.len() as u64 <= max).then_some(unpacked))
}

fn zstd(payload: &[u8], max: u64) -> io::Result<Option<Vec<u8>>> {
    let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(payload, MAX_WINDOW);
    let mut decoder = decoder.map_err(io::Error::other)?;
    let Some(unpacked) = read(&mut decoder, max)? else {
        return Ok(None);
    };
    let decoder = decoder.into_frame_decoder();
    // A frame may have no checksum.
    match decoder.get_checksum_from_data() {
        Some(checksum) if decoder.get_calculated_checksum() != Some(checksum) => {
            Err(io::Error::new(ErrorKind::InvalidData, "wrong checksum"))
        }
        _ => Ok(Some(unpacked)),
    }
}

/// The legacy frame of LZ4: a magic, then blocks, each with its size. Nothing marks the end, so the
/// appended size of the kernel's build is known by what follows it: nothing.
fn lz4(payload: &[u8], max: u64) -> io::Result<Option<Vec<u8>>> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let mut unpacked = Vec::new();
    let mut rest = payload;
    while let Some((size, blocks)) = rest.split_first_chunk() {
        let size = u32::from_le_bytes(*size);
        rest = blocks;
        if size == LZ4_MAGIC {
            continue;
        }
        if rest.is_empty() {
            let right = size as usize == unpacked.len();
            return if right {
                Ok(Some(unpacked))
            } else {
                Err(ErrorKind::UnexpectedEof.into())
            };
        }
        let (block, behind) = rest
            .split_at_checked(size as usize)
            .ok_or(ErrorKind::UnexpectedEof)?;
        rest = behind;
        let start = unpacked.len();
        let left = max - start;
        // No more than the block can become: small blocks without end shall not each clear 8 MiB.
        let room = left
            .min(LZ4_BLOCK)
            .min(block.len().saturating_mul(LZ4_RATIO));
        unpacked.resize(start + room, 0);
        let target = unpacked.get_mut(start..).unwrap_or_default();
        match lz4_flex::block::decompress_into(block, target) {
            Ok(count) => unpacked.truncate(start + count),
            Err(lz4_flex::block::DecompressError::OutputTooSmall { .. }) if left < LZ4_BLOCK => {
                return Ok(None);
            }
            Err(error) => return Err(io::Error::new(ErrorKind::InvalidData, error)),
        }
    }
    if rest.is_empty() && !unpacked.is_empty() {
        Ok(Some(unpacked))
    } else {
        Err(ErrorKind::UnexpectedEof.into())
    }
}
