//! Where a kernel or an initial RAM disk comes from: a file, or bytes in memory.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryError, Permissions};

use crate::error::LoadError;

/// An image, to be read at any place.
#[derive(Debug)]
pub enum Source<'a> {
    /// An open file: [`Source::file`].
    File {
        /// The file.
        file: &'a mut File,
        /// Its bytes; asked for once, for each part that is read is held against it.
        size: u64,
    },
    /// Bytes.
    Bytes(&'a [u8]),
}

impl<'a> Source<'a> {
    /// An open file.
    ///
    /// # Errors
    /// When the host does not say how long it is.
    pub fn file(file: &'a mut File) -> Result<Self, LoadError> {
        let metadata = file.metadata().map_err(|source| LoadError::Read {
            what: "size",
            source,
        })?;
        let size = metadata.len();
        Ok(Self::File { file, size })
    }

    /// Bytes of the image.
    #[must_use]
    pub const fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Fills `data` from `offset`; `what` is the part's name in an error.
    ///
    /// # Errors
    /// When the part runs past the end of the image, or cannot be read.
    pub fn read(&self, what: &'static str, offset: u64, data: &mut [u8]) -> Result<(), LoadError> {
        self.check(what, offset, data.len() as u64)?;
        match self {
            Self::File { file, .. } => file
                .read_exact_at(data, offset)
                .map_err(|source| LoadError::Read { what, source }),
            Self::Bytes(bytes) => {
                if let Some(part) = part(bytes, offset, data.len()) {
                    data.copy_from_slice(part);
                }
                Ok(())
            }
        }
    }

    /// Copies `size` bytes from `offset` straight into guest memory.
    ///
    /// # Errors
    /// When the part runs past the end of the image or out of memory, or cannot be read.
    pub fn copy_to<M: GuestMemory>(
        &mut self,
        what: &'static str,
        offset: u64,
        size: u64,
        memory: &M,
        address: u64,
    ) -> Result<(), LoadError> {
        self.check(what, offset, size)?;
        let outside = LoadError::OutsideMemory {
            what,
            address,
            size,
        };
        let Ok(count) = usize::try_from(size) else {
            return Err(outside);
        };
        if !memory.check_range(GuestAddress(address), count, Permissions::Write) {
            return Err(outside);
        }
        let copied = match self {
            Self::File { file, .. } => {
                file.seek(SeekFrom::Start(offset))
                    .map_err(|source| LoadError::Read { what, source })?;
                memory.read_exact_volatile_from(GuestAddress(address), *file, count)
            }
            Self::Bytes(bytes) => memory.write_slice(
                part(bytes, offset, count).unwrap_or_default(),
                GuestAddress(address),
            ),
        };
        copied.map_err(|error| match error {
            GuestMemoryError::IOError(source) => LoadError::Read { what, source },
            _ => outside,
        })
    }

    fn check(&self, what: &'static str, offset: u64, wanted: u64) -> Result<(), LoadError> {
        let size = self.size();
        match offset.checked_add(wanted) {
            Some(end) if end <= size => Ok(()),
            _ => Err(LoadError::Truncated {
                what,
                offset,
                wanted,
                size,
            }),
        }
    }
}

fn part(bytes: &[u8], offset: u64, len: usize) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(len)?)
}

/// Reads little-endian integers out of a header. What lies behind its end reads as zero; headers are
/// fetched whole, so nothing does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    pub(crate) fn u8(self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn u16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    pub(crate) fn u32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    pub(crate) fn u64(self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    fn array<const N: usize>(self, at: usize) -> [u8; N] {
        self.0
            .get(at..)
            .and_then(|rest| rest.first_chunk())
            .copied()
            .unwrap_or([0; N])
    }
}
